"""Every registered claim comes out as registered and every control is refuted; a wrong verdict has probability at most 1e-6 each."""

import os

import pytest

from mmtheory.claims import confront, registered
from mmtheory.rng import Stream
from mmtheory.stats import Verdict
from mmtheory.testing import check_claim

CLAIMS = registered()


def seeds():
    """``MMTHEORY_SEEDS=0-9`` or ``3,5``; 0 by default."""
    chosen = []
    for part in os.environ.get("MMTHEORY_SEEDS", "0").split(","):
        first, _, last = part.partition("-")
        chosen.extend(range(int(first), int(last or first) + 1))
    return chosen


@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_contract(name):
    check_claim(CLAIMS[name])


@pytest.mark.parametrize("seed", seeds())
@pytest.mark.parametrize("name", sorted(CLAIMS))
def test_as_registered(name, seed):
    finding = confront(CLAIMS[name], stream=Stream(seed))
    assert all(v is Verdict.VIOLATED for v in finding.controls.values()), (finding.stream, finding.controls)
    assert finding.verdict is finding.registered, (finding.stream, finding.verdict, finding.worst)
