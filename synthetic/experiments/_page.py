"""The laboratory's report: one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from ._figures import beside, gaps, named, phases, responses, traces

ROUNDING = 1e-6
"""Differences of shares below this are the arithmetic's."""


def page(found: Mapping[str, Any], made_by: Mapping[str, Any]) -> str:
    """The page of a finished run; a pure function of its arguments that needs no network."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    dials = list(dict.fromkeys(row["dial"] for row in found["rows"]))
    figures = {
        dial: [
            (title, Markup(svg[svg.index("<svg") :]))
            for title, svg in (
                *(
                    (f"{kind}Paired difference to joint training, mean and 95 % interval over seeds", svg)
                    for kind, svg in responses(found["rows"], dial)
                ),
                (
                    "Which gap: what is readable from a modality and not in joint training's encoder (speed), and what is readable from "
                    "the best modality and not from this one (information)",
                    gaps(found["gaps"], dial),
                ),
                (
                    "The world's own mechanism, simulated, and its formula",
                    beside(found["mechanisms"], dial),
                ),
                *phases(found["rows"], dial),
                (
                    "Joint training over the epochs, a line a level, mean and 95 % interval over seeds",
                    traces(found["traces"], dial),
                ),
            )
            if svg
        ]
        for dial in dials
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(share=share, signed=signed, level=named, ends=ends)
    template = environment.from_string(
        (files("synthetic.experiments") / "imbalance.html.j2").read_text(encoding="utf-8")
    )
    return template.render(
        is_error=is_error, numbers=any(is_error(row["metric"]) for row in found["rows"]), dials=dials, figures=figures, rows=found["rows"], slopes=found["slopes"], gaps=found["gaps"], known=[titled(row) for row in found["known"]], mechanisms=found["mechanisms"], plan=found["plan"], made={k: said(v) for k, v in made_by.items()},
        metrics=list(dict.fromkeys(row["metric"] for row in found["rows"])),
    )  # fmt: skip


def said(value: Any) -> str:  # noqa: ANN401 (provenance as it comes)
    """A provenance entry as text."""
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)


def share(side: Mapping[str, float | None], metric: str = "") -> str:
    """A mean with its interval's half width, in per cent; an error as it is."""
    if side["mean"] is None:
        return "–"
    whole = shown(side["mean"], metric)
    if side["low"] is None or side["high"] is None:
        return whole
    return f"{whole} ± {shown((side['high'] - side['low']) / 2, metric)}"


def signed(side: Mapping[str, float | None], metric: str = "") -> str:
    """A difference in percentage points (of an error as it is), its interval behind it, with a mark where the interval leaves out 0."""
    if side["mean"] is None or side["low"] is None or side["high"] is None:
        return "–"
    mark = " *" if starred(side, metric) else ""
    mean, low, high = (shown(side[end] or 0.0, metric, sign="+") for end in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]{mark}"


def starred(side: Mapping[str, float | None], metric: str = "") -> bool:
    """Whether an interval leaves out 0, by more than rounding."""
    low, high = side["low"], side["high"]
    if low is None or high is None or abs(side["mean"] or 0.0) < (0.0 if is_error(metric) else ROUNDING):
        return False
    return low > 0 or high < 0


def is_error(metric: str) -> bool:
    """Whether a metric is an error in the target's own units, of which less is better; all others are shares of one."""
    return metric.startswith("mse")


def shown(value: float, metric: str, *, sign: str = "") -> str:
    """A number as text: shares in per cent, errors to three digits."""
    text = f"{value:{sign}.3g}" if is_error(metric) else f"{100 * value:{sign}.1f}"
    return text.replace("-", "−")


def titled(row: Mapping[str, Any]) -> dict[str, Any]:
    """A known quantity under one name, its level as it is shown."""
    return {**row, "name": f"{row['quantity']} {row['given']}".strip(), "shown": named(row["level"])}


def ends(side: Mapping[str, float | None]) -> str:
    """An exact value, to as many digits as both of its ends agree on; infinite where it has none."""
    if side["low"] is None or side["high"] is None:
        return "∞"
    return f"{(side['low'] + side['high']) / 2:.4g}".replace("-", "−")
