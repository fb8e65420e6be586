"""What a sample costs: cross-entropy with a class, or half the squared distance from a number."""

from __future__ import annotations

from torch import Tensor

from mmtheory.models import NARROW


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each sample, nat. Shape: logits [*batch, n, classes], y [*batch, n] to [*batch, n]."""
    # Few classes lie across samples in memory (models.dense): a softmax along rows of four would be ten times slower.
    axis, labels = (-2, y.unsqueeze(-2)) if logits.shape[-1] < NARROW else (-1, y.unsqueeze(-1))
    scores = (logits.mT if axis == -2 else logits).log_softmax(axis)
    return -scores.gather(axis, labels).squeeze(axis)


def half_square(outputs: Tensor, y: Tensor) -> Tensor:
    r"""Half the squared error of each sample.

    .. math:: \ell = \tfrac12 (o - y)^2

    Its gradient at the output is the residual o − y, as that of cross-entropy is softmax minus label; the mean squared error is twice it.

    Shape: outputs [*batch, n, 1], y [*batch, n] to [*batch, n].

    >>> import torch
    >>> half_square(torch.tensor([[3.0]]), torch.tensor([1.0])).tolist()
    [2.0]
    """
    miss = outputs.squeeze(-1) - y.to(outputs.dtype)
    return 0.5 * (miss * miss)


def declared_loss(outputs: Tensor, y: Tensor) -> Tensor:
    """The loss of each sample that the labels are for: numbers have a squared one, classes cross-entropy. Shape: [*batch, n]."""
    return half_square(outputs, y) if y.is_floating_point() else cross_entropy(outputs, y)
