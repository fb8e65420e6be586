"""GradDrop: the sign of each coordinate drawn by the share of the gradient mass behind it."""

from __future__ import annotations

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._checks import within


def graddrop(rows: Tensor, uniform: Tensor, *, leak: float = 0.0) -> Tensor:
    r"""The update direction of GradDrop, which depends on J itself and not on its Gramian.

    .. math:: P = \tfrac12\Bigl(1 + \frac{\sum_i J_{ik}}{\sum_i |J_{ik}|}\Bigr), \qquad
        d_k = \sum_i \bigl(\ell + (1-\ell)\,[J_{ik} > 0] \text{ if } P > U_k \text{ else } \ell + (1-\ell)\,[J_{ik} < 0]\bigr) J_{ik}

    Consistent in sign but biased: its expectation is not the sum of the rows.

    Shape: rows ``[*batch, m, d]``, uniform ``[*batch, d]`` (numbers in [0, 1) drawn by the caller), result ``[*batch, d]``.

    :param leak: share of the dropped part that passes; 1 is the plain sum.
    :raises ArgumentError: leak outside [0, 1], or shapes that disagree.

    Source: Chen et al. 2020 (paper).

    >>> graddrop(torch.tensor([[1.0, 2.0], [-1.0, 2.0]]), torch.tensor([0.4, 0.9])).tolist()
    [1.0, 4.0]
    """
    within("leak", leak, 0.0, 1.0)
    if uniform.shape != (*rows.shape[:-2], rows.shape[-1]):
        raise ArgumentError(
            f"uniform: expected shape {[*rows.shape[:-2], rows.shape[-1]]}, found {list(uniform.shape)}"
        )
    mass = rows.abs().sum(-2)
    purity = 0.5 * (1 + torch.where(mass > 0, rows.sum(-2) / torch.where(mass > 0, mass, 1.0), 0.0))
    positive = (purity > uniform)[..., None, :]
    kept = torch.where(positive, rows > 0, rows < 0).to(rows.dtype)
    return ((leak + (1 - leak) * kept) * rows).sum(-2)
