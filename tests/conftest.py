"""Profiles, threads and guards for every test."""

import os

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("hunt", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Two workers on two cores: a second thread in each would only wait for the other's.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _global_state():
    """No test may leave a mark on the global generators or the default dtype."""
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_default_dtype())  # noqa: NPY002
    yield
    assert torch.equal(before[0], torch.get_rng_state()), "the test moved torch's global generator"
    assert (before[1] == np.random.get_state()[1]).all(), "the test moved numpy's global generator"  # noqa: NPY002
    assert before[2] is torch.get_default_dtype(), "the test changed the default dtype"
