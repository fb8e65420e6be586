"""A partial information decomposition of two sources about one target, and the laws whose decomposition has a closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError, InfeasibleError

from ._gaussian import correlated_strength, snr_information
from ._lda import lda_information, lda_separation


@dataclass(frozen=True)
class Decomposition:
    r"""The four atoms of Bertschinger et al.'s (BROJA) decomposition.

    .. math:: R + U_1 = I(X_1;Y), \quad R + U_2 = I(X_2;Y), \quad R + U_1 + U_2 + S = I(X_1X_2;Y)

    Every atom is within ``gap`` of the truth, and the three sums hold to rounding whatever the gap.

    Shape: each [*batch_shape]. Unit: nat.

    :param gap: certified bound on the error of every atom; 0 for a closed form.
    :param coupling: the optimal q(x1, x2, y) where a solver found one, feasible up to rounding.

    >>> Decomposition.of(0.5, 0.25, 1.0).synergy.item()
    0.5
    """

    redundancy: Tensor
    unique_first: Tensor
    unique_second: Tensor
    synergy: Tensor
    gap: Tensor
    coupling: Tensor | None = None

    @classmethod
    def of(cls, first: Tensor | float, second: Tensor | float, both: Tensor | float) -> Decomposition:
        """The closed form when one source is a garbling of the other: see :func:`mmi_decomposition`."""
        return mmi_decomposition(first, second, both)

    def __add__(self, other: Decomposition) -> Decomposition:
        """The decomposition of two independent subsystems side by side: every atom adds, and so do the gaps."""
        return Decomposition(
            self.redundancy + other.redundancy,
            self.unique_first + other.unique_first,
            self.unique_second + other.unique_second,
            self.synergy + other.synergy,
            self.gap + other.gap,
        )

    def atoms(self) -> Tensor:
        """Redundancy, the two unique parts and synergy, stacked on a last axis of four."""
        return torch.stack([self.redundancy, self.unique_first, self.unique_second, self.synergy], -1)

    def swapped(self) -> Decomposition:
        """The same with the two sources exchanged."""
        turned = None if self.coupling is None else self.coupling.transpose(-3, -2)
        return Decomposition(self.redundancy, self.unique_second, self.unique_first, self.synergy, self.gap, turned)


def mmi_decomposition(i1: Tensor | float, i2: Tensor | float, i12: Tensor | float) -> Decomposition:
    r"""The decomposition when, given y, one source is a garbling of the other (Blackwell order).

    .. math:: R = \min(I_1, I_2), \quad U_m = I_m - R, \quad S = I_{12} - \max(I_1, I_2)

    The caller vouches for the Blackwell order: a scalar Gaussian target, two Gaussian classes, two symmetric channels. Elsewhere these
    numbers are only what Barrett calls minimum mutual information, not the decomposition.

    Shape: broadcast of the three. Unit: nat.

    :raises ArgumentError: a negative information, or less of it in both than in one.

    Source: Barrett 2015 for Gaussians (known); the Blackwell argument derived here.

    >>> mmi_decomposition(2.0, 1.0, 2.5).atoms().tolist()
    [1.0, 1.0, 0.0, 0.5]
    """
    one, two, both = torch.broadcast_tensors(*(torch.as_tensor(v, dtype=torch.float64) for v in (i1, i2, i12)))
    most = torch.maximum(one, two)
    slack = 1e-12 * (1 + both.abs())
    if bool((torch.minimum(one, two) < -slack).any() | (both < most - slack).any()):
        raise ArgumentError(
            f"mmi_decomposition: expected 0 <= i1, i2 <= i12, found {float(one.min())}, {float(two.min())}, {float(both.min())}"
        )
    least = torch.minimum(one, two)
    return Decomposition(least, one - least, two - least, (both - most).clamp(min=0), torch.zeros_like(both))


def gaussian_decomposition(snr_first: Tensor | float, snr_second: Tensor | float, rho: Tensor | float) -> Decomposition:
    r"""Two noisy views of a scalar Gaussian target, their noises correlated by ρ.

    R follows from the smaller snr, U from the larger, S from ρ alone: three independent dials. S = 0 exactly at
    :math:`\rho = \sqrt{\min/\max}`, so independent noises carry synergy (denoising), never none.

    Shape: broadcast of the three. Unit: nat.

    :param rho: noise correlation; 0 is conditional independence given the target.
    :raises ArgumentError: a negative snr, or a correlation outside (−1, 1).

    Source: Barrett 2015 (known); the ρ dial derived here.

    >>> gaussian_decomposition(3.0, 1.0, 3.0**-0.5).synergy.item() < 1e-15
    True
    """
    both = snr_information(correlated_strength(snr_first, snr_second, rho))
    return mmi_decomposition(snr_information(snr_first), snr_information(snr_second), both)


def lda_decomposition(d2_first: Tensor | float, d2_second: Tensor | float, rho: Tensor | float) -> Decomposition:
    """Two views of a balanced binary class, Gaussian given the class, their noises correlated by ρ.

    Shape: broadcast of the three. Unit: nat.

    :param rho: noise correlation along the two discriminants; 0 is conditional independence given the class.
    :raises ArgumentError: a negative squared separation, or a correlation outside (−1, 1).

    Source: derived here (the discriminant of the weaker view is a garbling of the stronger's).

    >>> round(lda_decomposition(0.64, 0.36, 0.0).synergy.item() / math.log(2), 6)
    0.133244
    """
    both = lda_information(correlated_strength(d2_first, d2_second, rho))
    return mmi_decomposition(lda_information(d2_first), lda_information(d2_second), both)


def bsc_decomposition(flip_first: float, flip_second: float) -> Decomposition:
    r"""Two binary symmetric channels, independent given a fair bit y, with these flip probabilities.

    .. math:: R = \ln 2 - h(\max), \quad U = |h(\epsilon_1) - h(\epsilon_2)|, \quad S = I_{12} - \ln 2 + h(\min)

    Unit: nat.

    :param flip_first: flip probability; 0 copies the bit, ½ forgets it, beyond ½ it copies the negation.
    :raises ArgumentError: a probability outside [0, 1].

    Source: derived here (the noisier channel is a garbling of the cleaner).

    >>> round(bsc_decomposition(0.0, 0.5).unique_first.item() / math.log(2), 12)
    1.0
    """
    if not (0 <= flip_first <= 1 and 0 <= flip_second <= 1):
        raise ArgumentError(f"bsc_decomposition: expected probabilities, found {flip_first} and {flip_second}")
    agree = flip_first * flip_second, (1 - flip_first) * (1 - flip_second)
    differ = flip_first * (1 - flip_second), (1 - flip_first) * flip_second
    left = sum(sum(pair) * _bit(pair[0] / sum(pair)) for pair in (agree, differ) if sum(pair) > 0)
    own = math.log(2) - _bit(flip_first), math.log(2) - _bit(flip_second)
    return mmi_decomposition(own[0], own[1], math.log(2) - left)


def design_correlated(
    redundancy: float, unique: float, synergy: float, *, law: Literal["gaussian", "lda"], side: Literal["+", "-"] = "-"
) -> tuple[float, float, float]:
    r"""(weaker strength, stronger strength, ρ) of the two-view law that has this decomposition: inverse design.

    .. math:: \rho = \frac{\sqrt{s_1 s_2} \pm \sqrt{(s_{12}-s_1)(s_{12}-s_2)}}{s_{12}}

    The strength is snr for ``gaussian`` and D² for ``lda``. Two correlations do it when S > 0 and U > 0, one on either side of
    :math:`\sqrt{\min/\max}`; one when U = 0. A closed form: the equation for ρ is quadratic and its discriminant factors.

    Unit: nat.

    :param redundancy: R; 0 makes the weaker modality blind on its own.
    :param unique: U of the stronger modality; 0 makes both equally strong.
    :param synergy: S; 0 puts ρ at the ratio of the separations.
    :param side: the larger (``+``) or the smaller (``-``) correlation of the two.
    :raises InfeasibleError: a negative target, for two classes a sum not below ln 2, or side ``+`` with U = 0.

    Source: derived here.

    >>> low, high, rho = design_correlated(0.2, 0.3, 0.1, law="gaussian")
    >>> [round(v, 12) for v in gaussian_decomposition(high, low, rho).atoms().tolist()]
    [0.2, 0.3, 0.0, 0.1]
    """
    total = redundancy + unique + synergy
    if min(redundancy, unique, synergy) < 0 or (law == "lda" and total >= math.log(2)):
        limit = "ln 2" if law == "lda" else "infinity"
        raise InfeasibleError(
            f"design_correlated: expected R, U, S >= 0 with a sum below {limit}, found {redundancy}, {unique}, {synergy}"
        )
    invert = lda_separation if law == "lda" else _snr
    weak, strong, both = (float(invert(i)) for i in (redundancy, redundancy + unique, total))
    if both == 0:
        return 0.0, 0.0, 0.0
    root = math.sqrt(max(both - weak, 0.0) * max(both - strong, 0.0)) * (1 if side == "+" else -1)
    rho = (math.sqrt(weak * strong) + root) / both
    if not abs(rho) < 1:
        raise InfeasibleError(
            f"design_correlated: expected |rho| < 1, found {rho}: equally strong modalities have synergy on side '-' alone"
        )
    return weak, strong, rho


def _snr(information: float) -> float:
    """The signal-to-noise ratio that carries this information about a scalar Gaussian."""
    return math.expm1(2 * information)


def _bit(p: float) -> float:
    """Binary entropy, nat."""
    return -sum(v * math.log(v) for v in (p, 1 - p) if v > 0)
