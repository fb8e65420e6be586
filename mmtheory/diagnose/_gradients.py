"""Gradients of the joint loss and of each modality's own: their norms by owner, and whether they pull an encoder apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import Contribution, cross_entropy, default_contribution
from mmtheory.models import SHARED, MultimodalModel

Loss = Callable[[Tensor, Tensor], Tensor]
LEAST = 1e-300


@dataclass(frozen=True)
class GradientReport:
    """What the gradients of one batch say.

    :param norms: owner to the norm of the joint loss's gradient in its parameters, [*batch].
    :param own_norms: modality to the norm, in its encoder, of the gradient of its own loss, [*batch].
    :param cosines: modality to the cosine, in its encoder, between the joint loss's gradient and its own loss's, [*batch]; negative
        is a conflict, 0 stands also where one of the two is zero.
    """

    norms: dict[str, Tensor]
    own_norms: dict[str, Tensor]
    cosines: dict[str, Tensor]

    @property
    def conflicts(self) -> dict[str, Tensor]:
        """Where joint and own loss pull the encoder apart, [*batch] of bool."""
        return {m: c < 0 for m, c in self.cosines.items()}


def gradient_report(
    model: MultimodalModel, batch: Batch, *, contribution: Contribution | None = None, loss: Loss = cross_entropy
) -> GradientReport:
    r"""Norms and conflicts of the gradients on this batch.

    .. math:: \cos_m = \frac{\langle \nabla_{\theta^m} L,\ \nabla_{\theta^m} L_m \rangle}{\|\cdot\|\,\|\cdot\|}, \qquad
        L = \tfrac1n \sum_i \ell(o_i, y_i), \quad L_m = \tfrac1n \sum_i \ell(f^m_i, y_i)

    :param contribution: where each modality's own logits f^m come from; None takes the fusion's shares, else zeroing out.
    :param loss: ℓ(logits, y) of each sample, [*batch, n].
    :raises ArgumentError: a contribution that cannot serve this fusion.

    Source: derived here; theory §10 has the cosine's sign in population for a linear world.
    """
    provider = contribution or default_contribution(model)
    if reason := provider.refuse(model):
        raise ArgumentError(f"gradient_report: {reason}")
    features = model.encode(batch.x)
    joint = loss(model.fuse(features, None, batch.present), batch.y).mean(-1).sum()
    owners = {o: list(model.owned(o)) for o in model.owners if o != SHARED or any(model.owned(SHARED))}
    flat = [p for ps in owners.values() for p in ps]
    found = iter(torch.autograd.grad(joint, flat, retain_graph=True, allow_unused=True, materialize_grads=True))
    lead = len(model.batch_shape)
    joint_rows = {o: _row([next(found) for _ in ps], lead) for o, ps in owners.items()}
    own_norms, cosines = dict[str, Tensor](), dict[str, Tensor]()
    for m, said in provider.logits(model, features).items():
        own = loss(said, batch.y).mean(-1).sum()
        parts = torch.autograd.grad(own, owners[m], retain_graph=True, allow_unused=True, materialize_grads=True)
        row = _row(list(parts), lead)
        own_norms[m] = row.norm(dim=-1)
        size = own_norms[m] * joint_rows[m].norm(dim=-1)
        cosines[m] = (row * joint_rows[m]).sum(-1) / size.clamp(min=LEAST)
    return GradientReport({o: g.norm(dim=-1) for o, g in joint_rows.items()}, own_norms, cosines)


def _row(parts: list[Tensor], lead: int) -> Tensor:
    """Gradients side by side, [*batch, P], float64."""
    return torch.cat([g.detach().double().flatten(lead) for g in parts], dim=-1)
