"""Watching tensors: an operation that makes the host wait for the device is an error while the watch is on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

TORCH = str(Path(torch.__file__).parent)
WAITING = {
    "_local_scalar_dense",
    "equal",
    "allclose",
    "is_nonzero",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_consecutive",
}
"""Operations whose result or result's shape the host must know before it can go on."""
LEAVING = {"tolist", "numpy", "cpu", "item"}
"""Methods of a tensor that hand its numbers to the host."""


@contextmanager
def no_waiting(who: str) -> Generator[None]:
    """Within it, reading a tensor's numbers on the host fails: item, bool, float, tolist, numpy, cpu, nonzero, boolean indexing.

    A function that asks for ``device.type`` itself is trusted to read numbers on the CPU alone, where that is free.

    :param who: named in the failure.
    :raises AssertionError: at the call that would wait.
    """
    with ExitStack() as stack:
        operations = _Operations(who)
        stack.enter_context(_Calls(who, operations))
        stack.enter_context(operations)
        yield


def _fail(who: str, what: str) -> None:
    frame = inspect.currentframe()
    while frame and frame.f_back and frame.f_code.co_filename.startswith((__file__, TORCH)):
        frame = frame.f_back
    if frame and {"device", "type"} <= set(frame.f_code.co_names):
        return
    raise AssertionError(f"{who}: expected no wait of the host for the device, found {what}")


class _Operations(TorchDispatchMode):
    """Sees every operation below Python."""

    def __init__(self, who: str) -> None:
        super().__init__()
        self.who, self.trusts = who, False

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 (torch's own signature)
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (torch's own signature)
        name = str(func.overloadpacket.__name__)
        if self.trusts:
            return func(*args, **(kwargs or {}))
        if name in WAITING:
            _fail(
                self.who,
                {"_local_scalar_dense": "a tensor read as a Python number (item, bool, float)"}.get(name, name),
            )
        if name in {"index", "index_put", "index_put_"} and any(
            isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1] if i is not None
        ):
            _fail(self.who, "an index of booleans, whose result's shape depends on numbers; use torch.where")
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    """Sees the Python calls that copy to the host without an operation of their own."""

    def __init__(self, who: str, operations: _Operations) -> None:
        super().__init__()
        self.who, self.operations = who, operations

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 (torch's own signature)
        name = getattr(func, "__name__", "")
        if name in LEAVING and args and isinstance(args[0], Tensor):
            _fail(self.who, f"Tensor.{name}()")
        # With the number of classes given, one_hot looks at its labels on the CPU alone.
        self.operations.trusts = name == "one_hot" and (len(args) > 1 or "num_classes" in (kwargs or {}))
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.operations.trusts = False
