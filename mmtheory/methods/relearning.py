"""Diagnosing & Re-learning: encoders that fit their training data better than held-out data forget part of what they learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._measures import features_of, split_of
from ._method import Card, Method, Strength, View, per_replicate
from ._strengths import off, ranged


@final
class Relearning(Method):
    r"""Soft re-initialisation of each encoder by the gap between its training and validation separability.

    .. math:: \theta_m \leftarrow \alpha_m \theta_m^{init} + (1 - \alpha_m)\theta_m, \qquad \alpha_m = \tanh(\lambda\,|P^m_{train} - P^m_{val}|)

    P is the purity of as many clusters as classes among the encoder's features. What is well learnt overfits and is set back far, what is
    under-learnt hardly. Momentum goes on as it was.

    :param lam: λ; 0 is joint training bit for bit.
    :param every: epochs between two diagnoses.
    :param times: diagnoses in all.
    :param rounds: iterations of k-means.

    Source: Wei, Li, Feng, Hu 2024 (ECCV; paper and public code).
    """

    card: ClassVar[Card] = Card(
        name="relearning",
        source="Wei, Li, Feng, Hu 2024 (ECCV)",
        summary="Pulls encoders back to their initialisation by how much better they separate training than held-out data.",
        fidelity="paper",
        cost="1F + 1B, every 20 epochs one forward of both splits and k-means",
        neutral="lam = 0",
        differences=(
            "k-means of its own: seeded by D² sampling from the replicate's stream, a fixed number of iterations, all replicates at once",
            "encoders alone are set back; a modality's share of the fusion stays",
        ),
    )
    needs: ClassVar[frozenset[str]] = frozenset({"validation"})

    def __init__(self, lam: Strength = 3.0, *, every: int = 20, times: int = 3, rounds: int = 20) -> None:
        if every < 1 or times < 0 or rounds < 0:
            raise ArgumentError(
                f"relearning: expected every >= 1, times >= 0 and rounds >= 0, found {every}, {times} and {rounds}"
            )
        self.lam, self.every, self.times, self.rounds = ranged("relearning: lam", lam), every, times, rounds

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.start = {k: p.detach().clone() for k, p in model.encoders.named_parameters()}

    def on_epoch(self, view: View) -> None:
        number, rest = divmod(view.epoch, self.every)
        if off(self.lam) or rest or not 1 <= number <= self.times:
            return
        with torch.no_grad():
            for m, gap in self.gaps(view).items():
                alpha = torch.tanh(per_replicate(self.lam, gap) * gap)
                for k, p in view.model.encoders.named_parameters():
                    if k.partition(".")[0] == m:
                        back = alpha.reshape(*alpha.shape, *(1,) * (p.ndim - alpha.ndim)).to(p.dtype)
                        p.copy_(back * self.start[k] + (1 - back) * p)

    def gaps(self, view: View) -> dict[str, Tensor]:
        """How much purer each modality's clusters are in one split than in the other, [*batch]."""
        classes = view.model.fusion.classes
        chances = {m: view.draws.uniform(f"centres {m}", classes) for m in view.model.modalities}

        def purities(split: Batch) -> dict[str, Tensor]:
            features = features_of(view.model, split)
            clusters = {m: kmeans(z, classes, chances[m], rounds=self.rounds) for m, z in features.items()}
            return {m: purity(c, split.y, classes) for m, c in clusters.items()}

        train, held = purities(view.train), purities(split_of(view))
        return {m: (train[m] - held[m]).abs() for m in train}

    def state_dict(self) -> dict[str, Tensor]:
        return {f"start {k}": v for k, v in self.start.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.start = {k: state[f"start {k}"].clone() for k in self.start}

    def neutral(self) -> Method:
        return Relearning(0.0)


def kmeans(z: Tensor, k: int, chances: Tensor, *, rounds: int = 20) -> Tensor:
    """The cluster of each sample, [*batch, n] in {0, …, k − 1}: Lloyd's iterations from centres drawn with chance ∝ squared distance.

    A cluster that loses its samples keeps its centre.

    Shape: z [*batch, n, d], chances [*batch, k] uniform on [0, 1).

    >>> z = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    >>> a = kmeans(z, 2, torch.tensor([0.0, 0.5])); bool(a[0] == a[1]), bool(a[1] != a[2]), bool(a[2] == a[3])
    (True, True, True)
    """
    z = z.double()
    far = torch.ones_like(z[..., 0])
    centres: list[Tensor] = []
    for u in chances.unbind(-1):
        reach = far.cumsum(-1)
        pick = (reach <= (u * reach[..., -1]).unsqueeze(-1)).sum(-1).clamp(max=z.shape[-2] - 1)
        index = pick[..., None, None].expand(*pick.shape, 1, z.shape[-1])
        centres.append(z.gather(-2, index).squeeze(-2))
        near = ((z - centres[-1].unsqueeze(-2)) ** 2).sum(-1)
        far = near if len(centres) == 1 else torch.minimum(far, near)
    centre = torch.stack(centres, -2)
    for _ in range(rounds):
        member = torch.nn.functional.one_hot(_nearest(z, centre), k).to(z.dtype)
        size = member.sum(-2).unsqueeze(-1)
        centre = torch.where(size > 0, member.mT @ z / size.clamp(min=1), centre)
    return _nearest(z, centre)


def _nearest(z: Tensor, centre: Tensor) -> Tensor:
    """The index of the nearest centre: ‖c‖² − 2⟨z, c⟩ is smallest."""
    return ((centre**2).sum(-1).unsqueeze(-2) - 2 * z @ centre.mT).argmin(-1)


def purity(clusters: Tensor, y: Tensor, classes: int) -> Tensor:
    """Share of samples that belong to the most frequent class of their cluster, [*batch]; at least that of the largest class.

    >>> float(purity(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1]), 2))
    0.75
    """
    cell = torch.nn.functional.one_hot(clusters, classes).double().mT @ torch.nn.functional.one_hot(y, classes).double()
    return cell.amax(-1).sum(-1) / y.shape[-1]
