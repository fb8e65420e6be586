"""The command ``mmtheory``: finds its sub-commands in the entry-point group ``mmtheory.commands`` and hands over.

Nothing heavy is imported before a sub-command is chosen, so that ``mmtheory --help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points

from mmtheory import __version__
from mmtheory.errors import MmtheoryError

GROUP = "mmtheory.commands"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: the sub-command's own; 2 for bad usage or a deliberate error; 130 after Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    commands = {entry.name: entry for entry in entry_points(group=GROUP)}
    if not words or words[0] in {"-h", "--help"}:
        print(_help(commands))  # noqa: T201 (this is the command line)
        return 0 if words else 2
    if words[0] in {"-V", "--version"}:
        print(f"mmtheory {__version__}")  # noqa: T201
        return 0
    try:
        if words[0] not in commands:
            return _complain(f"expected a sub-command among {', '.join(sorted(commands))}, found {words[0]!r}")
        return commands[words[0]].load()(words[1:])
    except MmtheoryError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        _complain("interrupted; everything stored so far is kept")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def _help(commands: dict[str, EntryPoint]) -> str:
    """Usage and one line a sub-command."""
    width = max(map(len, commands), default=0)
    rows = [f"  {name:<{width}}  {_summary(entry.load())}" for name, entry in sorted(commands.items())]
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
