"""What a step of every method costs over joint training's, on encoders of a ResNet-18's size; ratios as JSON.

Times are of this thread's processor, each epoch right after one of joint training. What other processes do to memory only ever adds, so the
least time of either side stands for it, and a method that is above its limit is looked at again, up to a number of rounds: least times
only come nearer to what the work itself costs. Passes are weighted as ``Cost.over_joint`` does, a forward a third of joint
training and a backward two thirds; the share that a forward really takes is printed beside.
"""

import json
import os
import time

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.methods import METHODS
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer, counted_cost
from real.data import Part
from real.network import builder
from real.recipe import Recipe

pytestmark = pytest.mark.benchmark

WIDTHS, BATCH, ROWS = (768, 2048, 2048, 2048, 512), 96, 192
"""Eleven million parameters an encoder, as ResNet-18; batch 96 makes 12.7 GFLOP a step, as two ResNet-18 at batch 8 on 64 × 64 take."""
FREE = ("ogm", "opm", "pmr", "amss", "mslr")
PASSES = (
    "uniform", "ume", "mimo", "famo", "ngdiff", "mmpareto", "agm", "cml", "lfm", "mmcosine", "amco", "inforeg", "amss-plus",
)  # fmt: skip
MLA = 1.25
EDGE, CLIPS = 96, 32
"""Pictures and spectrograms of two ResNet-18 of 22.4 M parameters: a twelfth of the arithmetic of a step on 64 of 224 × 224."""
BY_THE_WEIGHT = ("ogm-ge", "graddrop", "bogc")
ROUNDS, MOST = 3, 16
ROOM = 1.12
"""What a core whose memory others use all the time adds to methods that touch more of it; ``test_counted_work`` needs no room."""


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


def resnets(name):
    """The trainer of an audio-visual pair of ResNet-18, with a step an epoch."""
    parts = {"audio": Part((1, EDGE, EDGE), "spectrogram"), "image": Part((3, EDGE, EDGE), "image")}
    draws = Stream(7).draws()
    data = Batch({m: draws.normal(m, CLIPS, *p.shape).float() for m, p in parts.items()}, draws.integers("y", 6, CLIPS))
    held = Batch({m: v[:8] for m, v in data.x.items()}, data.y[:8])
    build = builder(parts, 6, Recipe(encoder="resnet", width=0), data)
    settings = Settings(batch_size=CLIPS, lr=1e-3)
    return Trainer(build, METHODS[name](), data, settings=settings, stream=Stream(0), validation=held)


def seconds(work):
    started = time.thread_time()
    work()
    return time.thread_time() - started


def over_joint(own, joint, limit, rounds=ROUNDS, most=MOST):
    """The least seconds of one's work over the least of joint training's, turn about: more rounds while it is above the limit."""
    pairs = []
    while len(pairs) < rounds or (len(pairs) < most and ratio(pairs) > limit):
        pairs.append((seconds(joint), seconds(own)))
    return ratio(pairs)


def ratio(pairs):
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


def goal_of(name, passes):
    """What a step is to take over joint training's at most."""
    return 1.15 if name in FREE else passes * (MLA if name == "mla" else 1.1)


def table(names, make=trainer_of, **how):
    """Name: a step over joint training's, its counted passes, the goal."""
    joint = make("joint")
    counted_cost(joint)
    found = {} if how else {"a forward's share": round(forward_share(joint), 3)}
    for name in names:
        trainer = make(name)
        passes = counted_cost(trainer).over_joint
        goal = goal_of(name, passes)
        value = over_joint(lambda: trainer.run(1), lambda: joint.run(1), goal, **how)  # noqa: B023 (called before the next turn)
        found[name] = (round(value, 3), round(passes, 3), round(goal, 3))
    return found


def report(capsys, name, values):
    with capsys.disabled():
        print(f"\n{name} {json.dumps(values)}")


def test_balancing_costs_what_its_passes_cost_where_compute_dominates(capsys):
    """A step over joint training's: the goals are 1.15 for five methods, 1.1 times the counted passes for the others.

    On a quiet core all of them are met; the limits leave room for a busy one. MLA has a goal of its own (1.08 to 1.16 measured): each of
    its passes joins a gradient of all parameters, half of them zeros. Not here are methods whose cards state more than passes: a random
    number a parameter (ogm-ge 1.5, graddrop 1.45 times the passes) or statistics of every row and parameter (bogc 1.5): these are dense
    layers on small batches, where a weight meets 96 samples, in a convolution thousands of places. What the remaining ones do is
    counted in ``test_counted_work``.
    """
    values = table((*FREE, *PASSES, "mla"))
    report(capsys, "over joint, counted passes, goal", values)
    assert {k: v for k, v in values.items() if k != "a forward's share" and v[0] > ROOM * v[2]} == {}


def test_on_two_resnets_even_a_random_number_a_weight_is_within_a_tenth_of_the_passes(capsys):
    """``MMTHEORY_METHODS=all`` (or names) looks at others than the three that do most by the weight; all takes a quarter of an hour."""
    asked = os.environ.get("MMTHEORY_METHODS", ",".join(BY_THE_WEIGHT))
    names = [*METHODS] if asked == "all" else asked.split(",")
    values = table(names, resnets, rounds=2, most=8)
    report(capsys, "two ResNet-18, over joint, counted passes, goal", values)
    assert {k: v for k, v in values.items() if v[0] > ROOM * v[2]} == {}
