"""A bound for predicting through a learnt connection between modalities."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mmtheory.errors import ArgumentError


@dataclass(frozen=True)
class ConnectionBound:
    """The risk bound, and the part of it that vanishes with the samples.

    :param value: what the deployed predictor's risk exceeds with probability at most δ.
    :param slack: value minus the two best-in-class terms.
    """

    value: float
    slack: float


def connection_bound(
    best_predictor: float,
    best_connection: float,
    *,
    predictor_complexity: float,
    connection_complexity: float,
    labelled: int,
    unlabelled: int,
    loss_range: float,
    connection_range: float,
    lipschitz: float,
    delta: float,
    scale: float = 1.0,
) -> ConnectionBound:
    r"""Risk of f̂(ĝ(x)), the predictor learnt on labelled (y, z), the connection on unlabelled (x, y), both by exact ERM.

    .. math:: r(\hat f\circ\hat g) \le \min_f r(f;y) + 2R_n + C\sqrt{\tfrac{2\ln(4/\delta)}{n}}
        + L\Big\{\min_g E\,d(y,g(x)) + 2R_m + C_g\sqrt{\tfrac{2\ln(4/\delta)}{m}}\Big\}

    with probability at least 1 − δ, where d(y, y′) = min(‖y − y′‖, C_g). The loss may be bounded by truncation and the data unbounded:
    two predictions differ in loss by at most min(L‖y − y′‖, C), so the truncated distance will do as soon as L·C_g ≥ C.

    ERM's excess is one supremum, at most 2R plus a deviation, and one deviation of the fixed best hypothesis: hence 2R, not 4R. The four
    deviations have δ/4 each.

    :param predictor_complexity: Rademacher complexity R_n of the loss class of the predictors (no factor, no absolute value).
    :param connection_complexity: R_m of the class of the maps (x, y) ↦ d(y, g(x)).
    :param lipschitz: L, of the loss in y through any predictor.
    :param scale: multiplies the slack; 1 is the theorem, less is a control that must be refuted.
    :raises ArgumentError: a number out of its domain, or L·C_g < C, where the truncated distance says nothing.

    Source: Lu 2023 has the shape (recalled); this statement, its constants and its truncation derived here.

    >>> bound = connection_bound(0.25, 0.0, predictor_complexity=0.0, connection_complexity=0.0, labelled=4, unlabelled=16,
    ...     loss_range=1.0, connection_range=1.0, lipschitz=1.0, delta=4 * math.exp(-2))
    >>> round(bound.value, 12), round(bound.slack, 12)
    (1.75, 1.5)
    """
    if not 0 < delta < 1:
        raise ArgumentError(f"connection_bound: expected delta in (0, 1), found {delta}")
    if min(labelled, unlabelled) < 1 or min(predictor_complexity, connection_complexity, loss_range, scale) < 0:
        raise ArgumentError(
            f"connection_bound: expected samples >= 1 and complexities and ranges >= 0, found {labelled}, {unlabelled}, "
            f"{predictor_complexity}, {connection_complexity}, {loss_range}, {scale}"
        )
    if lipschitz * connection_range < loss_range * (1 - 1e-12):
        raise ArgumentError(
            f"connection_bound: expected lipschitz * connection_range >= loss_range, found {lipschitz} * {connection_range} < {loss_range}"
        )
    tail = 2 * math.log(4 / delta)
    predictor = 2 * predictor_complexity + loss_range * math.sqrt(tail / labelled)
    connection = 2 * connection_complexity + connection_range * math.sqrt(tail / unlabelled)
    slack = scale * (predictor + lipschitz * connection)
    return ConnectionBound(best_predictor + lipschitz * best_connection + slack, slack)


def finite_class_complexity(size: int, samples: int, value_range: float) -> float:
    r"""Massart's bound on the Rademacher complexity of finitely many functions with values in an interval.

    .. math:: R_n \le \frac{\text{range}}{2}\sqrt{\frac{2\ln N}{n}}

    Half the range, not all of it: subtracting the interval's midpoint from every function leaves the complexity as it is.

    :param size: N functions; 1 gives 0.
    :raises ArgumentError: no function, no sample, or a negative range.

    Source: Massart 2000 (known); the centring derived here.

    >>> finite_class_complexity(1, 10, 1.0)
    0.0
    """
    if size < 1 or samples < 1 or not value_range >= 0:
        raise ArgumentError(
            f"finite_class_complexity: expected size, samples >= 1 and range >= 0, found {size}, {samples}, {value_range}"
        )
    return value_range / 2 * math.sqrt(2 * math.log(size) / samples)
