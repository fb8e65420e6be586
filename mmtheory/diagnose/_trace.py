"""Traces of a training run: how far each modality is ahead, epoch by epoch, and whether its lead wears off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import Contribution, default_contribution, discrepancy, label_scores
from mmtheory.training import Trainer

from ._gradients import gradient_report


@dataclass(frozen=True)
class Trace:
    """What was seen after each epoch, [*batch, epochs] by modality.

    :param scores: mean probability of the true label by the modality's own logits; of numbers the share of their variance that goes
        with the modality's own outputs, Cov(f^m, y)/Var(y): such shares of an additive fusion sum to that of its output.
    :param ratios: the discrepancy ratio ρ, above 1 for who is ahead; empty where the labels are numbers.
    :param norms: norm of the joint loss's gradient in what the modality owns.
    :param cosines: cosine between the joint and the modality's own gradient in its encoder.
    """

    scores: dict[str, Tensor]
    ratios: dict[str, Tensor]
    norms: dict[str, Tensor]
    cosines: dict[str, Tensor]


def follow(
    trainer: Trainer, *, epochs: int | None = None, watch: Batch | None = None, contribution: Contribution | None = None
) -> Trace:
    """Run a trainer on, epoch by epoch, and look at the model after each of them; training itself is not touched.

    :param epochs: how many more; None for as many as the settings have left.
    :param watch: the samples to look at; None for the training data.
    :param contribution: where each modality's own logits come from; None takes the fusion's shares, else zeroing out.
    :raises ArgumentError: no epoch left, or a contribution that cannot serve this fusion.
    """
    left = trainer.settings.epochs - trainer.epoch if epochs is None else epochs
    if left < 1:
        raise ArgumentError(f"follow: expected at least one epoch to run, found {left}")
    batch = watch or trainer.train_data
    provider = contribution or default_contribution(trainer.model)
    seen: dict[str, dict[str, list[Tensor]]] = {part: {} for part in ("scores", "ratios", "norms", "cosines")}
    for _ in range(left):
        trainer.run(1)
        report = gradient_report(trainer.model, batch, contribution=provider)
        with torch.no_grad():
            said = provider.logits(trainer.model, trainer.model.encode(batch.x))
            scores = _scores(said, batch.y)
            ratios = {} if batch.y.is_floating_point() else discrepancy(scores)
        now = {"scores": scores, "ratios": ratios, "norms": report.norms, "cosines": report.cosines}
        for part, values in now.items():
            for m in (m for m in trainer.model.modalities if m in values):
                seen[part].setdefault(m, []).append(values[m])
    return Trace(**{part: {m: torch.stack(v, -1) for m, v in values.items()} for part, values in seen.items()})


def _scores(said: Mapping[str, Tensor], y: Tensor) -> dict[str, Tensor]:
    """What stands in a trace as a modality's score, [*batch]."""
    if not y.is_floating_point():
        return {m: s / y.shape[-1] for m, s in label_scores(said, y).items()}
    apart = y - y.mean(-1, keepdim=True)
    spread = (apart * apart).mean(-1).clamp(min=torch.finfo(y.dtype).tiny)
    return {m: (f.squeeze(-1) * apart).mean(-1) / spread for m, f in said.items()}


def decay(ratio: Tensor) -> Tensor:
    r"""How much of its largest lead a modality has lost again.

    .. math:: 1 - \rho_T / \max_{t \le T} \rho_t

    Near 0 when the lead is at its peak: that of a modality with more information settles there, that of a faster one passes through it
    and wears off. A run that is shorter than the slow modality's time constant therefore shows no decay for either.

    Shape: [*batch, T] to [*batch].

    Source: methods §1.3 (derived there).

    >>> float(decay(torch.tensor([1.0, 4.0, 2.0])))
    0.5
    """
    return 1 - ratio[..., -1] / ratio.amax(-1)
