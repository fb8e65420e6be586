"""How well predicted classes rank the samples of a group: reviews of a product by helpfulness, averaged over products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmtheory.stats import average_precision, normalised_gain


def ranking(scores: Tensor, y: Tensor, groups: Sequence[str], *, above: int = 0) -> dict[str, float | int | None]:
    """Mean average precision and NDCG at 3 and 5, each the mean over the groups that have anything to find; None where none has.

    Shape: scores and y [n], a group a sample.

    :param above: a sample is relevant to the average precision if its class is above this one; gains are 2^y − 1.

    Source: Nguyen et al. 2022, as evaluated there (code).

    >>> ranking(torch.tensor([0.2, 0.9, 0.5]), torch.tensor([1, 0, 2]), ["p", "p", "q"])["map"]
    0.75
    """
    found: dict[str, list[float]] = {"map": [], "ndcg@3": [], "ndcg@5": []}
    for group in dict.fromkeys(groups):
        rows = torch.tensor([i for i, g in enumerate(groups) if g == group], device=scores.device)
        s, labels = scores[rows], y[rows]
        if bool((labels > above).any()):
            found["map"].append(float(average_precision(s, labels > above)))
        if bool((labels > 0).any()):
            found["ndcg@3"].append(float(normalised_gain(s, labels, 3)))
            found["ndcg@5"].append(float(normalised_gain(s, labels, 5)))
    means = {name: sum(values) / len(values) if values else None for name, values in found.items()}
    return {**means, "lists": len(found["map"])}
