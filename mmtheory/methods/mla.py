"""MLA: train the modalities in turn through one shared head, whose gradient is kept off the directions that earlier ones used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import Dense, FlatParameters, MultimodalModel
from mmtheory.rng import Draws

from ._late import entropy_weights, late_average, own_loss
from ._method import Card, Gradients, Method, Phase, Step, Strength, View, per_replicate, required

Projection = Literal["rls", "off"]
Space = Literal["gradient", "update"]
Blend = Literal["entropy", "mean", "released"]
HEAD = "head:shared"


class MLA(Method):
    r"""Multimodal learning with alternating unimodal adaptation.

    .. math:: L_m = \mathrm{CE}(W z^m + b, y), \qquad \nabla_W \leftarrow \nabla_W P_t, \qquad
        P_t = P_{t-1} - \frac{P_{t-1}\bar h_t \bar h_t^\top P_{t-1}}{\alpha_t + \bar h_t^\top P_{t-1} \bar h_t}

    One pass a modality; h̄ is the mean of its features, and P as modality m meets it holds earlier passes only. With any α's,
    P_t = (I + Σ_j h̄_j h̄_jᵀ/α_j)⁻¹, so no seen mean is moved by more than η‖∇W‖√α. Prediction averages the modalities' logits with
    weights softmax(−entropy), sample by sample.

    No fused loss exists: what only several modalities together say cannot be learnt. It has a head of its own; the model's fusion
    stays as it was initialised.

    :param alpha: α at the beginning of each epoch, positive; larger projects less.
    :param alpha_end: α at its end (geometric in between).
    :param projection: ``off`` leaves the plain gradient, as the released code does by accident.
    :param space: ``gradient`` projects the head's gradient; ``update`` what the optimiser then makes of it, so that momentum and weight
        decay stay off the seen means too.
    :param blend: ``entropy`` sample by sample; ``mean``; ``released``, one weight for the whole batch.
    :param normalise: divide P by its Frobenius norm after every update (released code): a hidden cut of the head's learning rate.
    :param before: update P with a modality's own mean before its own step (released code).
    :param order: names in the order of the passes; None for alphabetical, so that no position decides.
    :raises ArgumentError: at bind, modalities whose features differ in width.

    Source: Zhang, Yoon, Bansal, Yao 2024 (CVPR), eq. 3 to 7; closed form of P derived here.
    """

    card: ClassVar[Card] = Card(
        name="mla",
        source="Zhang, Yoon, Bansal, Yao 2024 (CVPR)",
        summary="Alternates over modalities with one shared head and an orthogonal-weight projection of its gradient.",
        fidelity="paper",
        cost="M steps that are 1F + 1B together, O(width²) a step",
        differences=(
            "the released code's test of a parameter's name never matches, so that it trains without P (projection = 'off'); here P is live",
            "the released code would update P with the modality's own mean before its step (before = True)",
            "the released code divides P by its Frobenius norm (normalise = True)",
            "the released code takes softmax and entropy over the batch, one weight a modality (blend = 'released')",
            "only the modality's encoder and the head are stepped, so that momentum and weight decay move nobody else",
        ),
    )
    why_classes: ClassVar[str] = "its fusion weighs modalities by the entropy of their predictions"

    def __init__(
        self,
        alpha: Strength = 0.1,
        *,
        alpha_end: Strength = 0.01,
        projection: Projection = "rls",
        space: Space = "gradient",
        blend: Blend = "entropy",
        normalise: bool = False,
        before: bool = False,
        order: Sequence[str] | None = None,
    ) -> None:
        for name, value in (("alpha", alpha), ("alpha_end", alpha_end)):
            if not isinstance(value, Tensor) and not value > 0:
                raise ArgumentError(f"mla: expected {name} > 0, found {value}")
        if (
            projection not in {"rls", "off"}
            or space not in {"gradient", "update"}
            or blend not in {"entropy", "mean", "released"}
        ):
            raise ArgumentError(
                f"mla: expected projection rls or off, space gradient or update, blend entropy, mean or released, found {projection!r}, {space!r}, {blend!r}"
            )
        self.alpha, self.alpha_end, self.order = alpha, alpha_end, order
        self.projection: Projection = projection
        self.space: Space = space
        self.blend: Blend = blend
        self.normalise, self.before = normalise, before
        # A copy of all parameters a pass, which only this space pays for.
        vars(self)["needs"] = frozenset({"update"} if space == "update" else ())

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.passes = tuple(self.order or sorted(model.modalities))
        if sorted(self.passes) != sorted(model.modalities):
            raise ArgumentError(f"mla: expected an order of {sorted(model.modalities)}, found {list(self.passes)}")
        like, width = next(model.parameters()), model.width(self.passes[0])
        eye = torch.eye(width, dtype=torch.float64, device=like.device)
        self.p = eye.expand(*model.batch_shape, width, width).clone()
        self.n = self.steps = 1

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        widths = {m: model.width(m) for m in model.modalities}
        if len(set(widths.values())) > 1:
            raise ArgumentError(
                f"mla: expected features of one width for the shared head, found {widths}; give the encoders equal widths or use unimodal, ume or mie"
            )
        dtype, width = next(model.parameters()).dtype, next(iter(widths.values()))
        return {HEAD: Dense(width, model.fusion.classes, draws=draws, name=HEAD, dtype=dtype)}

    def on_epoch(self, view: View) -> None:
        self.n = view.train.n

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        return [Phase(m, frozenset((m,)), move=(m, HEAD)) for m in self.passes]

    def output(self, step: Step) -> Tensor:
        return step.auxiliary[HEAD](step.features[step.phase.name])

    def losses(self, step: Step) -> dict[str, Tensor]:
        return {"total": own_loss(step, step.phase.name, required(step.logits))}

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        if self.before:
            self._absorb(step)
        if self.projection == "rls" and self.space == "gradient":
            g = gradients.tensors("total", HEAD)[0]
            g.copy_(self.p.to(g.dtype) @ g)
        return gradients.total()

    def on_update(self, step: Step, before: Tensor, flat: FlatParameters) -> None:
        if self.projection == "rls" and self.space == "update":
            new, old = flat.views(flat.data, HEAD)[0], flat.views(before, HEAD)[0]
            new.copy_(old + self.p.to(new.dtype) @ (new - old))

    def after_step(self, step: Step) -> None:
        if not self.before:
            self._absorb(step)

    def _absorb(self, step: Step) -> None:
        """Take the mean features of the modality heard into P."""
        if self.projection == "off":
            return
        if step.index == 0:
            self.steps = max(1, math.ceil(self.n / step.batch.n))
        m = step.phase.name
        z = step.features[m].detach().double()
        present = step.batch.present.get(m, torch.ones_like(z[..., 0], dtype=torch.bool)).unsqueeze(-1)
        mean = torch.where(present, z, 0).sum(-2) / present.sum(-2).clamp(min=1)
        share = min(1.0, step.index / self.steps)
        low, high = per_replicate(self.alpha, mean[..., 0]), per_replicate(self.alpha_end, mean[..., 0])
        self.p = recursive_projection(self.p, mean, low ** (1 - share) * high**share)
        if self.normalise:
            self.p = self.p / torch.linalg.matrix_norm(self.p)[..., None, None]

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        logits = {m: auxiliary[HEAD](z) for m, z in model.encode(batch.x).items()}
        weights: Mapping[str, Tensor] | None = None
        if self.blend == "entropy":
            weights = entropy_weights(logits)
        elif self.blend == "released":
            unsure = torch.stack([torch.special.entr(f.softmax(-2)).sum((-2, -1)) for f in logits.values()])
            like = next(iter(logits.values()))[..., 0]
            every = zip(logits, (-unsure).softmax(0), strict=True)
            weights = {m: w.unsqueeze(-1).expand_as(like) for m, w in every}
        return late_average(logits, batch.present, weights)

    def state_dict(self) -> dict[str, Tensor]:
        return {"p": self.p}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.p = state["p"].clone()


def recursive_projection(p: Tensor, h: Tensor, alpha: Strength) -> Tensor:
    r"""One step of recursive least squares.

    .. math:: P \leftarrow P - \frac{P h h^\top P}{\alpha + h^\top P h} = (P^{-1} + h h^\top/\alpha)^{-1}

    The result is symmetric exactly. As α → 0 from P = I it projects off the span of the h's.

    Shape: p [*batch, d, d], h [*batch, d], alpha a positive number or [*batch] to [*batch, d, d].

    Source: textbook (Sherman and Morrison); Zeng et al. 2019 for its use on gradients.

    >>> recursive_projection(torch.eye(2), torch.tensor([1.0, 0.0]), 1.0).tolist()
    [[0.5, 0.0], [0.0, 1.0]]
    """
    ph = (p @ h.unsqueeze(-1)).squeeze(-1)
    gain = (h * ph).sum(-1) + alpha
    new = p - ph.unsqueeze(-1) * ph.unsqueeze(-2) / gain[..., None, None]
    return (new + new.mT) / 2
