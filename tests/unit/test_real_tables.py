"""Data sets of arrays: pickles that would execute something are refused, and what is broken inside is told."""

from __future__ import annotations

import os
from pickle import dumps

import numpy as np
import pytest
import torch

from mmtheory.errors import DataError
from real.data import DATASETS
from real.data._splits import TEST, TRAIN, VALIDATION
from real.data._unpickle import unpickled, write_pickle


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (self.mark,))


def test_a_pickle_that_would_execute_something_is_refused(tmp_path):
    path, mark = tmp_path / "evil.pkl", str(tmp_path / "executed")
    path.write_bytes(dumps({"train": Evil(mark)}))
    with pytest.raises(DataError, match=r"expected a pickle of plain data, found: posix.mkdir, which is not data"):
        unpickled(path)
    assert not os.path.exists(mark)
    for word in ("builtins", "eval"), ("os", "system"), ("numpy", "load"), ("builtins", "getattr"):
        path.write_bytes(b"c" + "\n".join(word).encode() + b"\n(S'1'\ntR.")
        with pytest.raises(DataError, match="which is not data"):
            unpickled(path)


def test_plain_data_comes_back_and_broken_files_are_told(tmp_path):
    value = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": ["x", 1, None, (2, {3})],
        "c": np.float32(2),
        "d": np.array(["u", "v"]),
    }
    path = write_pickle(tmp_path / "p.pkl", value)
    found = unpickled(path)
    assert (found["a"] == value["a"]).all()
    assert found["b"] == value["b"]
    assert list(found["d"]) == ["u", "v"]
    for protocol in range(5):
        path.write_bytes(dumps(value, protocol=protocol))
        assert (unpickled(path)["a"] == value["a"]).all()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"p.pkl: expected a pickle of plain data"):
        unpickled(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match="Git-LFS stub"):
        unpickled(path)
    with pytest.raises(DataError, match=r"none.pkl: expected a file"):
        unpickled(tmp_path / "none.pkl")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda h: h.pop("valid"), "expected valid, found"),
        (lambda h: h["test"].pop("audio"), "expected test/audio, found"),
        (
            lambda h: h["train"]["regression_labels"].__setitem__(2, 4.0),
            "train: expected sentiments between −3 and 3, found 4.0",
        ),
        (lambda h: h["train"].update(vision=h["train"]["vision"][:-1]), "train: expected 12 rows of vision, found 11"),
        (
            lambda h: h["train"]["text"].__setitem__((1, 0, 0), np.nan),
            r"NaN or infinity in text of sample 'train0\$_\$1'",
        ),
        (lambda h: h["train"].update(id=["same"] * 12), "expected every id once, found 'same' twice"),
    ],
)
def test_broken_opinions_are_told(tmp_path, change, sentence):
    root = DATASETS["cmu-mosi"].write_double(tmp_path)
    path = root / "MOSI/Processed/aligned_50.pkl"
    held = unpickled(path)
    change(held)
    write_pickle(path, held)
    with pytest.raises(DataError, match=sentence):
        DATASETS["cmu-mosi"](root).load()


def test_minus_infinity_in_the_voice_is_zero(tmp_path):
    data = DATASETS["cmu-mosei"](DATASETS["cmu-mosei"].write_double(tmp_path))
    assert data.whole["audio"][0, 0, 0] == 0
    assert data.index.y.tolist() == [0, 1] * 12


def test_colours_tell_the_class_in_training_alone():
    data = DATASETS["cg-mnist"]()
    codes, y = data.codes(), data.index.y
    brightest = data.whole["colour"].flatten(2).float().amax(-1)
    same = {}
    for part in (TRAIN, VALIDATION, TEST):
        rows = codes == part
        centres = torch.stack([brightest[(codes == TRAIN) & (y == k)].mean(0) for k in range(10)])
        same[part] = (torch.cdist(brightest[rows], centres).argmin(-1) == y[rows]).float().mean().item()
    assert same[TRAIN] > 0.9
    assert same[VALIDATION] < 0.25
    assert same[TEST] < 0.25


def test_cg_mnist_reads_mnist_too(tmp_path, monkeypatch):
    monkeypatch.setattr("real.data.mnists.VALIDATIONS", 10)
    generator = np.random.default_rng(0)
    for part, n in (("train", 30), ("t10k", 12)):
        pixels = generator.integers(0, 255, (n, 28, 28), dtype=np.uint8)
        header = b"".join(int(v).to_bytes(4, "big") for v in (0x803, n, 28, 28))
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = (np.arange(n) % 10).astype(np.uint8)
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(
            (0x801).to_bytes(4, "big") + n.to_bytes(4, "big") + labels.tobytes()
        )
    data = DATASETS["cg-mnist"](tmp_path)
    assert [int((data.codes() == c).sum()) for c in (TRAIN, VALIDATION, TEST)] == [20, 10, 12]
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="truncated"):
        DATASETS["cg-mnist"](tmp_path).check()


def test_the_published_order_of_mimic(tmp_path):
    data = DATASETS["mimic-iii"](DATASETS["mimic-iii"].write_double(tmp_path))
    codes = data.codes("multibench")
    assert [int((codes == c).sum()) for c in (TRAIN, VALIDATION, TEST)] == [48, 6, 6]
    assert data.index.y.bincount().tolist() == [10] * 6
    write_pickle(
        tmp_path / "im.pk",
        {"adm_features_all": np.zeros((3, 4)), "ep_tdata": np.zeros((3, 24, 12)), "adm_labels_all": np.zeros((3, 6))},
    )
    with pytest.raises(DataError, match=r"expected arrays \[n, 5\]"):
        DATASETS["mimic-iii"](tmp_path).check()
