"""Coalitions of a trained model: how well it does with some modalities only, and what follows for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.info import shapley, subsets
from mmtheory.methods import cross_entropy
from mmtheory.models import MultimodalModel

Scores = Mapping[frozenset[str], Tensor]
Score = Literal["accuracy", "log-likelihood"]


@torch.no_grad()
def coalition_scores(
    model: MultimodalModel, batch: Batch, *, score: Score = "accuracy"
) -> dict[frozenset[str], Tensor]:
    """How well the model does on these samples hearing each subset of its modalities only, the others stood in for by its policy.

    The encoders run once; 2^M forwards of the fusion. The empty coalition is a constant guess.

    Shape: [*batch] for every subset, the empty one included. Unit: nat for ``log-likelihood``.

    :param score: ``accuracy``, or the mean ``log-likelihood`` of the labels.
    :raises ArgumentError: an unknown score.
    """
    if score not in {"accuracy", "log-likelihood"}:
        raise ArgumentError(f"coalition_scores: expected accuracy or log-likelihood, found {score!r}")
    features, found = model.encode(batch.x), dict[frozenset[str], Tensor]()
    for heard in (frozenset[str](), *subsets(model.modalities)):
        logits = model.fuse(features, heard, batch.present)
        right = (logits.argmax(-1) == batch.y).double()
        found[heard] = (right if score == "accuracy" else -cross_entropy(logits.double(), batch.y)).mean(-1)
    return found


def conditional_utilisation(scores: Scores) -> dict[str, Tensor]:
    r"""Which share of the model's accuracy is lost without each modality.

    .. math:: u(m \mid \text{rest}) = \frac{A([M]) - A([M] \setminus m)}{A([M])}

    At M = 2 the difference u(a|b) − u(b|a) is the published imbalance. Near 0 for both of two modalities that say the same: it measures
    what cannot be replaced, not what is used. Accuracies are meant; a score that can be 0 or negative has no share.

    :raises ArgumentError: scores that lack a subset.

    Source: Wu et al. 2022 (M = 2); the rest for more modalities is derived here.

    >>> xor = {frozenset(): torch.tensor(0.5), frozenset("a"): torch.tensor(0.5), frozenset("b"): torch.tensor(0.5)}
    >>> conditional_utilisation({**xor, frozenset("ab"): torch.tensor(1.0)})
    {'a': tensor(0.5000), 'b': tensor(0.5000)}
    """
    everybody = frozenset[str]().union(*scores)
    if missing := [m for m in sorted(everybody) if everybody - {m} not in scores]:
        raise ArgumentError(f"conditional_utilisation: expected a score without {missing[0]!r}, found none")
    whole = scores[everybody]
    return {m: (whole - scores[everybody - {m}]) / whole for m in sorted(everybody)}


def trained_shapley(scores: Scores) -> dict[str, Tensor]:
    """Shapley value of each modality in the game of a trained model's scores; they sum to A([M]) − A(∅) exactly.

    :raises ArgumentError: scores that lack a subset.
    """
    everybody = frozenset[str]().union(*scores)
    return shapley(scores, sorted(everybody))
