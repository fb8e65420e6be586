"""Every registered world keeps the contract of worlds, anywhere on its dials and from any seed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.rng import Stream
from mmtheory.testing import check_world
from synthetic.strategies import STRATEGIES
from synthetic.worlds import WORLDS


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_contract(name):
    check_world(WORLDS[name]())


@pytest.mark.parametrize("name", sorted(WORLDS))
@given(seed=st.integers(0, 2**63 - 1))
@settings(max_examples=5)
def test_sampling_is_pure_from_any_seed(name, seed):
    world = WORLDS[name]()
    one, two = (world.sample(8, stream=Stream(seed)) for _ in range(2))
    assert one.y.equal(two.y)
    assert all(one.x[m].equal(two.x[m]) for m in world.modalities)


@pytest.mark.parametrize("name", sorted(WORLDS))
@given(data=st.data())
@settings(max_examples=8)
def test_contract_anywhere_on_the_dials(name, data):
    check_world(data.draw(STRATEGIES[name]))
