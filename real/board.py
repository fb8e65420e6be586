"""A run's log lines for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from mmtheory.errors import ArgumentError


@final
class Board:
    """Writes every number of a log line as a scalar over the epochs.

    :param folder: where the event files go.
    :param epoch: the epoch that the run goes on from; events after it are of a run that was killed, and are taken back.
    :raises ArgumentError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise ArgumentError(
                "train: expected TensorBoard for --tensorboard, found none; pip install 'mmtheory[tensorboard]'"
            ) from error
        self._writer: Any = SummaryWriter(str(folder), purge_step=epoch + 1)

    def tell(self, line: Mapping[str, Any]) -> None:
        """One epoch."""
        for name, value in line.items():
            if name != "epoch" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, line["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """No more epochs."""
        self._writer.close()
