"""Every exception that mmtheory raises on purpose; each message says what was expected and what was found."""

from __future__ import annotations

from collections.abc import Iterable


class MmtheoryError(Exception):
    """The root: catching it catches every deliberate error and nothing else."""


class ArgumentError(MmtheoryError, ValueError):
    """A caller's argument is outside the domain of the function or dial it was given to."""


class NotExactError(MmtheoryError):
    """A closed form was asked for outside the conditions under which it is exact."""


class InfeasibleError(MmtheoryError):
    """No world has the requested targets; the message names the feasible interval."""


class DataError(MmtheoryError):
    """A data set or file is not what its layout says (missing, truncated, NaN, a label outside the map)."""


class StoreError(MmtheoryError):
    """A run folder cannot be used (another version, a truncated record, no permission)."""


def likely(word: str, names: Iterable[str], *, most: int = 1) -> str:
    """The end of a sentence on a word that is none of these names: what was probably meant; "" where nothing is near.

    >>> likely("ogn", ["joint", "ogm"]), likely("uci", ["htad", "uci-multiple-features"]), likely("x", ["ogm"])
    ('; did you mean ogm?', '; did you mean uci-multiple-features?', '')
    """
    from difflib import get_close_matches  # where somebody erred, and not in every import

    every = list(names)
    begun = [name for name in every if len(word) > 1 and name.startswith(word.lower())]
    near = begun[:most] or get_close_matches(word.lower(), every, n=most)
    return f"; did you mean {' or '.join(near)}?" if near else ""
