"""What a verification shows while it runs (a bar a claim, on standard error) and when it is done (a table)."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from mmtheory.claims import Claim, Look
from mmtheory.experiment import Question, Verification, Watcher, by_verdict, ends, family_error, interval

COLOURS = {"holds": "green", "violated": "red", "vacuous": "magenta", "inconclusive": "yellow", "out of scope": "cyan"}
PLAIN_WIDTH = 160  # of a table that goes to a file or a pipe
RELATIONS = {"<=": "≤", ">=": "≥", "==": "="}


@contextmanager
def progress(claims: Mapping[str, Claim[Any]], question: Question, folder: Path) -> Generator[Watcher, None, None]:
    """A watcher that draws bars on a terminal, and prints a line a claim elsewhere."""
    console = Console(file=sys.stderr, highlight=False)
    console.print(
        f"{len(question.claims)} claims, budget {question.budget}, seed {question.seed} → {escape(str(folder))}"
    )
    if not console.is_terminal:
        yield _Lines(console).watcher()
        return
    with Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=18), TextColumn("{task.fields[state]}"),
        console=console, transient=True, refresh_per_second=8,
    ) as bars:  # fmt: skip
        yield _Bars(bars, claims, question).watcher()


@dataclass
class _Lines:
    """Plain progress: one line for each claim that is done."""

    console: Console
    looks: dict[str, int] = field(default_factory=dict[str, int])
    total: int = 0
    done: int = 0

    def watcher(self) -> Watcher:
        return Watcher(self.start, self.look, self.found)

    def start(self, claims: Sequence[str], stored: int) -> None:
        self.total, self.done = len(claims), stored
        if stored:
            self.console.print(f"{stored} of {len(claims)} are stored already")

    def look(self, claim: str, _look: Look) -> None:
        self.looks[claim] = self.looks.get(claim, 0) + 1

    def found(self, claim: str, finding: Mapping[str, Any] | None, failure: str | None) -> None:
        self.done += 1
        told = f"failed: {failure}" if finding is None else _outcome(finding)
        self.console.print(
            escape(f"[{self.done}/{self.total}] {claim} {told}, {self.looks.get(claim, 0)} looks"), soft_wrap=True
        )


@dataclass
class _Bars:
    """One bar a claim that is being tried, one for all; a claim that is done becomes a line above them."""

    bars: Progress
    claims: Mapping[str, Claim[Any]]
    question: Question
    tasks: dict[str, TaskID] = field(default_factory=dict[str, TaskID])
    parts: dict[str, list[str | None]] = field(default_factory=dict[str, list[str | None]])
    began: float = field(default_factory=time.monotonic)
    whole: TaskID | None = None

    def watcher(self) -> Watcher:
        return Watcher(self.start, self.look, self.found)

    def start(self, claims: Sequence[str], stored: int) -> None:
        self.whole = self.bars.add_task(
            "[bold]all[/]", total=len(claims), completed=stored, state=f"{stored} stored" if stored else ""
        )

    def look(self, claim: str, look: Look) -> None:
        """Advance the claim's bar: the claim itself and each of its controls are one part each."""
        if claim not in self.tasks:
            parts = 1 + len(self.claims[claim].controls())
            self.tasks[claim] = self.bars.add_task(escape(claim), total=parts, state="")
        seen = self.parts.setdefault(claim, [])
        if look.control not in seen:
            seen.append(look.control)
        looks = look.k + max(0, math.ceil(math.log2(look.most / look.n)))
        spent = 1.0 if look.verdict.value != "inconclusive" else look.k / looks
        self.bars.update(
            self.tasks[claim], completed=len(seen) - 1 + spent, state=_state(look, looks, self.claims[claim])
        )

    def found(self, claim: str, finding: Mapping[str, Any] | None, failure: str | None) -> None:
        if claim in self.tasks:
            self.bars.remove_task(self.tasks.pop(claim))
        colour = COLOURS.get(finding["verdict"], "red") if finding else "red"
        told = f"failed: {failure}" if finding is None else _outcome(finding)
        self.bars.console.print(f"[{colour}]━━━━━━[/] {escape(f'{claim:<8} {told}')}")
        if self.whole is not None:
            self.bars.update(self.whole, advance=1, state=f"{time.monotonic() - self.began:.0f} s")
            if self.bars.finished:
                self.bars.update(self.whole, state="writing the report")


def _state(look: Look, looks: int, claim: Claim[Any]) -> str:
    """Looks spent, n so far, intervals and verdict of the decisive case."""
    worst, colour = look.worst, COLOURS[look.verdict.value]
    sides = f"{interval(ends(worst.left))} {RELATIONS[claim.relation.value]} {interval(ends(worst.right))}"
    part = "claim" if look.control is None else f"control “{look.control}”"
    return f"look {look.k}/{looks}  n {look.n:,}  {escape(sides)}  [{colour}]{look.verdict.value}[/]  {escape(part)}"


def _outcome(finding: Mapping[str, Any]) -> str:
    """A finding in a line."""
    refuted = sum(c["verdict"] == "violated" for c in finding["controls"])
    sides = f"{interval(finding['left'])} {RELATIONS[finding['relation']]} {interval(finding['right'])}"
    return (
        f"{finding['verdict']}: {sides}, n = {finding['n']:,} {finding['unit']},"
        f" {refuted} of {len(finding['controls'])} controls refuted, {finding['seconds']:.1f} s"
    )


def _brief(world: str, most: int = 56) -> str:
    """A world's label that fits a column; the report has all of it."""
    return world if len(world) <= most else f"{world[: most - 2]}…)"


def show(done: Verification) -> None:
    """The table of findings, those that need a look first, and the conclusion."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("claim", "verdict", "left", "", "right", "n", "controls", "world", "s"):
        numeric = column in {"n", "controls", "s"}
        table.add_column(column, justify="right" if numeric else "left", no_wrap=column != "world", overflow="fold")
    for finding in by_verdict(done.findings):
        refuted = sum(c["verdict"] == "violated" for c in finding["controls"])
        verdict = finding["verdict"] if finding["as_registered"] else f"{finding['verdict']} (!)"
        table.add_row(
            escape(finding["claim"]), f"[{COLOURS[finding['verdict']]}]{verdict}[/]", escape(interval(finding["left"])),
            RELATIONS[finding["relation"]], escape(interval(finding["right"])), f"{finding['n']:,}",
            f"{refuted}/{len(finding['controls'])}", escape(_brief(finding["world"])), f"{finding['seconds']:.1f}",
        )  # fmt: skip
    console.print(table)
    for claim, reason in done.failures.items():
        console.print(f"[red]{escape(claim)} could not be tried: {escape(reason)}[/]", soft_wrap=True)
    held = sum(f["as_registered"] for f in done.findings)
    console.print(
        f"\n{held} of {len(done.findings) + len(done.failures)} claims came out as registered with every control refuted;"
        f" any wrong verdict in this table has probability at most {family_error(done.findings):.1g}.",
        soft_wrap=True,
    )  # fmt: skip
