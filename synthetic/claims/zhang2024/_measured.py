"""What the claims of this folder measure: phase ratios and plateaus of simulated fusion networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mmtheory.rng import Stream
from mmtheory.stats import Interval, student
from synthetic.worlds.fusion_flow import FusionNet, Passage, flow
from synthetic.worlds.phase_laws import Moments, scalar_moments

Reading = Callable[[Moments], Tensor]


def plateaus(moments: Moments) -> Tensor:
    """Half of A's fit alone and half of B's final value, along the final directions: the marks of a first passage."""
    final = moments.together().split(moments.dims, dim=-1)
    unit = [f / f.norm(dim=-1, keepdim=True) for f in final]
    return torch.stack([(moments.alone(0) * unit[0]).sum(-1) / 2, final[1].norm(dim=-1) / 2], -1)


def wide(moments: Moments) -> Moments:
    """With an axis for replicate networks behind the populations."""
    return Moments(moments.covariance.unsqueeze(-3), moments.cross.unsqueeze(-2), moments.dims)


def random_passages(net: FusionNet, moments: Moments, sizes: tuple[float, ...], stream: Stream, n: int) -> Passage:
    """First passages [sizes, *populations, n, 2] of n random networks, started in proportion at each u₀ of ``sizes``."""
    unit = net.random(1.0, stream.draws(range(n)))
    scale = torch.tensor(sizes, dtype=torch.float64).reshape(-1, *(1,) * (len(moments.batch_shape) + 2))
    start = (scale * unit).expand(len(sizes), *moments.batch_shape, n, -1)
    return flow(net, wide(moments), start, marks=plateaus(moments).unsqueeze(-2), tolerance=1e-5)


def ratio_of_delays(net: FusionNet, moments: Moments, stream: Stream, n: int) -> Tensor:
    """(t_B − t_B′)/(t_A − t_A′) between u₀ = 1e-10 and 1e-5 from proportional starts, [*populations, n].

    In two layers t = c₁ ln(1/u₀) + c₀ + o(1); the difference is free of c₀, which holds the random directions, so what remains is the
    limiting ratio with an error that vanishes like a power of u₀.
    """
    times = random_passages(net, moments, (1e-10, 1e-5), stream, n).times
    delay = times[0] - times[1]
    return delay[..., 1] / delay[..., 0]


def each(cases: Mapping[str, tuple[float, float]]) -> Moments:
    """The scalar populations (κ, ρ) of the cases, stacked."""
    kappa, rho = torch.tensor(list(cases.values()), dtype=torch.float64).T
    return scalar_moments(kappa, rho)


def students(values: Tensor, cases: Mapping[str, object], alpha: float) -> dict[str, Interval]:
    """Student's interval of each case's row."""
    return {case: student(row, alpha=alpha / len(cases)) for case, row in zip(cases, values, strict=True)}


def logs(values: Tensor, cases: Mapping[str, object]) -> dict[str, Interval]:
    """The logarithm of an exact ratio for each case: differences of logarithms are relative errors."""
    return {
        case: Interval.exact(math.log(v), 1e-9) if math.isfinite(v) else Interval(math.inf, math.inf)
        for case, v in zip(cases, values.tolist(), strict=True)
    }
