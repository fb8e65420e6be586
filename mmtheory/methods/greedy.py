"""Balanced utilisation against greedy learning: for a few steps the fusion hears only the mean of the modality that learns fastest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._method import Card, Gradients, Method, Step, Strength, per_replicate
from ._scores import leads
from ._strengths import ranged


def decades(speeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
    r"""How much faster each modality learns than the others: the leads of log₁₀ μ.

    >>> [round(float(d), 6) for d in decades({"a": torch.tensor(1.0), "b": torch.tensor(0.1)}).values()]
    [1.0, -1.0]
    """
    return leads({m: mu.clamp(min=torch.finfo(mu.dtype).tiny).log10() for m, mu in speeds.items()})


@final
class Greedy(Method):
    r"""Conditional learning speed as a trigger, a running mean in place of features as a remedy.

    .. math:: \mu_m = \sum_t \|g^m_t\|^2 / \|\theta^m_t\|^2, \qquad \max_m d_m > \epsilon \;\Rightarrow\; z^m \leftarrow \bar z^m \text{ for } Q \text{ steps}

    While its features are replaced an encoder gets no gradient through the fusion, which is why its speed falls back by itself.

    :param epsilon: least lead that triggers, in decades; inf is joint training bit for bit.
    :param window: Q, steps a remedy lasts.
    :param start: first epoch in which there are remedies; speeds add up from the beginning.
    :param momentum: weight of the newest batch in the running mean of the features.

    Source: Wu, Jastrzębski, Cho, Geras 2022 (ICML; paper and public code).
    """

    card: ClassVar[Card] = Card(
        name="greedy",
        source="Wu, Jastrzębski, Cho, Geras 2022 (ICML)",
        summary="Replaces the features of the fastest-learning modality by their running mean for a few steps.",
        fidelity="reconstruction",
        cost="1F + 1B, one norm an encoder",
        neutral="epsilon = inf",
        differences=(
            "the paper compares gates (MMTM) between two uni-modal branches with the branches; here whole encoders are compared, for any fusion and M",
            "the paper replaces the gate of one branch by its running mean; here the features of the leading modality",
            "the released code updates one running mean from the wrong branch; here each from its own features",
        ),
    )

    def __init__(self, epsilon: Strength = 0.01, *, window: int = 5, start: int = 2, momentum: float = 0.1) -> None:
        if window < 1 or start < 0 or not 0 < momentum <= 1:
            raise ArgumentError(
                f"greedy: expected window >= 1, start >= 0 and momentum in (0, 1], found {window}, {start} and {momentum}"
            )
        self.epsilon = ranged("greedy: epsilon", epsilon)
        self.window, self.start, self.momentum = window, start, momentum

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        if len(model.modalities) < 2:
            raise ArgumentError(f"greedy: expected at least two modalities, found {list(model.modalities)}")
        like = next(model.parameters()).detach()
        self.speed = {m: like.new_zeros(model.batch_shape) for m in model.modalities}
        self.left = {m: like.new_zeros(model.batch_shape) for m in model.modalities}
        self.mean = {m: like.new_zeros(*model.batch_shape, model.width(m)) for m in model.modalities}
        self.seen = 0

    def on_features(self, step: Step) -> None:
        for m, z in step.features.items():
            self.mean[m] = torch.lerp(self.mean[m], z.detach().mean(-2), self.momentum if self.seen else 1.0)
            quiet = (self.left[m] > 0)[..., None, None]
            step.features[m] = torch.where(quiet, self.mean[m].unsqueeze(-2), z)
        self.seen += 1

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        for m in self.speed:
            size = (gradients.flat.data[..., gradients.flat.columns[m]] ** 2).sum(-1)
            self.speed[m] = self.speed[m] + (gradients.owned("total", m) ** 2).sum(-1) / size
        self._trigger(step.epoch)
        return gradients.total()

    def _trigger(self, epoch: int) -> None:
        """Windows run down; where none is open and somebody leads by more than epsilon, one opens."""
        self.left = {m: (left - 1).clamp(min=0) for m, left in self.left.items()}
        if epoch < self.start:
            return
        lead = decades(self.speed)
        most = torch.stack(list(lead.values())).amax(0)
        idle = torch.stack(list(self.left.values())).amax(0) == 0
        for m, d in lead.items():
            opens = idle & (d == most) & (d > per_replicate(self.epsilon, d))
            self.left[m] = torch.where(opens, float(self.window), self.left[m])

    def state_dict(self) -> dict[str, Tensor]:
        parts = {"speed": self.speed, "left": self.left, "mean": self.mean}
        own = {f"{name} {m}": v for name, part in parts.items() for m, v in part.items()}
        return own | {"seen": torch.tensor(self.seen)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.speed, self.left, self.mean = (
            {m: state[f"{name} {m}"].clone() for m in self.speed} for name in ("speed", "left", "mean")
        )
        self.seen = int(state["seen"])

    def neutral(self) -> Method:
        return Greedy(float("inf"))
