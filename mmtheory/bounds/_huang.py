"""Huang et al.'s two theorems in the paper's constants, and the sharp forms that follow from the same premises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from mmtheory.errors import ArgumentError

Variant = Literal["paper", "sharp"]


@dataclass(frozen=True, slots=True)
class Slack:
    """What may be added to the left side, and the probability with which even that is exceeded."""

    value: float
    failure: float


def risk_difference_slack(
    complexity: float, m: int, delta: float, *, variant: Variant, lipschitz: float = 1.0, bound: float = 1.0
) -> Slack:
    r"""The slack in r(f̂_M) − r(f̂_N) ≤ γ_S(M, N) + slack, for ERMs trained on M and on N.

    .. math:: \text{paper: } 8L\,R_m(H\circ G_M) + \tfrac{4C}{\sqrt m} + 2C\sqrt{\tfrac{2\ln(2/\delta)}{m}},
        \qquad \text{sharp: } 4R_m(\ell\circ H\circ G_M) + C\sqrt{\tfrac{2\ln(2/\delta)}{m}}

    ``complexity`` is that of the prediction class for ``paper`` and that of the loss class for ``sharp``; the two are never mixed. The paper's
    form fails with probability at most δ/2, the sharp form with at most δ.

    :param lipschitz: L of the loss in its first argument (paper form only).
    :param bound: C, the loss's range.

    Source: Huang et al. 2021, Theorem 1 (paper, from a transcription); sharp form derived here.

    >>> round(risk_difference_slack(0.0, 100, 0.1, variant="sharp").value, 6)
    0.244775
    """
    _check(complexity, m, delta, lipschitz, bound)
    tail = math.sqrt(2 * math.log(2 / delta) / m)
    if variant == "paper":
        return Slack(8 * lipschitz * complexity + 4 * bound / math.sqrt(m) + 2 * bound * tail, delta / 2)
    return Slack(4 * complexity + bound * tail, delta)


def empirical_risk_difference_slack(complexity: float, m: int, delta: float, *, bound: float = 1.0) -> Slack:
    r"""The sharp slack with the empirical Rademacher complexity of the loss class on the sample itself.

    .. math:: 4\hat R_S(\ell\circ H\circ G_M) + 3C\sqrt{\tfrac{2\ln(4/\delta)}{m}}

    Source: derived here (theory T1″).
    """
    _check(complexity, m, delta, 1.0, bound)
    return Slack(4 * complexity + 3 * bound * math.sqrt(2 * math.log(4 / delta) / m), delta)


def quality_slack(
    complexity: float,
    m: int,
    delta: float,
    *,
    variant: Variant,
    full_complexity: float = 0.0,
    lipschitz: float = 1.0,
    bound: float = 1.0,
) -> Slack:
    r"""The slack in η(ĝ_M) ≤ L̂(f̂_M, S) + slack, L̂ being the centred empirical loss (which may be negative).

    .. math:: \text{paper: } 4L R_m(H\circ G_M) + 4L R_m(H\circ G) + 6C\sqrt{\tfrac{2\ln(2/\delta)}{m}},
        \qquad \text{sharp: } 2R_m(\ell\circ H\circ G_M) + C\sqrt{\tfrac{2\ln(2/\delta)}{m}}

    :param full_complexity: of H∘G with all modalities (paper form only; the sharp form does not need it, since h*∘g* is one fixed function).

    Source: Huang et al. 2021, Theorem 2 (paper, from a transcription); sharp form derived here.
    """
    _check(complexity, m, delta, lipschitz, bound)
    tail = math.sqrt(2 * math.log(2 / delta) / m)
    if variant == "paper":
        return Slack(4 * lipschitz * (complexity + full_complexity) + 6 * bound * tail, delta)
    return Slack(2 * complexity + bound * tail, delta)


def informative_size(slack: Slack, m: int, gamma: float) -> float:
    r"""The sample size from which a slack that falls as m^{-1/2} is below |γ|, so that the theorem can certify "M better than N".

    .. math:: m^* = (a/|\gamma|)^2, \qquad a = \text{slack}\cdot\sqrt m

    :raises ArgumentError: γ = 0, where no size is enough.

    Source: derived here (theory §1.7).

    >>> informative_size(Slack(0.5, 0.1), 100, -0.25)
    400.0
    """
    if gamma == 0:
        raise ArgumentError("informative_size: expected gamma other than 0, found 0: no sample size tells M from N")
    return (slack.value * math.sqrt(m) / abs(gamma)) ** 2


def _check(complexity: float, m: int, delta: float, lipschitz: float, bound: float) -> None:
    if complexity < 0 or m < 1 or not 0 < delta < 1 or lipschitz < 0 or bound < 0:
        raise ArgumentError(
            f"huang: expected complexity, lipschitz, bound >= 0, m >= 1, delta in (0, 1), found {complexity}, {lipschitz}, {bound}, {m}, {delta}"
        )
