"""MIE: train one modality at a time to a flat place, and damp the directions that are sharp for the one before."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import FlatParameters, MLPEncoder, MultimodalModel
from mmtheory.rng import Draws

from ._heads import head_of
from ._inputs import linear_weights, mean_inputs
from ._late import late_average, own_loss
from ._method import Card, Gradients, Method, Phase, Step, Strength, View, per_replicate, required
from ._strengths import off, ranged

Norm = Literal["global", "tensor"]
CHUNK = 64


class MIE(Method):
    r"""Modality-wise stages with sharpness-aware smoothing forward and eigen-damped gradients backward (IGM).

    .. math:: g = (1-\gamma)\nabla L(w) + \gamma \nabla L\Big(w + \rho \frac{\nabla L(w)}{\lVert\nabla L(w)\rVert}\Big), \qquad
        \nabla_{W_\ell} \leftarrow P_\ell \nabla_{W_\ell}, \qquad P_\ell = V e^{-T(\Lambda - \lambda_{\min})/(\lambda_{\max} - \lambda_{\min})} V^\top

    Each stage trains the encoder and head of one modality alone. C_ℓ = V Λ Vᵀ is the uncentred covariance of mean inputs that layer ℓ of
    the modality before has over the training set. Layers are matched from the output backwards and need equal shapes. Eigenvalues of P
    lie in [e^{−T}, 1]: directions are slowed, none is lost. Prediction averages the modalities' probabilities.

    No fused loss exists: what only several modalities together say cannot be learnt. It has heads of its own; the model's fusion stays as
    it was initialised.

    :param rho: radius ρ of the perturbation, at least 0; 0 (or gamma = 0) is plain gradients and half the cost.
    :param gamma: γ in [0, 1], share of the perturbed gradient; 1 is pure sharpness-aware minimisation.
    :param temperature: T, at least 0; 0 does not damp. With rho = 0 what remains is alternating unimodal training.
    :param norm: one radius for all parameters (``global``), or one for every tensor (released code).
    :param stage: epochs a stage, at least 1.
    :param hidden: hidden widths of each modality's head; () for a linear one.
    :param order: names in the order of the stages; None for alphabetical, so that no position decides.

    Source: Jiang, Chi, Yang 2024 (arXiv 2407.04587) and the released code of IGM (IJCAI 2025); the paper's text was not available.
    """

    card: ClassVar[Card] = Card(
        name="mie",
        source="Jiang, Chi, Yang 2024 (arXiv 2407.04587); as IGM, IJCAI 2025",
        summary="Trains modalities in stages with sharpness-aware steps and gradients damped along the previous one's features.",
        fidelity="reconstruction",
        cost="2F + 2B of one modality; a forward of the previous one and one eigendecomposition a layer each stage",
        differences=(
            "the released radius of 1e-10 is below float32 resolution, its perturbed loss keeps unperturbed features and is never undone; "
            "here the perturbation is real, and restored bit for bit",
            "the released norm is one a tensor (norm = 'tensor'); the default is one for all parameters",
            "a flat spectrum divides by zero in the released code; here P is the identity",
            "stages of equal length in turn; the released code lists lengths a data set and returns to the checkpoint best on test data",
            "linear heads by default (hidden = (256, 64) for the released depth); no mixup",
            "P acts on dense layers; the released code computes convolutional ones too and never applies them",
        ),
    )

    def __init__(
        self,
        rho: Strength = 0.05,
        *,
        gamma: Strength = 0.3,
        temperature: Strength = 0.4,
        norm: Norm = "global",
        stage: int = 1,
        hidden: Sequence[int] = (),
        order: Sequence[str] | None = None,
    ) -> None:
        if stage < 1 or norm not in {"global", "tensor"}:
            raise ArgumentError(f"mie: expected stage >= 1 and norm global or tensor, found {stage} and {norm!r}")
        self.rho, self.gamma = ranged("mie: rho", rho), ranged("mie: gamma", gamma, 0, 1)
        self.temperature, self.stage, self.hidden, self.order = (
            ranged("mie: temperature", temperature),
            stage,
            tuple(hidden),
            order,
        )
        self.norm: Norm = norm

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.turns = tuple(self.order or sorted(model.modalities))
        if sorted(self.turns) != sorted(model.modalities):
            raise ArgumentError(f"mie: expected an order of {sorted(model.modalities)}, found {list(self.turns)}")
        self.dampers: dict[int, Tensor] = {}
        self.shapes: dict[int, torch.Size] = {}
        self.ascent: tuple[FlatParameters, Tensor] | None = None

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        dtype, classes = next(model.parameters()).dtype, model.fusion.classes
        widths = {m: (model.width(m), *self.hidden, classes) for m in model.modalities}
        return {
            head_of(m): MLPEncoder(w, draws=draws, name=head_of(m), activate=False, dtype=dtype)
            for m, w in widths.items()
        }

    @property
    def smooths(self) -> bool:
        """Whether there is a perturbed pass."""
        return not (off(self.rho) or off(self.gamma))

    def heard(self, epoch: int) -> str:
        """The modality that this epoch trains."""
        return self.turns[epoch // self.stage % len(self.turns)]

    @torch.no_grad()
    def on_epoch(self, view: View) -> None:
        if view.epoch % self.stage or view.epoch < self.stage or off(self.temperature):
            return
        before = self.heard(view.epoch - 1)
        chain = (view.model.encoders[before], view.auxiliary[head_of(before)])
        found = mean_inputs(chain, view.train.x[before], view.train.present.get(before), size=CHUNK)
        self.dampers = {
            -k: damper(means.mT @ means, self.temperature) for k, (_, means) in enumerate(reversed(found), start=1)
        }
        self.shapes = {-k: weight.shape for k, (weight, _) in enumerate(reversed(found), start=1)}

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        m = self.heard(epoch)
        step = Phase("descent", frozenset((m,)), move=(m, head_of(m)))
        return (Phase("ascent", frozenset((m,)), move=()), step) if self.smooths else (step,)

    def around(self, step: Step) -> AbstractContextManager[None]:
        if step.phase.name == "ascent" or self.ascent is None:
            return nullcontext()
        return perturbed(*self.ascent, self._moves(step), self.rho, self.norm)

    def _moves(self, step: Step) -> tuple[str, str]:
        m = self.heard(step.epoch)
        return m, head_of(m)

    def output(self, step: Step) -> Tensor:
        m, head = self._moves(step)
        return step.auxiliary[head](step.features[m])

    def losses(self, step: Step) -> dict[str, Tensor]:
        return {"total": own_loss(step, self._moves(step)[0], required(step.logits))}

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        total = gradients.total()
        if step.phase.name == "ascent":
            self.ascent = gradients.flat, total
            return total
        if self.ascent is not None:
            gamma = per_replicate(self.gamma, total)
            total = total.mul_(gamma).add_((1 - gamma) * self.ascent[1])
            self.ascent = None
        self._damp(step, gradients.flat, total)
        return total

    def _damp(self, step: Step, flat: FlatParameters, total: Tensor) -> None:
        """∇W ← P ∇W in every layer that has a counterpart in the previous modality."""
        if not self.dampers:
            return
        m, head = self._moves(step)
        views = {id(p): g for p, g in zip(flat.parameters, flat.views(total), strict=True)}
        weights = linear_weights((step.model.encoders[m], step.auxiliary[head]))
        for k, weight in enumerate(reversed(weights), start=1):
            if -k in self.dampers and self.shapes[-k] == weight.shape:
                g = views[id(weight)]
                g.copy_(self.dampers[-k].to(g.dtype) @ g)

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        said = {m: auxiliary[head_of(m)](z).softmax(-1) for m, z in model.encode(batch.x).items()}
        mean = late_average(said, batch.present)
        return mean.clamp(min=torch.finfo(mean.dtype).tiny).log()

    def state_dict(self) -> dict[str, Tensor]:
        kept = {f"damper {k}": p for k, p in self.dampers.items()}
        return kept | {f"shape {k}": torch.tensor(self.shapes[k]) for k in self.dampers}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        keys = [int(name.removeprefix("damper ")) for name in state if name.startswith("damper ")]
        self.dampers = {k: state[f"damper {k}"].clone() for k in keys}
        self.shapes = {k: torch.Size(state[f"shape {k}"].tolist()) for k in keys}


def damper(covariance: Tensor, temperature: Strength) -> Tensor:
    r"""P = V diag(exp(−T(λ_j − λ_min)/(λ_max − λ_min))) Vᵀ: 1 on the flattest direction of a covariance, e^{−T} on the steepest.

    It does not change with the covariance's scale; a flat spectrum gives the identity.

    Shape: [*batch, d, d], symmetric, to the same. Source: released code of IGM; the guard is ours.

    >>> damper(torch.diag(torch.tensor([2.0, 0.0])), 0.693147180559945).round(decimals=4).tolist()
    [[0.5, 0.0], [0.0, 1.0]]
    """
    values, vectors = torch.linalg.eigh(torch.nan_to_num(covariance.double()))
    low, high = values[..., :1], values[..., -1:]
    wide = high - low > 1e-12 * high.abs()
    slope = torch.where(wide, (values - low) / torch.where(wide, high - low, 1), 0)
    factors = torch.exp(-per_replicate(temperature, slope) * slope)
    return (vectors * factors.unsqueeze(-2)) @ vectors.mT


@contextmanager
def perturbed(
    flat: FlatParameters, gradient: Tensor, owners: Sequence[str], rho: Strength, norm: Norm
) -> Generator[None]:
    """Parameters of these owners moved by ρ along a gradient of norm one (0 stays 0) inside, as they were outside, bit for bit."""
    spans = [flat.columns[o] for o in owners]
    if norm == "tensor":
        spans = [s for s in flat.spans if any(o.start <= s.start < o.stop for o in spans)]
    lengths = [torch.linalg.vector_norm(gradient[..., s], dim=-1, keepdim=True) for s in spans]
    whole = torch.linalg.vector_norm(torch.cat(lengths, dim=-1), dim=-1, keepdim=True)
    saved = [flat.data[..., s].clone() for s in spans]
    try:
        with torch.no_grad():
            for s, own in zip(spans, lengths, strict=True):
                length = own if norm == "tensor" else whole
                step = per_replicate(rho, length) / torch.where(length > 0, length, 1)
                flat.data[..., s].addcmul_(gradient[..., s], step)
        yield
    finally:
        for s, before in zip(spans, saved, strict=True):
            flat.data[..., s].copy_(before)
