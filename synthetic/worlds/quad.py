"""W12: one weight vector for several modalities, each of which pulls it elsewhere: quadratics of known angle and conditioning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, InfeasibleError, NotExactError
from mmtheory.moo.problems import Quadratics
from mmtheory.rng import Draws
from mmtheory.stats import Interval

from ._dials import names
from ._gaussian_learners import GaussianLaw
from ._inverse import feasible, inverse
from ._linear_gaussian import LinearGaussian
from ._missing import Rates

LEAST = 2


@final
@dataclass(frozen=True)
class Quad(LinearGaussian):
    r"""Regression in which every modality is read through the same weights θ, so that its loss is a quadratic of θ.

    .. math:: x_i \sim N(0, Q_i) \text{ independent}, \quad \mathrm{Cov}(x_i, y) = Q_i a_i, \quad
        f_i(\theta) = \tfrac12 E(y - \theta^\top x_i)^2 = \tfrac12 (\theta - a_i)^\top Q_i (\theta - a_i) + \text{const}

    At θ = 0 the gradients of any two objectives have the cosine that the dial says and the norms that the dials say, whatever the
    conditioning: the minimisers a_i follow from that. Every Q_i has eigenvalues spread geometrically over [1/condition, 1].

    :param cosine: of any two objectives' gradients at θ = 0; −1/(M−1) is Pareto stationarity, 1 no conflict at all.
    :param norms: of the gradients at θ = 0, one a modality (so M of them): the imbalance that the weightings react to.
    :param condition: condition number of every Q_i; 1 makes them all the identity.
    :param turn: angle by which each modality's axes are turned against the one before; 0 gives all the same Q.
    :param dim: coordinates of θ and of every modality, at least M.
    :param label_noise: variance of the label noise.
    :param missingness: probability that a modality is absent, independently and seen; one number or one a modality. 0 for never.
    :raises ArgumentError: a dial out of its domain.

    Source: theory §11.12 of the specification (W12); derived here.

    >>> Quad(cosine=-0.5, norms=(1.0, 1.0)).answers()["squared min-norm"].middle
    0.25
    """

    name: ClassVar[str] = "quad"

    cosine: float = -0.5
    norms: tuple[float, ...] = (1.0, 1.0)
    condition: float = 10.0
    turn: float = 0.5
    dim: int = 4
    label_noise: float = 0.1
    missingness: Rates = 0.0

    def __post_init__(self) -> None:
        count = len(names(len(self.norms), self.name))
        if count < LEAST or self.dim < count:
            raise ArgumentError(f"{self.name}: expected from 2 to 8 norms and dim >= {count}, found dim {self.dim}")
        if not all(0 < v < math.inf for v in self.norms) or not -1 / (count - 1) <= self.cosine <= 1:
            raise ArgumentError(
                f"{self.name}: expected positive norms and a cosine in [{-1 / (count - 1):.6g}, 1], "
                f"found {self.norms} and {self.cosine}"
            )
        if not (1 <= self.condition < math.inf and math.isfinite(self.turn) and 0 <= self.label_noise < math.inf):
            raise ArgumentError(
                f"{self.name}: expected condition >= 1, a finite turn and label_noise >= 0, found {self.dials()}"
            )
        _ = self.rates

    @classmethod
    def from_targets(
        cls,
        *,
        information: tuple[float, ...] | None = None,
        min_norm: float | None = None,
        norms: tuple[float, ...] = (1.0, 1.0),
        cosine: float = -0.5,
        condition: float = 10.0,
        turn: float = 0.5,
        label_noise: float = 0.1,
    ) -> Self:
        r"""The world whose modalities have these informations, or whose gradients at θ = 0 have a convex hull this far from 0.

        Modality m explains :math:`\|g_m\|^2 k_m` of the target's variance, k_m being known from angle and conditioning: informations
        fix the norms. Half of the latent stays hidden behind the inputs' noise, so all modalities together explain less than half.
        The distance fixes the cosine, for norms given.

        Unit: nat.

        :param min_norm: length of the shortest vector in the hull of the gradients (two, or equally long ones).
        :raises InfeasibleError: informations whose explained shares of the variance reach one half, or a distance that no cosine gives.
        :raises ArgumentError: both targets, or neither.
        :raises NotExactError: a distance for three or more gradients of different lengths.

        Source: derived here.

        >>> round(Quad.from_targets(information=(0.15, 0.1)).known("information", "b").middle, 12)
        0.1
        """
        if (information is None) == (min_norm is None):
            raise ArgumentError("from_targets: expected either information or min_norm, found both or neither")
        rest = {"condition": condition, "turn": turn, "label_noise": label_noise}
        if information is None:
            base = cls(cosine=0.0, norms=norms, dim=max(4, len(norms)), **rest)
            shortest = [replace(base, cosine=c).answers().get("squared min-norm") for c in (0.0, 1.0)]
            if None in shortest:
                raise NotExactError(f"{cls.name}: expected two norms or equal ones for a distance, found {norms}")

            def reached(c: float) -> float:
                return math.sqrt(max(0.0, replace(base, cosine=c).answers()["squared min-norm"].middle))

            # For two gradients the shortest vector is the shorter of them from cos = short/long on, and then stays.
            top = min(norms) / max(norms) if len(norms) == LEAST else 1.0
            return replace(
                base, cosine=inverse(reached, float(min_norm or 0.0), -1 / (len(norms) - 1), top, what="a distance")
            )
        shares = [-math.expm1(-2 * feasible("every information, nat,", i, 1e-12, math.inf)) for i in information]
        left = 1 - 2 * sum(shares)
        if left <= 0 or label_noise <= 0:
            cap = -0.5 * math.log1p(min(0.0, sum(shares[1:]) - 0.5)) if label_noise > 0 else 0.0
            raise InfeasibleError(
                f"from_targets: expected label_noise > 0 and, beside the others, the information of a in (0, {cap:.6g}), "
                f"found {label_noise} and {information}"
            )
        unit = cls(cosine=cosine, norms=(1.0,) * len(shares), dim=max(4, len(shares)), **rest)
        each = (unit.slopes * torch.linalg.solve(unit.hessians, unit.slopes[..., None])[..., 0]).sum(-1).tolist()
        variance = label_noise / left
        return replace(unit, norms=tuple(math.sqrt(s * variance / k) for s, k in zip(shares, each, strict=True)))

    @property
    def modalities(self) -> tuple[str, ...]:
        return names(len(self.norms), self.name)

    @cached_property
    def slopes(self) -> Tensor:
        """∇f_i at θ = 0, ``[M, dim]``: equicorrelated directions times the norms."""
        count = len(self.norms)
        rest = 1 - self.cosine
        # Rows (s, …, s, s + √(1 − c), s, …, s) minus the shift that gives equal products c.
        pull = (math.sqrt(max(rest + count * self.cosine, 0.0)) - math.sqrt(rest)) / count
        square = math.sqrt(rest) * torch.eye(count, dtype=torch.float64) + pull
        rows = torch.zeros(count, self.dim, dtype=torch.float64)
        rows[:, :count] = square * torch.tensor(self.norms, dtype=torch.float64)[:, None]
        return rows

    @cached_property
    def hessians(self) -> Tensor:
        """Q_i, ``[M, dim, dim]``."""
        values = self.condition ** -torch.linspace(0, 1, self.dim, dtype=torch.float64)
        turned = torch.stack([self._axes(i) for i in range(len(self.norms))])
        full = (turned * values) @ turned.mT
        return (full + full.mT) / 2

    def _axes(self, which: int) -> Tensor:
        """Rotations by ``which`` turns in all planes of neighbouring coordinates, one after the other."""
        axes = torch.eye(self.dim, dtype=torch.float64)
        cos, sin = math.cos(which * self.turn), math.sin(which * self.turn)
        plane = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
        for j in range(self.dim - 1):
            axes[:, j : j + 2] = axes[:, j : j + 2] @ plane
        return axes

    @cached_property
    def problem(self) -> Quadratics:
        """The objectives less their constants, with their Pareto set."""
        centres = -torch.linalg.solve(self.hessians, self.slopes[..., None])[..., 0]
        return Quadratics(centres, self.hessians)

    def answers(self) -> Mapping[str, Interval]:
        """Smoothness, strong convexity, and the squared length of the shortest direction at θ = 0 where it has a closed form."""
        known = {
            "smoothness": Interval.exact(1.0, 1e-12),
            "convexity": Interval.exact(1 / self.condition, 1e-12),
            "cosine": Interval.exact(self.cosine),
        }
        shortest = self._shortest()
        return known if shortest is None else {**known, "squared min-norm": Interval.exact(shortest)}

    def _shortest(self) -> float | None:
        """‖d‖² at θ = 0: of two gradients, or of M equally long ones."""
        count, c = len(self.norms), self.cosine
        if len(set(self.norms)) == 1:
            return self.norms[0] ** 2 * (1 + (count - 1) * c) / count
        if count > LEAST:
            return None
        a, b = self.norms
        if c * max(a, b) >= min(a, b):
            return min(a, b) ** 2
        return (a * b) ** 2 * (1 - c * c) / (a * a + b * b - 2 * c * a * b)

    @cached_property
    def law(self) -> GaussianLaw:
        # Half of Q_i is signal and half is noise: any split gives the same covariances, this one keeps the noise positive definite.
        half = self.hessians / 2
        values, vectors = torch.linalg.eigh(half)
        roots = (vectors * values.sqrt()[..., None, :]) @ vectors.mT
        target = torch.linalg.solve(roots, -self.slopes[..., None])[..., 0]
        noise = torch.block_diag(*half)
        return GaussianLaw(
            widths=dict.fromkeys(self.modalities, self.dim),
            loading=torch.block_diag(*roots),
            noise=noise,
            target=target.flatten(),
            label_noise=self.label_noise,
            column=tuple(range(len(noise))),
            scale=torch.ones(len(noise), dtype=torch.float64),
        )

    def draw_complete(self, n: int, draws: Draws) -> Batch:
        law, d = self.law, self.dim
        noise = torch.linalg.cholesky(law.noise)
        z = draws.normal("latent", n, len(law.noise))
        x = z @ law.loading.mT.to(draws.device) + draws.normal("noise", n, len(law.noise)) @ noise.mT.to(draws.device)
        y = z @ law.target.to(draws.device) + math.sqrt(self.label_noise) * draws.normal("label noise", n)
        return Batch({m: x[..., i * d : (i + 1) * d].contiguous() for i, m in enumerate(self.modalities)}, y)
