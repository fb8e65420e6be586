"""Films: who made a film and what it is, against whether the critics liked it; Wikidata's numbers as the PyPI package bokeh-sampledata carries them.

A film is fresh if six in ten of its reviews or more are favourable; films with fewer than ten reviews are left out, and
thirteen of which it is not told how many were favourable. Nothing that is known only once a film is out (votes, receipts, prizes, the
audience's rating) is among the inputs. Two films stand there twice under two numbers, which the split ``film`` keeps together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, final

import numpy as np
import torch

from mmtheory.errors import DataError
from mmtheory.rng import Stream

from ._dataset import Index, Part, mark_double
from ._files import reading
from ._tables import Table, TableDataset
from ._words import WIDTH, hashed

REVIEWS, FRESH = 10, 0.6
GENRES = (
    "Drama", "Comedy", "Romance", "Action", "Crime", "Thriller", "Horror", "Documentary", "Fantasy", "Sci-Fi", "Adventure",
    "Biography", "Mystery", "Musical", "War", "Family", "Animation", "History", "Sport", "Western", "Music",
)  # fmt: skip
RATINGS = ("G", "PG", "PG-13", "R", "NC-17")
COUNTRIES = ("United States", "United Kingdom", "France", "Germany", "Canada", "Italy", "Australia", "Japan", "Spain")
NUMBERS = 3 + 12 + len(GENRES) + len(RATINGS) + 1 + 1 + len(COUNTRIES)
"""Year, runtime, whether it is known; month; genres; rating, whether there is one; spoken in English; countries."""
QUERY = """
select o.ID, o.imdbID, o.Title, o.Director, o.Writer, o."Cast", o.Year, o.Runtime, o.Released, o.Genre, o.Rating, o.Language, o.Country,
       t.Fresh, t.Reviews
from omdb o join tomatoes t on o.ID = t.ID where t.Reviews >= ? and t.Fresh is not null order by o.ID
"""
TABLES = """
create table omdb (ID integer, imdbID text, Title text, Director text, Writer text, "Cast" text, Year integer, Runtime real, Released text,
    Genre text, Rating text, Language text, Country text);
create table tomatoes (ID integer, Fresh integer, Reviews integer);
"""


@final
class Films(TableDataset):
    """Title and crew as hashed words, the rest as numbers."""

    name: ClassVar[str] = "films"
    title: ClassVar[str] = "Films: words (title, crew, cast) and numbers (year, genre, country) against the critics"
    licence: ClassVar[str] = "CC0 (Wikidata, bokeh-sampledata 2026.1)"
    source: ClassVar[str] = "ships with the PyPI package bokeh-sampledata 2026.1"
    ships: ClassVar[tuple[str, str] | None] = ("bokeh-sampledata==2026.1", "bokeh_sampledata/_data")
    layout: ClassVar[tuple[str, ...]] = ("movies.db",)
    classes: tuple[str, ...] = ("rotten", "fresh")
    modalities: Mapping[str, Part] = MappingProxyType({"text": Part((WIDTH,)), "numbers": Part((NUMBERS,))})
    splits: ClassVar[tuple[str, ...]] = ("film", "random")
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 13652})

    def open_table(self) -> Table:
        path = self.root / "movies.db"
        with (
            reading(path, "an SQLite file with the tables omdb and tomatoes"),
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base,
        ):
            films = base.execute(QUERY, (REVIEWS,)).fetchall()
        # Words take much more room than the file: they are hashed when they are read.
        self._said = [" ".join(part for part in film[2:6] if part) for film in films]
        numbers = np.array([_numbers(path, film) for film in films]).reshape(-1, NUMBERS)
        y = torch.tensor([film[13] >= FRESH * film[14] for film in films]).long()
        index = Index(
            tuple(str(film[0]) for film in films), y, {"film": tuple(film[1] or str(film[0]) for film in films)}
        )
        return Table({"numbers": numbers}, index, dict.fromkeys(["", *self.modalities], path))

    def said(self, modality: str) -> list[str] | None:
        _ = self.table
        return list(self._said) if modality == "text" else None

    def read(self, rows: range) -> dict[str, np.ndarray]:
        found, said = super().read(rows), self._said[rows.start : rows.stop]
        return {**found, "text": np.stack([hashed(words) for words in said]).astype(np.float32)}

    @classmethod
    def write_double(cls, root: Path) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        generator = Stream(0, ("films double",)).numpy()
        with closing(sqlite3.connect(root / "movies.db")) as base, base:
            base.executescript(TABLES)
            for i in range(60):
                good, minutes = i % 2, float(generator.integers(80, 160))
                told = [
                    "Ada" if good else "Bob",
                    "Cy",
                    "Di, Ed",
                    1990 + i % 20,
                    None if i == 7 else minutes,
                    f"2001-{i % 12 + 1:02}-03",
                ]
                told += [GENRES[i % 4] + ", Drama", RATINGS[i % 5] if i % 3 else None, "English", COUNTRIES[i % 3]]
                base.execute("insert into omdb values (?,?,?,?,?,?,?,?,?,?,?,?,?)", (i, f"tt{i}", f"Film {i}", *told))
                base.execute("insert into tomatoes values (?,?,?)", (i, 18 if good else 4, 20 if i else 3))
        return mark_double(root, samples=59)


def _numbers(path: Path, film: Sequence[Any]) -> list[float]:
    """Year to country of one film as numbers.

    :raises DataError: a column of another type, naming the film.
    """
    year, runtime, released, genre, rating, language, country, fresh, reviews = film[6:]
    numeric = (year, runtime or 0, fresh, reviews)
    if not all(isinstance(v, (int, float)) for v in numeric) or not all(
        isinstance(v or "", str) for v in (released, genre, rating, language, country)
    ):
        raise DataError(
            f"{path}: expected numbers and words in their columns of film {film[0]}, found {list(film[6:])}"
        )
    month = int(released[5:7]) if released else 0
    genres, countries = (set((told or "").split(", ")) for told in (genre, country))
    return [
        (year - 1980) / 20, (runtime or 100) / 100, float(runtime is None),
        *(float(month == k) for k in range(1, 13)),
        *(float(g in genres) for g in GENRES),
        *(float(rating == r) for r in RATINGS), float(rating is None),
        float("English" in (language or "")),
        *(float(c in countries) for c in COUNTRIES),
    ]  # fmt: skip
