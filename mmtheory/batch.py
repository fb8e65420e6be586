"""Data on its way from a world or a data set to a learner: inputs by modality name, labels, presence, sample ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError, DataError


@dataclass(frozen=True)
class Batch:
    """Paired samples of several named modalities.

    Shape: ``x[m]`` [*batch_shape, n, d_m] (or integer symbols [*batch_shape, n]), ``y`` [*batch_shape, n], ``present[m]``
    [*batch_shape, n] of bool (absent key: always present), ``ids`` [n].

    :raises ArgumentError: no modality, or leading shapes that disagree.

    >>> Batch({"a": torch.zeros(5, 2)}, torch.zeros(5)).n
    5
    """

    x: Mapping[str, Tensor]
    y: Tensor
    present: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    ids: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.x:
            raise ArgumentError("batch: expected at least one modality, found none")
        lead = self.y.shape
        for name, part in {**self.x, **{f"present[{k}]": v for k, v in self.present.items()}}.items():
            if part.shape[: len(lead)] != lead:
                raise ArgumentError(
                    f"batch: expected {name} to begin with the labels' shape {tuple(lead)}, found {tuple(part.shape)}"
                )

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names in their order."""
        return tuple(self.x)

    @property
    def n(self) -> int:
        """Samples in each replicate."""
        return self.y.shape[-1]

    @property
    def batch_shape(self) -> torch.Size:
        """The replicate axes in front."""
        return self.y.shape[:-1]

    def only(self, modalities: Iterable[str]) -> Batch:
        """The same samples with these modalities alone, in this batch's order."""
        keep = set(modalities)
        if missing := keep - set(self.x):
            raise ArgumentError(f"batch: expected modalities among {sorted(self.x)}, found {sorted(missing)}")
        return replace(
            self,
            x={m: v for m, v in self.x.items() if m in keep},
            present={m: v for m, v in self.present.items() if m in keep},
        )

    def rows(self, index: Tensor | slice) -> Batch:
        """The samples that ``index`` names, the same in every replicate."""
        cut = (*(slice(None),) * len(self.batch_shape), index)
        return Batch(
            {m: v[cut] for m, v in self.x.items()},
            self.y[cut],
            {m: v[cut] for m, v in self.present.items()},
            None if self.ids is None else self.ids[index],
        )

    def stacked(self) -> Tensor:
        """All modalities side by side, [*batch_shape, n, Σ d_m]."""
        return torch.cat(list(self.x.values()), dim=-1)

    def checked(self) -> Batch:
        """Itself, if every number in it is finite.

        :raises DataError: naming the modality and the first bad row.
        """
        for name, part in {**self.x, "y": self.y}.items():
            if part.is_floating_point() and not bool(part.isfinite().all()):
                row = int((~part.isfinite()).reshape(self.y.numel(), -1).any(-1).nonzero()[0])
                raise DataError(f"batch: expected finite numbers, found NaN or infinity in {name}, row {row}")
        return self
