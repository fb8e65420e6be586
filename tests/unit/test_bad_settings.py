"""No method takes a setting outside its range: every number and word of every signature, by itself."""

import inspect
import math

import pytest

from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS

LATER = {("minvi", "direction"), ("m2pt", "language")}
"""Words that only a model's modalities can judge: refused when bound."""


def settings_of(name):
    """Setting → a value that is none; private and boolean ones aside."""
    for p in inspect.signature(METHODS[name].__init__).parameters.values():
        if p.default is inspect.Parameter.empty or isinstance(p.default, bool) or (name, p.name) in LATER:
            continue
        if isinstance(p.default, float):
            yield from ((p.name, -1.0), (p.name, math.nan))
        elif isinstance(p.default, int):
            yield p.name, -1
        elif isinstance(p.default, str):
            yield p.name, "nonsense"


@pytest.mark.parametrize("name", sorted(METHODS))
def test_settings_out_of_range_are_refused_by_a_sentence(name):
    for setting, value in settings_of(name):
        with pytest.raises(ArgumentError, match=r"expected .*found") as refusal:
            METHODS[name](**{setting: value})
        assert "\n" not in str(refusal.value)
