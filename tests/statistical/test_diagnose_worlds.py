"""diagnose() in worlds that know the answer: equal information learnt at unequal speed, unequal information, both, neither."""

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.diagnose import decay, diagnose, follow
from mmtheory.methods import Joint
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer
from synthetic.latent import LatentSpace
from synthetic.worlds import GaussianDiscriminant, GaussianRegression, TwoDials

ALPHA = 1e-6
"""Probability that one diagnosis errs in any of its intervals; their mean is over replicates, hence Student's law."""


def trained(
    world, replicates, widths, classes, lr, *, n=1000, test=1000, epochs=20, activate=True, loss="cross-entropy"
):
    """A trainer and test samples of the same laws, one law a replicate."""
    both = world.sample(n + test, stream=Stream(1), replicates=range(replicates))

    def part(rows):
        y = both.y[:, rows]
        return Batch({m: v[:, rows].float() for m, v in both.x.items()}, y.float() if y.is_floating_point() else y)

    train = part(slice(0, n))

    def build(draws):
        inputs = {m: v.shape[-1] for m, v in train.x.items()}
        encoders = {m: MLPEncoder((d, *widths), draws=draws, name=m, activate=activate) for m, d in inputs.items()}
        head = FUSIONS["sum"](dict.fromkeys(inputs, widths[-1]), classes, draws=draws)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    settings = Settings(epochs=epochs, lr=lr, loss=loss)
    run = Trainer(build, Joint(), train, settings=settings, stream=Stream(2), replicates=range(replicates))
    return run, part(slice(n, None))


CASES = {
    "neither": ({}, "none"),
    "speed": ({"scale": (1 / 256, 1.0)}, "speed"),
    "information": ({"snr": (0.3, 4.0)}, "information"),
    "both": ({"scale": (1 / 256, 1.0), "snr": (0.3, 4.0)}, "speed and information"),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_cause_is_the_dial_that_was_turned(case):
    """W2: the sign of a Gaussian score. The scale dial moves no Bayes risk; the snr dial moves it by an angle that is known exactly."""
    dials, cause = CASES[case]
    plain = {
        "snr": (4.0, 4.0),
        "shared": 0,
        "private": (1, 1),
        "dims": (24, 24),
        "decoder": "rotated",
        "label_noise": 0.1,
    }
    world = LatentSpace(task="classification", **(plain | dials)).exact()
    run, test = trained(world, 48, (2,), 2, 0.005, activate=False)
    found = diagnose(run, test, margin=0.03, alpha=ALPHA)
    assert (found.gaps["a"].cause, found.gaps["b"].cause) == (cause, "none"), str(found)
    best = {m: 1 - world.known("bayes_risk", {m}).middle for m in "ab"}
    for m, gap in found.gaps.items():
        # A readout cannot beat the Bayes rule; a thousand samples in 24 dimensions let it come within three points.
        assert best[m] - 0.03 <= float(gap.readable.mean()) <= best[m] + 0.005
    known = best["b"] - best["a"]
    lost = found.gaps["a"].information
    assert lost.low - 0.03 <= known <= lost.high + 0.03


UNSEEN = {
    "discriminant, neither": (GaussianDiscriminant(d2=(2.0, 2.0), dims=(24, 24)), "none"),
    "discriminant, speed": (GaussianDiscriminant(d2=(2.0, 2.0), dims=(24, 24), scale=(1 / 256, 1.0)), "speed"),
    "discriminant, information": (GaussianDiscriminant(d2=(0.2, 2.0), dims=(24, 24)), "information"),
    "discriminant, both": (
        GaussianDiscriminant(d2=(0.2, 2.0), dims=(24, 24), scale=(1 / 256, 1.0)),
        "speed and information",
    ),
    "numbers, neither": (GaussianRegression(snr=(2.0, 2.0), dims=(24, 24)), "none"),
    "numbers, speed": (GaussianRegression(snr=(2.0, 2.0), dims=(24, 24), scale=(1 / 64, 1.0)), "speed"),
    "numbers, information": (GaussianRegression(snr=(0.2, 2.0), dims=(24, 24)), "information"),
}


@pytest.mark.parametrize("case", sorted(UNSEEN))
def test_the_cause_is_found_in_worlds_that_nothing_was_tuned_on(case):
    """A discriminant, and numbers learnt by a squared loss, where shares of variance stand for accuracies."""
    world, cause = UNSEEN[case]
    numbers = world.task == "regression"
    run, test = trained(
        world, 32, (2,), 1 if numbers else 2, 0.005, activate=False, loss="squared" if numbers else "cross-entropy"
    )
    found = diagnose(run, test, margin=0.03, alpha=ALPHA)
    assert (found.gaps["a"].cause, found.gaps["b"].cause) == (cause, "none"), str(found)
    spread = world.known("bayes_risk", ()).middle if numbers else 1.0
    best = {m: 1 - world.known("bayes_risk", {m}).middle / spread for m in "ab"}
    for m, gap in found.gaps.items():
        assert best[m] - 0.05 <= float(gap.readable.mean()) <= best[m] + 0.01


@pytest.mark.parametrize(
    ("dial", "level"), [("speed", 2.0), ("speed", 3.0), ("information", 2.0), ("information", 3.0)]
)
def test_the_two_dial_world_is_told_apart(dial, level):
    run, test = trained(TwoDials(**{dial: level}), 32, (32, 16), 8, 0.02)
    found = diagnose(run, test, margin=0.05, alpha=ALPHA)
    # Each replicate is a task with class means of its own, in which either modality may know a little more.
    assert found.gaps["a"].cause == dial, str(found)
    assert found.gaps["b"].speed.high < 0.05, str(found)


def test_three_modalities_have_a_cause_each():
    dials = {"snr": (4.0, 4.0, 0.3), "scale": (1.0, 1 / 256, 1.0), "private": (1, 1, 1), "dims": (24, 24, 24)}
    world = LatentSpace(task="classification", shared=0, decoder="rotated", label_noise=0.1, **dials).exact()
    run, test = trained(world, 48, (2,), 2, 0.005, activate=False)
    found = diagnose(run, test, margin=0.03, alpha=ALPHA)
    assert [found.gaps[m].cause for m in "abc"] == ["none", "speed", "information"], str(found)


def test_a_lead_that_wears_off_needs_a_run_as_long_as_the_slow_modality():
    """The decay of the ratio sees a speed gap that ends within the run and is blind to one that does not."""
    seen = {}
    for dial, level in (("speed", 1.0), ("speed", 3.0), ("information", 3.0)):
        run, _ = trained(TwoDials(**{dial: level}), 32, (32, 16), 8, 0.02)
        seen[dial, level] = decay(follow(run, watch=run.train_data.rows(slice(0, 256))).ratios["b"])

    # Thirty-two replicates each: a difference of means of more than six standard errors.
    def apart(a, b):
        return float((a.mean() - b.mean()) / torch.sqrt(a.var() / len(a) + b.var() / len(b)))

    assert apart(seen["speed", 1.0], seen["information", 3.0]) > 6
    assert apart(seen["speed", 1.0], seen["speed", 3.0]) > 6
    assert float(seen["speed", 3.0].mean()) < 0.1
