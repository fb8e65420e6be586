"""Preparation survives what disks and people do: kills anywhere, a full disk, two at once, flipped bytes, sources that change."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmtheory.__main__ import main
from mmtheory.errors import DataError
from real.data import DATASETS
from real.data._files import samples, write_wav
from real.data._prepared import JOURNAL, MANIFEST, Preparation, damaged, folder_of, mapped


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr("real.data._prepared.BLOCK_BYTES", 300_000)
    return DATASETS["crema-d"].write_double(tmp_path / "crema-d")


def prepared(root, told=lambda _done, _all: None):
    data = DATASETS["crema-d"](root)
    return Preparation(data, folder_of(data)).run(told)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return DATASETS["crema-d"](DATASETS["crema-d"].write_double(tmp_path_factory.mktemp("whole"))).whole


def same(root, whole):
    found = mapped(folder_of(DATASETS["crema-d"](root)))
    assert all(torch.equal(found[m], v) for m, v in whole.items())


CHILD = """
import resource, sys
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, 2 * (int(sys.argv[2]),))
import real.data._prepared as prepared
prepared.BLOCK_BYTES = 300_000
from mmtheory.__main__ import main
sys.exit(main(["data", "prepare", "crema-d", "--root", sys.argv[1]]))
"""


def child(root, *largest):
    line = [sys.executable, "-c", CHILD, str(root), *map(str, largest)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_preparation_goes_on(root, whole):
    journal = root / "mmtheory-prepared/crema-d" / JOURNAL
    process = child(root)
    while process.poll() is None and not (journal.exists() and journal.read_text().count("\n") > 2):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert journal.exists(), "the kill came before the end"
    began = []
    prepared(root, lambda done, _all: began.append(done))
    assert began[0] > 0, "what was prepared is not decoded again"
    same(root, whole)


def test_a_limit_to_the_size_of_files_is_one_sentence_and_nothing_is_lost(root, whole):
    process = child(root, 2_000_000)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "found: File too large; what is prepared stays, the same command goes on" in said.splitlines()[-1]
    began = []
    prepared(root, lambda done, _all: began.append(done))
    assert began[0] > 0
    same(root, whole)


@pytest.mark.parametrize("named", [0, 1, 2])
def test_a_kill_while_arrays_get_their_names_loses_nothing(root, whole, monkeypatch, named):
    class KillError(BaseException):
        pass

    real, calls = os.replace, []

    def killed(source, target):
        if str(target).endswith(".npy"):
            calls.append(target)
            if len(calls) == named + 1:
                raise KillError
        if named == 2 and str(target).endswith(MANIFEST):
            raise KillError
        return real(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KillError):
        prepared(root)
    monkeypatch.undo()
    began = []
    prepared(root, lambda done, _all: began.append(done))
    assert began[0] == 30, "every block was there"
    same(root, whole)


def test_a_journal_that_promises_more_than_the_arrays_hold_is_not_believed(root, whole):
    def kill(done, _all):
        if done > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepared(root, kill)
    part = root / "mmtheory-prepared/crema-d/image.npy.part"
    os.truncate(part, 500_000)
    began = []
    prepared(root, lambda done, _all: began.append(done))
    assert 0 < began[0] <= 3
    same(root, whole)
    assert not list(damaged(folder_of(DATASETS["crema-d"](root))))


def test_two_at_once_do_not_mix(root, whole):
    refused = []

    def meanwhile(done, _all):
        if done == 6:
            with pytest.raises(DataError, match="expected nobody else at it, found another process") as error:
                prepared(root)
            refused.append(error)

    prepared(root, meanwhile)
    assert refused
    same(root, whole)


@pytest.mark.parametrize("harm", ["flip", "cut", "header", "gone"])
def test_damaged_arrays_are_told_by_check_and_mended_by_prepare(root, whole, harm, capsys):
    file = prepared(root) / "image.npy"
    raw = bytearray(file.read_bytes())
    if harm == "gone":
        file.unlink()
    else:
        raw[{"flip": 600_000, "cut": 0, "header": 20}[harm]] ^= harm != "cut"
        file.write_bytes(raw[: -200_000 if harm == "cut" else None])
    words = ["crema-d", "--root", str(root)]
    assert main(["data", "check", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "image.npy: expected" in said
    assert main(["data", "prepare", *words]) == 0
    assert "damaged blocks again" in capsys.readouterr().out
    assert main(["data", "check", *words]) == 0
    same(root, whole)


def test_a_source_that_was_changed_is_told_before_anything_is_trained(root, capsys, tmp_path):
    prepared(root)
    sound = root / "AudioWAV/1003_DFA_SAD_XX.wav"
    kept = sound.read_bytes()
    values, rate = samples(sound)
    write_wav(sound, values[:-100], rate)
    for words in ("check",), ("prepare",):
        assert main(["data", *words, "crema-d", "--root", str(root)]) == 2
        assert "found those of files that were changed since" in capsys.readouterr().err
    assert main(["train", "crema-d", "--root", str(root), "--epochs", "1", "--out", str(tmp_path / "run")]) == 2
    sound.unlink()
    assert main(["data", "check", "crema-d", "--root", str(root)]) == 2
    sound.write_bytes(kept)
    capsys.readouterr()
    assert main(["data", "check", "crema-d", "--root", str(root)]) == 0


@pytest.mark.parametrize("name", ["htad", "uci-multiple-features", "tcga-lgg", "scene-15", "av-mnist", "mimic-iii"])
def test_a_number_that_was_changed_in_a_table_is_told(name, tmp_path):
    root = DATASETS[name].write_double(tmp_path)
    data = DATASETS[name](root)
    Preparation(data, folder_of(data)).run()
    file = max(data.files(), key=lambda p: p.stat().st_size)
    raw = bytearray(file.read_bytes())
    if file.suffix == ".npy":
        raw[-1] ^= 1
    else:
        at = int(np.flatnonzero(np.frombuffer(raw, np.uint8) == ord("1"))[-1])
        raw[at] = ord("2")
    file.write_bytes(raw)
    with pytest.raises(DataError, match=r"changed since|of others|expected"):
        DATASETS[name](root).load()
