"""Smooth maxima of losses: the MIMO-style reconstruction of lexicographic training, and STCH."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._checks import above, beside, within


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
class STCH:
    r"""Smooth Tchebycheff scalarisation.

    .. math:: \mu \log \sum_i e^{p_i (f_i - z_i)/\mu}

    Its minimisers are weakly Pareto optimal, and reach every part of a front, concave ones included.

    :param mu: smoothing; towards 0 the Tchebycheff scalarisation itself.
    :param preference: positive p; None is 1/m each.
    :param ideal: z, a point below every loss; None is 0.
    :raises ArgumentError: mu not positive, or a preference that is not.

    Source: Lin et al. 2024 (paper).

    >>> STCH(mu=1.0).weights(torch.tensor([2.0, 2.0])).tolist()
    [0.25, 0.25]
    """

    mu: float = 1.0
    preference: tuple[float, ...] | None = None
    ideal: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        within("mu", self.mu, 0.0, open_low=True)
        if self.preference is not None and not all(p > 0 for p in self.preference):
            raise ArgumentError(f"preference: expected positive entries, found {self.preference}")

    def objective(self, losses: Tensor) -> Tensor:
        """The scalarisation of losses ``[*batch, m]``, differentiable."""
        p, z = self._constants(losses)
        return smooth_max(p * (losses - z), self.mu)

    def weights(self, losses: Tensor) -> Tensor:
        """p_i softmax(p(f − z)/μ)_i, the weights of the losses' gradients."""
        p, z = self._constants(losses)
        return p * torch.softmax(p * (losses.detach() - z) / self.mu, -1)

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
    :raises ArgumentError: a negative rate or decay; a loss at or below the floor.

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

    def initial(self, losses: Tensor) -> FamoState:
        """Uniform z."""
        zero = torch.zeros_like(losses)
        return FamoState(zero, zero, zero, 0)

    def weights(self, losses: Tensor, state: FamoState) -> Tensor:
        """Convex weights of the losses' gradients; losses must lie above the floor."""
        above(losses, self.floor)
        raw = torch.softmax(state.logits, -1) / (losses.detach() - self.floor)
        return raw / raw.sum(-1, keepdim=True)

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
