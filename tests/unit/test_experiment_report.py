"""The report: a pure function of what is stored, complete, escaped and self-contained."""

from __future__ import annotations

import html.parser
import re
from typing import Any

import pytest

from mmtheory.experiment import Report, by_verdict, family_error, interval
from mmtheory.experiment._curves import curves
from mmtheory.experiment._figure import figure

QUESTION = {"claims": ["x"], "budget": "small", "seed": 3, "device": "cpu"}


def finding(claim: str = "x", verdict: str = "holds", **changes: Any) -> dict[str, Any]:
    cases = changes.pop("cases", [("first", [0.9, 1.1], [1.0, 1.0])])
    return {
        "claim": claim, "source": "someone2026, Theorem <1>", "tag": "derived here", "verdict": verdict, "left": [0.9, 1.1], "relation": "==",
        "right": [1.0, 1.0], "n": 1000, "alpha": 1e-6, "world": "coin(mean=1)", "controls": [{"name": "c & d", "verdict": "violated"}],
        "seconds": 1.25, "statement": "a < b for <every> x_S", "registered": "holds", "as_registered": verdict == "holds", "margin": 0.1,
        "unit": "samples", "case": "first", "dials": {}, "stream": "Stream(0, ('x',))", "broken_assumptions": [], "ladder": [], "tightness": None, "remarks": [],
        "cases": [{"name": n, "left": left, "right": right, "verdict": "holds"} for n, left, right in cases], **changes,
    }  # fmt: skip


def page(*findings: dict[str, Any], **failures: str) -> str:
    return Report(findings, [{"version": "1", "git": None, "time": "2026-01-01"}], QUESTION, failures).html()


class Ids(html.parser.HTMLParser):
    """Collects identifiers and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in {"meta", "br", "path", "use", "rect", "line"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass


def test_equal_findings_give_equal_pages() -> None:
    assert page(finding(), finding("y")) == page(finding(), finding("y"))


def test_the_page_needs_nothing_else_and_says_nothing_twice() -> None:
    text = page(finding(), finding("y", cases=[(f"n={k}", [0.9, 1.1], [1.0, 1.0]) for k in (10, 100, 1000)]))
    assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}
    assert not re.findall(r"<(?:script|link|img|iframe)", text)
    parser = Ids()
    parser.feed(text)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    used = set(re.findall(r"url\(#([\w-]+)\)|xlink:href=\"#([\w-]+)\"", text))
    assert {a or b for a, b in used} <= set(parser.ids)
    assert "Date" not in text


def test_words_from_claims_are_escaped() -> None:
    text = page(finding())
    assert "a &lt; b for &lt;every&gt; x_S" in text
    assert "Theorem &lt;1&gt;" in text
    assert "<every>" not in text


def test_what_needs_a_look_comes_first() -> None:
    found = [finding("h"), finding("i", "inconclusive"), finding("v", "violated"), finding("w", "vacuous")]
    assert [f["claim"] for f in by_verdict(found)] == ["v", "w", "i", "h"]
    assert by_verdict([finding("h"), finding("n", "violated", as_registered=True)])[0]["claim"] == "n"


def test_a_claim_that_could_not_be_tried_is_told() -> None:
    text = page(finding(), y="the worker process died 2 times (signal 9)")
    assert "1 of 2 claims came out as registered" in text
    assert "signal 9" in text


def test_out_of_scope_and_infinite_ends() -> None:
    text = page(
        finding(verdict="out of scope", left=[None, None], right=[None, None], case=None, cases=[], broken_assumptions=["too few"]),
        finding("y", left=[None, 1.0], cases=[("a", [None, 1.0], [0.0, None])]),
    )  # fmt: skip
    assert "too few" in text
    assert "[−∞, 1]" in text


def test_the_cell_can_be_run_again() -> None:
    assert "mmtheory verify x --budget small --seed 3" in page(finding())


def test_a_figure_shows_what_a_reader_can_read() -> None:
    many = finding(cases=[(f"case {'x' * i}", [0.9, 1.1], [1.0, 1.0]) for i in range(200)])
    svg = figure(many) or ""
    assert svg.count("case x") + svg.count("case <") <= 24
    assert "the 24 of 200 cases" in page(many)
    assert "140 more in findings.json" in page(many)
    height = float((re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', svg) or [0, 0])[1])
    assert height < 600


@pytest.mark.parametrize(
    "cases",
    [
        [("a", [1.0, 1.0], [1.0, 1.0])],
        [("a", [0.0, 0.0], [0.0, 0.0]), ("b", [0.0, 0.0], [0.0, 0.0])],
        [("a", [None, None], [None, None])],
        [("a", [1e-300, 1e-300], [1e300, 1e300])],
        [("$a$", [1.0, 2.0], [None, 3.0]), ("ℓ∩𝒳", [0.5, 0.6], [0.5, 0.6])],
        [(f"n={k}", [None, 1.0], [0.0, None]) for k in (1, 2, 3)],
        [(f"{m} at x={k}", [0.1 * k, 0.3], [1.0 * k, 1e4 * k]) for k in (0, 1, 2) for m in "abcd"],
        [(f"x={k}", [1e-9, 1e-8], [1e3, 1e3]) for k in (-1, 0, 1)],
    ],
)
@pytest.mark.parametrize("relation", ["<=", ">=", "=="])
def test_a_figure_of_any_intervals(cases: list, relation: str) -> None:
    assert (figure(finding(cases=cases, relation=relation)) or "").rstrip().endswith("</svg>")


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b", "a,b"],
        ["n=1", "n=2"],
        ["n=1", "n=2", "m=3"],
        ["n=1", "n=1.0", "n=2"],
        ["a n=1", "a n=2", "a n=3", "b"],
    ],
)
def test_names_that_make_no_curve(names: list[str]) -> None:
    assert curves(names) == ()


def test_names_that_hold_one_number_make_curves() -> None:
    (alone,) = curves(["kappa=2 late", "kappa=1e-3 late", "kappa=0.5 late"])
    assert (alone.title, alone.label, alone.members) == ("", "kappa", ((1, 1e-3), (2, 0.5), (0, 2.0)))
    first, second = curves([f"weight of {m} at n={n}" for n in (40, 60, 200) for m in ("a", "a,b")])
    assert (first.title, second.title, second.label) == ("weight of a", "weight of a,b", "n")
    assert second.members == ((1, 40.0), (3, 60.0), (5, 200.0))


def test_intervals_as_texts() -> None:
    assert interval([0.123456, 0.1234561]) == "0.123456"
    assert interval([-8.74394e-07, -8.74392e-07]) == "−8.7e−07"
    assert interval([-0.5, 0.25]) == "[−0.5, 0.25]"
    assert interval([None, None]) == "–"


def test_the_error_of_the_table_counts_the_controls() -> None:
    assert family_error([finding(), finding("y")]) == pytest.approx(4e-6)
