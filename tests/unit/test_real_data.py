"""Real data sets: every tiny double has its layout, splits do not leak, every way in which a file can be broken is told."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mmtheory.errors import ArgumentError, DataError
from real.cli import data as command
from real.data import DATASETS
from real.data._dataset import MARKER
from real.data._prepared import JOURNAL, Preparation, damaged, folder_of, mapped
from real.data._splits import TEST, TRAIN, VALIDATION, shared_groups

SHARED = Path(__file__).parents[3] / "shared" / "data"
EVERY = sorted(DATASETS)


@pytest.fixture(scope="module")
def doubles(tmp_path_factory):
    return {name: DATASETS[name].write_double(tmp_path_factory.mktemp(name)) for name in EVERY}


@pytest.mark.parametrize("name", EVERY)
def test_a_double_has_its_layout(doubles, name):
    data = DATASETS[name](doubles[name])
    found = data.check()
    assert found["double"]
    assert found["samples"] == len(data.index.ids) == len(set(data.index.ids))
    assert sum(found["classes"].values()) == found["samples"]
    assert sum(count > 0 for count in found["classes"].values()) >= 2
    for part in ("train", "validation", "test"):
        assert all(split[part] > 0 for split in found["splits"].values())


@pytest.mark.parametrize("name", EVERY)
def test_splits_are_partitions_and_group_splits_do_not_leak(doubles, name):
    data = DATASETS[name](doubles[name])
    for split in data.splits:
        codes = data.codes(split, seed=3)
        assert torch.equal(codes, data.codes(split, seed=3))
        assert set(codes.unique().tolist()) >= {TRAIN, VALIDATION, TEST}
        if split in data.index.groups:
            assert shared_groups(codes, data.index.groups[split]) == 0
    parts = data.load(seed=1)
    rows = torch.cat([part.ids for part in (parts.train, parts.validation, parts.test)])
    assert len(rows.unique()) == len(rows)
    for m, part in data.modalities.items():
        assert parts.train.x[m].shape[1:] == part.shape
        assert parts.train.x[m].dtype == getattr(torch, part.dtype)


@pytest.mark.parametrize("name", EVERY)
def test_preparation_is_the_data_and_goes_on_after_a_kill(doubles, name, tmp_path, monkeypatch):
    root = tmp_path / "root"
    shutil.copytree(doubles[name], root)
    whole = DATASETS[name](root).whole
    parts = DATASETS[name].modalities.values()
    sample = sum(math.prod(p.shape) * np.dtype(p.dtype).itemsize for p in parts)
    monkeypatch.setattr("real.data._prepared.BLOCK_BYTES", 8 * sample)

    class KillError(Exception):
        pass

    def kill(done: int, _total: int) -> None:
        if done >= 8:
            raise KillError

    with pytest.raises(KillError):
        Preparation(DATASETS[name](root), tmp_path / "p").run(kill)
    with (tmp_path / "p" / JOURNAL).open("a") as journal:
        journal.write('{"start": 8, "st')  # the kill came in the middle of a line, and of the arrays
    part = next((tmp_path / "p").glob("*.part"))
    part.write_bytes(part.read_bytes() + b"half")
    told: list[int] = []
    Preparation(DATASETS[name](root), tmp_path / "p").run(lambda done, _total: told.append(done))
    assert told[0] == 8
    for m, array in mapped(tmp_path / "p").items():
        assert torch.equal(array, whole[m])
    assert not list(damaged(tmp_path / "p"))
    Preparation(DATASETS[name](root), folder_of(DATASETS[name](root))).run()
    again = DATASETS[name](root).whole
    assert all(torch.equal(again[m], whole[m]) for m in whole)


def test_damage_after_preparation_is_told(tmp_path, capsys):
    root = DATASETS["htad"].write_double(tmp_path)
    assert command(["prepare", "htad", "--root", str(root)]) == 0
    assert command(["check", "htad", "--root", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["prepared"] is not None
    array = root / "mmtheory-prepared/htad/audio.npy"
    raw = bytearray(array.read_bytes())
    raw[-1] ^= 1
    array.write_bytes(raw)
    with pytest.raises(DataError, match=r"audio.npy: expected samples 0 to 70 as they were prepared"):
        command(["check", "htad", "--root", str(root)])
    array.write_bytes(raw[:-8])
    with pytest.raises(DataError, match=r"audio.npy: .* shortened"):
        DATASETS["htad"](root).load()


def test_a_full_disk_keeps_what_is_prepared(tmp_path, monkeypatch):
    root = DATASETS["htad"].write_double(tmp_path)
    data = DATASETS["htad"](root)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100})())
    with pytest.raises(DataError, match="no space left; what is prepared stays"):
        Preparation(data, folder_of(data)).run()
    monkeypatch.undo()
    Preparation(data, folder_of(data)).run()


def test_prepared_arrays_of_other_samples_are_refused(tmp_path):
    root = DATASETS["htad"].write_double(tmp_path)
    Preparation(DATASETS["htad"](root), tmp_path / "p").run()
    lines = (root / "htad.csv").read_text().splitlines()
    (root / "htad.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    with pytest.raises(DataError, match="expected arrays of these samples"):
        Preparation(DATASETS["htad"](root), tmp_path / "p").run()


@pytest.mark.parametrize(
    ("file", "broken", "sentence"),
    [
        ("mfeat-zer", lambda t: t.replace(" ", " x", 1), "mfeat-zer, line 1: expected numbers"),
        ("mfeat-mor", lambda t: t + "1 2 3\n", "mfeat-mor, line 101: expected 6 numbers, found 3"),
        ("mfeat-kar", lambda t: "nan " + t.split(" ", 1)[1], "mfeat-kar, line 1: expected finite numbers"),
        (
            "mfeat-fou",
            lambda t: "version https://git-lfs.github.com/spec/v1\n",
            "mfeat-fou: .*Git-LFS stub.*git lfs pull",
        ),
        ("mfeat-pix", lambda t: "".join(t.splitlines(keepends=True)[:50]), "as many numerals in every view"),
        ("mfeat-fac", None, "mfeat-fac: expected a file, found: No such file"),
    ],
)
def test_a_broken_view_is_told_with_its_line(tmp_path, file, broken, sentence):
    root = DATASETS["uci-multiple-features"].write_double(tmp_path)
    if broken is None:
        (root / file).unlink()
    else:
        (root / file).write_text(broken((root / file).read_text()))
    with pytest.raises(DataError, match=sentence):
        DATASETS["uci-multiple-features"](root).check()


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda f: f.write_bytes(f.read_bytes()[:-100]), "expected 2000 samples, found 1950, truncated"),
        (
            lambda f: f.write_bytes(f.read_bytes()[:40] + bytes(4)),
            "3_george_5.wav: expected sound, found a wav file of zero",
        ),
        (lambda f: f.write_bytes(b""), "3_george_5.wav: expected content, found an empty file"),
        (lambda f: f.write_text("version https://git-lfs.github.com/spec/v1\n"), "3_george_5.wav: .*Git-LFS stub"),
        (lambda f: f.rename(f.with_name("three.wav")), "three.wav: expected a name like"),
        (lambda f: f.unlink(), "expected 120 samples, found 119"),
    ],
)
def test_a_broken_recording_is_told(tmp_path, broken, sentence):
    root = DATASETS["av-digits"].write_double(tmp_path)
    broken(root / "recordings" / "3_george_5.wav")
    with pytest.raises(DataError, match=sentence):
        DATASETS["av-digits"](root).check()


def test_a_repeated_id_is_told(tmp_path, monkeypatch):
    root = DATASETS["av-digits"].write_double(tmp_path)
    data = DATASETS["av-digits"](root)
    data.__dict__["pairs"] = [data.pairs[0], *data.pairs[:-1]]
    with pytest.raises(DataError, match="expected every id once"):
        data.check()


def test_words_that_mean_nothing_are_refused(tmp_path, capsys):
    for words, sentence in [
        (["check", "htat"], "did you mean htad"),
        (["check"], "expected the name of a data set"),
        (["prepare", "htad"], "expected --root DIR"),
        (["look"], "look"),
    ]:
        with pytest.raises(ArgumentError, match=sentence):
            command(words)
    with pytest.raises(DataError, match=r"expected --root DIR, the folder of the download"):
        command(["check", "av-digits"])
    with pytest.raises(DataError, match=r"nowhere: expected the folder of av-digits"):
        command(["check", "av-digits", "--root", str(tmp_path / "nowhere")])
    with pytest.raises(DataError, match="expected recordings like"):
        command(["check", "av-digits", "--root", str(tmp_path)])
    assert capsys.readouterr().out == ""


def test_the_list_names_every_data_set(capsys):
    assert command(["list", "--json"]) == 0
    told = {d["name"]: d for d in json.loads(capsys.readouterr().out)["datasets"]}
    assert set(told) == set(DATASETS)
    assert all(d["licence"] and d["source"] and d["splits"] and d["modalities"] for d in told.values())


@pytest.mark.parametrize(
    ("name", "folder", "samples"),
    [
        ("uci-multiple-features", "handwritten6", 2000),
        ("av-digits", "fsdd", 1797),
        ("wikipedia", "wikipedia", 2866),
        ("scene-15", "scene15", 4485),
    ],
)
def test_the_real_files_have_their_layout(name, folder, samples):
    if not (SHARED / folder).exists():
        pytest.skip(f"{SHARED / folder} is not there")
    data = DATASETS[name](SHARED / folder)
    assert data.check()["samples"] == samples
    assert not data.double


def test_htad_needs_no_download():
    parts = DATASETS["htad"]().load(seed=2)
    assert (parts.train.n, parts.validation.n, parts.test.n) == (970, 139, 277)


def test_nothing_of_a_double_is_left_unmarked(doubles):
    assert all((root / MARKER).exists() for root in doubles.values())
