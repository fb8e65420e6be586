"""Gramians of gradients, tensor by tensor: J is never concatenated and no vector of its length is made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._eigen import eigen

TILE = 8192  # columns multiplied at once: m rows of them stay in the second-level cache
STACK = 8 * TILE  # columns copied side by side at once
DOTS = 16 * TILE  # columns of one dot product: single precision still errs by less than 1e-6 of ‖g_i‖‖g_j‖
LARGE = 2**24
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
    if jacobian.ndim > 2 or jacobian.shape[-1] < 2 * TILE:
        wide = _wide(jacobian)
        return (wide @ wide.mT).double()
    return torch.stack([_tiled(_wide(part)) for part in jacobian.split(1024 * TILE, -1)]).sum(0)


def _tiled(rows: Tensor) -> Tensor:
    """Gramian of ``[m, d]``: tiles multiplied side by side and summed in float64, so that single precision loses nothing with d."""
    m, d = rows.shape
    whole = d // TILE
    if whole < 2:
        return (rows @ rows.mT).double()
    tiles = rows[:, : whole * TILE].reshape(m, whole, TILE).transpose(0, 1)
    total = torch.bmm(tiles, tiles.mT).sum(0, dtype=torch.float64)
    rest = rows[:, whole * TILE :]
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
        self._sum = torch.zeros(*batch_shape, m, m, dtype=torch.float64, device=device)
        # Entries of dot products, by the objectives they are of: adding numbers one by one would cost more than the products.
        self._entries: dict[tuple[tuple[int, ...], torch.dtype], list[Tensor]] = {}

    @property
    def total(self) -> Tensor:
        """The Gramian so far, ``[*batch, m, m]`` in float64."""
        for (present, _), values in self._entries.items():
            k = len(present)
            self._place(present, torch.stack(values).view(-1, k, k).sum(0, dtype=torch.float64))
        self._entries.clear()
        return self._sum

    def add(self, rows: Sequence[Row]) -> None:
        """Add one tensor's rows, each of the tensor's shape ``[*batch, ...]``.

        :raises ArgumentError: another number of rows.
        """
        if len(rows) != self.m:
            raise ArgumentError(f"rows: expected {self.m}, one an objective, found {len(rows)}")
        present = tuple(i for i, row in enumerate(rows) if row is not None)
        flat = [row.reshape(*self.batch_shape, -1) for row in rows if row is not None]
        if not flat:
            return
        if len(flat) > FEW or self.batch_shape:
            self._place(present, _of_many(flat, batched=bool(self.batch_shape)))
            return
        # Two or three rows: dot products of long tiles, which need no copy.
        tiles = [(row,) if row.numel() <= DOTS else row.split(_length(row, DOTS)) for row in flat]
        for part in zip(*tiles, strict=True):
            wide = _wide_all(part)
            self._entries.setdefault((present, wide[0].dtype), []).extend(_entries(wide))

    def _place(self, present: tuple[int, ...], block: Tensor) -> None:
        """Add a Gramian of some of the objectives."""
        if len(present) == self.m:
            self._sum += block
        else:
            index = torch.tensor(present).to(self._sum.device, non_blocking=True)
            self._sum[..., index[:, None], index] += block


def _entries(rows: Sequence[Tensor]) -> list[Tensor]:
    """The Gramian of rows, entry by entry, each pair multiplied once."""
    k = len(rows)
    known = {(i, j): torch.dot(rows[i], rows[j]) for i in range(k) for j in range(i, k)}
    return [known[min(i, j), max(i, j)] for i in range(k) for j in range(k)]


def _of_many(rows: Sequence[Tensor], *, batched: bool) -> Tensor:
    """Gramian of more rows, or of a batch, by products of stacks that stay in the cache."""
    parts = zip(*(row.split(_length(row, STACK), -1) for row in rows), strict=True)
    if not batched:
        return torch.stack([_tiled(torch.stack(_wide_all(part))) for part in parts]).sum(0)
    stacks = (torch.stack(_wide_all(part), -2) for part in parts)
    return torch.stack([(wide @ wide.mT).double() for wide in stacks]).sum(0)


def _wide_all(rows: Sequence[Tensor]) -> list[Tensor]:
    """Every row in at least float32."""
    return [_wide(row) for row in rows]


def _length(row: Tensor, on_host: int) -> int:
    """Columns taken at once: what a cache holds on the CPU; on an accelerator few large kernels are better."""
    return on_host if row.device.type == "cpu" else LARGE


def unbiased_gramian(mean: Tensor, local: Tensor) -> Tensor:
    r"""The U-statistic of R independent micro-batches: an unbiased Gramian of the population gradients, at no extra sampling.

    .. math:: \hat G = \frac{R^2 \bar J \bar J^\top - \sum_r J_r J_r^\top}{R(R-1)}

    The plain J̄J̄ᵀ is too large by the noise's own Gramian over R. The estimate may have negative eigenvalues: ``clipped`` makes it a Gramian.

    Shape: mean ``[*batch, m, m]`` (Gramian of the mean rows), local ``[R, *batch, m, m]`` (Gramians of each micro-batch).

    :raises ArgumentError: fewer than two micro-batches, shapes that disagree.

    Source: derived here.

    >>> unbiased_gramian(torch.tensor([[1.0]]), torch.tensor([[[0.0]], [[4.0]]])).tolist()
    [[0.0]]
    """
    count = local.shape[0]
    if count < 2:
        raise ArgumentError(f"local: expected at least 2 micro-batches, found {count}")
    if local.shape[1:] != mean.shape:
        raise ArgumentError(f"local: expected shape [R, *{list(mean.shape)}], found {list(local.shape)}")
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

    :raises ArgumentError: another number of weights than of rows.

    >>> combine([torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0])], torch.tensor([0.5, 2.0])).tolist()
    [0.5, 3.0]
    """
    if weights.shape[-1:] != (len(rows),):
        raise ArgumentError(f"weights: expected shape [*batch, {len(rows)}], found {list(weights.shape)}")
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
