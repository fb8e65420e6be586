"""Dials as words: ``KEY=VALUE`` texts turned into the values that a world's fields are typed to hold."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from mmtheory.errors import ArgumentError, MmtheoryError, likely
from mmtheory.world import World


def build(kind: type[World], settings: Sequence[str]) -> World:
    """The world with these dials, defaults for the rest.

    One number for a dial that holds one a modality goes to every modality; a list decides how many modalities there are, and the
    defaults of the other such dials are cut or go on with their last value.

    :raises ArgumentError: an unknown dial, a value that cannot be read or is out of its domain.
    """
    texts = _texts(kind, settings)
    hints, defaults = get_type_hints(kind), dial_defaults(kind)
    given = {name: _value(kind, name, hints[name], text) for name, text in texts.items()}
    per_modality = {n: v for n, v in defaults.items() if isinstance(v, tuple) and len(v) == len(kind().modalities)}
    free = {n for n, v in defaults.items() if isinstance(v, float)} | set(per_modality)
    lists = {n: len(v) for n, v in given.items() if n in free and isinstance(v, tuple) and "," in texts[n]}
    count = max(lists.values(), default=len(kind().modalities))
    for name, value in given.items():
        if name in per_modality and isinstance(value, tuple) and name not in lists and len(value) == 1:
            given[name] = value * count
    try:
        return _made(kind, given)
    except ArgumentError:
        resized = {n: _resized(v, count) for n, v in per_modality.items() if n not in given}
        if not lists or all(len(v) == count for v in per_modality.values()):
            raise
        return _made(kind, {**resized, **given})


def dial_defaults(kind: type[World]) -> dict[str, Any]:
    """Every dial with its default."""
    return {
        f.name: f.default if f.default is not MISSING else cast("Callable[[], Any]", f.default_factory)()
        for f in fields(kind)
    }


def _made(kind: type[World], dials: Mapping[str, Any]) -> World:
    """The world, with every refusal turned into one sentence."""
    try:
        return kind.from_dials(dials)
    except MmtheoryError:
        raise
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        shown = ", ".join(f"{k}={v}" for k, v in dials.items())
        raise ArgumentError(f"{kind.name}: expected dials inside their domain, found {shown} ({error})") from error


def _texts(kind: type[World], settings: Sequence[str]) -> dict[str, str]:
    """Dial → text, refusing unknown and repeated dials."""
    names, texts = [f.name for f in fields(kind)], dict[str, str]()
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not text.strip():
            raise ArgumentError(f"{kind.name}: expected --set KEY=VALUE, found {setting!r}")
        if key not in names:
            raise ArgumentError(
                f"{kind.name}: expected a dial among {', '.join(names)}, found {key!r}{likely(key, names)}"
            )
        if key in texts:
            raise ArgumentError(f"{kind.name}: expected dial {key} once, found it twice")
        texts[key] = text.strip()
    return texts


def _value(kind: type[World], name: str, hint: Any, text: str) -> Any:  # noqa: ANN401 (a type as it comes)
    """The text as the dial's type."""
    try:
        return _read(hint, text)
    except ValueError as error:
        raise ArgumentError(f"{kind.name}: expected dial {name} as {described(hint)}, found {text!r}") from error


def _read(hint: Any, text: str) -> Any:  # noqa: ANN401
    """The text as that type.

    :raises ValueError: it is not one.
    """
    origin = get_origin(hint)
    if origin is tuple:
        return _read_tuple(get_args(hint), text)
    if origin in {Union, types.UnionType}:
        return _read_union(get_args(hint), text)
    if origin is Literal:
        return (
            next(option for option in get_args(hint) if str(option) == text)
            if text in map(str, get_args(hint))
            else _no(text)
        )
    if hint is type(None):
        return None if text.lower() == "none" else _no(text)
    if hint is bool:
        return (
            {"true": True, "1": True, "false": False, "0": False}.get(text.lower())
            if text.lower() in {"true", "1", "false", "0"}
            else _no(text)
        )
    if hint is float:
        return float(text) if math.isfinite(float(text)) else _no(text)
    return int(text) if hint is int else text


def _no(text: str) -> Any:  # noqa: ANN401
    raise ValueError(text)


def _read_union(options: tuple[Any, ...], text: str) -> Any:  # noqa: ANN401
    """The first of the types that the text can be; plain text last."""
    for option in sorted(options, key=lambda o: o is str):
        try:
            return _read(option, text)
        except ValueError:
            continue
    return _no(text)


def _read_tuple(arguments: tuple[Any, ...], text: str) -> tuple[Any, ...]:
    """A comma list, or nested lists in JSON's brackets."""
    if text[0] in "[(":
        content = json.loads(text.replace("(", "[").replace(")", "]"))
        parts = [json.dumps(part) if isinstance(part, list) else str(part) for part in content]
    else:
        parts = [part.strip() for part in text.removesuffix(",").split(",")]
    kinds = [arguments[0]] * len(parts) if arguments[-1:] == (Ellipsis,) else list(arguments)
    if len(kinds) != len(parts):
        raise ValueError(text)
    return tuple(_read(one, part) for one, part in zip(kinds, parts, strict=True))


def _resized(value: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """The first ``count`` values, the last one repeated where there are too few."""
    return (value + value[-1:] * count)[:count]


def described(hint: Any) -> str:  # noqa: ANN401
    """A dial's type in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple and arguments[-1:] == (Ellipsis,):
        inner = described(arguments[0])
        return f"{inner} lists in brackets" if get_origin(arguments[0]) is tuple else f"a comma list, each {inner}"
    if origin is tuple:
        return f"{len(arguments)} values separated by commas"
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in {Union, types.UnionType}:
        return " or ".join(described(a) for a in arguments)
    return {float: "a finite number", int: "a whole number", bool: "true or false", type(None): "none"}.get(
        hint, "a text"
    )
