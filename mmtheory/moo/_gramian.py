"""Gramians of gradients, tensor by tensor: J is never concatenated and no vector of its length is made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._eigen import eigen

TILE = 8192  # columns multiplied at once: m rows of them stay in the second-level cache
FEW = 3
Row = Tensor | None


def gramian(jacobian: Tensor) -> Tensor:
    r"""G = JJᵀ in float64, accumulated over tiles of columns in at least float32.

    Shape: ``[*batch, m, d]`` to ``[*batch, m, m]``.

    :raises ArgumentError: fewer than two axes.

    >>> gramian(torch.tensor([[1.0, 2.0], [0.0, 1.0]])).tolist()
    [[5.0, 2.0], [2.0, 1.0]]
    """
    if jacobian.ndim < 2:
        raise ArgumentError(f"jacobian: expected shape [*batch, m, d], found {list(jacobian.shape)}")
    m, d = jacobian.shape[-2:]
    whole = d // TILE
    if jacobian.ndim > 2 or whole < 2:
        wide = _wide(jacobian)
        return (wide @ wide.mT).double()
    tiles = jacobian[:, : whole * TILE].reshape(m, whole, TILE).transpose(0, 1)
    total = torch.zeros(m, m, dtype=torch.float64, device=jacobian.device)
    for part in tiles.split(1024):
        wide = _wide(part)
        total += torch.bmm(wide, wide.mT).sum(0, dtype=torch.float64)
    rest = _wide(jacobian[:, whole * TILE :])
    return total + (rest @ rest.mT).double()


def _wide(part: Tensor) -> Tensor:
    """At least float32."""
    return part.float() if part.dtype in {torch.float16, torch.bfloat16} else part


class GramianAccumulator:
    """The sum of Gramians of many tensors' rows; a row that is None is structurally absent and counts as zero.

    :param m: number of objectives.
    :param batch_shape: leading axes of every row.
    :raises ArgumentError: fewer than one objective.

    >>> g = GramianAccumulator(2)
    >>> g.add([torch.tensor([1.0, 2.0]), None])
    >>> g.total.tolist()
    [[5.0, 0.0], [0.0, 0.0]]
    """

    def __init__(self, m: int, batch_shape: tuple[int, ...] = (), device: torch.device | str = "cpu") -> None:
        if m < 1:
            raise ArgumentError(f"m: expected at least one objective, found {m}")
        self.m, self.batch_shape = m, batch_shape
        self.total = torch.zeros(*batch_shape, m, m, dtype=torch.float64, device=device)

    def add(self, rows: Sequence[Row]) -> None:
        """Add one tensor's rows, each of the tensor's shape ``[*batch, ...]``.

        :raises ArgumentError: another number of rows.
        """
        if len(rows) != self.m:
            raise ArgumentError(f"rows: expected {self.m}, one an objective, found {len(rows)}")
        present = [(i, row) for i, row in enumerate(rows) if row is not None]
        if self.batch_shape or len(present) > FEW:
            self._add_stacked(present)
        else:
            self._add_pairs(present)

    def _add_stacked(self, present: list[tuple[int, Tensor]]) -> None:
        """One product of the stacked rows, tile by tile."""
        if not present:
            return
        index = torch.tensor([i for i, _ in present], device=self.total.device)
        flat = [row.reshape(*self.batch_shape, -1) for _, row in present]
        block = torch.zeros(
            *self.batch_shape, len(present), len(present), dtype=torch.float64, device=self.total.device
        )
        for tile in zip(*(row.split(8 * TILE, -1) for row in flat), strict=True):
            wide = _wide(torch.stack(tile, -2))
            block += (wide @ wide.mT).double()
        self.total[..., index[:, None], index] += block

    def _add_pairs(self, present: list[tuple[int, Tensor]]) -> None:
        """Dot products, tile by tile so that single precision loses nothing with the number of parameters."""
        flat = [(i, row.reshape(-1)) for i, row in present]
        for a, (i, left) in enumerate(flat):
            for j, right in flat[a:]:
                value = _dot(left, right)
                self.total[i, j] += value
                if i != j:
                    self.total[j, i] += value


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """A dot product in float64, tiles of it in at least float32."""
    long = left.numel() // TILE * TILE
    tail = torch.dot(_wide(left[long:]), _wide(right[long:])).double()
    if not long:
        return tail
    tiles = torch.bmm(_wide(left[:long]).view(-1, 1, TILE), _wide(right[:long]).view(-1, TILE, 1))
    return tail + tiles.sum(dtype=torch.float64)


def unbiased_gramian(mean: Tensor, local: Tensor) -> Tensor:
    r"""The U-statistic of R independent micro-batches: an unbiased Gramian of the population gradients, at no extra sampling.

    .. math:: \hat G = \frac{R^2 \bar J \bar J^\top - \sum_r J_r J_r^\top}{R(R-1)}

    The plain J̄J̄ᵀ is too large by the noise's own Gramian over R. The estimate may have negative eigenvalues: ``clipped`` makes it a Gramian.

    Shape: mean ``[*batch, m, m]`` (Gramian of the mean rows), local ``[R, *batch, m, m]`` (Gramians of each micro-batch).

    :raises ArgumentError: fewer than two micro-batches.

    Source: derived here.

    >>> unbiased_gramian(torch.tensor([[1.0]]), torch.tensor([[[0.0]], [[4.0]]])).tolist()
    [[0.0]]
    """
    count = local.shape[0]
    if count < 2:
        raise ArgumentError(f"local: expected at least 2 micro-batches, found {count}")
    return (count**2 * mean - local.sum(0)) / (count * (count - 1))


def clipped(estimate: Tensor) -> Tensor:
    """The nearest positive semi-definite matrix: symmetric part, negative eigenvalues set to zero.

    >>> clipped(torch.tensor([[1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    values, vectors = eigen((estimate + estimate.mT) / 2)
    return (vectors * values.clamp(min=0)[..., None, :]) @ vectors.mT


def combine(rows: Sequence[Row], weights: Tensor, out: Tensor | None = None) -> Tensor | None:
    """``Σ w_i row_i`` of one tensor, added to ``out`` in place or, without one, written over the first row.

    No tensor of the parameter's size is allocated, except where the first row shares its memory with another (then it is copied once).
    None when every row is absent and there is nothing to add to.

    Shape: rows ``[*batch, ...]``, weights ``[*batch, m]``.

    >>> combine([torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0])], torch.tensor([0.5, 2.0])).tolist()
    [0.5, 3.0]
    """
    present = [(i, row) for i, row in enumerate(rows) if row is not None]
    if not present:
        return out
    if out is None:
        i, first = present.pop(0)
        out = (
            first
            if _private(first, [row for _, row in present])
            else first.clone(memory_format=torch.contiguous_format)
        ).mul_(_spread(weights[..., i], first))
    for i, row in present:
        out.addcmul_(row, _spread(weights[..., i], row))
    return out


def _spread(weight: Tensor, row: Tensor) -> Tensor:
    """A weight ``[*batch]`` ready to multiply a row ``[*batch, ...]``."""
    return weight.to(row.dtype).reshape(*weight.shape, *(1 for _ in range(row.ndim - weight.ndim)))


def _private(row: Tensor, others: list[Tensor]) -> bool:
    """Whether a row may be overwritten: dense, and sharing memory with no other row."""
    dense = row.is_contiguous() or (
        row.numel() > 0 and 0 not in row.stride() and row.untyped_storage().nbytes() >= row.numel() * row.element_size()
    )
    home = row.untyped_storage().data_ptr()
    return dense and all(other.untyped_storage().data_ptr() != home for other in others)
