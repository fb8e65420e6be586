"""Every kind of damage to every kind of file of every data set: one sentence that names it and exit 2, or said here why it is harmless."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing
from fnmatch import fnmatch
from io import BytesIO
from pickle import dumps

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from mmtheory.__main__ import main
from real.data import DATASETS
from real.data._dataset import MARKER
from real.data._unpickle import unpickled

STUB = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
SILENT = b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0@\x1f\0\0\x80>\0\0\x02\0\x10\0data\0\0\0\0"
STRANGE = "no such thing"
WORDS = "words are whatever they are"
FRAMES = "nothing tells how many frames a clip has"
HARMLESS = {
    ("food-101", "*/texts_txt/*", "cut column more"): WORDS,
    ("mvsa-single", "*/data/*.txt", "cut column more label"): WORDS,
    ("mir-flickr", "*/tags*.txt", "cut label"): WORDS,
    ("mir-flickr", "*/tags*.txt", "empty"): "many pictures have no tags",
    ("iemocap", "*/transcriptions/*", "column more twice"): WORDS,
    ("ur-funny", "*/language_sdk.pkl", "twice"): WORDS,
    ("iemocap", "*/EmoEvaluation/*", "column more twice"): "lines of single raters are not read",
    ("ave", "*.jpg", "gone"): FRAMES,
    ("kinetics-sounds", "*.jpg", "gone"): FRAMES,
    ("vggsound", "*.jpg", "gone"): FRAMES,
    ("ucf101", "*.jpg", "gone"): FRAMES,
    ("nvgesture", "*.jpg", "gone"): FRAMES,
    ("nvgesture", "*.lst", "more"): "other fields of a line are not read",
    ("ave", "*Set.txt", "twice"): "a video of several events stands there as often",
    ("twitter2015", "*.tsv", "twice"): "a sample is its line: two may say the same",
    ("mimic-iii", "*.pk", "nan"): "there it stands for what was not measured",
    ("mrhp", "*.prd.*", "column"): "a product may lack its description",
    ("ntu-60", "*", "nan number"): "of a joint only its place in space is read",
}
"""(data set, file, kinds of damage) → why they have to be accepted."""


def walk(held, mutate):
    """The same structure with its first leaf that ``mutate`` takes to something exchanged; None if it takes none."""
    if isinstance(held, np.ndarray) and held.dtype == object:
        flat = list(held.ravel())
        for i, value in enumerate(flat):
            if (new := walk(value, mutate)) is not None:
                other = held.copy().ravel()
                other[i] = new
                return other.reshape(held.shape)
        return None
    if isinstance(held, dict):
        for key, value in held.items():
            if (new := walk(value, mutate)) is not None:
                return held | {key: new}
        return None
    found = mutate(held)
    if found is None and isinstance(held, list):
        for i, value in enumerate(held):
            if (new := walk(value, mutate)) is not None:
                return [*held[:i], new, *held[i + 1 :]]
    return found


def nan(leaf):
    """A finite number made NaN."""
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f" and leaf.size:
        other = leaf.copy()
        other.reshape(-1)[-1] = np.nan
        return other
    return float("nan") if isinstance(leaf, float) else None


def label(leaf):
    """Whole numbers made one that is no class."""
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "iu" and leaf.size:
        other = leaf.copy()
        other.reshape(-1)[-1] = 99
        return other
    return None


def twice(leaf):
    """A list of names whose second is its first."""
    names = isinstance(leaf, list) and len(leaf) > 1 and all(isinstance(v, (str, int)) for v in leaf)
    return [leaf[0], leaf[0], *leaf[2:]] if names and leaf[0] != leaf[1] else None


def lacking(held):
    """A mapping without its first key."""
    return dict(list(held.items())[1:]) if isinstance(held, dict) else None


INSIDE = {"nan": nan, "label": label, "twice": twice}


def pickled(path):
    held = unpickled(path)
    for kind, mutate in INSIDE.items():
        if (new := walk(held, mutate)) is not None:
            yield kind, dumps(new, protocol=4)
    if (new := lacking(held)) is not None:
        yield "column", dumps(new, protocol=4)


def npy(path):
    held = np.load(path, allow_pickle=True)
    one = held.dtype == object and held.shape == ()
    for kind, mutate in INSIDE.items():
        new = walk(held.item() if one else held, mutate)
        if new is not None:
            out = BytesIO()
            np.save(out, np.array(new, dtype=object) if one else new, allow_pickle=True)
            yield kind, out.getvalue()
    out = BytesIO()
    np.save(out, np.array({}, dtype=object) if one else held[1:], allow_pickle=True)
    yield "column", out.getvalue()


def matlab(path):
    held = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    changed = {kind: walk(held, mutate) for kind, mutate in INSIDE.items()} | {"column": lacking(held)}
    for kind, new in changed.items():
        if new is not None:
            out = BytesIO()
            savemat(out, new)
            yield kind, out.getvalue()


def hdf5(path):
    def without(file):
        del file[min(file)]

    def exchanged(kinds, value):
        def change(file):
            name = next(n for n in sorted(file) if file[n].dtype.kind in kinds)
            values = file[name][()]
            values.reshape(-1)[-1] = value
            file[name][...] = values

        return change

    kept = path.read_bytes()
    for kind, change in (("nan", exchanged("f", np.nan)), ("label", exchanged("iu", 99)), ("column", without)):
        with h5py.File(path, "a") as file:
            change(file)
        yield kind, path.read_bytes()
        path.write_bytes(kept)


def sqlite(path):
    kept = path.read_bytes()
    changes = {
        "twice": "update omdb set ID = 1 where ID = 2; update tomatoes set ID = 1 where ID = 2",
        "column": "alter table omdb drop column Year",
        "nan": "update omdb set Year = 'nan' where ID = 5",
        "number": "update omdb set Runtime = 'long' where ID = 5",
    }
    for kind, change in changes.items():
        with closing(sqlite3.connect(path)) as base, base:
            base.executescript(change)
        yield kind, path.read_bytes()
        path.write_bytes(kept)


def jsons(path, classes):
    """A list of records, or a table by columns."""
    held = json.loads(path.read_text())
    records = isinstance(held, list)
    first = (held[0] if records else {c: v["0"] for c, v in held.items()}).copy()

    def told(changes, row=0, drop=None):
        if records:
            other = [dict(r) for r in held]
            other[row] |= changes
            for r in other[:1]:
                r.pop(drop, None)
        else:
            other = {c: v | ({str(row): changes[c]} if c in changes else {}) for c, v in held.items() if c != drop}
        return json.dumps(other).encode()

    yield "column", told({}, drop=min(first))
    if names := [c for c, v in first.items() if isinstance(v, str)]:
        yield "twice", told({c: first[c] for c in names} if records else first, row=1)
    for column, value in first.items():
        if str(value) in classes:
            yield "label", told({column: STRANGE})
            break


def lines(path, classes):
    """A text of lines: one that comes twice, one cut short by a field, a label, a number."""
    rows = path.read_bytes().decode("latin-1").splitlines(keepends=True)
    if not rows:
        return
    mark = next((d for d in "\t&," if any(d in r for r in rows)), " ")
    middle = next((i for i in range(len(rows) - 1, 0, -1) if mark in rows[i]), 0)
    ends = rows[middle][len(rows[middle].rstrip("\r\n")) :]
    cells = rows[middle].rstrip("\r\n").split(mark)

    def told(new, at=middle):
        return "".join([*rows[:at], mark.join(new) + ends, *rows[at + 1 :]]).encode("latin-1")

    if len(cells) > 1:
        yield "column", told(cells[:-1])
        yield "more", told([*cells, "1"])
    numbers = [i for i, c in enumerate(cells) if re.fullmatch(r"-?\d+\.\d+", c)]
    if numbers:
        for kind, word in (("nan", "nan"), ("number", "one")):
            yield kind, told([word if i == numbers[-1] else c for i, c in enumerate(cells)])
    elif middle > 0 and len(cells) > 1:
        yield "twice", "".join([*rows[:middle], rows[middle - 1], *rows[middle + 1 :]]).encode("latin-1")
    spoken = {c.lower().replace("_", " ") for c in classes}
    labels = [i for i, c in enumerate(cells) if c.strip().lower().replace("_", " ") in spoken]
    if labels:
        yield "label", told([STRANGE if i == labels[-1] else c for i, c in enumerate(cells)])


def npz(path):
    held = dict(np.load(path))
    changed = {kind: walk(held, mutate) for kind, mutate in INSIDE.items()} | {"column": lacking(held)}
    changed["label"] = held | {"label": label(held["label"])}
    changed["more"] = held | {"speaker": held["speaker"][1:]}
    for kind, new in changed.items():
        if new is not None:
            out = BytesIO()
            np.savez(out, **new)
            yield kind, out.getvalue()


def bytewise(path):
    raw = path.read_bytes()
    if "labels" in path.name:
        yield "label", raw[:-1] + b"\x63"
    fewer = int.from_bytes(raw[4:8], "big") - 1
    yield (
        "column",
        raw[:4] + fewer.to_bytes(4, "big") + raw[8 : 8 + (len(raw) - 8) - (784 if "images" in path.name else 1)],
    )


READERS = {".npz": npz, ".pkl": pickled, ".pk": pickled, ".npy": npy, ".mat": matlab, ".hdf5": hdf5, ".db": sqlite}


def damages(path, classes):
    """Kind of damage and the bytes it leaves; None for no file."""
    whole = path.read_bytes()
    yield from (("gone", None), ("stub", STUB), ("empty", b""), ("cut", whole[: len(whole) // 2]))
    if path.suffix == ".wav":
        yield "silent", SILENT
    elif path.name.endswith("-ubyte"):
        yield from bytewise(path)
    elif path.suffix in READERS:
        yield from READERS[path.suffix](path)
    elif whole[:1] in {b"{", b"["}:
        yield from jsons(path, classes)
    elif path.suffix not in {".jpg", ".png", ".svg"}:
        yield from lines(path, classes)


def representatives(root):
    """One file of each kind: same ending for media, same name but for numbers for the rest."""
    found = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.name != MARKER):
        media = (
            path.suffix in {".jpg", ".png", ".wav", ".svg"} or "/meta/tags/" in str(path) or "texts_txt" in str(path)
        )
        found.setdefault(path.suffix + str(media) if media else re.sub(r"\d+", "#", str(path.relative_to(root))), path)
    return list(found.values())


def archived(root):
    """AV-digits as one archive of recordings."""
    said = sorted((root / "recordings").iterdir())
    waves = [np.frombuffer(p.read_bytes()[44:], "<i2") for p in said]
    told = np.array([p.stem.split("_") for p in said])
    parts = {"label": told[:, 0].astype(np.int64), "speaker": told[:, 1], "take": told[:, 2].astype(np.int64)}
    shutil.rmtree(root / "recordings")
    np.savez(root / "fsdd.npz", wav=np.concatenate(waves), length=np.array([len(w) for w in waves]), **parts)


def one_matrix(root):
    """The six views as the multi-view papers pass them on."""
    files = ("mfeat-pix", "mfeat-fou", "mfeat-fac", "mfeat-zer", "mfeat-kar", "mfeat-mor")
    cells = np.empty((1, 6), dtype=object)
    for i, file in enumerate(files):
        cells[0, i] = np.loadtxt(root / file)
        (root / file).unlink()
    savemat(root / "handwritten.mat", {"X": cells, "Y": np.repeat(np.arange(10), 10)[:, None]})


def idx(root):
    """MNIST's own files, so few that validation is a handful."""
    (root / MARKER).write_text("{}")
    for part, n in (("train", 5030), ("t10k", 20)):
        for what, shape in (("images-idx3", (n, 28, 28)), ("labels-idx1", (n,))):
            header = bytes((0, 0, 8, len(shape))) + b"".join(int(v).to_bytes(4, "big") for v in shape)
            body = np.zeros(shape, np.uint8) if len(shape) > 1 else (np.arange(n) % 10).astype(np.uint8)
            (root / f"{part}-{what}-ubyte").write_bytes(header + body.tobytes())
    (root / MARKER).unlink()


VARIANTS = {"av-digits, archived": archived, "uci-multiple-features, one matrix": one_matrix, "cg-mnist, idx": idx}


@pytest.mark.parametrize("case", [*sorted(DATASETS), *VARIANTS])
def test_no_damage_is_accepted_in_silence(case, tmp_path, capsys):
    name = case.partition(",")[0]
    root = DATASETS[name].write_double(tmp_path / name)
    VARIANTS.get(case, lambda _root: None)(root)
    classes = DATASETS[name](root).classes
    bad = []
    for victim in representatives(root):
        whole = victim.read_bytes()
        for kind, content in list(damages(victim, classes)):
            victim.unlink() if content is None else victim.write_bytes(content)
            try:
                code = main(["data", "check", name, "--root", str(root)])
            except Exception as error:
                code = repr(error)[:150]
            victim.write_bytes(whole)
            said = capsys.readouterr()
            place = str(victim.relative_to(root))
            harmless = any(n == name and kind in k.split() and fnmatch(f"/{place}", f) for n, f, k in HARMLESS)
            counted = re.match(rf"mmtheory: {root}: expected \d+ [\w ]+, found \d+\n", said.err)
            named = victim.name in said.err or str(victim.parent) in said.err or victim.stem in said.err or counted
            if harmless:
                ok = code == 0
            else:
                ok = code == 2 and said.err.count("\n") == 1 and said.err.startswith("mmtheory: ") and named
            if not ok:
                bad.append((place, kind, code, said.err[:200].replace(str(tmp_path), "")))
    assert not bad, "\n".join(map(str, bad))
