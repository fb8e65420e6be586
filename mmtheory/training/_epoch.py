"""What a method sees before an epoch: the splits, and services that it may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from torch import Tensor

from mmtheory.methods import Method
from mmtheory.models import MultimodalModel

from ._feed import spread_over

if TYPE_CHECKING:
    from ._loop import Trainer


@final
class EpochView:
    """What a method sees before an epoch (``methods.View``)."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.epoch, self.model, self.auxiliary = trainer.epoch, trainer.model, trainer.auxiliary
        self.train = spread_over(trainer.train_data, trainer.batch_shape)
        seen = trainer.validation if "validation" in trainer.method.needs else None
        self.validation = None if seen is None else spread_over(seen, trainer.batch_shape)
        self.draws = trainer.draws("epoch", trainer.epoch)
        self._order: Tensor | None = None

    @property
    def order(self) -> Tensor:
        """The sample indices of this epoch, [*batch, n_epoch]: a permutation of all until they are set."""
        return self._trainer.permutation() if self._order is None else self._order

    def set_order(self, index: Tensor) -> None:
        """The sample indices of this epoch, [*batch, n_epoch]."""
        self._order = index

    def fit(self, method: Method, epochs: int | None = None, *, continued: bool = False) -> MultimodalModel:
        """A copy of the model, untrained or as it is now, trained by another method (``methods.View``)."""
        other = self._trainer.beside(method)
        if continued:
            other.start_from(self._trainer)
        return other.run(epochs).model
