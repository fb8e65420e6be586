"""Smooth maxima of losses: the MIMO-style reconstruction of lexicographic training, and STCH."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._certificate import Certificate, squared_norm
from ._checks import above, beside, finite, positive, within
from ._weighting import InLoop


def smooth_max(losses: Tensor, mu: float) -> Tensor:
    r"""A smooth upper bound of the largest loss.

    .. math:: h_\mu = \mu \log \sum_k e^{f_k/\mu}, \qquad \max_k f_k \le h_\mu \le \max_k f_k + \mu \log K

    Shape: ``[*batch, K]`` to ``[*batch]``; differentiable, with gradient weights softmax(f/μ).

    :raises ArgumentError: mu not positive.

    >>> bool(smooth_max(torch.tensor([0.0, 0.0]), 1.0) == torch.tensor(2.0).log())
    True
    """
    within("mu", mu, 0.0, open_low=True)
    return mu * torch.logsumexp(losses / mu, -1)


def certify_soft(levels: Tensor, mu: float, shares: Tensor) -> tuple[Tensor, Tensor]:
    r"""How far shares are from softmax(a/μ): the duality gap of the entropic maximum, and how far they are off the simplex.

    .. math:: \mu \log \sum_k e^{a_k/\mu} - \Bigl(u^\top a - \mu \sum_k u_k \log u_k\Bigr) = \mu\, \mathrm{KL}(u \,\|\, \mathrm{softmax}(a/\mu)) \ge 0

    Shape: levels and shares ``[*batch, K]``, both results ``[*batch]``; the gap is in the losses' units.

    Source: derived here (Gibbs' variational principle).

    >>> gap, outside = certify_soft(torch.zeros(2), 1.0, torch.tensor([1.0, 0.0]))
    >>> bool(gap == torch.tensor(2.0).log()), float(outside)
    (True, 0.0)
    """
    outside = torch.maximum((shares.sum(-1) - 1).abs(), (-shares).amax(-1).clamp(min=0))
    inside = shares.clamp(min=0)
    inside = inside / inside.sum(-1, keepdim=True).clamp(min=torch.finfo(inside.dtype).tiny)
    excess = torch.xlogy(inside, inside) - inside * torch.log_softmax(levels / mu, -1)
    return (mu * excess.sum(-1)).clamp(min=0), outside


@final
@dataclass(frozen=True)
class SmoothLexicographic:
    r"""MIMO-style reconstruction: the fused loss plus a smooth maximum of the uni-modal ones, one scalar and one backward pass.

    .. math:: \Phi = f_0 + \lambda\, \mu \log \sum_{k \ge 1} e^{f_k/\mu}, \qquad \nabla\Phi = \nabla f_0 + \lambda \sum_k \mathrm{softmax}(f/\mu)_k \nabla f_k

    As λ → ∞ the worst modality comes first and the fused loss second. A reconstruction from the paper's abstract, whose text and code were
    not available; do not read its constants as the authors'. Where the uni-modal losses share no parameter, the minimisers of the smooth
    maximum are those of each loss alone for every μ: the effect lives at finite λ and μ.

    :param lam: weight of the uni-modal part; 0 is joint training.
    :param mu: smoothing in units of the losses; ∞ is the mean of the uni-modal gradients, towards 0 only the worst one counts.
    :raises ArgumentError: a negative lam, mu not positive; fewer than two losses.

    Source: Fernando et al. 2025, arXiv:2511.06686 (abstract); formulas derived here.

    >>> SmoothLexicographic(lam=1.0, mu=1.0).weights(torch.tensor([5.0, 2.0, 2.0])).tolist()
    [1.0, 0.5, 0.5]
    """

    lam: float = 1.0
    mu: float = 0.1

    def __post_init__(self) -> None:
        within("lam", self.lam, 0.0)
        within("mu", self.mu, 0.0, open_low=True)

    def objective(self, losses: Tensor) -> Tensor:
        """Φ of losses ``[*batch, 1 + K]``, the fused one first; call ``backward`` on its sum."""
        _several(losses)
        return losses[..., 0] + self.lam * smooth_max(losses[..., 1:], self.mu)

    def weights(self, losses: Tensor) -> Tensor:
        """(1, λ softmax(f/μ)), the weights that the objective's gradient gives the losses' gradients."""
        _several(losses)
        soft = torch.softmax(losses[..., 1:].detach() / self.mu, -1)
        return torch.cat((torch.ones_like(soft[..., :1]), self.lam * soft), -1)

    def certificate(self, gramian: Tensor, losses: Tensor, weights: Tensor) -> Certificate:
        r"""How far Jᵀw is from ∇Φ, from the losses alone.

        ``gap`` is λ times the duality gap of the entropic maximum, ``primal`` the error of w₀ = 1 and of Σ_k w_k = λ; ``squared_norm`` is
        ‖Jᵀw‖², at the right weights ‖∇Φ‖², which vanishes exactly where Φ is stationary.
        """
        f, w = _beside(losses, weights)
        _several(f)
        rest = w[..., 1:]
        lead = (w[..., 0] - 1).abs()
        if self.lam == 0:
            gap, outside = torch.zeros_like(lead), rest.abs().amax(-1)
        else:
            gap, outside = certify_soft(f[..., 1:], self.mu, rest / self.lam)
        return _measured(gramian, w, self.lam * gap, torch.maximum(lead, outside * max(self.lam, 1.0)))

    def smoothness(self, fused: float, unimodal: float, spread: float) -> float:
        r"""A Lipschitz constant of ∇Φ.

        .. math:: L_\Phi \le L_0 + \lambda\bigl(L + D^2 / (4\mu)\bigr), \qquad D = \sup \|\nabla f_k - \nabla f_l\|

        Source: derived here (the covariance of a bounded gradient under the softmax).
        """
        return fused + self.lam * (unimodal + spread**2 / (4 * self.mu))


def _several(losses: Tensor) -> None:
    """A fused loss and at least one of a modality."""
    if losses.ndim < 1 or losses.shape[-1] < 2:
        raise ArgumentError(f"losses: expected the fused loss and at least one more, found shape {list(losses.shape)}")


@final
@dataclass(frozen=True)
class STCH(InLoop):
    r"""Smooth Tchebycheff scalarisation.

    .. math:: \mu \log \sum_i e^{p_i (f_i - z_i)/\mu}

    Its minimisers are weakly Pareto optimal, and reach every part of a front, concave ones included.

    :param mu: smoothing; towards 0 the Tchebycheff scalarisation itself.
    :param preference: positive p; None is 1/m each.
    :param ideal: z, a point below every loss; None is 0.
    :raises ArgumentError: mu or a preference not positive, a number that is not finite.

    Source: Lin et al. 2024 (paper).

    >>> STCH(mu=1.0).weights(torch.tensor([2.0, 2.0])).tolist()
    [0.25, 0.25]
    """

    name: ClassVar[str] = "stch"

    mu: float = 1.0
    preference: tuple[float, ...] | None = None
    ideal: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        within("mu", self.mu, 0.0, open_low=True)
        positive("preference", self.preference)
        finite("ideal", self.ideal)

    def objective(self, losses: Tensor) -> Tensor:
        """The scalarisation of losses ``[*batch, m]``, differentiable."""
        p, z = self._constants(losses)
        return smooth_max(p * (losses - z), self.mu)

    def weights(self, losses: Tensor) -> Tensor:
        """p_i softmax(p(f − z)/μ)_i, the weights of the losses' gradients."""
        p, z = self._constants(losses)
        return p * torch.softmax(p * (losses.detach() - z) / self.mu, -1)

    def at(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """The same: the Gramian does not matter."""
        return self.weights(losses)

    def certificate(self, gramian: Tensor, losses: Tensor, weights: Tensor) -> Certificate:
        """The duality gap of the entropic maximum that w/p solves at smoothing μ, and how far w/p is off the simplex (``primal``)."""
        f, w = _beside(losses, weights)
        p, z = self._constants(f)
        gap, outside = certify_soft(p * (f - z), self.mu, w / p)
        return _measured(gramian, w, gap, outside)

    def _constants(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """Preference and ideal point as vectors beside the losses."""
        m = losses.shape[-1]
        p, z = self.preference or (1 / m,) * m, self.ideal or (0.0,) * m
        if len(p) != m or len(z) != m:
            raise ArgumentError(f"preference, ideal: expected {m} entries each, found {len(p)} and {len(z)}")
        return beside(p, losses), beside(z, losses)


class FamoState(NamedTuple):
    """Logits ``[*batch, m]``, Adam's two moments, and the number of updates."""

    logits: Tensor
    first: Tensor
    second: Tensor
    steps: int


@final
@dataclass(frozen=True)
class FAMO:
    r"""Equal decrease of log-losses with one gradient a step.

    .. math:: w_i = c\, z_i / (f_i - b_i), \quad z = \mathrm{softmax}(\xi), \quad c = 1 \Big/ \sum_i z_i / (f_i - b_i)

    Weights need the losses only. After the step, ``updated`` moves ξ along Jac(softmax)ᵀ(log f_before − log f_after) by Adam with weight
    decay, as the authors' code does.

    :param rate: learning rate of ξ; 0 keeps z uniform.
    :param decay: weight decay of ξ.
    :param floor: b, a number below every loss.
    :raises ArgumentError: a negative rate or decay, a floor that is no number; a loss at or below the floor.

    Source: Liu et al. 2023 (paper).

    >>> famo = FAMO()
    >>> famo.weights(torch.tensor([1.0, 3.0]), famo.initial(torch.tensor([1.0, 3.0]))).tolist()
    [0.75, 0.25]
    """

    rate: float = 0.025
    decay: float = 1e-3
    floor: float = 0.0

    def __post_init__(self) -> None:
        within("rate", self.rate, 0.0)
        within("decay", self.decay, 0.0)
        finite("floor", (self.floor,))

    def initial(self, losses: Tensor) -> FamoState:
        """Uniform z."""
        zero = torch.zeros_like(losses)
        return FamoState(zero, zero, zero, 0)

    def weights(self, losses: Tensor, state: FamoState) -> Tensor:
        """Convex weights of the losses' gradients; losses must lie above the floor."""
        above(losses, self.floor)
        raw = torch.softmax(state.logits, -1) / (losses.detach() - self.floor)
        return raw / raw.sum(-1, keepdim=True)

    def certificate(
        self, gramian: Tensor, losses: Tensor, weights: Tensor, state: FamoState | None = None
    ) -> Certificate:
        r"""How far weights are from convex ones with w_i (f_i − b_i) ∝ softmax(ξ)_i.

        ``gap`` is the Kullback–Leibler divergence of the shares w_i (f_i − b_i)/Σ from softmax(ξ), ``primal`` the distance from the simplex.

        :param state: ξ; None is the initial one, whose shares are even.
        """
        f, w = _beside(losses, weights)
        above(f, self.floor)
        logits = torch.zeros_like(f) if state is None else state.logits.double()
        shares = w.clamp(min=0) * (f - self.floor)
        shares = shares / shares.sum(-1, keepdim=True).clamp(min=torch.finfo(f.dtype).tiny)
        gap, _ = certify_soft(logits, 1.0, shares)
        outside = torch.maximum((w.sum(-1) - 1).abs(), (-w).amax(-1).clamp(min=0))
        return _measured(gramian, w, gap, outside)

    def updated(self, state: FamoState, before: Tensor, after: Tensor) -> FamoState:
        """The state after seeing the same batch's losses on both sides of the parameter step."""
        above(torch.minimum(before, after), self.floor)
        z = torch.softmax(state.logits, -1)
        change = ((before - self.floor).log() - (after - self.floor).log()).detach()
        gradient = z * (change - (z * change).sum(-1, keepdim=True)) + self.decay * state.logits
        steps = state.steps + 1
        first = 0.9 * state.first + 0.1 * gradient
        second = 0.999 * state.second + 0.001 * gradient**2
        move = first / (1 - 0.9**steps) / ((second / (1 - 0.999**steps)).sqrt() + 1e-8)
        return FamoState(state.logits - self.rate * move, first, second, steps)


def _beside(losses: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Losses and weights in float64, once they have one shape."""
    if losses.shape != weights.shape:
        raise ArgumentError(f"losses: expected shape {list(weights.shape)}, found {list(losses.shape)}")
    return losses.detach().double(), weights.detach().double()


def _measured(gramian: Tensor, weights: Tensor, gap: Tensor, primal: Tensor) -> Certificate:
    """A certificate whose multipliers play no part."""
    nothing = torch.zeros_like(gap)
    return Certificate(gap, primal, nothing, nothing, squared_norm(gramian.detach().double(), weights))
