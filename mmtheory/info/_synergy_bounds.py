"""Synergy bounded without labelled pairs: from p(x1, y), p(x2, y) and p(x1, x2) alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._coupling import greatest_entropy, least_coupling_entropy, meet_entropy
from ._decomposition import Decomposition
from ._discrete import entropy, information, posterior
from ._pid import pid


@dataclass(frozen=True)
class SynergyBounds:
    r"""What the three pairwise marginals say about the synergy of a table that has them.

    Shape: each [*batch_shape]. Unit: nat.

    :param agreement: R − I(X₁;X₂) + min I_r(X₁;X₂|Y) <= S, the minimum over tables with these three marginals. XOR gives 0.
    :param disagreement: E‖p(y|x₁) − p(y|x₂)‖²/4 − (U₁+U₂)/2 <= S.
    :param coupling_upper: S <= H(X₁X₂) + H(Y) − (a lower bound of H(X₁X₂Y) by majorisation) − R − U₁ − U₂.
    :param trivial_upper: S <= min(H(X₁X₂), H(Y)) − R − U₁ − U₂.
    :param vertex_upper: the same with the least coupling entropy of (X₁X₂, Y) itself; None beyond 4 × 4.
    :param known: redundancy and unique information, which the two labelled marginals determine; its synergy is that of the coupling under
        which the sources are independent given y, not of the table.
    """

    agreement: Tensor
    disagreement: Tensor
    coupling_upper: Tensor
    trivial_upper: Tensor
    vertex_upper: Tensor | None
    known: Decomposition


def synergy_bounds(joint: Tensor) -> SynergyBounds:
    r"""Lower and upper bounds of the synergy, computed from the pairwise marginals of the table and from nothing else of it.

    The disagreement bound by Pinsker's inequality and the parallelogram:

    .. math:: 2S + U_1 + U_2 = I(Y;X_1|X_2) + I(Y;X_2|X_1) \ge E\|p_{12}-p_2\|_2^2 + E\|p_{12}-p_1\|_2^2 \ge \tfrac12 E\|p_1-p_2\|_2^2

    Shape: joint [*batch_shape, x1, x2, y] -> [*batch_shape]. Unit: nat.

    :raises ArgumentError: not a probability table.

    Source: Liang et al. 2024 for agreement, disagreement and coupling (code); the tight form and the constant ¼ derived here.

    >>> xor = torch.zeros(2, 2, 2, dtype=torch.float64)
    >>> xor[0, 0, 0] = xor[0, 1, 1] = xor[1, 0, 1] = xor[1, 1, 0] = 0.25
    >>> bounds = synergy_bounds(xor)
    >>> [round(float(v), 6) + 0.0 for v in (bounds.agreement, bounds.trivial_upper)]
    [0.0, 0.693147]
    """
    if joint.dim() < 3:
        raise ArgumentError(f"synergy_bounds: expected a table of at least 3 axes, found shape {tuple(joint.shape)}")
    sources, first, second = joint.sum(-1), joint.sum(-2), joint.sum(-3)
    label = first.sum(-2)
    share = torch.where(label > 0, 1 / torch.where(label > 0, label, 1.0), 0.0)
    known = pid(torch.einsum("...iy,...jy,...y->...ijy", first, second, share))
    total = known.redundancy + known.unique_first + known.unique_second + known.gap
    joint_entropies = [entropy(pair.flatten(-2)) for pair in (sources, first, second)]
    greatest = greatest_entropy(joint)
    # I(X1;X2|Y) = H(X1,Y) + H(X2,Y) − H(Y) − H(X1,X2,Y)
    agreement = known.redundancy - known.gap - information(sources)
    agreement = agreement + joint_entropies[1] + joint_entropies[2] - entropy(label) - greatest
    distance = (posterior(first)[..., :, None, :] - posterior(second)[..., None, :, :]).square().sum(-1)
    alpha = (sources * distance).sum((-2, -1))
    disagreement = alpha / 4 - (known.unique_first + known.unique_second) / 2 - known.gap
    marginals = label, second.sum(-1), first.sum(-1)
    least = torch.stack([
        meet_entropy(pair.flatten(-2), single)
        for pair, single in zip((sources, first, second), marginals, strict=True)
    ]).amax(0)  # fmt: skip
    slack = 2 * known.gap
    upper = joint_entropies[0] + entropy(label) - least - total + slack
    trivial = torch.minimum(joint_entropies[0], entropy(label)) - total + slack
    vertex = None
    if sources.shape[-2:].numel() <= 4 and label.shape[-1] <= 4:
        exact = least_coupling_entropy(sources.flatten(-2), label)
        vertex = joint_entropies[0] + entropy(label) - exact - total + slack
    return SynergyBounds(agreement, disagreement, upper, trivial, vertex, known)
