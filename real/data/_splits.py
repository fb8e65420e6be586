"""Splits as codes: stratified, by groups that no two parts share, and a validation part carved out of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmtheory.errors import DataError
from mmtheory.rng import Stream

TRAIN, VALIDATION, TEST, UNUSED = 0, 1, 2, -1
CARVED = 1 / 8
"""Share of a published training part that becomes validation where none is published."""


def stratified(y: Tensor, *, seed: int, validation: float = 0.1, test: float = 0.2) -> Tensor:
    """Every class in the same proportions in every part, at random; three samples or more of a class are in all three.

    Shape: y [n] to codes [n].

    >>> stratified(torch.zeros(10).long(), seed=0).bincount().tolist()
    [7, 1, 2]
    """
    codes = torch.full_like(y, TRAIN)
    generator = Stream(seed, ("real", "stratified")).numpy()
    for label in y.unique().tolist():
        rows = generator.permutation((y == label).nonzero().squeeze(-1).numpy())
        least = 1 if len(rows) > 2 else 0
        first = max(least, round(len(rows) * test))
        second = max(first + least, round(len(rows) * (test + validation)))
        codes[torch.from_numpy(rows[:first])] = TEST
        codes[torch.from_numpy(rows[first:second])] = VALIDATION
    return codes


def by_group(groups: Sequence[str], *, seed: int, validation: float = 0.2, test: float = 0.2) -> Tensor:
    """Whole groups go to one part each, at random, at least one group to validation and to test.

    :raises DataError: fewer than three groups.

    >>> codes = by_group(["a", "a", "b", "c"], seed=0)
    >>> bool(codes[0] == codes[1]), sorted(codes.unique().tolist())
    (True, [0, 1, 2])
    """
    names = sorted(set(groups))
    if len(names) < 3:
        raise DataError(f"split by group: expected at least three groups, found {', '.join(names)}")
    order = Stream(seed, ("real", "groups")).numpy().permutation(len(names))
    tests = max(1, round(len(names) * test))
    validations = max(1, round(len(names) * validation))
    part = dict.fromkeys(names, TRAIN)
    part |= {names[i]: TEST for i in order[:tests]} | {names[i]: VALIDATION for i in order[tests : tests + validations]}
    return torch.tensor([part[g] for g in groups])


def carve(codes: Tensor, y: Tensor, *, seed: int) -> Tensor:
    """The same codes with an eighth of every class's training samples (at least one, if there are two) as validation."""
    carved = codes.clone()
    generator = Stream(seed, ("real", "carved")).numpy()
    for label in y.unique().tolist():
        rows = generator.permutation(((codes == TRAIN) & (y == label)).nonzero().squeeze(-1).numpy())
        count = 0 if len(rows) < 2 else max(1, round(len(rows) * CARVED))
        carved[torch.from_numpy(np.sort(rows[:count]))] = VALIDATION
    return carved


def shared_groups(codes: Tensor, groups: Sequence[str]) -> int:
    """How many groups have samples both in test and in training or validation: 0 where nothing leaks."""
    inside = {g for g, c in zip(groups, codes.tolist(), strict=True) if c in {TRAIN, VALIDATION}}
    return len(inside & {g for g, c in zip(groups, codes.tolist(), strict=True) if c == TEST})
