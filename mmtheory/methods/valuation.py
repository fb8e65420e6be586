"""Sample-level valuation: a modality that contributes little to a sample is trained on that sample more often, alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.info import shapley, subsets
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._measures import by_parts
from ._method import Card, Method, Step, Strength, View, per_replicate
from ._strengths import off, ranged

Level = Literal["sample", "modality"]


def contributions(model: MultimodalModel, data: Batch) -> dict[str, Tensor]:
    r"""Shapley value of each modality for each sample, in the game that pays a coalition its size if it is right.

    .. math:: v_i(S) = |S|\,\mathbb 1[\hat y_i(S) = y_i], \qquad \sum_m \varphi^m_i = v_i([M])

    With two modalities it is one of −½, 0, ½, 1, 1½; with every coalition right it is 1. Absent modalities are stood in for by the model's
    policy.

    Shape: [*batch, n].

    Source: Wei, Feng, Wang, Hu 2024.
    """

    def look(part: Batch) -> dict[str, Tensor]:
        features = model.encode(part.x)
        said = {s: model.fuse(features, s, part.present).argmax(-1) for s in subsets(model.modalities)}
        return {_name(s): (answer == part.y).double() * len(s) for s, answer in said.items()}

    paid = by_parts(data, look)
    worth = {s: paid[_name(s)] for s in subsets(model.modalities)}
    return shapley({frozenset[str](): torch.zeros_like(next(iter(paid.values()))), **worth}, model.modalities)


def _name(coalition: frozenset[str]) -> str:
    return "+".join(sorted(coalition))


@final
class Valuation(Method):
    r"""Re-sampling by contribution: extra places in the epoch for a low contributor, where it is heard alone.

    With c copies of (i, m), an epoch is n places drawn systematically from all samples, once each, and all copies: sample i fills in
    expectation a share (1 + Σ_m c)/Σ of them. Where nothing deserves a copy the epoch is joint training's, bit for bit.

    :param gain: factor on the numbers of copies; 0 is joint training bit for bit.
    :param level: ``sample``, copies of each pair by its own contribution; ``modality``, the same for all samples of a modality, by how far
        its mean contribution lags.
    :param copies: copies for contributions in (cuts[0], 1), (cuts[1], cuts[0]] and below (``sample``).
    :param cuts: those borders.
    :param share: share of the samples that may be repeated (``modality``).
    :param warmup: epochs of joint training first.

    Source: Wei, Feng, Wang, Hu 2024 (CVPR; paper and public code).
    """

    card: ClassVar[Card] = Card(
        name="valuation",
        source="Wei, Feng, Wang, Hu 2024 (CVPR)",
        summary="Repeats samples for the modalities that contribute little to them, with the others masked.",
        fidelity="paper",
        cost="1F + 1B, an epoch's encoders once and 2^M − 1 fusions of every sample",
        neutral="gain = 0",
        differences=(
            "the released epoch grows with the copies; here its length stays and copies displace whole samples, so that steps are equal",
            "at modality level the released code draws who is repeated; here expected copies enter one systematic draw",
            "values are for any number of modalities, by enumeration; absent ones are stood in for by the model's policy",
        ),
    )

    def __init__(
        self,
        gain: Strength = 1.0,
        *,
        level: Level = "sample",
        copies: tuple[float, float, float] = (1, 2, 3),
        cuts: tuple[float, float] = (0.4, -0.1),
        share: float = 0.2,
        warmup: int = 5,
    ) -> None:
        if level not in {"sample", "modality"} or min(copies) < 0 or not cuts[0] > cuts[1] or warmup < 0:
            raise ArgumentError(
                "valuation: expected level sample or modality, copies >= 0, falling cuts and warmup >= 0, "
                f"found {level!r}, {copies}, {cuts} and {warmup}"
            )
        self.level: Level = level
        self.gain, self.share = ranged("valuation: gain", gain), ranged("valuation: share", share, 0, 1)
        self.copies, self.cuts, self.warmup = copies, cuts, warmup

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.heard: dict[str, Tensor] = {}

    def on_epoch(self, view: View) -> None:
        self.heard = {}
        if off(self.gain) or view.epoch < self.warmup:
            return
        wanted = self.wanted(contributions(view.model, view.train), view.train)
        sample, place = places(wanted, view.draws.uniform("places"))
        order = view.order
        self.heard = {m: ((place == 0) | (place == k)).gather(-1, order) for k, m in enumerate(sorted(wanted), 1)}
        view.set_order(sample.gather(-1, order))

    def wanted(self, value: Mapping[str, Tensor], data: Batch) -> dict[str, Tensor]:
        """How many copies each pair of sample and modality deserves, [*batch, n]; none where the modality is absent."""
        mean = {m: v.mean(-1, keepdim=True) for m, v in value.items()}
        top = torch.stack(list(mean.values())).amax(0)
        found: dict[str, Tensor] = {}
        for m, v in value.items():
            if self.level == "modality":
                c = (self.share * (2 / 3 * (top - mean[m])).clamp(0, 1)).expand_as(v)
            else:
                few, more, most = (torch.full_like(v, c) for c in self.copies)
                c = torch.where(v > self.cuts[0], few, torch.where(v > self.cuts[1], more, most))
                c = torch.where(v >= 1, 0.0, c)
            c = per_replicate(self.gain, c) * c
            found[m] = torch.where(data.present[m], c, 0.0) if m in data.present else c
        return found

    def on_features(self, step: Step) -> None:
        for m, heard in self.heard.items():
            here = heard[..., step.start : step.start + step.batch.n]
            blank = step.model.stand_in(m).unsqueeze(-2)
            step.features[m] = torch.where(here.unsqueeze(-1), step.features[m], blank)

    def neutral(self) -> Method:
        return Valuation(0.0)


def places(copies: Mapping[str, Tensor], start: Tensor) -> tuple[Tensor, Tensor]:
    """Sample and kind of each of n places, [*batch, n] each: kind 0 is the whole sample, k the k-th modality by name alone.

    Systematic: a pair of expected number x in n places gets ⌊x⌋ or ⌈x⌉ of them. Without any copies place i is sample i, whole.

    :param copies: for each modality how often each sample is to be repeated beside its one whole appearance, [*batch, n].
    :param start: uniform on [0, 1), [*batch].

    >>> places({"a": torch.zeros(3)}, torch.tensor(0.3))[0].tolist(), places({"a": torch.ones(2)}, torch.tensor(0.3))[1].tolist()
    ([0, 1, 2], [0, 0])
    """
    names = sorted(copies)
    n = copies[names[0]].shape[-1]
    weight = torch.stack([torch.ones_like(copies[names[0]]), *(copies[m] for m in names)], -1).double()
    edge = weight.flatten(-2).cumsum(-1)
    step = edge[..., -1:] / n
    at = (torch.arange(n, device=edge.device) + start.double().unsqueeze(-1)) * step
    index = torch.searchsorted(edge, at.contiguous(), right=True).clamp(max=edge.shape[-1] - 1)
    return index // (len(names) + 1), index % (len(names) + 1)
