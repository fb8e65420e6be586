"""The multi-prediction step of the multimodal machine against the bare matrix products that it cannot do without; ratios as JSON."""

import json
import statistics
import time

import pytest
import torch

from mmtheory.models.rbm import MultimodalRBM, multi_prediction_loss
from mmtheory.rng import Stream

pytestmark = pytest.mark.benchmark

ROUNDS = 25


def seconds(work):
    started = time.process_time()
    work()
    return time.process_time() - started


def products(replicates, n, visible, hidden, sweeps):
    """The products of one direction, 2n + 2 forward and 4n + 3 backward, each with its own operands: 6n + 5 of n · D · H."""
    draws = Stream(0).child("bare").draws()
    x, h = (draws.normal(name, replicates, n, d).float() for name, d in (("x", visible), ("h", hidden)))
    w = draws.normal("w", replicates, visible, hidden).float()

    def work():
        for _ in range(2):
            for _ in range(sweeps + 1):
                torch.bmm(x, w)
                torch.bmm(h, w.mT)
            for _ in range(sweeps):
                torch.bmm(x.mT, h)
                torch.bmm(h, w.mT)
                torch.bmm(x.mT, h)
                torch.bmm(x, w)
            torch.bmm(x, w)
            torch.bmm(x.mT, h)
            torch.bmm(x.mT, h)

    return work


def step(replicates, n, visible, hidden, sweeps):
    """Loss and gradient of both directions."""
    draws = Stream(0).child("ours").draws()
    weights = {m: (0.01 * draws.normal(m, replicates, visible, hidden)).float().requires_grad_() for m in "xy"}
    biases = {m: torch.zeros(replicates, visible, requires_grad=True) for m in "xy"}
    b = torch.zeros(replicates, hidden, requires_grad=True)
    machine = MultimodalRBM(weights, biases, b)
    x = {m: draws.integers(f"x {m}", 2, replicates, n, visible).float() for m in "xy"}
    parts = [*weights.values(), *biases.values(), b]

    def work():
        torch.autograd.grad(multi_prediction_loss(machine, x, sweeps=sweeps).sum(), parts)

    return work


@pytest.mark.parametrize(
    ("name", "sizes", "limit"), [("mnist", (1, 100, 392, 1000, 5), 1.3), ("stacked", (16, 100, 64, 200, 5), 1.6)]
)
def test_a_step_of_multi_prediction_against_its_products(name, sizes, limit, capsys):
    """The paper's MNIST shapes, and replicates of a small machine; the goal is 1.3 times the products alone.

    1.1 and 1.25 is what it measures; beside other work the small one's ratio rises, so its limit only guards against worse.
    """
    ours, bare = step(*sizes), products(*sizes)
    ours(), bare()
    # Turn about, so that the load of the machine falls on both alike.
    pairs = [(seconds(ours), seconds(bare)) for _ in range(ROUNDS)]
    best = [min(column) for column in zip(*pairs, strict=True)]
    ratio = best[0] / best[1]
    report = {
        f"multi_prediction_{name}_over_products": round(ratio, 3),
        "median_of_pairs": round(statistics.median(a / b for a, b in pairs), 3),
    }
    with capsys.disabled():
        print("\n" + json.dumps(report))
    assert ratio <= limit
