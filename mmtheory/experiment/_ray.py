"""An executor on Ray: whole cells handed to single-threaded actors, on this machine or on a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, final

from mmtheory.errors import ArgumentError

from ._executor import THREADS, Note, Outcome, Work, attempt, one_thread
from ._sweep import Cell


@final
@dataclass(frozen=True)
class Ray:
    """Actors of one core each; a cell whose actor dies is tried again on another, as often as ``retries`` says, then reported.

    Needs the ``ray`` extra. The numbers are those of any other executor, bit for bit, on machines of one kind: a cell is computed on
    one thread from its own factors alone. Notes of progress do not travel.

    :param address: of a running cluster; None starts Ray on this machine and stops it afterwards.
    :param workers: actors at once; None means one for each core that Ray has.
    """

    address: str | None = None
    workers: int | None = None
    retries: int = 2

    def run(self, work: Work, cells: Iterable[Cell], on_note: Callable[[Cell, Any], None]) -> Iterator[Outcome]:
        queue = [(cell, 0) for cell in cells]
        if not queue:
            return
        ray = _ray()
        started = not ray.is_initialized()
        if started:
            _begin(ray, self.address)
        try:
            yield from self._drive(ray, work, queue)
        finally:
            if started:
                ray.shutdown()

    def _drive(self, ray: Any, work: Work, queue: list[tuple[Cell, int]]) -> Iterator[Outcome]:  # noqa: ANN401 (a module without types)
        """Keep every actor busy until nothing is left."""
        actor = ray.remote(num_cpus=1, max_restarts=0)(_Actor)
        cores = int(ray.cluster_resources().get("CPU", 1))
        wanted = min(len(queue), cores if self.workers is None else self.workers)
        idle = [actor.remote(work) for _ in range(max(1, wanted))]
        busy: dict[Any, tuple[Any, Cell, int]] = {}
        while queue or busy:
            while queue and idle:
                cell, tries = queue.pop(0)
                worker = idle.pop()
                busy[worker.measure.remote(dict(cell.factors))] = worker, cell, tries
            (ready,), _ = ray.wait(list(busy), num_returns=1)
            worker, cell, tries = busy.pop(ready)
            try:
                measured, failure = ray.get(ready)
            except ray.exceptions.RayActorError as error:
                idle.append(actor.remote(work))
                if tries < self.retries:
                    queue.insert(0, (cell, tries + 1))
                else:
                    yield Outcome(cell, failure=f"the Ray actor died {tries + 1} times ({str(error).splitlines()[0]})")
                continue
            idle.append(worker)
            yield Outcome(cell, measured, failure)


class _Actor:
    """One core of Ray that measures cell after cell."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def measure(self, factors: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str | None]:
        """What the work measured, or the sentence that tells why not."""
        note: Note = lambda _note: None  # noqa: E731 (progress stays on the actor)
        with one_thread():
            return attempt(self.work, factors, note)


def _ray() -> Any:  # noqa: ANN401 (a module without types)
    try:
        return import_module("ray")
    except ImportError:
        raise ArgumentError(
            "expected the package ray for --executor ray, found none (pip install 'mmtheory[ray]')"
        ) from None


def _begin(ray: Any, address: str | None) -> None:  # noqa: ANN401
    """Start Ray here, or join a cluster; its workers compute on one thread."""
    environment = dict.fromkeys(THREADS, "1")
    shared = {"runtime_env": {"env_vars": environment}, "log_to_driver": False, "logging_level": "error"}
    try:
        if address is None:
            # Ray's own workers stand back behind everything else on the machine; here they are the work.
            ray.init(
                include_dashboard=False, num_cpus=len(os.sched_getaffinity(0)), _system_config={"worker_niceness": 0}, **shared
            )  # fmt: skip
        else:
            ray.init(address=address, **shared)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ArgumentError(
            f"expected a Ray cluster at --address {address}, found: {str(error).splitlines()[0]}"
        ) from error
