"""Findings as JSON: what a cell of a verification stores, what ``--json`` prints, what the report reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from mmtheory.claims import Case, Finding
from mmtheory.stats import Interval, Verdict

ORDER = tuple(
    verdict.value
    for verdict in (Verdict.VIOLATED, Verdict.VACUOUS, Verdict.INCONCLUSIVE, Verdict.OUT_OF_SCOPE, Verdict.HOLDS)
)


def finite(value: Any) -> Any:  # noqa: ANN401 (JSON as it comes)
    """The value with None for every number that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [finite(v) for v in cast("Sequence[Any]", value)]
    return value


def ends(interval: Interval | None) -> list[float | None]:
    """[low, high]; None for an infinite end, which its place tells apart (−∞ on the left, +∞ on the right)."""
    return [None, None] if interval is None else finite(interval.as_list())


def finding_json(finding: Finding) -> dict[str, Any]:
    """One finding as strict JSON; ``left`` and ``right`` are those of the case that decided."""
    worst = finding.worst
    return {
        "claim": finding.claim,
        "source": finding.source,
        "tag": finding.tag,
        "verdict": finding.verdict.value,
        "left": ends(worst and worst.left),
        "relation": finding.relation,
        "right": ends(worst and worst.right),
        "n": finding.n,
        "alpha": finding.alpha,
        "world": finding.world,
        "controls": [{"name": name, "verdict": verdict.value} for name, verdict in finding.controls.items()],
        "seconds": finding.seconds,
        "statement": finding.statement,
        "registered": finding.registered.value,
        "as_registered": finding.as_registered,
        "margin": finite(finding.margin),
        "unit": finding.unit,
        "case": worst.name if worst else None,
        "cases": [_case_json(case) for case in finding.cases],
        "dials": finite(finding.dials),
        "stream": finding.stream,
        "broken_assumptions": list(finding.broken_assumptions),
        "ladder": [{"slack": factor, "verdict": verdict.value} for factor, verdict in finding.ladder.items()],
        "tightness": finding.tightness,
        "remarks": list(finding.remarks),
    }


def _case_json(case: Case) -> dict[str, Any]:
    """One comparison."""
    return {"name": case.name, "left": ends(case.left), "right": ends(case.right), "verdict": case.verdict.value}


def by_verdict(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that need a look first: not as registered, then by verdict, then in the order given."""
    return sorted(findings, key=lambda f: (f["as_registered"], ORDER.index(f["verdict"])))


def family_error(findings: Sequence[Mapping[str, Any]]) -> float:
    """A bound on the probability that any verdict of the table, controls included, is wrong (the union bound)."""
    return min(1.0, sum(f["alpha"] * (1 + len(f["controls"])) for f in findings))


def interval(ends: Sequence[float | None]) -> str:
    """``[0.12, 0.13]``; one number where four digits do not tell the ends apart; ∞ where an end is open.

    >>> interval([0.25, 0.25]), interval([None, 1.0]), interval([-1.139e-9, 8.606e-10])
    ('0.25', '[−∞, 1]', '[−1.1e−09, 8.6e−10]')
    """
    low, high = ends
    if low is None and high is None:
        return "–"
    if low is not None and high is not None and f"{low:.4g}" == f"{high:.4g}":
        return _figures(low + (high - low) / 2, "6g")
    return f"[{'−∞' if low is None else _figures(low)}, {'∞' if high is None else _figures(high)}]"


def _figures(value: float, digits: str = "4g") -> str:
    """The number with that many digits, fewer where it needs an exponent."""
    text = f"{value:.{digits}}"
    return (f"{value:.2g}" if "e" in text else text).replace("-", "−")
