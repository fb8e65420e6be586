"""Figures of the laboratory as SVG: dose and response, discrepancy traces, heat maps over two dials."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 4
MARGIN = 0.05
"""From which on a gap is one, as in ``diagnose``."""
LEAST = 0.005
"""Difference of shares that an axis always shows."""
ROUNDING = 1e-6
"""Relative range that is a constant with rounding."""
# Okabe and Ito's palette, distinguishable with any colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
Row = Mapping[str, Any]


def responses(rows: Sequence[Row], dial: str) -> list[tuple[str, str]]:
    """Paired difference to joint against the level, a panel a method, a line a metric; nothing for an axis without numbers.

    Errors have units of their own, and a figure of their own: what is measured, and the figure.
    """
    mine = [r for r in rows if r["dial"] == dial and r["method"] != "joint" and isinstance(r["level"], int | float)]
    names = list(dict.fromkeys(r["metric"] for r in mine))
    probes = [m for m in names if m.startswith("probe")]
    if "accuracy" in names:
        groups = {"": ["accuracy", *probes]}
    else:
        groups = {"Mean squared error (less is better). ": ["mse"], "Share of variance that probes explain. ": probes}
    return [(kind, svg) for kind, shown in groups.items() if (svg := _responses(mine, dial, shown))]


def _responses(mine: Sequence[Row], dial: str, shown: Sequence[str]) -> str | None:
    methods = list(dict.fromkeys(r["method"] for r in mine))

    def draw(axes: Axes, method: str) -> None:
        axes.axhline(0, color="#888888", linewidth=0.6)
        for colour, metric in zip(COLOURS, shown, strict=False):
            line = [
                r
                for r in mine
                if r["method"] == method and r["metric"] == metric and r["delta_joint"]["low"] is not None
            ]
            x, y = [r["level"] for r in line], [r["delta_joint"]["mean"] for r in line]
            reach = [[v["mean"] - v["low"], v["high"] - v["mean"]] for v in (r["delta_joint"] for r in line)]
            axes.errorbar(
                x, y, yerr=list(zip(*reach, strict=True)) if reach else None, color=colour, label=metric, marker="o",
                markersize=3, linewidth=1.2, capsize=2,
            )  # fmt: skip
        if shown != ["mse"] and mine:  # rounding alone must not fill the panel
            axes.plot([mine[0]["level"]] * 2, [-LEAST, LEAST], linewidth=0)
        axes.set_title(method, fontsize=9)
        axes.set_xlabel(dial)

    return panels(methods, draw, share="y") if methods and shown else None


def named(level: Any) -> str:  # noqa: ANN401 (a level as it comes)
    """A level, or crossed levels."""
    parts: list[Any] = list(level) if isinstance(level, list) else [level]
    return " × ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in parts)


def traces(found: Sequence[Row], dial: str, method: str = "joint") -> str | None:
    """Discrepancy ratios and gradient norms of joint training over the epochs, a panel a quantity, a line a level."""
    mine = [t for t in found if t["dial"] == dial and t["method"] == method and t["mean"]]
    names = list(dict.fromkeys(t["trace"] for t in mine))

    def draw(axes: Axes, name: str) -> None:
        for colour, t in zip(COLOURS * 3, (t for t in mine if t["trace"] == name), strict=False):
            epochs = range(1, len(t["mean"]) + 1)
            low, high = ([math.nan if v is None else v for v in t[end]] for end in ("low", "high"))
            axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(epochs, t["mean"], color=colour, linewidth=1.2, label=f"{dial} {named(t['level'])}")
        low, high = axes.get_ylim()
        if high - low < ROUNDING * max(abs(low), abs(high)):
            axes.set_ylim(low - LEAST, high + LEAST)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("epoch")

    return panels(names, draw) if names else None


def phases(rows: Sequence[Row], dial: str) -> list[tuple[str, str]]:
    """Heat maps of the paired difference to joint over two crossed dials, a panel a method, with a title; none for an axis of one dial."""
    error = not any(r["metric"] == "accuracy" for r in rows)
    metric = "mse" if error else "accuracy"
    mine = [
        r for r in rows
        if r["dial"] == dial and r["metric"] == metric and r["method"] != "joint" and isinstance(r["level"], list) and len(r["level"]) == 2
    ]  # fmt: skip
    methods = list(dict.fromkeys(r["method"] for r in mine))
    if not methods:
        return []
    across, up = (list(dict.fromkeys(r["level"][k] for r in mine)) for k in (0, 1))
    largest = max((abs(r["delta_joint"]["mean"] or 0.0) for r in mine), default=0.0) or 1.0
    first, second = dial.split(" × ")

    def draw(axes: Axes, method: str) -> None:
        at = {tuple(r["level"]): r["delta_joint"]["mean"] for r in mine if r["method"] == method}
        grid: list[list[float]] = [[at[a, b] if at.get((a, b)) is not None else math.nan for a in across] for b in up]
        axes.imshow(
            grid, origin="lower", cmap="RdBu_r" if error else "RdBu", vmin=-largest, vmax=largest, aspect="auto"
        )
        for j, line in enumerate(grid):
            for i, value in enumerate(line):
                ink = "white" if abs(value) > 0.6 * largest else "black"
                axes.text(
                    i,
                    j,
                    (f"{value:+.2g}" if error else f"{100 * value:+.1f}").replace("-", "−"),
                    ha="center",
                    va="center",
                    fontsize=6,
                    color=ink,
                )
        axes.set_xticks(range(len(across)), [f"{a:g}" for a in across])
        axes.set_yticks(range(len(up)), [f"{b:g}" for b in up])
        axes.set_xlabel(first)
        axes.set_ylabel(second)
        axes.set_title(method, fontsize=9)

    title = (
        "Mean squared error: paired difference to joint training (blue: smaller, better)" if error
        else "Accuracy: paired difference to joint training, in percentage points (blue: better)"
    )  # fmt: skip
    return [(title, panels(methods, draw, legend=False))]


def gaps(found: Sequence[Row], dial: str) -> str | None:
    """Both gaps of each modality against the level, a panel a modality, with the margin from which on a gap is one."""
    mine = [g for g in found if g["dial"] == dial and isinstance(g["level"], int | float) and g["cause"] is not None]

    def draw(axes: Axes, modality: str) -> None:
        axes.axhline(0, color="#888888", linewidth=0.6)
        axes.axhline(MARGIN, color="#888888", linewidth=0.6, linestyle=":")
        here = [g for g in mine if g["modality"] == modality]
        for colour, kind in zip(COLOURS, ("speed", "information"), strict=False):
            _measured(axes, [g["level"] for g in here], [g[kind] for g in here], colour, f"{kind} gap")
        axes.set_title(modality, fontsize=9)
        axes.set_xlabel(dial)

    return panels(list(dict.fromkeys(g["modality"] for g in mine)), draw, share="y") if mine else None


def beside(found: Sequence[Row], dial: str) -> str | None:
    """The world's own mechanism as simulated, and its formula as a line, a panel a quantity."""
    mine = [r for r in found if r["dial"] == dial and isinstance(r["level"], int | float)]

    def draw(axes: Axes, quantity: str) -> None:
        here = [r for r in mine if r["quantity"] == quantity]
        _measured(axes, [r["level"] for r in here], here, COLOURS[0], "simulated", line=False)
        middles = [(r["exact"]["low"] + r["exact"]["high"]) / 2 for r in here]
        axes.plot([r["level"] for r in here], middles, color=COLOURS[1], linewidth=1.2, label="formula")
        axes.set_title(quantity, fontsize=9)
        axes.set_xlabel(dial)

    return panels(list(dict.fromkeys(r["quantity"] for r in mine)), draw) if mine else None


def _measured(
    axes: Axes, at: Sequence[float], sides: Sequence[Row], colour: str, label: str, *, line: bool = True
) -> None:
    """Means with their intervals."""
    reach = [[s["mean"] - s["low"], s["high"] - s["mean"]] for s in sides]
    axes.errorbar(
        at, [s["mean"] for s in sides], yerr=list(zip(*reach, strict=True)), color=colour, label=label, marker="o",
        markersize=3, linewidth=1.2 if line else 0.0, elinewidth=1.2, capsize=2,
    )  # fmt: skip


def panels(names: Sequence[str], draw: Callable[[Axes, str], None], *, share: str = "", legend: bool = True) -> str:
    """Small multiples, one a name, with one legend; equal data give equal bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": "imbalance", "font.family": "sans-serif", "font.size": 8, "axes.linewidth": 0.6,
    }  # fmt: skip
    with mpl.rc_context(settings):
        wide, high = ACROSS, -(-len(names) // ACROSS)
        page = Figure(figsize=(2.4 * wide, 0.35 + 1.9 * high), layout="constrained", facecolor="#fefefe")
        grid = page.subplots(high, wide, squeeze=False, sharey=share == "y").ravel()
        for axes, name in zip(grid, names, strict=False):
            axes.spines[["top", "right"]].set_visible(False)
            draw(axes, name)
        for axes in grid[len(names) :]:
            axes.set_axis_off()
        handles, labels = grid[0].get_legend_handles_labels()
        if legend and labels:
            page.legend(handles, labels, loc="outside upper left", ncols=min(6, len(labels)), frameon=False)
        text = io.StringIO()
        page.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
