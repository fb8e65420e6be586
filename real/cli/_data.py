"""``mmtheory data``: what there is, whether a download is whole, and its preparation."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mmtheory.errors import ArgumentError, DataError, likely
from mmtheory.experiment.settings import parse
from real.data import DATASETS, Dataset
from real.data._prepared import MANIFEST, Preparation, Told, damaged, folder_of

DESCRIPTION = """List real data sets, check a download against its layout, prepare it for training.

Nothing is ever downloaded: --root names the folder of the official download. A check looks at annotations, labels, ids, counts and every
file (missing, empty, truncated, Git-LFS stubs); the preparation decodes everything once into memory-mapped arrays with checksums, and
goes on where it was when it was stopped.

examples:
  mmtheory data list                                          every data set: modalities, classes, splits, licence, where to find it
  mmtheory data check htad                                    one that needs no download
  mmtheory data check uci-multiple-features --root mfeat      a download
  mmtheory data prepare av-digits --root free-spoken-digit-dataset"""


@dataclass(frozen=True)
class Options:
    """What ``mmtheory data`` can be told."""

    action: Annotated[Literal["list", "check", "prepare"], tyro.conf.Positional] = "list"
    """What to do."""
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = ""
    """The data set."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """The folder of the download."""
    json: bool = False
    """Print one JSON object."""


def main(argv: list[str]) -> int:
    """Run the sub-command."""
    options = parse(Options, argv, command="data", description=DESCRIPTION)
    if options.action == "list":
        chosen = [kind_of(options.name)] if options.name else list(DATASETS.values())
        _tell({"datasets": [described(kind) for kind in chosen]}, _listed(chosen), as_json=options.json)
        return 0
    if not options.name:
        raise ArgumentError(
            f"data {options.action}: expected the name of a data set ({', '.join(DATASETS)}), found none"
        )
    data = kind_of(options.name)(options.root)
    if options.action == "check":
        found = data.check() | _prepared(data, options.root)
        _tell(found, _checked(found), as_json=options.json)
        return 0
    if options.root is None:
        raise ArgumentError(f"data prepare {data.name}: expected --root DIR to prepare into, found none")
    with progress(f"preparing {data.name}") as told:
        preparation = Preparation(data, folder_of(data))
        finished = (preparation.folder / MANIFEST).exists()
        folder = preparation.run(told)
        mended = preparation.mend() if finished else 0
    size = sum(p.stat().st_size for p in folder.glob("*.npy"))
    found = {"dataset": data.name, "prepared": str(folder), "samples": len(data.index), "bytes": size, "mended": mended}
    again = f"; decoded {mended} damaged blocks again" if mended else ""
    _tell(found, [f"{data.name}: {len(data.index):,} samples, {size:,} bytes in {folder}{again}"], as_json=options.json)
    return 0


def kind_of(name: str) -> type[Dataset]:
    """The data set of that name.

    :raises ArgumentError: there is none.
    """
    if name not in DATASETS:
        raise ArgumentError(f"expected a data set among {', '.join(DATASETS)}, found {name!r}{likely(name, DATASETS)}")
    return DATASETS[name]


def described(kind: type[Dataset]) -> dict[str, Any]:
    """A data set as JSON."""
    return {
        "name": kind.name,
        "title": kind.title,
        "modalities": {
            m: {"shape": list(p.shape), "kind": p.kind, "dtype": p.dtype} for m, p in kind.modalities.items()
        },
        "classes": len(kind.classes) or kind.counts.get("classes"),
        "splits": list(kind.splits),
        "counts": dict(kind.counts),
        "layout": list(kind.layout),
        "needs_root": kind.needs_root,
        "licence": kind.licence,
        "source": kind.source,
    }


def _prepared(data: Dataset, root: Path | None) -> dict[str, Any]:
    """Whether the data set is prepared, after its checksums were compared."""
    if root is None or not (folder_of(data) / MANIFEST).exists():
        return {"prepared": None}
    Preparation(data, folder_of(data)).run()
    if sentence := next(damaged(folder_of(data)), ""):
        raise DataError(sentence)
    return {"prepared": str(folder_of(data))}


def _listed(kinds: Iterable[type[Dataset]]) -> list[str]:
    lines: list[str] = []
    for kind in kinds:
        shapes = ", ".join(f"{m} {'×'.join(map(str, p.shape))}" for m, p in kind.modalities.items())
        lines += [
            f"{kind.name}  {kind.title}",
            f"    {len(kind.classes) or kind.counts.get('classes')} classes; {shapes}; splits {', '.join(kind.splits)}",
            f"    {kind.source}; {kind.licence}",
        ]
    return lines


def _checked(found: dict[str, Any]) -> list[str]:
    whose = " (a generated double, not the data set)" if found["double"] else ""
    lines = [
        f"{found['dataset']}{whose}: {found['samples']:,} samples of {len(found['classes'])} classes, {found['files']:,} files, all sound"
    ]
    lines += [
        f"    {split}: " + ", ".join(f"{k} {v:,}" for k, v in parts.items()) for split, parts in found["splits"].items()
    ]
    return [*lines, f"    prepared: {found['prepared'] or 'no'}"]


def _tell(found: dict[str, Any], lines: list[str], *, as_json: bool) -> None:
    sys.stdout.write(json.dumps(found, allow_nan=False) + "\n" if as_json else "\n".join(lines) + "\n")


@contextmanager
def progress(title: str) -> Generator[Told, None, None]:
    """A bar on a terminal, a line a tenth elsewhere; on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal:
        yield _Tenths(title, console.print)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Tenths:
    """Prints when another tenth is done."""

    def __init__(self, title: str, show: Any) -> None:  # noqa: ANN401 (rich's print takes anything)
        self.title, self.show, self.last = title, show, -1

    def __call__(self, done: int, total: int) -> None:
        if (tenth := 10 * done // max(1, total)) > self.last:
            self.last = tenth
            self.show(f"{self.title}: {done:,} of {total:,}")
