"""Figures as SVG texts: each case's observed interval beside what the analytic side says of it."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._curves import Curve, curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 24  # cases that one figure can show and a reader can read
ACROSS = 3  # panels beside each other
# Okabe and Ito's palette, distinguishable with any colour vision; a page may map these onto its own light and dark pairs.
INK, PAPER, GRID, OBSERVED, ANALYTIC = "#1f1f1e", "#fefefe", "#c9c9c8", "#0072b2", "#d55e00"
PAGE = {INK: "var(--ink)", PAPER: "none", GRID: "var(--grid)", OBSERVED: "var(--observed)", ANALYTIC: "var(--analytic)"}


@dataclass(frozen=True)
class Point:
    """One case as numbers, ±inf where an end is unknown."""

    name: str
    left: tuple[float, float]
    right: tuple[float, float]
    verdict: str


def figure(finding: Mapping[str, Any]) -> str | None:
    """The SVG of a finding's cases (curves where their names differ in a number, rows otherwise); None out of scope.

    Equal findings give equal bytes: no date, and identifiers salted with the claim's name.
    """
    points = [_point(case) for case in finding["cases"]]
    if not points:
        return None
    import matplotlib as mpl
    from matplotlib.figure import Figure

    lines = curves([p.name for p in points])
    rows = [] if lines else _chosen(points, finding["relation"])
    settings: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": finding["claim"], "font.family": "sans-serif", "font.size": 9, "text.color": INK,
        "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.linewidth": 0.6,
    }  # fmt: skip
    with mpl.rc_context(settings), warnings.catch_warnings():
        # A letter that the measuring font lacks is still in the SVG.
        warnings.filterwarnings("ignore", message="Glyph")
        high, wide = -(-len(lines) // ACROSS), min(len(lines), ACROSS)
        page = Figure(
            figsize=(7.2, 0.4 + 2.5 * high if lines else 0.95 + 0.27 * len(rows)), facecolor=PAPER, layout="constrained"
        )
        panels = page.subplots(max(high, 1), max(wide, 1), squeeze=False).ravel()
        for place, axes in enumerate(panels):
            axes.set_facecolor("none")
            axes.spines[["top", "right"]].set_visible(False)
            if place < len(lines):
                _curve(axes, points, lines[place], finding)
            elif lines:
                axes.set_axis_off()
        axes = panels[0]
        if not lines:
            _rows(axes, rows, finding)
        handles, labels = axes.get_legend_handles_labels()
        page.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False)
        text = io.StringIO()
        page.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def for_page(svg: str) -> str:
    """The SVG as part of a page: no prologue, no size, colours as the page's variables, and no identifiers twice."""
    body = svg[svg.index("<svg") :]
    for size in ("width", "height"):
        body = re.sub(rf'(<svg[^>]*?) {size}="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    for colour, variable in PAGE.items():
        body = body.replace(colour, variable)
    return re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)


def slack(case: Point, relation: str) -> float:
    """How far from being refuted; smaller is nearer."""
    if relation == "==":
        gap = -max(abs(case.left[1] - case.right[0]), abs(case.left[0] - case.right[1]))
    else:
        gap = case.right[0] - case.left[1] if relation == "<=" else case.left[0] - case.right[1]
    return -math.inf if math.isnan(gap) else gap


def _chosen(points: Sequence[Point], relation: str) -> list[Point]:
    """The cases to show, in their own order: all, or those that were nearest to another verdict."""
    rank = {"violated": 0, "inconclusive": 1}
    nearest = sorted(points, key=lambda p: (rank.get(p.verdict, 2), slack(p, relation)))[:MOST]
    return [p for p in points if p in nearest][:MOST]


def _point(case: Mapping[str, Any]) -> Point:
    return Point(case["name"], _open(case["left"]), _open(case["right"]), case["verdict"])


def _open(ends: Sequence[float | None]) -> tuple[float, float]:
    return (-math.inf if ends[0] is None else ends[0]), (math.inf if ends[1] is None else ends[1])


def _window(points: Sequence[Point], margin: float) -> tuple[float, float, bool]:
    """Ends of the value axis, and whether it should be logarithmic."""
    ends = [e for p in points for e in (*p.left, *p.right) if math.isfinite(e)] or [0.0, 1.0]
    low, high = min(ends), max(ends)
    nothing = max(margin, 1e-12 * high)  # what is this small is a zero with rounding, which no logarithm should show
    if low > nothing and high / low > 60:
        return max(low / 1.5, high * 1e-24), high * 1.5, True  # beyond that, ticks overflow
    pad = max(0.06 * (high - low), min(1.5 * margin, high - low), 1e-3 * max(abs(low), abs(high)), 1e-12)
    return low - pad, high + pad, False


def _inside(ends: tuple[float, float], window: tuple[float, float, bool]) -> tuple[float, float]:
    """The part of an interval that the axis shows; infinite ends run out of it."""
    low, high, _ = window
    reach = (low / 10, high * 10) if window[2] else (low - (high - low), high + (high - low))
    return max(ends[0], reach[0]), min(ends[1], reach[1])


def _rows(axes: Axes, points: Sequence[Point], finding: Mapping[str, Any]) -> None:
    """A row a case, values to the right."""
    window = _window(points, finding["margin"] or 0.0)
    for row, point in enumerate(points):
        label = "observed" if row == 0 else None
        axes.plot(_inside(point.left, window), (row, row), color=OBSERVED, lw=2.2, marker="|", ms=7, label=label)
        _analytic(
            axes, _inside(point.right, window), row, finding["relation"], _visible(finding, window), label=row == 0
        )
    axes.set_ylim(len(points) - 0.4, -0.6)
    axes.set_yticks(range(len(points)), [_short(p.name) for p in points])
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.set_xlim(*window[:2])
    if window[2]:
        axes.set_xscale("log")
    axes.grid(axis="x", color=GRID, lw=0.5)
    axes.tick_params(axis="y", length=0)


def _visible(finding: Mapping[str, Any], window: tuple[float, float, bool]) -> float:
    """The margin, 0 where it would be thinner than a line."""
    margin = float(finding["margin"] or 0.0)
    return margin if margin > 4e-3 * (window[1] - window[0]) else 0.0


def _analytic(axes: Axes, ends: tuple[float, float], row: int, relation: str, margin: float, *, label: bool) -> None:
    """The analytic value below the observed interval: a diamond, or a triangle on the side on which the observed one must lie."""
    y, marker = row + 0.22, {"<=": "<", ">=": ">", "==": "D"}[relation]
    if margin:
        down, up = (margin if relation != "<=" else 0), (margin if relation != ">=" else 0)
        reach, told = (ends[0] - down, ends[1] + up), "margin" if label else None
        axes.plot(reach, (y, y), color=ANALYTIC, lw=1, alpha=0.55, label=told)
    axes.plot(ends, (y, y), color=ANALYTIC, lw=1.6)
    anchor = ends[1] if relation == "<=" else ends[0] if relation == ">=" else sum(ends) / 2
    axes.plot((anchor,), (y,), color=ANALYTIC, marker=marker, ms=4.5, ls="none", label="analytic" if label else None)


def _curve(axes: Axes, points: Sequence[Point], curve: Curve, finding: Mapping[str, Any]) -> None:
    """Values above the number that the names hold."""
    members = [points[index] for index, _ in curve.members]
    x = [value for _, value in curve.members]
    window = _window(members, finding["margin"] or 0.0)
    margin = _visible(finding, window)
    observed, analytic = [_inside(p.left, window) for p in members], [_inside(p.right, window) for p in members]
    up, down = (margin if finding["relation"] != ">=" else 0), (margin if finding["relation"] != "<=" else 0)
    band = [low - down for low, _ in analytic], [high + up for _, high in analytic]
    axes.fill_between(x, *band, color=ANALYTIC, alpha=0.18, lw=0, label="margin" if margin else "_")
    style = {"<=": "<", ">=": ">", "==": "D"}[finding["relation"]]
    axes.plot(
        x,
        [sum(e) / 2 for e in analytic],
        color=ANALYTIC,
        lw=1.2,
        marker="D" if style == "D" else None,
        ms=3.5,
        zorder=3,
        label="analytic",
    )
    axes.vlines(
        x, [low for low, _ in observed], [high for _, high in observed], color=OBSERVED, lw=2.2, label="observed"
    )
    for ends in zip(*observed, strict=True):
        axes.plot(x, ends, color=OBSERVED, marker="_", ms=6, ls="none")
    axes.plot(x, [sum(e) / 2 for e in observed], color=OBSERVED, marker="o", ms=7, mfc="none", mew=1.1, ls="none")
    axes.set_xlabel(curve.label, parse_math=False)
    axes.set_title(_short(curve.title), fontsize=9, loc="left", color=INK, parse_math=False)
    axes.set_ylim(*window[:2])
    if window[2]:
        axes.set_yscale("log")
    if min(x) > 0 and max(x) / min(x) >= 20:
        axes.set_xscale("log")
    axes.grid(color=GRID, lw=0.5)


def _short(name: str, most: int = 34) -> str:
    """A label that leaves room for the figure."""
    return name if len(name) <= most else name[: most - 1] + "…"
