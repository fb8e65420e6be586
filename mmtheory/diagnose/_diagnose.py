"""Why does a modality lag behind: because it is learnt more slowly, or because it knows less?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import Unimodal
from mmtheory.stats import Interval, Relation, Verdict, decide, empirical_bernstein, student
from mmtheory.training import Trainer, spread_over

from ._probes import ridge_scores, unimodal_probes, worth

Cause = Literal["none", "speed", "information", "speed and information", "undecided"]


@dataclass(frozen=True)
class Gap:
    """Two differences of accuracy for one modality, and what they say.

    :param speed: what can be read from the modality and is not in its trained encoder.
    :param information: what can be read from the best modality and not from this one.
    :param cause: the gaps that are shown to be there, ``none`` where both are shown not to be; the intervals say what is open.
    :param heard: accuracy of a probe on its trained encoder, [*batch].
    :param readable: the best accuracy that was read from it at all, [*batch].
    """

    speed: Interval
    information: Interval
    cause: Cause
    heard: Tensor
    readable: Tensor


@dataclass(frozen=True)
class Diagnosis:
    """A ``Gap`` for every modality.

    :param best: the modality from which most can be read.
    """

    gaps: dict[str, Gap]
    best: str

    def __str__(self) -> str:
        lines = [
            f"{m}: {g.cause} (speed {g.speed.low:+.3f} to {g.speed.high:+.3f}, information {g.information.low:+.3f} to {g.information.high:+.3f})"
            for m, g in self.gaps.items()
        ]
        return "\n".join(lines)


def diagnose(
    trainer: Trainer, test: Batch, *, margin: float = 0.05, alpha: float = 0.05, ridge: float = 1e-3
) -> Diagnosis:
    r"""Tell a speed gap from an information gap, for every modality.

    .. math:: \text{speed}_m = r_m - h_m, \qquad \text{information}_m = r_b - r_m, \qquad r_m = \max(\text{alone}_m, \text{raw}_m)

    h is the accuracy of a linear probe on the encoder as trained, *alone* that of a probe on the same encoder trained alone for as many
    epochs, *raw* that of a probe on the inputs themselves; b is the modality with the largest r. A modality that is only slow has a
    speed gap and no information gap, whatever its present score; one that knows less has the opposite. What nobody read is not seen: r
    is a lower bound of what the modality knows, so that an information gap may be a modality that even alone is learnt too slowly.

    A gap is there if its interval lies above ``margin`` and not there if it lies below; the cause names those that are there. With several replicates the intervals are
    Student's over replicates, those left out whose loss was not finite; with one model they are about its test samples. All 2M of them hold together
    with probability 1 − alpha. Where the labels are numbers, shares of their variance (R²) stand for accuracies. Methods that slow down or drop who is ahead can mend a speed gap and only a speed gap.

    :param trainer: whose model is judged; it is run to the end of its settings first. Each modality is also trained alone, beside it.
    :param test: samples that neither run has seen; the same law as the training data of each replicate.
    :param margin: the least difference of accuracy that is called a gap.
    :raises ArgumentError: a margin or alpha out of range, a single modality, or a single model of numbers, whose errors have no bound.

    Source: derived here, from methods §1.3 and §16.3 (P11: the probe of joint against that of unimodal training).
    """
    if not (0 < alpha < 1 and margin >= 0) or len(trainer.model.modalities) < 2:
        raise ArgumentError(
            f"diagnose: expected two modalities, 0 < alpha < 1, margin >= 0, found {trainer.model.modalities}, {alpha}, {margin}"
        )
    if trainer.train_data.y.is_floating_point() and not trainer.batch_shape:
        raise ArgumentError("diagnose: expected several replicates for numbers as targets, found one model")
    trainer.run()
    alone = trainer.beside(Unimodal()).run()
    train, fresh = (spread_over(b, trainer.batch_shape) for b in (trainer.train_data, test))
    heard = unimodal_probes(trainer.model, train, fresh, ridge=ridge)
    by_itself = unimodal_probes(alone.model, train, fresh, ridge=ridge)
    raw = raw_probes(train, fresh, trainer.model.fusion.classes, ridge=ridge)
    alive = trainer.alive & alone.alive
    if not bool(alive.any()):
        raise ArgumentError("diagnose: expected a replicate whose loss stayed finite, found none")
    return judged(heard, by_itself, raw, alive=alive, margin=margin, alpha=alpha)


def judged(
    heard: Mapping[str, Tensor],
    alone: Mapping[str, Tensor],
    raw: Mapping[str, Tensor],
    *,
    alive: Tensor | None = None,
    margin: float = 0.05,
    alpha: float = 0.05,
) -> Diagnosis:
    """What ``diagnose`` concludes from three readouts of each modality, wherever they come from.

    Shape: [*batch, n], whether each sample was read rightly, or [R, 1] with accuracies of several replicates; alive [*batch].

    :param heard: from the encoder as trained.
    :param alone: from the encoder trained alone.
    :param raw: from the inputs.
    :param alive: which replicates count; None for all.

    >>> seen = {m: torch.tensor([[0.6], [0.61]], dtype=torch.float64) for m in "ab"}
    >>> judged(seen, {**seen, "a": seen["a"] + 0.2}, seen).gaps["a"].cause
    'speed'
    """
    readable = {m: _better(alone[m], raw[m]) for m in heard}
    best = max(sorted(readable), key=lambda m: float(readable[m].mean()))
    kept = torch.ones_like(heard[best][..., 0], dtype=torch.bool) if alive is None else alive
    share, gaps = alpha / (2 * len(heard)), dict[str, Gap]()
    for m in heard:
        speed = _interval((readable[m] - heard[m])[kept], share)
        lost = Interval.exact(0.0) if m == best else _interval((readable[best] - readable[m])[kept], share)
        gaps[m] = Gap(speed, lost, _cause(speed, lost, margin), heard[m].mean(-1), readable[m].mean(-1))
    return Diagnosis(gaps, best)


@torch.no_grad()
def raw_probes(train: Batch, test: Batch, classes: int, *, ridge: float = 1e-3) -> dict[str, Tensor]:
    """Whether a ridge readout of the inputs is right on each test sample (of numbers: how much is explained), [*batch, n]; λ a thousandth of ``ridge``, for inputs come in any scale."""
    lead, flat = train.y.ndim, 1e-3 * ridge
    return {
        m: worth(ridge_scores(x.flatten(lead), train.y, test.x[m].flatten(lead), classes, ridge=flat), test.y)
        for m, x in train.x.items()
    }


def _better(a: Tensor, b: Tensor) -> Tensor:
    """In each replicate the readout that is right more often, [*batch, n]."""
    return torch.where((a.mean(-1) >= b.mean(-1)).unsqueeze(-1), a, b)


def _cause(speed: Interval, information: Interval, margin: float) -> Cause:
    """The gaps that are shown to be there; none where both are shown not to be."""
    found = [decide(gap, Relation.AT_MOST, Interval.exact(0.0), margin=margin) for gap in (speed, information)]
    slow, ignorant = (v is Verdict.VIOLATED for v in found)
    if slow and ignorant:
        return "speed and information"
    if slow or ignorant:
        return "speed" if slow else "information"
    return "undecided" if Verdict.INCONCLUSIVE in found else "none"


def _interval(differences: Tensor, alpha: float) -> Interval:
    """The mean of differences in [−1, 1], [*batch, n]: over replicates where there are several, else over samples."""
    each = differences.mean(-1).flatten()
    if len(each) > 1:
        return student(each, alpha=alpha)
    return empirical_bernstein(differences.flatten(), alpha=alpha, low=-1.0, high=1.0)
