"""What a rule still does where nobody is ahead (methods §15.1): some vanish like 1/√n, some jump by a constant, some never rest.

Two modalities whose samples score 1/4 or 3/4 by fair coins; a batch of n has sums that differ by chance alone.
"""

import math

import pytest
import torch

from mmtheory.methods import AGM, AMSS, PMR
from mmtheory.methods._scores import discrepancy, leads, ogm_coefficient
from mmtheory.rng import Stream

SIZES = (64, 256, 1024, 4096)
BATCHES = 20_000
ALPHA = 0.8


def heads(n, name="scores"):
    """How many of n samples scored 3/4, [2, batches]."""
    return Stream(3).child(name, n).draws().fill("coins", (2, BATCHES), lambda g, s: g.binomial(n, 0.5, s)).double()


def sums(n, name="scores"):
    return dict(zip("ab", 0.25 * n + 0.5 * heads(n, name), strict=True))


def ratio(n):
    return discrepancy(sums(n))["a"]


def journal(n):
    return (1 - ogm_coefficient(ratio(n), ALPHA, form="journal")).mean()


def cvpr(n):
    return (1 - ogm_coefficient(ratio(n), ALPHA, form="cvpr")).mean()


def pmr(n):
    pull, _ = PMR().coefficients(sums(n))
    return torch.stack(list(pull.values())).amax(0).mean()


def agm(n):
    """κ − 1 in the second of two batches."""
    method = AGM(1.0)
    method.usual, method.count = {m: torch.zeros(BATCHES, dtype=torch.float64) for m in "ab"}, 0
    for name in ("first", "second"):
        up = heads(n, name)
        entropies = dict(zip("ab", -(up * math.log(0.75) + (n - up) * math.log(0.25)) / n, strict=True))
        kappa = method._coefficients(entropies)
    return (kappa["a"] - 1).abs().mean()


def inforeg(n):
    return (leads({m: s / n for m, s in sums(n).items()})["a"] > 0.05).double().mean()


def fitted(action):
    """Slope of log action on log n."""
    x = torch.tensor([math.log(n) for n in SIZES], dtype=torch.float64)
    y = torch.stack([action(n) for n in SIZES]).log()
    return float(((x - x.mean()) * y).sum() / ((x - x.mean()) ** 2).sum())


@pytest.mark.parametrize("action", [journal, pmr, agm])
def test_rules_that_vanish_at_balance_do_so_like_the_root_of_the_batch(action):
    """A mean over 20,000 batches of a half-normal number is within 3.5 % at six standard errors, so the slope within .02."""
    assert fitted(action) == pytest.approx(-0.5, abs=0.03)


def test_the_first_form_of_ogm_jumps_at_balance_on_the_toss_of_a_coin():
    """Half of the batches lose tanh(α): its action does not fall with the batch."""
    expected = 0.5 * math.tanh(ALPHA)
    for n in SIZES[1:]:
        # Ties are neutral; the ratio's own spread adds its second order.
        tied = float((heads(n)[0] == heads(n)[1]).double().mean())
        assert float(cvpr(n)) == pytest.approx(
            expected * (1 - tied), abs=6 * 0.34 / math.sqrt(BATCHES) + 1 / math.sqrt(n) / 4
        )
    assert abs(fitted(cvpr)) < 0.05
    assert float(1 - cvpr(4096)) == pytest.approx(1 - expected, abs=0.02)


def test_a_threshold_rests_exactly_and_a_softmax_never():
    assert float(inforeg(64)) > 0.1
    assert float(inforeg(4096)) == 0
    equal = {m: torch.full((3,), 0.7, dtype=torch.float64) for m in "abc"}
    assert all(torch.allclose(k, torch.tensor(2 / 3, dtype=torch.float64)) for k in AMSS().shares(equal).values())
