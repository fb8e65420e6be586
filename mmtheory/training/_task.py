"""What is learnt: classes by cross-entropy or numbers by a squared loss, and who can be asked for which."""

from __future__ import annotations

import torch

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS, Method

from ._settings import Loss


def check_labels(data: Batch, outputs: int, method: Method, loss: Loss) -> None:
    """Look at the labels once, before training.

    :raises ArgumentError: labels that the loss is not for, a label that is no class of the model's, more or less than one output for
        numbers, or a method that cannot be trained by a squared loss.
    """
    if loss == "squared":
        _check_numbers(data, outputs)
        check_method_loss(method, loss)
        return
    if data.y.is_floating_point():
        raise ArgumentError(
            "training data: expected class labels for cross-entropy, found numbers (Settings(loss='squared') learns them)"
        )
    if data.y.numel() == 0:
        return
    low, high = (int(v) for v in data.y.aminmax())
    if low < 0 or high >= outputs:
        raise ArgumentError(f"training data: expected labels in 0 … {outputs - 1}, found {low if low < 0 else high}")


def check_method_loss(method: Method, loss: Loss) -> None:
    """:raises ArgumentError: a squared loss for a method that looks at classes, with its reason and the methods that do not."""
    if loss == "squared" and method.why_classes:
        others = ", ".join(name for name, kind in METHODS.items() if not kind.why_classes)
        raise ArgumentError(
            f"{method.card.name}: expected class labels and cross-entropy, found a squared loss ({method.why_classes}); "
            f"methods that can be trained by it: {others}"
        )


def _check_numbers(data: Batch, outputs: int) -> None:
    if not data.y.is_floating_point():
        raise ArgumentError(f"training data: expected numbers for a squared loss, found labels of {data.y.dtype}")
    if outputs != 1:
        raise ArgumentError(f"model: expected one output for a squared loss, found {outputs}")
    if not bool(torch.isfinite(data.y).all()):
        raise ArgumentError("training data: expected finite numbers as labels, found NaN or infinity")
