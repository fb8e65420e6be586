"""Two processes train as one does, by every method: the same parameters in float64, encoders with batch norm included."""

from __future__ import annotations

import multiprocessing
import os
import runpy

import numpy as np
import pytest
import torch

from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS
from real.data import DATASETS
from real.distributed import Crew, crew
from real.recipe import Recipe
from real.trainer import Fit

FLOAT64 = {"epochs": 2, "batch_size": 16, "width": 6, "drop_last": True, "dtype": "float64"}


def fitted(root, method, together):
    """Two epochs by a method, with a shared head where it asks for one."""
    data = DATASETS["htad"](root)
    try:
        fit = Fit(data, Recipe(method=method, **FLOAT64), 1, crew=together)
    except ArgumentError:
        fit = Fit(data, Recipe(method=method, fusion="shared", **FLOAT64), 1, crew=together)
    return fit.run()


def normed(root, together):
    """An epoch of an encoder with batch norms."""
    recipe = Recipe(encoder={"colour": "resnet:tiny"}, **FLOAT64 | {"batch_size": 16, "epochs": 1})
    return Fit(DATASETS["cg-mnist"](root), recipe, 1, crew=together).run().trainer.state_dict()


def work(rank, root, pictures, folder):
    """One process of a crew: trains by every method and writes its parameters down."""
    torch.set_num_threads(1)
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank)}
    found = {}
    with crew("cpu", f"file://{folder}/store") as together:
        for method in METHODS:
            fit = fitted(root, method, together)
            found |= {method: fit.trainer.flat.data.numpy(), f"{method} best": fit.best_epoch}
        found |= {f"normed {k}": v.numpy() for k, v in normed(pictures, together).items()}
    np.savez(folder / f"{rank}.npz", **found)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return DATASETS["htad"].write_double(tmp_path_factory.mktemp("htad"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return DATASETS["cg-mnist"].write_double(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def both(root, pictures, tmp_path_factory):
    """What two processes found."""
    folder = tmp_path_factory.mktemp("crew")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch.distributed", "real.trainer", "transformers.models.resnet"])
    # This file is no module that a new process could import: it is run there, with what it is to do.
    tasks = [{"TASK": (rank, root, pictures, folder)} for rank in range(2)]
    processes = [context.Process(target=runpy.run_path, args=(__file__, task, "__main__")) for task in tasks]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(240)
        assert [process.exitcode for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(2)]


def test_two_processes_train_as_one_does_by_every_method(both, root, pictures):
    """One test: what both processes found costs more than all comparisons."""
    far = {}
    for method in METHODS:
        alone = fitted(root, method, Crew())
        assert (both[0][method] == both[1][method]).all(), f"{method}: both processes hold the same model"
        far[method] = np.abs(both[0][method] - alone.trainer.flat.data.numpy()).max()
        assert int(both[0][f"{method} best"]) == alone.best_epoch, method
    assert {method: d for method, d in far.items() if not d <= 1e-11} == {}
    norms = normed(pictures, Crew())
    assert any("running_var" in k for k in norms)
    for k, v in norms.items():
        assert (both[0][f"normed {k}"] == both[1][f"normed {k}"]).all()
        assert np.allclose(both[0][f"normed {k}"], v.numpy(), rtol=0, atol=1e-10), k


def test_what_cannot_be_shared_is_refused():
    with pytest.raises(ArgumentError, match="a batch size that 3 processes can share, found 16"):
        Crew(0, 3).share(16)
    with crew("cpu") as alone:
        assert alone == Crew()


if __name__ == "__main__":
    work(*globals()["TASK"])
