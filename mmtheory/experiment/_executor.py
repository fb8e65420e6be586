"""Executors: what runs cells. In this process one after the other, or in worker processes that may die without harm."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from mmtheory.errors import MmtheoryError

from ._sweep import Cell

Note = Callable[[Any], None]
Work = Callable[[Mapping[str, Any], Note], Mapping[str, Any]]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """A cell that was tried: what it measured, or the sentence that tells why not."""

    cell: Cell
    measured: Mapping[str, Any] | None = None
    failure: str | None = None


class Executor(Protocol):
    """Runs ``work(cell.factors, note)`` for every cell and yields outcomes as they come, in any order.

    ``work`` is a function of a module (workers find it by name); what it hands to ``note`` reaches ``on_note`` with its cell.
    """

    def run(self, work: Work, cells: Iterable[Cell], on_note: Callable[[Cell, Any], None]) -> Iterator[Outcome]:
        """One outcome a cell."""
        ...


class Serial:
    """In this process, in the order given, on one thread: what tests and debuggers want."""

    def run(self, work: Work, cells: Iterable[Cell], on_note: Callable[[Cell, Any], None]) -> Iterator[Outcome]:
        for cell in cells:
            with one_thread():
                measured, failure = attempt(work, cell.factors, lambda note, cell=cell: on_note(cell, note))
            yield Outcome(cell, measured, failure)


@dataclass(frozen=True)
class Pool:
    """Worker processes of one thread each; a cell whose worker dies is tried once more, then reported.

    Every worker has its own pipe, so it is known which cell it held when it died. Workers ignore Ctrl-C (the parent stops them) and
    leave when the parent is gone, so killing the parent leaves nobody behind.

    :param workers: how many at once.
    :param preload: modules that the server of processes imports once, so that each worker starts with them.
    """

    workers: int
    preload: tuple[str, ...] = ()
    retries: int = 1

    def run(self, work: Work, cells: Iterable[Cell], on_note: Callable[[Cell, Any], None]) -> Iterator[Outcome]:
        queue = deque((cell, 0) for cell in cells)
        staff: list[_Worker] = []
        try:
            while queue or any(worker.cell for worker in staff):
                self._hand_out(queue, staff, work)
                for worker in _heard(staff):
                    outcome = self._listen(worker, queue, staff, on_note)
                    if outcome is not None:
                        yield outcome
        finally:
            for worker in staff:
                worker.stop()

    def _hand_out(self, queue: deque[tuple[Cell, int]], staff: list[_Worker], work: Work) -> None:
        """Give every idle or new worker the next cell."""
        while queue:
            idle = next((worker for worker in staff if worker.cell is None), None)
            if idle is None:
                if len(staff) >= self.workers:
                    return
                idle = _Worker(work, self.preload)
                staff.append(idle)
            if not idle.take(*queue.popleft(), queue):
                staff.remove(idle)

    def _listen(
        self,
        worker: _Worker,
        queue: deque[tuple[Cell, int]],
        staff: list[_Worker],
        on_note: Callable[[Cell, Any], None],
    ) -> Outcome | None:
        """One message of a worker, or its death."""
        cell, tries = worker.cell, worker.tries
        if cell is None:
            return None
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            staff.remove(worker)
            worker.stop()
            if tries < self.retries:
                queue.appendleft((cell, tries + 1))
                return None
            return Outcome(cell, failure=f"the worker process died {tries + 1} times ({worker.epitaph()})")
        if kind == "note":
            on_note(cell, content)
            return None
        worker.cell = None
        return Outcome(cell, *content)


def processes(workers: int | None, cells: int) -> Executor:
    """A pool of processes, unless this one does.

    :param workers: how many; None means one a core, 0 means in this process.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = min(cores if workers is None else workers, cells)
    modules = ("mmtheory.experiment", *(entry.module for entry in entry_points(group="mmtheory.claims")))
    return Pool(wanted, preload=modules) if wanted > 1 or (workers == 1 and cells) else Serial()


class _Worker:
    """A process, the pipe to it, and the cell it holds."""

    def __init__(self, work: Work, preload: Sequence[str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(preload))
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with _environment(dict.fromkeys(THREADS, "1")), _deaf_to_ctrl_c():
            self.process.start()
        theirs.close()
        self.cell: Cell | None = None
        self.tries = 0

    def take(self, cell: Cell, tries: int, queue: deque[tuple[Cell, int]]) -> bool:
        """Start on a cell; False (and the cell back in the queue) if the process is gone already."""
        try:
            self.pipe.send(dict(cell.factors))
        except OSError:
            queue.appendleft((cell, tries))
            self.stop()
            return False
        self.cell, self.tries = cell, tries
        return True

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def epitaph(self) -> str:
        """How it ended."""
        code = self.process.exitcode
        return f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"


def _heard(staff: Sequence[_Worker]) -> list[_Worker]:
    """The busy workers that have something to say, or that have died."""
    busy = {worker.pipe: worker for worker in staff if worker.cell}
    return [busy[pipe] for pipe in wait(list(busy)) if isinstance(pipe, Connection)]


def _serve(pipe: Connection, work: Work) -> None:
    """A worker's life: take factors, measure, answer, until told to stop or until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    with one_thread(), suppress(EOFError, OSError):
        while True:
            factors = pipe.recv()
            pipe.send(("done", attempt(work, factors, lambda note: pipe.send(("note", note)))))


def _leave_with_parent() -> None:
    """End this process when the parent has ended, even in the middle of a computation."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def attempt(work: Work, factors: Mapping[str, Any], note: Note) -> tuple[Mapping[str, Any] | None, str | None]:
    """What the work measured, or why it failed: a deliberate error's own sentence, or the place of an accident."""
    try:
        return work(factors, note), None
    except MmtheoryError as error:
        return None, str(error)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return None, f"{type(error).__name__} in {os.path.basename(place.filename)}:{place.lineno}: {error}"


@contextmanager
def one_thread() -> Generator[None, None, None]:
    """Torch on one thread, so that sums have one order on every machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _deaf_to_ctrl_c() -> Generator[None, None, None]:
    """Processes started here inherit a blocked SIGINT: a Ctrl-C while they still import would print their tracebacks."""
    resource_tracker.ensure_running()  # started later, it would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Generator[None, None, None]:
    """Variables set while a process starts, and put back."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
