"""Two processes train as one does: the same parameters in float64, and gradients that were averaged before anything else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS
from real.data import DATASETS
from real.distributed import Crew, Sharded, crew
from real.recipe import Recipe
from real.trainer import Fit

METHODS_HERE = ("joint", "uniform", "mmpareto")


def fitted(root, method, together=None):
    recipe = Recipe(method=method, epochs=3, batch_size=16, width=8, drop_last=True, dtype="float64")
    return Fit(DATASETS["htad"](Path(root)), recipe, 1, crew=together or Crew()).run()


def work(root, out):
    """One process of a crew: trains by every method and writes its parameters down."""
    torch.set_num_threads(1)
    with crew("cpu") as together:
        fits = {method: fitted(root, method, together) for method in METHODS_HERE}
        found = {method: fit.trainer.flat.data.numpy() for method, fit in fits.items()}
        epochs = {f"{method} best": fit.best_epoch for method, fit in fits.items()}
        np.savez(f"{out}/{together.rank}.npz", **found, **epochs)


def test_two_processes_train_as_one_does(tmp_path):
    root = DATASETS["htad"].write_double(tmp_path / "htad")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    line = [sys.executable, __file__, str(root), str(tmp_path)]
    both = [subprocess.Popen(line, env={**place, "RANK": str(rank)}) for rank in range(2)]
    try:
        assert [process.wait(120) for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
            process.wait()
    found = [dict(np.load(tmp_path / f"{rank}.npz")) for rank in range(2)]
    for method in METHODS_HERE:
        alone = fitted(root, method)
        assert (found[0][method] == found[1][method]).all(), "both processes hold the same model"
        assert np.allclose(found[0][method], alone.trainer.flat.data.numpy(), rtol=0, atol=1e-12)
        assert int(found[0][f"{method} best"]) == alone.best_epoch
    assert np.abs(found[0]["joint"] - found[0]["mmpareto"][: len(found[0]["joint"])]).max() > 1e-3


def test_what_cannot_be_shared_is_refused():
    with pytest.raises(ArgumentError, match="whose statistics of a batch are not reduced"):
        Sharded(METHODS["ogm"](), Crew(0, 2))
    with pytest.raises(ArgumentError, match="a batch size that 3 processes can share, found 16"):
        Crew(0, 3).share(16)
    with crew("cpu") as alone:
        assert alone == Crew()


if __name__ == "__main__":
    work(*sys.argv[1:])
