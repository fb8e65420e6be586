"""Methods by what one types for them: names, weightings, settings behind colons, and what is refused."""

import pytest

from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS, made


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_name_is_the_method_with_its_defaults(name):
    assert type(made(name)) is METHODS[name]


def test_settings_are_numbers_truth_values_or_words():
    ogm = made("ogm:alpha=0.25:ge=matched:start=3")
    assert (ogm.alpha, ogm.ge, ogm.start) == (0.25, "matched", 3)
    assert made("mla:projection=off").projection == "off"
    assert made("bogc:damped=true").damped is True
    pcgrad = made("moo:pcgrad:weight=2")
    assert (pcgrad.weight, type(pcgrad.weighting).__name__) == (2, "PCGrad")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ogn", "expected a method among joint, .*found 'ogn'"),
        ("moo:ogm", "expected a method among .*found 'moo:ogm'"),
        ("ogm:alpha=-1", r"ogm: alpha: expected a number in \[0, inf\], found -1"),
        ("ogm:alpha=NaN", r"ogm: alpha: expected a number in \[0, inf\], found nan"),
        ("ogm:alpha=much", "ogm: expected settings among alpha, form, .*found {'alpha': 'much'}"),
        ("ogm:beta=1", "ogm: expected settings among alpha, form, .*found {'beta': 1}"),
        ("opm:p_exe=1.5", r"opm: expected p_exe in \[0, 1.0\], found 1.5"),
        ("moo:pcgrad:wait=2", "moo: expected settings among weighting, weight, scope, beta, found {.*'wait': 2}"),
        ("joint:alpha=1", "joint: expected settings among none, found {'alpha': 1}"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(text, words):
    with pytest.raises(ArgumentError, match=words):
        made(text)
