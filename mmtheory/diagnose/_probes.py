"""Unimodal probes: what a linear readout finds in the features of one modality, frozen."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel


def ridge_scores(seen: Tensor, y: Tensor, unseen: Tensor, classes: int, *, ridge: float = 1e-3) -> Tensor:
    r"""Scores of each class by ridge regression from features to one-hot labels, fitted on the seen samples.

    .. math:: W = \Big(\tfrac1n Z^\top Z + \lambda \tfrac{\mathrm{tr}\,Z^\top Z/n}{d} I\Big)^{-1} \tfrac1n Z^\top Y

    Features are centred by the seen samples' mean and the prior of y is added back. The answer does not change with the features'
    scale, and with a small λ hardly with an invertible linear map of them: what is *there* counts, not how loudly.

    Numbers y, in place of labels, are regressed on as they are: one output.

    Shape: seen [*batch, n, d], y [*batch, n], unseen [*batch, k, d] to [*batch, k, classes], float64.

    :param ridge: λ, the share of the mean variance on the diagonal; 0 is least squares, singular if features are dependent.
    :raises ArgumentError: a negative ridge.

    >>> z = torch.tensor([[0.0], [0.0], [2.0], [2.0]])
    >>> ridge_scores(z, torch.tensor([0, 0, 1, 1]), torch.tensor([[0.0], [1.0], [2.0]]), 2, ridge=0.0)[:, 1].tolist()
    [0.0, 0.5, 1.0]
    """
    if not ridge >= 0:
        raise ArgumentError(f"ridge_scores: expected ridge >= 0, found {ridge}")
    target = y.double().unsqueeze(-1) if y.is_floating_point() else one_hot(y, classes).double()
    z, fresh = seen.double(), unseen.double()
    mean, prior = z.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    z = z - mean
    covariance = z.mT @ z / z.shape[-2]
    size = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    eye = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    # Features that are all constant have nothing to say: any positive diagonal gives them weight zero.
    loaded = covariance + torch.where(size > 0, ridge * size, 1.0) * eye
    weights = torch.linalg.solve(loaded, z.mT @ (target - prior) / z.shape[-2])
    return (fresh - mean) @ weights + prior


def hits(scores: Tensor, y: Tensor) -> Tensor:
    """1 where the highest score is the label's, else 0. Shape: [*batch, n, classes], [*batch, n] to [*batch, n], float64."""
    return (scores.argmax(-1) == y).double()


def explained(outputs: Tensor, y: Tensor) -> Tensor:
    r"""What a prediction of each number is worth; its mean over samples is the share of variance explained, R².

    .. math:: 1 - (o_i - y_i)^2 / \operatorname{Var}(y)

    1 where the number is met, 0 on average for the mean of y, and below that without bound.

    Shape: [*batch, n, 1], [*batch, n] to [*batch, n], float64.

    >>> explained(torch.tensor([[1.0], [1.0]]), torch.tensor([0.0, 2.0])).tolist()
    [0.0, 0.0]
    """
    y = y.double()
    spread = y.var(dim=-1, correction=0, keepdim=True)
    return 1 - (outputs.squeeze(-1).double() - y) ** 2 / spread.clamp(min=torch.finfo(torch.float64).tiny)


def worth(outputs: Tensor, y: Tensor) -> Tensor:
    """``hits`` of class labels, ``explained`` of numbers. Shape: [*batch, n], float64."""
    return explained(outputs, y) if y.is_floating_point() else hits(outputs, y)


@torch.no_grad()
def unimodal_probes(model: MultimodalModel, train: Batch, test: Batch, *, ridge: float = 1e-3) -> dict[str, Tensor]:
    """Whether a ridge readout of each frozen encoder is right on each test sample; its mean over samples is the probe's accuracy.

    Of numbers it is how much is explained (``explained``), whose mean is R².

    Shape: [*batch, n_test] for each modality.

    :param train: samples that the readouts are fitted on.
    :param test: other samples of the same replicates.
    """
    seen, unseen = model.encode(train.x), model.encode(test.x)
    return {
        m: worth(ridge_scores(seen[m], train.y, unseen[m], model.fusion.classes, ridge=ridge), test.y) for m in seen
    }
