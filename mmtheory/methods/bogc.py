"""BOGC-MML, reconstructed: objectives weighed dimension by dimension by how certain their gradients are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._method import Card, Gradients, Step, Strength, per_replicate
from ._strengths import ranged
from .combined import TwoRows

Variant = Literal["binomial", "dirichlet"]
Variance = Literal["ema", "laplace"]
TINY = 1e-12
CACHED = 1 << 15
"""Entries of a row, over all replicates, that are worked on at once."""


def binomial_weights(variance: Tensor, prior: Strength = 1.0) -> Tensor:
    r"""Variant A: weights of objectives whose gradients have these variances, from one opinion a dimension.

    .. math:: e = 1/\sigma^2, \quad b = \frac{e}{e + W}, \quad w_i = b_i \Big/ \sum_j b_j \;\propto\; \frac{1}{1/W + \sigma_i^2}

    From the uniform average (W → 0) to inverse variance (W → ∞), and for independent unbiased rows of a common mean the variance of the
    weighted sum falls all the way in between. Where all variances are equal, or zero, the weights are equal.

    Shape: [*batch, rows, D], prior a number or [*batch].

    Source: derived here, from the abstract of Guo et al. 2025.

    >>> binomial_weights(torch.tensor([[0.0], [1.0]])).flatten().tolist()
    [0.6666666865348816, 0.3333333432674408]
    """
    belief = 1 / (1 + per_replicate(prior, variance) * variance)
    return belief / belief.sum(-2, keepdim=True)


def dirichlet_weights(variance: Tensor) -> Tensor:
    r"""Variant B: the dimensions of a block are the classes of one Dirichlet an objective, whose mean weighs its rows.

    .. math:: p_{i,d} = \frac{e_{i,d} + 1}{\sum_{d'} (e_{i,d'} + 1)}, \qquad w_{i,d} = p_{i,d} \Big/ \sum_j p_{j,d}

    Only how an objective's certainty is spread over dimensions counts: one that is equally certain everywhere weighs like one that is
    equally uncertain everywhere.

    Shape: [*batch, rows, D].

    >>> dirichlet_weights(torch.ones(2, 3)).unique().tolist()
    [0.5]
    """
    alpha = 1 / variance.clamp(min=TINY) + 1
    mean = alpha / alpha.sum(-1, keepdim=True)
    return mean / mean.sum(-2, keepdim=True)


def reduced_binomial(uncertainty: Tensor) -> Tensor:
    """The joint belief of one-sided opinions, 1 − Π u: no mass is in conflict. Shape: [*batch, rows, D] to [*batch, D]."""
    return 1 - uncertainty.prod(-2)


def reduced_dirichlet(b1: Tensor, u1: Tensor, b2: Tensor, u2: Tensor) -> tuple[Tensor, Tensor]:
    r"""The reduced Dempster rule of two opinions over D classes: beliefs [*batch, D] and uncertainty [*batch, 1].

    .. math:: b_d = \frac{b^1_d b^2_d + b^1_d u^2 + b^2_d u^1}{1 - C}, \quad u = \frac{u^1 u^2}{1 - C}, \quad C = \sum_{d \ne d'} b^1_d b^2_{d'}

    Commutative and associative; the vacuous opinion (u = 1) is neutral.

    Source: Han et al. 2021 (trusted multi-view classification).
    """
    agreed = b1 * b2
    conflict = b1.sum(-1, keepdim=True) * b2.sum(-1, keepdim=True) - agreed.sum(-1, keepdim=True)
    left = 1 - conflict
    return (agreed + b1 * u2 + b2 * u1) / left, u1 * u2 / left


@final
class BOGC(TwoRows):
    r"""Uncertainty-weighted sum of each encoder's fused and unimodal gradients, dimension by dimension.

    .. math:: g_d = c \sum_i w_{i,d}\, \hat g_{i,d}

    Rows of different objectives do not share a mean: what the weights bound is the noise, not the bias towards confident objectives.

    :param prior: W of variant A; 0 is the uniform average.
    :param variant: A, ``binomial`` opinions, or B, one ``dirichlet`` a block.
    :param variance: ``ema``, running variance of each row over steps; ``laplace``, h²/(h + τ) with the running diagonal empirical Fisher h.
    :param beta: memory of either, in [0, 1).
    :param tau: prior precision of the Laplace posterior, positive.
    :param normalise: divide variances by their mean over the rows, which makes variant A indifferent to the losses' scale.
    :param reduce: c = number of rows (``sum``: at equal certainty it is uniform multi-loss) or 1 (``mean``).
    :param damped: multiply by the joint belief, so that dimensions in which nobody is certain move less.
    :param weight: factor on the unimodal losses.

    Source: Guo et al. 2025, arXiv:2505.23071 (abstract only); all formulas derived here.
    """

    card: ClassVar[Card] = Card(
        name="bogc",
        source="Guo, Wang, …, Qiang 2025, arXiv:2505.23071 (abstract)",
        summary="Weighs objectives in every dimension by the certainty of their gradients.",
        fidelity="reconstruction",
        cost="1F + 2B, two numbers a row and parameter",
        differences=(
            "no formula of the paper could be read: variants A and B reconstruct evidence, opinions and the reduced Dempster rule from its abstract",
            "gradient moments come from running averages or a linearised Laplace posterior; the paper samples a posterior of the output layer's parameters",
            "the abstract's several gradients on one block are two on every encoder here, since unimodal losses reach no other encoder",
        ),
    )

    def __init__(
        self,
        prior: Strength = 1.0,
        *,
        variant: Variant = "binomial",
        variance: Variance = "ema",
        beta: float = 0.9,
        tau: float = 1.0,
        normalise: bool = True,
        reduce: Literal["sum", "mean"] = "sum",
        damped: bool = False,
        weight: Strength = 1.0,
    ) -> None:
        super().__init__(weight)
        if (
            variant not in {"binomial", "dirichlet"}
            or variance not in {"ema", "laplace"}
            or reduce not in {"sum", "mean"}
        ):
            raise ArgumentError(
                "bogc: expected variant binomial or dirichlet, variance ema or laplace and reduce sum or mean, "
                f"found {variant!r}, {variance!r}, {reduce!r}"
            )
        if not 0 <= beta < 1 or not tau > 0:
            raise ArgumentError(f"bogc: expected beta in [0, 1) and tau > 0, found {beta} and {tau}")
        self.prior = ranged("bogc: prior", prior)
        self.variant: Variant = variant
        self.variance: Variance = variance
        self.beta, self.tau, self.normalise, self.damped = beta, tau, normalise, damped
        self.factor = 2.0 if reduce == "sum" else 1.0
        self.mean: dict[str, Tensor] = {}
        self.square: dict[str, Tensor] = {}

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        axes = len(model.batch_shape)
        for m in model.modalities:
            width = sum(p[(0,) * axes].numel() for p in model.owned(m))
            like = next(model.parameters()).detach()
            self.mean[m] = like.new_zeros(*model.batch_shape, 2, width)
            self.square[m] = torch.zeros_like(self.mean[m])
        self.steps = 0

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        self.samples = step.batch.n
        self.steps += 1
        return super().on_gradients(step, gradients)

    def join(self, gradients: Gradients, modality: str, fused: Tensor, own: Tensor) -> None:
        # Dimension by dimension, so that what is in between stays in the cache; variant B sums over all of them.
        size = max(1, CACHED // max(1, fused[..., 0].numel())) if self.variant == "binomial" else fused.shape[-1]
        for start in range(0, fused.shape[-1], size):
            cut = slice(start, start + size)
            rows = torch.stack([fused[..., cut], own[..., cut]], -2)
            fused[..., cut] = self._joined(rows, self.mean[modality][..., cut], self.square[modality][..., cut])

    def _joined(self, rows: Tensor, mean: Tensor, square: Tensor) -> Tensor:
        variance = self._variance(rows, mean, square)
        if self.normalise:
            level = variance.mean(-2, keepdim=True).clamp(min=torch.finfo(variance.dtype).tiny)
            variance = variance / level
        weights = binomial_weights(variance, self.prior) if self.variant == "binomial" else dirichlet_weights(variance)
        found = weights.mul_(rows).sum(-2).mul_(self.factor)
        return found.mul_(self._belief(variance)) if self.damped else found

    def _variance(self, rows: Tensor, mean: Tensor, square: Tensor) -> Tensor:
        """Running estimate of every entry's variance, of the rows' shape; zero at the first step. Moves what it runs on."""
        keep = self.beta if self.steps > 1 else 0.0
        if self.variance == "laplace":
            square.mul_(keep).addcmul_(rows, rows, value=(1 - keep) * self.samples)
            return square**2 / (square + self.tau)
        if self.steps > 1:
            gap = rows - mean
            square.addcmul_(gap, gap, value=1 - keep).mul_(keep)
        mean.lerp_(rows, 1 - keep)
        return square

    def _belief(self, variance: Tensor) -> Tensor:
        """How certain the rows are together in each dimension; variant B's is relative, one on average."""
        if self.variant == "binomial":
            w = per_replicate(self.prior, variance) * variance
            return reduced_binomial(w / (1 + w))
        evidence = 1 / variance.clamp(min=TINY)
        classes = evidence.shape[-1]
        total = (evidence + 1).sum(-1, keepdim=True)
        b, u = evidence / total, classes / total
        belief, unsure = reduced_dirichlet(b[..., 0, :], u[..., 0, :], b[..., 1, :], u[..., 1, :])
        return classes * belief + unsure

    def state_dict(self) -> dict[str, Tensor]:
        means = {f"mean {m}": v for m, v in self.mean.items()}
        return {**means, **{f"square {m}": v for m, v in self.square.items()}, "steps": torch.tensor(self.steps)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.mean = {m: state[f"mean {m}"].clone() for m in self.mean}
        self.square = {m: state[f"square {m}"].clone() for m in self.square}
        self.steps = int(state["steps"])
