"""The dynamics of aligned, balanced fusion networks of two scalar modalities: three coupled equations and a stiff solver."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from mmtheory.errors import NotExactError
from mmtheory.stats import Interval

TOLERANCES = (1e-7, 1e-10)
Field = Callable[[float, np.ndarray], list[float]]


@lru_cache(maxsize=256)
def rank_one_passages(
    moments: tuple[float, ...], depth: int, fusion_layer: int, u0: float
) -> tuple[Interval, Interval]:
    r"""First time A's map reaches half of its fit alone, and B's half of its final value, at this u₀.

    .. math:: \dot a = a^{L_f-1}s^{L-L_f}G_a,\quad \dot b = b^{L_f-1}s^{L-L_f}G_b,\quad
              \dot s = s^{L-L_f-1}(a^{L_f}G_a+b^{L_f}G_b), \qquad G = \Sigma_y - W\Sigma

    Solved twice, at tolerances 1e-7 and 1e-10 in logarithmic coordinates; the error stated is ten times their difference.

    :raises NotExactError: an aligned start that one of the phases would have to leave through zero, where it stays for ever.
    """
    aa, ab, bb, ya, yb = moments
    determinant = aa * bb - ab * ab
    final = ((bb * ya - ab * yb) / determinant, (aa * yb - ab * ya) / determinant)
    signs = tuple(math.copysign(1.0, w) for w in final)
    inner = (aa, ab * signs[0] * signs[1], bb, ya * signs[0], yb * signs[1])
    if min(abs(w) for w in final) == 0 or inner[3] <= 0:
        raise NotExactError(
            f"rank-one dynamics: expected a phase that begins towards the final weights {final}, found {moments}"
        )
    marks = (inner[3] / aa / 2, abs(final[1]) / 2)
    coarse, fine = (_solved(inner, depth, fusion_layer, u0, marks, tolerance) for tolerance in TOLERANCES)
    return tuple(Interval.exact(y, 10 * abs(y - x) + 1e-9 * y) for x, y in zip(coarse, fine, strict=True))  # pyright: ignore[reportReturnType]


def _solved(
    inner: tuple[float, ...], depth: int, fusion_layer: int, u0: float, marks: tuple[float, float], tolerance: float
) -> tuple[float, float]:
    """Passage times by the implicit Runge–Kutta method Radau IIA."""
    from scipy.integrate import solve_ivp

    maps, field = _dynamics(inner, depth, fusion_layer)
    log, early = math.log(u0), fusion_layer == 1
    start = [u0 if early else log, u0 if early else log, log + math.log(2) / 2]

    def event(m: int) -> Callable[[float, np.ndarray], float]:
        def crossing(_t: float, state: np.ndarray) -> float:
            return math.log(max(maps(state)[m], 1e-300)) - math.log(marks[m])

        crossing.direction = 1.0  # pyright: ignore[reportFunctionMemberAccess]
        crossing.terminal = False  # pyright: ignore[reportFunctionMemberAccess]
        return crossing

    events = [event(0), event(1)]
    span, found = _horizon(inner, depth, u0), [math.inf, math.inf]
    t, state = 0.0, start
    for _ in range(60):
        run: Any = solve_ivp(
            field,
            (t, t + span),
            state,
            method="Radau",
            rtol=tolerance,
            atol=tolerance * (u0 if early else 1.0),
            events=events,
        )
        for m in (0, 1):
            if math.isinf(found[m]) and len(run.t_events[m]):
                found[m] = float(run.t_events[m][0])
        if max(found) < math.inf:
            return found[0], found[1]
        t, state = t + span, run.y[:, -1]
    raise NotExactError(f"rank-one dynamics: expected both modalities learnt by time {t:g}, found passages {found}")


def _horizon(inner: tuple[float, ...], depth: int, u0: float) -> float:
    """The time of A's phase in late fusion, in which the solver advances."""
    return 1 / inner[3] * (-math.log(u0) + 1 if depth == 2 else u0 ** (2 - depth) / (depth - 2) + 1)


def _dynamics(
    inner: tuple[float, ...], depth: int, fusion_layer: int
) -> tuple[Callable[[np.ndarray], tuple[float, float]], Field]:
    """The end-to-end maps, and the right side in (ln a, ln b, ln s) — a and b themselves for early fusion, where they may pass zero."""
    aa, ab, bb, ya, yb = inner
    shared, early = depth - fusion_layer, fusion_layer == 1

    def maps(state: np.ndarray) -> tuple[float, float]:
        top = math.exp(shared * state[2]) if shared else 1.0
        if early:
            return float(state[0]) * top, float(state[1]) * top
        return math.exp(fusion_layer * state[0]) * top, math.exp(fusion_layer * state[1]) * top

    def field(_t: float, state: np.ndarray) -> list[float]:
        wa, wb = maps(state)
        ga, gb = ya - wa * aa - wb * ab, yb - wa * ab - wb * bb
        top = math.exp(shared * state[2]) if shared else 1.0
        da = ga * top * (1.0 if early else math.exp((fusion_layer - 2) * state[0]))
        db = gb * top * (1.0 if early else math.exp((fusion_layer - 2) * state[1]))
        return [da, db, (wa * ga + wb * gb) * math.exp(-2 * state[2]) if shared else 0.0]

    return maps, field
