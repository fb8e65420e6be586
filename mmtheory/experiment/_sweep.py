"""Sweeps and cells: an experiment's factors as data, each combination with an address that depends on its content alone."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mmtheory.errors import ArgumentError
from mmtheory.world import Json


def canonical(value: object) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII; equal values give equal text.

    :raises ArgumentError: what JSON cannot hold exactly (NaN, infinities, objects).

    >>> canonical({"b": (1, 2), "a": None})
    '{"a":null,"b":[1,2]}'
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"canonical JSON: expected finite numbers, texts, lists and mappings, found {error}"
        ) from error


def address(value: object, *, bits: int = 128) -> str:
    """BLAKE2b of the canonical JSON text, in hexadecimal."""
    return hashlib.blake2b(canonical(value).encode(), digest_size=bits // 8).hexdigest()


@dataclass(frozen=True)
class Cell:
    """One combination of factors of one experiment, under one version of the code.

    Equal experiment, factors and version give an equal ``id`` on any machine, in whatever order the factors are named.

    >>> Cell("e", {"a": 1, "b": 2}).id == Cell("e", {"b": 2, "a": 1}).id
    True
    """

    experiment: str
    factors: Mapping[str, Any]
    version: str = ""

    @cached_property
    def id(self) -> str:
        """The address: 128 bits of BLAKE2b over experiment, factors and version."""
        return address({"experiment": self.experiment, "factors": dict(self.factors), "version": self.version})

    def __str__(self) -> str:
        """``experiment(a=1, b=2)``, as messages show it."""
        return f"{self.experiment}({', '.join(f'{k}={v}' for k, v in self.factors.items())})"


@dataclass(frozen=True)
class Sweep:
    """Named axes whose product is the cells; an axis is data, so a sweep can be written down in TOML.

    :param axes: axis name → its values, in the order in which cells are wanted (the last axis runs fastest).
    :param version: what of the code the results depend on; another version has other cells.
    :raises ArgumentError: an empty axis, or one that names a value twice.

    >>> [dict(cell.factors) for cell in Sweep("e", {"n": (1, 2)})]
    [{'n': 1}, {'n': 2}]
    """

    name: str
    axes: Mapping[str, Sequence[Json]] = field(default_factory=dict[str, Sequence[Json]])
    version: str = ""

    def __post_init__(self) -> None:
        for axis, values in self.axes.items():
            if not values or len({canonical(v) for v in values}) != len(values):
                raise ArgumentError(
                    f"{self.name}: expected axis {axis!r} to hold distinct values, found {list(values)}"
                )

    def __iter__(self) -> Iterator[Cell]:
        """The cells, in the order of the axes."""
        for values in itertools.product(*self.axes.values()):
            yield Cell(self.name, dict(zip(self.axes, values, strict=True)), self.version)

    def __len__(self) -> int:
        """How many cells."""
        size = 1
        for values in self.axes.values():
            size *= len(values)
        return size
