"""Methods that act within the few short epochs of a test."""

import pytest

from mmtheory.methods import made

AT_ONCE = {
    "aug": "aug:every=1", "greedy": "greedy:start=0", "inforeg": "inforeg:gap=0", "mses": "mses:patience=1:tolerance=10",
    "mslr": "mslr:first=0:measure=score",
}  # fmt: skip


@pytest.fixture
def acting():
    """Makes the method of a name; one that waits for a lead or for some epochs first is told not to."""
    return lambda name: made(AT_ONCE.get(name, name))
