"""Products of experts and the functional analysis of variance of a table of logits."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError


def product_of_experts(logits: Tensor) -> Tensor:
    r"""Log-probabilities of the normalised product of the experts' softmaxes.

    .. math:: \ln p = \mathrm{log\,softmax}\Big(\sum_e \ell_e\Big) = \mathrm{log\,softmax}\Big(\sum_e \mathrm{log\,softmax}(\ell_e)\Big)

    Each log-softmax differs from its logits by a constant over the classes, so normalising the experts first changes nothing, and the
    gradient of the cross-entropy with respect to every expert's logits is the same, p − e_y. Logits are centred before they are added,
    so that large ones lose no digits; −∞ excludes a class, and a row without a class left is NaN.

    Shape: logits [*batch_shape, experts, classes] -> [*batch_shape, classes]. Unit: nat.

    Source: Madaan et al. 2024, the training objective (code); the identity derived here.

    >>> two = torch.tensor([[0.0, 1.0], [0.0, 2.0]])
    >>> torch.allclose(product_of_experts(two), torch.tensor([0.0, 3.0]).log_softmax(-1))
    True
    """
    top = logits.detach().amax(-1, keepdim=True)
    return (logits - torch.where(top.isfinite(), top, 0.0)).sum(-2).log_softmax(-1)


def pooled_posterior(posteriors: Tensor, log_prior: Tensor) -> Tensor:
    r"""The posterior given all modalities from the posteriors given each, where modalities are independent given the class.

    .. math:: p(y|x_1,\dots,x_M) \propto p(y)^{1-M} \prod_m p(y|x_m)

    Every posterior contains the prior, and it may be counted only once: the bare product is off by p(y)^(M−1), which is nothing for
    balanced classes alone. Modalities that interact given the class need another expert besides.

    Shape: posteriors [*batch_shape, M, classes] of log-probabilities, log_prior [classes] -> [*batch_shape, classes], log-probabilities.

    Source: textbook (naive Bayes); the correction that Madaan et al. 2024 leave out derived here.

    >>> sure = torch.tensor([[0.8, 0.2], [0.8, 0.2]]).log()
    >>> pooled_posterior(sure, torch.tensor([0.8, 0.2]).log()).exp().tolist()[0] < 0.81
    True
    """
    return product_of_experts(posteriors - log_prior * (1 - 1 / posteriors.shape[-2]))


def anova(table: Tensor, weights: Sequence[Tensor]) -> Mapping[tuple[int, ...], Tensor]:
    r"""The functional analysis of variance of a function on a grid, with respect to a product measure.

    .. math:: f = \sum_{T} f_T, \qquad E_{\nu_i} f_T = 0 \text{ for every } i \in T

    The components depend on the measure; under any other than the product they were centred for, main effects and interaction are not
    separated. This is what makes the parts of an additive-logit model (unimodal experts and their interaction) identifiable.

    Shape: table [*batch_shape, g_1, …, g_k], weights one [g_i] an axis -> each component broadcasts to the table (its absent axes have
    length 1); the key names its axes, () being the mean.

    :param weights: the measure of each axis, non-negative with sum 1.
    :raises ArgumentError: weights that are not probabilities of the axis' length.

    Source: Hoeffding 1948 (known).

    >>> parts = anova(torch.tensor([[0.0, 0.0], [0.0, 4.0]]), [torch.tensor([0.5, 0.5])] * 2)
    >>> parts[()].item(), parts[0,].flatten().tolist(), parts[0, 1].tolist()
    (1.0, [-1.0, 1.0], [[1.0, -1.0], [-1.0, 1.0]])
    """
    count = len(weights)
    if table.dim() < count:
        raise ArgumentError(f"anova: expected a table of at least {count} axes, found shape {tuple(table.shape)}")
    for i, (size, weight) in enumerate(zip(table.shape[table.dim() - count :], weights, strict=True)):
        if weight.shape != (size,) or not bool((weight >= 0).all()) or abs(float(weight.sum()) - 1) > 1e-6:
            raise ArgumentError(f"anova: expected {size} probabilities for axis {i}, found {tuple(weight.shape)}")
    parts: dict[tuple[int, ...], Tensor] = {}
    for k in range(count + 1):
        for kept in itertools.combinations(range(count), k):
            part = table
            for i in range(count):
                axis = table.dim() - count + i
                weight = weights[i].to(part)
                mean = torch.tensordot(part.movedim(axis, -1), weight / weight.sum(), dims=1).unsqueeze(axis)
                part = part - mean if i in kept else mean
            parts[kept] = part
    return parts
