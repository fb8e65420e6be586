"""Everything that can be wrong with what a user brings: one sentence that names file and line, exit 2, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load, save

from mmtheory.__main__ import main
from mmtheory.errors import ArgumentError, DataError, StoreError
from mmtheory.training import Trainer
from real.checkpoint import unpacked
from real.data import DATASETS
from real.data._prepared import JOURNAL, Preparation, damaged, folder_of
from real.recipe import Recipe
from real.trainer import Fit


@pytest.fixture(scope="module")
def doubles(tmp_path_factory):
    return {name: DATASETS[name].write_double(tmp_path_factory.mktemp(name)) for name in ("htad", "crema-d", "av-digits")}  # fmt: skip


@pytest.fixture
def copy(doubles, tmp_path):
    def copied(name):
        root = tmp_path / name
        shutil.copytree(doubles[name], root)
        return root

    return copied


def cell(root, line, column, value):
    """Replace one cell of htad.csv, lines counted from 1."""
    lines = (root / "htad.csv").read_text().splitlines()
    cells = lines[line - 1].split(",")
    cells[column] = value
    lines[line - 1] = ",".join(cells)
    (root / "htad.csv").write_text("\n".join(lines) + "\n")


def only(root, pattern, content=None, *, cut=None):
    """Break the first file that fits: other content, or so many bytes of its own."""
    path = min(root.rglob(pattern))
    path.write_bytes(path.read_bytes()[:cut] if content is None else content)


STUB = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
SILENT = b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0@\x1f\0\0\x80>\0\0\x02\0\x10\0data\0\0\0\0"


@pytest.mark.parametrize(
    ("name", "harm", "sentence"),
    [
        ("crema-d", lambda r: shutil.rmtree(r / "AudioWAV"), "AudioWAV"),
        ("crema-d", lambda r: only(r, "*.wav", STUB), ".wav: expected the file itself, found a Git-LFS stub"),
        ("crema-d", lambda r: only(r, "*.jpg", cut=200), ".jpg: expected a whole picture"),
        ("crema-d", lambda r: only(r, "*.wav", SILENT), ".wav: expected sound, found a wav file of zero length"),
        ("av-digits", lambda r: only(r, "*.wav", SILENT), ".wav: expected sound, found a wav file of zero length"),
        ("htad", lambda r: cell(r, 1, 0, "klass"), "htad.csv: expected columns class"),
        ("htad", lambda r: cell(r, 6, 3, "one"), "htad.csv, line 6: expected numbers"),
        ("htad", lambda r: cell(r, 6, 0, "sweap_floor"), "htad.csv, line 6: expected a class among"),
        ("htad", lambda r: cell(r, 7, 3, "nan"), "htad.csv, line 7: expected finite numbers, found nan"),
        ("htad", lambda r: cell(r, 7, 3, "1,2"), "htad.csv, line 7: expected 53 fields, found 54"),
        ("crema-d", lambda r: again(r / "train.csv"), "train.csv, line 2: expected every clip once"),
    ],
)
def test_bad_files_cost_one_sentence_and_exit_2(copy, name, harm, sentence, capsys):
    root = copy(name)
    harm(root)
    for words in (["data", "check", name], ["train", name, "--epochs", "1", "--out", str(root.parent / "run")]):
        assert main([*words, "--root", str(root)]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("mmtheory: ")
        assert said.err.count("\n") == 1
        assert sentence in said.err
    assert not (root.parent / "run/checkpoint.safetensors").exists()


def again(path):
    """The first line once more."""
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[0], *lines[2:]]) + "\n")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fusion": "sum"}, "fusion 'concat' (expected 'sum')"),
        ({"method": "ogm"}, "method 'joint' (expected 'ogm')"),
        ({"width": 9}, "width 8 (expected 9)"),
        ({"encoder": {"audio": "linear"}}, "encoder 'auto' (expected {'audio': 'linear'})"),
        ({"precision": "bf16"}, "precision 'float32' (expected 'bf16')"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_by_what_differs(doubles, tmp_path, change, sentence):
    recipe = {"epochs": 1, "width": 8}
    Fit(DATASETS["htad"](doubles["htad"]), Recipe(**recipe), folder=tmp_path).run()
    kept = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(StoreError) as refused:
        Fit(DATASETS["htad"](doubles["htad"]), Recipe(**recipe | change), folder=tmp_path).resume()
    assert str(tmp_path / "checkpoint.safetensors") in str(refused.value)
    assert sentence in str(refused.value)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == kept


def test_a_checkpoint_whose_tensors_are_another_models_is_refused(doubles, tmp_path):
    fit = Fit(DATASETS["htad"](doubles["htad"]), Recipe(epochs=1, width=8), folder=tmp_path).run()
    path = tmp_path / "checkpoint.safetensors"
    tensors, question = unpacked(path)
    for harm in ({"now.parameters": torch.zeros(3)}, {"now.buffer.more": torch.zeros(3)}):
        path.write_bytes(save(load(fit.packed()) | harm, metadata={"question": json.dumps(question)}))
        with pytest.raises(StoreError, match=r"checkpoint.safetensors: expected a checkpoint of this model and method"):
            Fit(fit.data, fit.recipe, folder=tmp_path).resume()
    assert set(tensors) == set(load(fit.packed()))


def test_a_disk_that_fills_up_during_training_keeps_the_checkpoint_before(doubles, tmp_path, monkeypatch):
    recipe = Recipe(epochs=3, width=8)
    real, calls = os.replace, []

    def full(source, target):
        if str(target).endswith("checkpoint.safetensors"):
            calls.append(target)
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match=r"checkpoint.safetensors: .*No space left on device"):
        Fit(DATASETS["htad"](doubles["htad"]), recipe, folder=tmp_path / "a").run()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["checkpoint.safetensors"]
    rest = Fit(DATASETS["htad"](doubles["htad"]), recipe, folder=tmp_path / "a").resume()
    assert rest.trainer.epoch == 1
    whole = Fit(DATASETS["htad"](doubles["htad"]), recipe, folder=tmp_path / "b").run()
    assert rest.run().packed() == whole.packed()


def test_a_disk_that_fills_up_during_preparation_keeps_its_blocks(copy, monkeypatch):
    data = DATASETS["htad"](copy("htad"))
    folder = folder_of(data)
    monkeypatch.setattr("real.data._prepared.BLOCK_BYTES", 4000)
    real, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) == 8:  # two arrays and the journal a block: inside the third
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="no space left; what is prepared stays, the same command goes on") as refused:
        Preparation(data, folder).run()
    assert str(folder) in str(refused.value)
    blocks = (folder / JOURNAL).read_text().count("start")
    assert blocks == 2
    told = []
    Preparation(data, folder).run(lambda done, _all: told.append(done))
    assert told[0] > 0
    assert not list(damaged(folder))


def test_a_device_without_memory_keeps_the_checkpoint_before(doubles, tmp_path, monkeypatch):
    fit = Fit(DATASETS["htad"](doubles["htad"]), Recipe(epochs=3, width=8), folder=tmp_path)
    real = Trainer.run

    def full(self, epochs=None):
        if self.epoch == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, epochs)

    monkeypatch.setattr(Trainer, "run", full)
    with pytest.raises(ArgumentError, match="found no memory left for 64 samples; take more --accumulate than 1"):
        fit.run()
    assert Fit(fit.data, fit.recipe, folder=tmp_path).resume().trainer.epoch == 1


def test_predictions_take_fewer_samples_at_once_where_memory_ends(doubles, monkeypatch):
    fit = Fit(DATASETS["htad"](doubles["htad"]), Recipe(epochs=1, width=8)).run()
    part = fit.parts.validation
    plain, real, sizes = fit.trainer.predict(part), fit.trainer.method.predict, []

    def narrow(most):
        def predict(model, parts, some):
            if some.n > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            sizes.append(some.n)
            return real(model, parts, some)

        return predict

    monkeypatch.setattr(fit.trainer.method, "predict", narrow(5))
    torch.testing.assert_close(fit.trainer.predict(part, size=16), plain)
    assert max(sizes) == 4
    monkeypatch.setattr(fit.trainer.method, "predict", narrow(0))
    with pytest.raises(
        ArgumentError, match="expected predictions that fit on cpu, found no memory left for one sample"
    ):
        fit.measure()


def test_inputs_that_do_not_fit_on_the_device_are_refused_with_the_option(doubles, monkeypatch):
    def full(_parts, _device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("real.trainer.moved", full)
    with pytest.raises(ArgumentError, match="found no memory left for them; take --inputs host"):
        Fit(DATASETS["htad"](doubles["htad"]), Recipe(epochs=1, width=8))


@pytest.mark.parametrize("what", ["nowhere", "file"])
def test_a_root_that_is_no_folder_is_refused(tmp_path, what, capsys):
    (tmp_path / "file").write_text("")
    assert main(["train", "htad", "--root", str(tmp_path / what)]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / what}: expected the folder of htad (htad.csv), found none" in said
