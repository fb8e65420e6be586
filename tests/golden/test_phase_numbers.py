"""The printed numbers of the two-phase laws, at the precision printed."""

from __future__ import annotations

import pytest

from mmtheory.errors import ArgumentError, InfeasibleError, NotExactError
from mmtheory.stats import Interval
from synthetic.worlds import DeepLinear, Saturation
from synthetic.worlds.phase_laws import scalar_moments

FORMULA = [(0.1, 2, 1.213), (0.1, 3, 1.748), (0.03, 2, 1.029), (0.03, 3, 1.222), (0.01, 2, 1.004), (0.01, 3, 1.074)]
PASSAGES = [(0.1, 2, 1.180), (0.1, 3, 1.649), (0.1, 4, 4.0), (0.01, 2, 1.004), (0.01, 3, 1.073)]


@pytest.mark.parametrize(("u0", "layer", "printed"), FORMULA)
def test_intermediate_formula(u0: float, layer: int, printed: float):
    assert round(float(scalar_moments(2.0, 0.0).ratio(4, layer, u0)), 3) == printed


@pytest.mark.parametrize(("u0", "layer", "printed"), PASSAGES)
def test_rank_one_passages(u0: float, layer: int, printed: float):
    answer = DeepLinear(depth=4, fusion_layer=layer, u0=u0).answers()["passage_ratio"]
    assert round(answer.middle, 3) == printed
    assert answer.width < 1e-5


@pytest.mark.parametrize(("rho", "printed"), [(0.0, 4.0), (0.5, 5.0), (-0.5, 5.0)])
def test_late_ratio(rho: float, printed: float):
    answers = DeepLinear(kappa=2.0, rho=rho).answers()
    assert printed in answers["phase_ratio"]
    assert rho / 2 in answers["misattribution"]


def test_slow_down_factor_and_risks():
    world = DeepLinear(kappa=2.0, rho=0.5)
    assert 2.0 in world.answers()["slow_down"]
    assert [0.75 in world.known("bayes_risk", "a"), 3.0 in world.known("bayes_risk", "b")] == [True, True]
    assert world.known("bayes_risk", "ab") == Interval(0.0, 0.0)


def test_inverse_design_meets_its_targets():
    world = DeepLinear.from_targets(7.0, -0.3)
    answers = world.answers()
    assert 7.0 in answers["phase_ratio"]
    assert -0.3 in answers["misattribution"]
    with pytest.raises(InfeasibleError):
        DeepLinear.from_targets(0.5)


@pytest.mark.parametrize(
    "dials",
    [{"kappa": 0.0}, {"rho": 1.0}, {"u0": 1.0}, {"fusion_layer": 3}, {"dims": (2, 1)}, {"covariance": ((1.0, 2.0), (2.0, 1.0))}],
)  # fmt: skip
def test_deep_linear_refuses(dials: dict[str, object]):
    with pytest.raises(ArgumentError):
        DeepLinear(**dials)


@pytest.mark.parametrize(
    "dials", [{"presence": ((0.1, 0.5), ())}, {"presence": ((1.5,),)}, {"paired": (0.1, 0.2)}, {"n": 0}]
)
def test_saturation_refuses(dials: dict[str, object]):
    with pytest.raises(ArgumentError):
        Saturation(**dials)


def test_saturation_has_no_crossing_without_risk():
    with pytest.raises(NotExactError):
        Saturation(presence=((1.0,), (0.5,))).crossover()
