"""Settings from frozen dataclasses: command lines and files; TOML checked by pydantic, words parsed by tyro, complaints in one sentence."""

from __future__ import annotations

import contextlib
import io
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from mmtheory.errors import ArgumentError

T = TypeVar("T")
FRAME = re.compile(r"[│╭╮╰╯]|─+")


def parse(kind: type[T], argv: list[str], *, command: str, description: str, default: T | None = None) -> T:
    """The dataclass ``kind`` as the command line says, ``default`` (or the class's own defaults) for the rest.

    :raises ArgumentError: usage that the class does not have, in one sentence.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                kind, args=argv, prog=f"mmtheory {command}", description=description, default=default or kind(),
                config=(tyro.conf.FlagCreatePairsOff,),
            )  # fmt: skip
    except SystemExit as stop:
        if stop.code in {0, None}:
            raise
        raise ArgumentError(f"{command}: {_sentence(complaint.getvalue())}") from None


def gathered(argv: Sequence[str], *options: str) -> list[str]:
    """The words with every occurrence of an option that takes several gathered into one at the end: it may be repeated.

    The word after an option is its own; those that follow are as long as they are settings, KEY=VALUE.

    >>> gathered(["--set", "a=1", "b=2", "name", "--set=c=3"], "--set")
    ['name', '--set', 'a=1', 'b=2', 'c=3']
    """
    rest, taken, taking, first = list[str](), {option: list[str]() for option in options}, "", False
    for word in argv:
        option, equals, value = word.partition("=")
        if option in taken:
            taken[option] += [value] if equals else []
            taking, first = ("", False) if equals else (option, True)
        elif taking and not word.startswith("-") and (first or "=" in word):
            taken[taking].append(word)
            first = False
        else:
            rest += [taking, word] if first else [word]
            taking, first = "", False
    rest += [taking] if first else []
    return [*rest, *(word for option, words in taken.items() if words for word in (option, *words))]


def _sentence(box: str) -> str:
    """The complaint inside tyro's box, on one line, without the pointer to --help that ends it."""
    lines = [FRAME.sub(" ", line).strip() for line in box.splitlines()[1:]]
    text = " ".join(" ".join(lines).split())
    return re.sub(r"\s*For full helptext, run (.*)$", r" (\1 tells more)", text) or "expected other words"


def read_toml(kind: type[T], path: Path, *, option: str = "--config") -> T:
    """The dataclass ``kind`` from a TOML file, checked: unknown keys, wrong types and values out of their domain are refused.

    :raises ArgumentError: the file is not there, is no TOML, or does not fit; all misfits in one sentence.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArgumentError(f"{option} {path}: expected a TOML file, found: {error.strerror or error}") from error
    except ValueError as error:
        raise ArgumentError(f"{option} {path}: expected TOML, found: {error}") from error
    strict = type(kind.__name__, (kind,), {"__pydantic_config__": ConfigDict(extra="forbid", allow_inf_nan=False)})
    try:
        checked = TypeAdapter(strict).validate_python(content)
    except ValidationError as error:
        misfits = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}, found {e['input']!r}" for e in error.errors()
        )
        raise ArgumentError(f"{option} {path}: {misfits}") from None
    return kind(**vars(checked))
