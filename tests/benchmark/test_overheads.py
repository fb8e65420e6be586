"""What a step of every method costs over joint training's, on encoders of a ResNet-18's size; ratios as JSON.

Times are of this thread's processor, each step right after one of joint training with the smallest of several rounds' times on either
side: what other processes do to memory only ever adds. Passes are weighted as ``Cost.over_joint`` does, a forward a third of joint
training and a backward two thirds; the share that a forward really takes is printed beside.
"""

import json
import time

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.methods import METHODS
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer, counted_cost

pytestmark = pytest.mark.benchmark

WIDTHS, BATCH, ROWS = (768, 2048, 2048, 2048, 512), 96, 192
"""Eleven million parameters an encoder, as ResNet-18; batch 96 makes 12.7 GFLOP a step, as two ResNet-18 at batch 8 on 64 × 64 take."""
FREE = ("ogm", "opm", "pmr", "amss", "mslr")
PASSES = ("uniform", "ume", "mimo", "famo", "ngdiff", "agm", "cml", "lfm", "mmcosine", "amco")
ROUNDS = 3


def wide(draws):
    encoders = {m: MLPEncoder(WIDTHS, draws=draws, name=m) for m in "ab"}
    head = FUSIONS["concat"](dict.fromkeys("ab", WIDTHS[-1]), 10, draws=draws)
    return MultimodalModel(encoders, head)


def trainer_of(name):
    draws = Stream(7).draws()
    data = Batch({m: draws.normal(m, ROWS, WIDTHS[0]).float() for m in "ab"}, draws.integers("y", 10, ROWS))
    held = Batch({m: v[:32] for m, v in data.x.items()}, data.y[:32])
    settings = Settings(batch_size=BATCH, lr=1e-3)
    return Trainer(wide, METHODS[name](), data, settings=settings, stream=Stream(0), validation=held)


def seconds(work):
    started = time.thread_time()
    work()
    return time.thread_time() - started


def over_joint(trainer, joint, rounds=ROUNDS):
    """The least seconds of an epoch over joint training's least, turn about."""
    pairs = [(seconds(lambda: joint.run(1)), seconds(lambda: trainer.run(1))) for _ in range(rounds)]
    return min(own for _, own in pairs) / min(base for base, _ in pairs)


def forward_share(joint, rounds=ROUNDS):
    """What one forward of a mini-batch takes of a step of joint training."""
    x = {m: v[:BATCH] for m, v in joint.train_data.x.items()}

    def forward():
        with torch.no_grad():
            for _ in range(ROWS // BATCH):
                joint.model.encode(x)

    pairs = [(seconds(lambda: joint.run(1)), seconds(forward)) for _ in range(rounds)]
    return min(own for _, own in pairs) / min(base for base, _ in pairs)


def table(names):
    joint = trainer_of("joint")
    counted_cost(joint)
    found = {"a forward's share": round(forward_share(joint), 3)}
    for name in names:
        trainer = trainer_of(name)
        passes = counted_cost(trainer).over_joint
        value = over_joint(trainer, joint)
        found[name] = (round(value, 3), round(passes, 3), round(value / passes, 3))
    return found


def report(capsys, name, values):
    with capsys.disabled():
        print(f"\n{name} {json.dumps(values)}")


def test_balancing_costs_what_its_passes_cost_where_compute_dominates(capsys):
    """A step over joint training's: at most 1.15 for five methods, 1.1 times the counted passes for the others.

    MLA has a limit of its own (1.10 to 1.16 measured): each of its passes joins a gradient of all parameters, half of them zeros. Not
    here are methods whose cards state more than passes: a random number a parameter (ogm-ge 2.5, graddrop 2.7 times the passes) or
    statistics of every row and parameter (bogc 1.5); mmpareto (1.10 to 1.24) and inforeg (1.13), which miss 1.1;
    and those that nobody has measured with this clock yet.
    """
    values = table((*FREE, *PASSES, "mla"))
    report(capsys, "over joint, counted passes, over them", values)
    assert {name: values[name] for name in FREE if values[name][0] > 1.15} == {}
    assert {name: values[name] for name in PASSES if values[name][2] > 1.1} == {}
    assert values["mla"][2] <= 1.25
