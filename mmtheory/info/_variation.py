"""Variation of information of a joint law, the losses that minimise it, and the Gibbs chain of its conditionals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._discrete import conditional_entropy, posterior
from ._gaussian import gaussian_conditional, gaussian_entropy


def variation_of_information(joint: Tensor) -> Tensor:
    r"""What each of two variables leaves unknown of the other.

    .. math:: VI = H(X|Y) + H(Y|X) = 2H(X,Y) - H(X) - H(Y)

    Shape: joint [*batch_shape, x, y] -> [*batch_shape]. Unit: nat.

    Source: Sohn, Shang and Lee 2014, Section 2 (recalled); textbook.

    >>> abs(float(variation_of_information(torch.eye(2, dtype=torch.float64) / 2)))
    0.0
    """
    return conditional_entropy(joint) + conditional_entropy(joint.mT)


def conditional_losses(law: Tensor, model: Tensor) -> tuple[Tensor, Tensor]:
    r"""The two halves of the minVI loss, how badly a model's conditionals predict each variable from the other.

    .. math:: -E_{\rm law} \ln q(y|x), \qquad -E_{\rm law} \ln q(x|y)

    Their sum is at least the law's variation of information, with equality iff both conditionals are the law's. Together with the
    marginals' cross-entropies it is exactly twice the negative log-likelihood, for every model.

    Shape: law and model [*batch_shape, x, y] -> two of [*batch_shape]. Unit: nat.

    :param model: non-negative numbers of any total; a row or column without mass predicts nothing (infinite loss if the law has some).

    Source: Sohn, Shang and Lee 2014, Equation 1 (recalled); the identity derived here.

    >>> forth, back = conditional_losses(torch.eye(2) / 2, torch.ones(2, 2))
    >>> [round(v, 6) for v in (float(forth), float(back))]
    [0.693147, 0.693147]
    """
    forth = -_expected_log(law, posterior(model))
    back = -_expected_log(law, posterior(model.mT).mT)
    return forth, back


def joint_loss(law: Tensor, model: Tensor) -> Tensor:
    r"""Negative log-likelihood of a model, :math:`-E_{\rm law}\ln q(x, y)` with q normalised.

    Shape: law and model [*batch_shape, x, y] -> [*batch_shape]. Unit: nat.

    Source: textbook.

    >>> round(float(joint_loss(torch.eye(2) / 2, torch.ones(2, 2))), 6)
    1.386294
    """
    return -_expected_log(law, model / model.sum((-2, -1), keepdim=True))


def _expected_log(law: Tensor, chance: Tensor) -> Tensor:
    """E_law ln chance, with 0 · ln 0 = 0."""
    return torch.special.xlogy(law, chance).sum((-2, -1))


def gibbs_chain(joint: Tensor) -> Tensor:
    r"""Transition probabilities of x → y → x' through the conditionals of a table.

    .. math:: T(x'|x) = \sum_y p(x'|y)\,p(y|x)

    Stationary at p(x) and reversible; its second eigenvalue is the squared maximal correlation.

    Shape: joint [*batch_shape, x, y] -> [*batch_shape, x, x'], rows sum to one.

    Source: Sohn, Shang and Lee 2014, the chain of Theorem 1 (recalled).

    >>> gibbs_chain(torch.tensor([[0.25, 0.0], [0.25, 0.5]]))[0].tolist()
    [0.5, 0.5]
    """
    return posterior(joint) @ posterior(joint.mT)


def maximal_correlation(joint: Tensor) -> Tensor:
    r"""The largest correlation that functions of two variables can have (Hirschfeld, Gebelein, Rényi).

    .. math:: \rho_{\max} = s_2\Big(\Big[\tfrac{p(x,y)}{\sqrt{p(x)\,p(y)}}\Big]\Big)

    the second singular value. Gibbs sampling through the conditionals forgets its start like :math:`\rho_{\max}^{2t}`; it is 1 exactly
    where the support falls apart into blocks, and then the conditionals do not determine the joint law.

    Shape: joint [*batch_shape, x, y], both of length 2 or more -> [*batch_shape].

    :raises ArgumentError: a variable with a single symbol.

    Source: Rényi 1959 (known).

    >>> round(float(maximal_correlation(torch.tensor([[0.4, 0.1], [0.1, 0.4]], dtype=torch.float64))), 12)
    0.6
    """
    if min(joint.shape[-2:]) < 2:
        raise ArgumentError(f"maximal_correlation: expected two symbols or more each, found {tuple(joint.shape[-2:])}")
    product = joint.sum(-1, keepdim=True) * joint.sum(-2, keepdim=True)
    core = torch.where(product > 0, joint / product.clamp(min=torch.finfo(joint.dtype).tiny).sqrt(), 0.0)
    return torch.linalg.svdvals(core)[..., 1]


def gaussian_variation(cov: Tensor, first: Sequence[int], second: Sequence[int]) -> tuple[Tensor, Tensor]:
    r"""h(first | second) and h(second | first) of a Gaussian vector; their sum is its variation of information.

    .. math:: h(x|y) = \tfrac12\ln\det(2\pi e\,\Sigma_{x|y})

    Differential, so it may be negative, and it is not invariant: stretching y by c adds ln c to h(y|x) alone.

    Shape: cov [*batch_shape, d, d] -> two of [*batch_shape]. Unit: nat.

    :raises ArgumentError: a covariance that is not positive definite.

    Source: textbook.

    >>> cov = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
    >>> round(float(sum(gaussian_variation(cov, [0], [1]))), 5)
    1.81623
    """
    return (
        gaussian_entropy(gaussian_conditional(cov, first, second)),
        gaussian_entropy(gaussian_conditional(cov, second, first)),
    )
