"""The interface of a training method: hooks that the one loop calls; a method never sees a loader and never calls backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import FlatParameters, MultimodalModel
from mmtheory.rng import Draws

from ._losses import cross_entropy, declared_loss

if TYPE_CHECKING:
    from ._pretrained import Pretrained

Fidelity = Literal["paper", "repo", "reconstruction"]
Strength = float | Tensor
FORWARD = ("around", "on_features", "output", "losses")
"""Hooks that shape a pass up to its losses."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a method is, where it comes from, what it costs, and every difference from the authors' released code.

    :param cost: forwards (F) and backwards (B) of everything a step, joint training being ``1F + 1B``.
    :param neutral: the setting in which it is joint training bit for bit; "" when there is none.
    """

    name: str
    source: str
    summary: str
    fidelity: Fidelity
    cost: str = "1F + 1B"
    neutral: str = ""
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Phase:
    """One pass of a step: who is heard, which losses get a gradient of their own, and who may move.

    :param hear: modalities whose encoders run; None for all.
    :param rows: names of the losses that are differentiated separately.
    :param move: owners that the optimiser steps; None for all that a loss reached, () for none.
    """

    name: str = "main"
    hear: frozenset[str] | None = None
    rows: tuple[str, ...] = ("total",)
    move: tuple[str, ...] | None = None


@dataclass
class Step:
    """What a method sees of one pass: the batch, the features it gave rise to, the logits; nothing of loader or optimiser.

    Features and logits may lie in memory that the next pass overwrites: clone what is kept.
    """

    model: MultimodalModel
    auxiliary: nn.ModuleDict
    batch: Batch
    phase: Phase
    epoch: int
    index: int
    draw: Callable[[], Draws]
    features: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    logits: Tensor | None = None
    start: int = 0
    """Place of the batch's first sample in the epoch's order."""

    @cached_property
    def draws(self) -> Draws:
        """Random numbers of this pass; nothing is set up until somebody draws."""
        return self.draw()

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Mean cross-entropy of these logits with the batch's labels, one number a replicate."""
        return cross_entropy(logits, self.batch.y).mean(-1)

    def loss(self, outputs: Tensor) -> Tensor:
        """Mean declared loss of these outputs, one number a replicate: cross-entropy with classes, half the squared error with numbers."""
        return declared_loss(outputs, self.batch.y).mean(-1)


@dataclass
class Gradients:
    """Flat gradients [*batch, P] by row, with the owners that each row reaches structurally."""

    flat: FlatParameters
    rows: dict[str, Tensor]
    reached: dict[str, frozenset[str]]

    def owned(self, row: str, owner: str) -> Tensor:
        """The columns of one owner, a view [*batch, P_owner]."""
        return self.rows[row][..., self.flat.columns[owner]]

    def tensors(self, row: str, owner: str) -> list[Tensor]:
        """The same, as views shaped like the owner's parameters."""
        return self.flat.views(self.rows[row], owner)

    def total(self) -> Tensor:
        """The sum of all rows (the row itself when there is one)."""
        rows = list(self.rows.values())
        return rows[0] if len(rows) == 1 else torch.stack(rows).sum(0)


class View(Protocol):
    """What the loop hands to ``on_epoch``: splits to look at and services to ask for, at most these."""

    epoch: int
    model: MultimodalModel
    auxiliary: nn.ModuleDict
    train: Batch
    validation: Batch | None
    draws: Draws

    @property
    def order(self) -> Tensor:
        """The sample indices of this epoch [*batch, n_epoch]: a permutation of all until they are set."""
        ...

    def set_order(self, index: Tensor) -> None:
        """The sample indices of this epoch [*batch, n_epoch], in place of a permutation of all."""
        ...

    def fit(self, method: Method, epochs: int | None = None, *, continued: bool = False) -> MultimodalModel:
        """A copy of the model, trained by another method on the same data with the same settings.

        :param epochs: for so many; None for as many as the settings say.
        :param continued: the copy starts from the model and the auxiliary parts as they are now, not from their initialisation.
        """
        ...


class Method:
    """Joint training; every other method overrides hooks. Strengths are numbers or tensors [*batch].

    ``needs`` declares what the loop does only on demand: ``create_graph`` (gradients that can be differentiated), ``validation`` (a
    validation split, refused at the start where there is none; nobody else sees it), ``update`` (``on_update`` is called).
    """

    card: ClassVar[Card]
    needs: ClassVar[frozenset[str]] = frozenset()
    separate: ClassVar[bool] = False
    """Whether nothing that one modality's encoder learns depends on another modality: M trainings side by side."""
    why_classes: ClassVar[str] = "its losses and scores are those of class labels"
    """Why the labels must be classes; "" says that every loss comes from ``Step.loss``, so that numbers serve too (squared loss)."""

    def remodel(self, model: MultimodalModel, draws: Draws) -> MultimodalModel:
        """The model that is trained in place of the one that was built: parts frozen, adapters or prompts added to it."""
        return model

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        """Allocate state; refuse here, with the reason, a model that cannot give what the method needs."""

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        """Extra trainable parts by owner name (``head:audio``)."""
        return {}

    def hand_over(self, parts: Pretrained) -> None:
        """Start from parts of a training before this one; asked before ``remodel``.

        :raises ArgumentError: a method that trains all of its parts itself, as most do.
        """
        raise ArgumentError(
            f"{self.card.name}: expected a method that starts from trained parts, found one that trains all of its own"
        )

    def on_epoch(self, view: View) -> None:
        """Before each epoch: prototypes, example weights, re-initialisation."""

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        """The passes of a step, in order."""
        return (Phase(),)

    def around(self, step: Step) -> AbstractContextManager[None]:
        """A context around one pass (a weight perturbation, say), which must restore exactly."""
        return nullcontext()

    def on_features(self, step: Step) -> None:
        """Drop, mask or rescale ``step.features`` before fusion."""

    def output(self, step: Step) -> Tensor:
        """Logits of the pass."""
        return step.model.fuse(step.features, step.phase.hear, step.batch.present)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Losses by name, each [*batch]; the phase's rows are among them."""
        return {"total": step.loss(required(step.logits))}

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        """The flat gradient [*batch, P] that the optimiser is given."""
        return gradients.total()

    def on_update(self, step: Step, before: Tensor, flat: FlatParameters) -> None:
        """Change the move from ``before`` to ``flat.data`` [*batch, P], in place in the latter (need ``update``)."""

    def after_step(self, step: Step) -> None:
        """After the optimiser moved."""

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        """Logits (or log-probabilities) at test time."""
        return model(batch.x, None, batch.present).logits

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs, as tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what ``state_dict`` gave."""

    def plain(self) -> bool:
        """Whether features, logits and loss are those of joint training, so that the loop may take its passes in closed form.

        Asked once after ``bind``; true for methods that left ``around``, ``on_features``, ``output`` and ``losses`` as they are.
        """
        return all(getattr(type(self), hook) is getattr(Method, hook) for hook in FORWARD)

    def neutral(self) -> Method | None:
        """The instance that must equal joint training bit for bit, if there is one."""
        return None


def required(logits: Tensor | None) -> Tensor:
    """The logits, once the pass has them."""
    if logits is None:
        raise ArgumentError("step: expected logits, found a pass that has not fused its features yet")
    return logits


def per_replicate(strength: Strength, like: Tensor) -> Tensor | float:
    """A strength [*batch] with trailing axes of one, so that it broadcasts over ``like`` [*batch, …]."""
    if not isinstance(strength, Tensor) or strength.ndim == 0:
        return strength
    return strength.reshape(*strength.shape, *(1,) * (like.ndim - strength.ndim))
