"""A unimodal run as the teacher of mmlora: the same parts as a training within, and refusals of what is another's."""

import json

import pytest
import torch

from mmtheory.errors import ArgumentError, StoreError
from real.cli import train as command
from real.data import DATASETS
from real.recipe import Recipe
from real.trainer import Fit

SMALL = {"epochs": 2, "width": 8, "batch_size": 16}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return DATASETS["htad"](DATASETS["htad"].write_double(tmp_path_factory.mktemp("htad")))


@pytest.fixture(scope="module")
def taught(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ume")
    return Fit(data, Recipe(method="ume", **SMALL), folder=folder).run()


def test_adapters_start_from_the_best_state_of_the_run(data, taught, tmp_path):
    recipe = Recipe(method="mmlora", teacher=str(taught.folder), **SMALL)
    found = Fit(data, recipe, folder=tmp_path).run()
    taught.trainer.load_state_dict(taught.best)
    for m, encoder in found.trainer.model.encoders.items():
        held = taught.trainer.model.encoders[m].state_dict()
        assert all(torch.equal(v, held[k]) for k, v in encoder.inner.state_dict().items())
    none = Fit(data, Recipe(method="mmlora", teacher=str(taught.folder), strengths={"rank": 0}, **SMALL)).run()
    test = none.parts.test
    assert torch.equal(none.trainer.predict(test), taught.trainer.predict(test))
    again = Fit(data, recipe, folder=tmp_path).resume()
    assert torch.equal(again.trainer.flat.data, found.trainer.flat.data)


def test_the_command_takes_a_teacher(data, taught, tmp_path, capsys):
    told = [
        "htad",
        "--root",
        str(data.root),
        "--method",
        "mmlora",
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "run"),
        "--json",
    ]
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("width = 8\nbatch_size = 16\n")
    assert command([*told, "--recipe", str(recipe), "--teacher", str(taught.folder)]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"]["teacher"] == str(taught.folder)


def test_a_teacher_of_other_data_is_refused(data, taught, tmp_path, tmp_path_factory):
    recipe = Recipe(method="mmlora", teacher=str(taught.folder), **SMALL)
    with pytest.raises(ArgumentError, match=r"a run on the same data, found seed 0 \(expected 1\)"):
        Fit(data, recipe, 1)
    other = DATASETS["av-digits"](DATASETS["av-digits"].write_double(tmp_path_factory.mktemp("av")))
    with pytest.raises(ArgumentError, match=r"same data, found dataset 'htad' \(expected 'av-digits'\)"):
        Fit(other, recipe)
    Fit(data, Recipe(method="joint", **SMALL), folder=tmp_path).run()
    with pytest.raises(ArgumentError, match="a run of unimodal or ume, found 'joint'"):
        Fit(data, Recipe(method="mmlora", teacher=str(tmp_path), **SMALL))
    with pytest.raises(StoreError, match="the checkpoint of a unimodal run, found none"):
        Fit(data, Recipe(method="mmlora", teacher=str(tmp_path / "nowhere"), **SMALL))
    with pytest.raises(ArgumentError, match=r"starts from trained parts \(mmlora\), found joint"):
        Fit(data, Recipe(method="joint", teacher=str(taught.folder), **SMALL))
    with pytest.raises(
        ArgumentError, match=r"encoder of accelerometer like the model's|encoder of audio like the model's"
    ):
        Fit(data, Recipe(method="mmlora", teacher=str(taught.folder), **SMALL | {"width": 6}))
