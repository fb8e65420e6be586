"""A mean over seeds with its interval, as tables and JSON hold it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mmtheory.stats import student

ALPHA = 0.05


def summary(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and Student's 95 % interval; no interval from a single value, nothing from none.

    >>> summary([1.0]), summary([])["mean"]
    ({'mean': 1.0, 'low': None, 'high': None}, None)
    """
    if len(values) < 2:
        return {"mean": values[0] if values else None, "low": None, "high": None}
    side = student(torch.tensor(values, dtype=torch.float64), alpha=ALPHA)
    return {"mean": sum(values) / len(values), "low": side.low, "high": side.high}
