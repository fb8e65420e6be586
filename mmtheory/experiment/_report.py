"""The report: a pure function of a run folder's store, as figures and one self-contained page."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ._curves import curves
from ._figure import MOST, figure, for_page
from ._finding import ORDER, by_verdict, family_error, interval
from ._store import Store, read_json

RELATIONS = {"<=": "≤", ">=": "≥", "==": "="}
FAMILY_LEVEL = 1e-3
MANY = 60


@dataclass(frozen=True)
class Report:
    """What a run found, ready to be read by a person: a table sorted by verdict, a section and a figure a claim, and the provenance.

    Nothing is computed, drawn at random or timed here: equal stores give equal pages. The page needs no network and no other file.
    """

    findings: Sequence[Mapping[str, Any]]
    made_by: Sequence[Mapping[str, Any]]
    question: Mapping[str, Any]
    failures: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def of(cls, folder: Path, *, failures: Mapping[str, str] | None = None) -> Report:
        """The report of a run folder.

        :param failures: the sentence for each claim that could not be tried (a store holds only what was found).
        :raises StoreError: the folder holds no run, or a damaged record.
        """
        question = read_json(folder / "run.json")["question"]
        records = {record.cell.factors["claim"]: record for record in Store(folder).records()}
        found = [records[claim] for claim in question["claims"] if claim in records]
        return cls([r.measured for r in found], [r.made_by for r in found], question, failures or {})

    @cached_property
    def figures(self) -> Mapping[str, str]:
        """Claim → SVG, for every claim that has cases."""
        drawn = {finding["claim"]: figure(finding) for finding in self.findings}
        return {claim: svg for claim, svg in drawn.items() if svg is not None}

    def html(self) -> str:
        """The page."""
        from importlib.resources import files

        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup

        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        environment.filters.update(
            interval=interval, number=number, relation=RELATIONS.__getitem__, anchor=anchor, tightness=tightness
        )
        template = environment.from_string(
            (files("mmtheory.experiment") / "report.html.j2").read_text(encoding="utf-8")
        )
        counts = Counter(finding["verdict"] for finding in self.findings)
        return template.render(
            rows=by_verdict(self.findings),
            sections=[self._section(finding) for finding in self.findings],
            figures={claim: Markup(for_page(svg)) for claim, svg in self.figures.items()},
            failures=self.failures,
            question=self.question,
            counts=[(verdict, counts[verdict]) for verdict in ORDER if counts[verdict]],
            registered=sum(finding["as_registered"] for finding in self.findings),
            total=len(self.findings) + len(self.failures),
            family=family_error(self.findings),
            level=FAMILY_LEVEL,
            made=self._provenance(),
        )

    def _section(self, finding: Mapping[str, Any]) -> Mapping[str, Any]:
        """A finding with what its section says beside the numbers."""
        cases, shown = finding["cases"], MOST
        curve = curves([case["name"] for case in cases])
        words = [
            "mmtheory",
            "verify",
            finding["claim"],
            "--budget",
            self.question["budget"],
            "--seed",
            str(self.question["seed"]),
        ]
        words += ["--device", self.question["device"]] if self.question["device"] != "cpu" else []
        return {
            **finding,
            "note": f"the {shown} of {len(cases)} cases that came nearest to another verdict"
            if len(cases) > shown and not curve
            else "",
            "command": shlex.join(words),
            "listed": cases[:MANY],
            "unlisted": max(0, len(cases) - MANY),
        }

    def _provenance(self) -> list[tuple[str, str]]:
        """What the records say of their making; where they differ, every value."""
        rows: dict[str, dict[str, None]] = {}
        for record in self.made_by:
            for name, value in record.items():
                if name != "time":
                    rows.setdefault(name.replace("_", " "), {})[_said(value)] = None
        times = sorted(str(record.get("time", "")) for record in self.made_by)
        span = [("time", times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}")] if times else []
        return [(name, "; ".join(values)) for name, values in rows.items()] + span


def _said(value: Any) -> str:  # noqa: ANN401 (JSON as it comes)
    """A provenance entry as text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return "none" if value is None else str(value)


def number(value: float | None) -> str:
    """Four digits, or a dash."""
    return "–" if value is None else f"{value:.4g}"


def tightness(finding: Mapping[str, Any]) -> str:
    """The smallest factor of the slack that was not refuted where there is one, otherwise how much of a bound its observed side uses.

    That is in the decisive case; 1 is tight, 0 is empty; a dash for equalities.

    >>> tightness({"relation": "<=", "left": [1.0, 1.0], "right": [4.0, 4.0]})
    '0.25'
    """
    if finding.get("tightness") is not None:
        return f"× {finding['tightness']:g}"
    sides = [*finding["left"], *finding["right"]]
    if finding["relation"] == "==" or None in sides:
        return "–"
    left, right = (sides[0] + sides[1]) / 2, (sides[2] + sides[3]) / 2
    small, large = (left, right) if finding["relation"] == "<=" else (right, left)
    return f"{small / large:.2g}" if small >= 0 and large > 0 else "–"


def anchor(claim: str) -> str:
    """The claim's id as a fragment identifier and file name.

    >>> anchor("moo/min norm")
    'moo-min-norm'
    """
    return "".join(c if c.isalnum() or c in ".-_" else "-" for c in claim)
