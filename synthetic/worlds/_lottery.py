"""The lottery of modality competition: of several modalities the one whose best neuron started furthest ahead is learnt first."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import special
from torch import Tensor

PANELS, NODES, END = 48, 20, 9.0


def head_start(strength: Tensor, shown: Tensor, q: float) -> Tensor:
    r"""What a modality's best initial weight is multiplied by in the lottery, :math:`(\pi_r s_r^q)^{1/(q-2)}`.

    A neuron with pre-activation slope u moves as :math:`\dot u = c\,\pi s^q u^{q-1}` and blows up at
    :math:`u_0^{2-q} / ((q-2)\,c\,\pi s^q)`; the largest product of head start and initial weight blows up first.

    Shape: all [modalities].

    :param strength: s_r, length of the feature; 0 is never learnt.
    :param shown: π_r, share of the samples that show it; 0 is never learnt.
    :param q: power of the activation, above 2.

    Source: Huang et al. 2022, the mechanism (known); with π derived here.

    >>> head_start(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 0.25]), 4.0).tolist()
    [4.0, 0.5]
    """
    return (shown * strength**q) ** (1 / (q - 2))


def win_probabilities(head_starts: Tensor, neurons: int) -> Tensor:
    r"""Probability that each modality is learnt first, when every neuron starts from a centred normal weight.

    .. math:: p_r = \int_0^\infty m\,\varphi(t)\,\Phi(t)^{m-1} \prod_{r'\ne r} \Phi\big(t\,a_r/a_{r'}\big)^m dt

    A neuron that starts below zero never moves, so with probability :math:`2^{-mM}` nothing is learnt: the probabilities sum to one minus
    that. (Integrated over all t, as the formula is also written, that share is dealt out among the modalities.)

    Shape: head_starts [modalities] -> [modalities].

    :param head_starts: a_r ≥ 0; a modality with 0 never wins.
    :param neurons: m, neurons a class and modality.

    Source: Huang et al. 2022 (recalled); the closed form derived here.

    >>> [round(p, 12) for p in win_probabilities(torch.tensor([1.0, 1.0], dtype=torch.float64), 1).tolist()]
    [0.375, 0.375]
    """
    edges = np.concatenate([[0.0], END * 2.0 ** np.arange(-PANELS, 1)])
    node, weight = np.polynomial.legendre.leggauss(NODES)
    half = np.diff(edges)[:, None] / 2
    t = (edges[:-1, None] + half * (1 + node)).ravel()
    measure = (half * weight).ravel() * np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    a = head_starts.double().cpu().numpy()
    found: list[float] = []
    for r, own in enumerate(a):
        others = np.delete(a, r)
        ratio = own / others[others > 0]
        rivals = np.prod(special.ndtr(t[:, None] * ratio) ** neurons, axis=1)
        # A rival that is never learnt has lost already, whatever its weights.
        found.append(float(measure @ (neurons * special.ndtr(t) ** (neurons - 1) * rivals)) if own > 0 else 0.0)
    return torch.tensor(found, dtype=torch.float64)
