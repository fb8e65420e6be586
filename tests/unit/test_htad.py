"""The HTAD file as it ships, its tiny double, and every way in which a file can be broken."""

import pytest

from mmtheory.errors import DataError
from real.data import htad


def test_the_shipped_file_has_its_layout():
    data = htad.load()
    assert data.n == 1386
    assert {m: v.shape[-1] for m, v in data.x.items()} == htad.WIDTHS
    assert data.y.bincount().tolist() == [180, 282, 181, 178, 179, 180, 206]
    assert len(set(data.ids.tolist())) == 1386


def test_the_double_has_the_same_layout(tmp_path):
    data = htad.load(htad.write_double(tmp_path / "htad.csv"), samples=None)
    assert data.n == 70
    assert {m: v.shape[-1] for m, v in data.x.items()} == htad.WIDTHS
    assert data.y.bincount().tolist() == [10] * 7


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda t: t.replace("class", "klass", 1), "expected columns class"),
        (lambda t: t.replace("watch_tv", "watch_radio", 1), "line 8: expected a class among"),
        (lambda t: t.rsplit(",", 1)[0] + "\n", "line 71: expected 53 fields, found 52"),
        (lambda t: t[: t.index("\n") + 1] + "eat_chips," + ",".join(["x"] * 52), "line 2: expected numbers"),
        (lambda t: t[: t.index("\n") + 1] + "eat_chips," + ",".join(["nan"] * 52), "expected finite numbers"),
        (lambda t: "", "expected content, found an empty file"),
    ],
)
def test_a_broken_file_is_told_with_its_line(tmp_path, broken, sentence):
    file = htad.write_double(tmp_path / "htad.csv")
    file.write_text(broken(file.read_text()))
    with pytest.raises(DataError, match=sentence):
        htad.load(file, samples=None)


def test_a_missing_file_or_row_is_told(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        htad.load(tmp_path / "none.csv")
    with pytest.raises(DataError, match="expected 1386 rows, found 70"):
        htad.load(htad.write_double(tmp_path / "htad.csv"))
