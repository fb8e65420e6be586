"""The command ``mmtheory``: finds its sub-commands in the entry-point group ``mmtheory.commands`` and hands over.

Nothing heavy is imported before a sub-command is chosen, so that ``mmtheory --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from mmtheory import OWNER, __version__
from mmtheory.errors import ArgumentError, MmtheoryError, likely

GROUP = "mmtheory.commands"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: the sub-command's own; 2 for bad usage or a deliberate error; 130 after Ctrl-C."""
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except MmtheoryError as error:
        return _complain(str(error))
    except PermissionError as error:
        return _complain(f"expected permission to use {error.filename}, found: {error.strerror}")
    except KeyboardInterrupt:
        _complain("interrupted; everything stored so far is kept")
        return 130
    except BrokenPipeError:
        # The reader left (`| head`): what python would still flush at exit has to go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(words: list[str]) -> int:
    """Help, version, or the sub-command that the first word names."""
    commands = {entry.name: entry for entry in entry_points(group=GROUP)}
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_help(commands))  # noqa: T201 (this is the command line)
        return 0 if words else 2
    if words[0] in {"-V", "--version"}:
        print(f"mmtheory {__version__}")  # noqa: T201
        return 0
    if words[0] not in commands:
        raise ArgumentError(
            f"expected a sub-command among {', '.join(sorted(commands))}, found {words[0]!r}{likely(words[0], commands)}"
        )
    status = _load(commands[words[0]])(words[1:])
    sys.stdout.flush()
    return status


def _load(entry: EntryPoint) -> Callable[[list[str]], int]:
    """The sub-command's function.

    :raises ArgumentError: a program of ours was replaced by somebody else's package of the same name.
    """
    root = import_module(entry.module.split(".")[0])
    ours = entry.dist is None or entry.dist.name == OWNER
    if ours and getattr(root, "OWNER", None) != OWNER:
        raise ArgumentError(
            f"expected package {root.__name__!r} to be mmtheory's own, found another one in {root.__file__}; uninstall that"
        )
    return entry.load()


def _help(commands: dict[str, EntryPoint]) -> str:
    """Usage and one line a sub-command."""
    width = max(map(len, commands), default=0)
    rows = [f"  {name:<{width}}  {_summary(_load(entry))}" for name, entry in sorted(commands.items())]
    return "\n".join(["usage: mmtheory COMMAND [OPTIONS]", "", "An instrument of truth for multi-modal learning.", "", "commands:",
                      *rows, "", "mmtheory COMMAND --help tells the options of one; mmtheory --version the version."])  # fmt: skip


def _summary(command: Callable[..., int]) -> str:
    """First line of the sub-command's docstring."""
    return (command.__doc__ or "").strip().split("\n")[0]


def _complain(sentence: str) -> int:
    """One sentence on standard error."""
    print(f"mmtheory: {sentence}", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    sys.exit(main())
