"""Gradients of the joint loss and of each modality's own: their norms by owner, and whether they pull an encoder apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import Contribution, declared_loss, default_contribution
from mmtheory.models import MultimodalModel

Loss = Callable[[Tensor, Tensor], Tensor]
LEAST = 1e-300


@dataclass(frozen=True)
class GradientReport:
    """What the gradients of one batch say.

    :param norms: owner to the norm of the joint loss's gradient in its parameters, [*batch].
    :param own_norms: modality to the norm, in its encoder, of the gradient of its own loss, [*batch].
    :param cosines: modality to the cosine, in its encoder, between the joint loss's gradient and its own loss's, [*batch]; negative
        is a conflict, 0 stands also where one of the two is zero or the encoder has nothing to train.
    """

    norms: dict[str, Tensor]
    own_norms: dict[str, Tensor]
    cosines: dict[str, Tensor]

    @property
    def conflicts(self) -> dict[str, Tensor]:
        """Where joint and own loss pull the encoder apart, [*batch] of bool."""
        return {m: c < 0 for m, c in self.cosines.items()}


def gradient_report(
    model: MultimodalModel, batch: Batch, *, contribution: Contribution | None = None, loss: Loss = declared_loss
) -> GradientReport:
    r"""Norms and conflicts of the gradients on this batch.

    .. math:: \cos_m = \frac{\langle \nabla_{\theta^m} L,\ \nabla_{\theta^m} L_m \rangle}{\|\cdot\|\,\|\cdot\|}, \qquad
        L = \tfrac1n \sum_i \ell(o_i, y_i), \quad L_m = \tfrac1n \sum_i \ell(f^m_i, y_i)

    :param contribution: where each modality's own logits f^m come from; None takes the fusion's shares, else zeroing out.
    :param loss: ℓ(logits, y) of each sample, [*batch, n]; by default cross-entropy with classes, half the squared error with numbers.
    :raises ArgumentError: a contribution that cannot serve this fusion.

    Source: derived here; theory §10 has the cosine's sign in population for a linear world.
    """
    provider = contribution or default_contribution(model)
    if reason := provider.refuse(model):
        raise ArgumentError(f"gradient_report: {reason}")
    features = model.encode(batch.x)
    joint = loss(model.fuse(features, None, batch.present), batch.y).mean(-1).sum()
    owners = {o: owned for o in model.owners if (owned := list(model.owned(o)))}
    lead, every = len(model.batch_shape), list(model.parameters())
    found = torch.autograd.grad(joint, every, retain_graph=True, allow_unused=True, materialize_grads=True)
    parts = {id(p): g for p, g in zip(every, found, strict=True)}
    norms = {o: _row([parts[id(p)] for p in owned], lead).norm(dim=-1) for o, owned in owners.items()}
    own_norms, cosines = dict[str, Tensor](), dict[str, Tensor]()
    for m, said in provider.logits(model, features).items():
        inside = list(model.encoders[m].parameters())
        if not inside:  # frozen, or there is nothing to train in it
            own_norms[m] = cosines[m] = torch.zeros(model.batch_shape, dtype=torch.float64, device=joint.device)
            norms.setdefault(m, own_norms[m])
            continue
        own = loss(said, batch.y).mean(-1).sum()
        pulls = torch.autograd.grad(own, inside, retain_graph=True, allow_unused=True, materialize_grads=True)
        row, whole = _row(pulls, lead), _row([parts[id(p)] for p in inside], lead)
        own_norms[m] = row.norm(dim=-1)
        cosines[m] = (row * whole).sum(-1) / (own_norms[m] * whole.norm(dim=-1)).clamp(min=LEAST)
    return GradientReport(norms, own_norms, cosines)


def _row(parts: Sequence[Tensor], lead: int) -> Tensor:
    """Gradients side by side, [*batch, P], float64."""
    return torch.cat([g.detach().double().flatten(lead) for g in parts], dim=-1)
