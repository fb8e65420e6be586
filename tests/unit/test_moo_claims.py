"""The world W12, the selection of the claims on multi-objective optimisation, and the parts that their controls rest on."""

import math

import pytest
import torch
from hypothesis import given, settings

from mmtheory.claims import registered
from mmtheory.errors import ArgumentError
from mmtheory.experiment import select
from mmtheory.moo import MGDA, certify, gramian
from mmtheory.moo.problems import PROBLEMS
from mmtheory.rng import Stream
from synthetic.claims.moo import CLAIMS
from synthetic.claims.moo._runs import frank_wolfe
from synthetic.strategies import quads
from synthetic.worlds import Quad


def test_one_word_selects_every_claim():
    chosen = select(["moo"], registered())
    assert set(chosen) == {claim.id for claim in CLAIMS}
    assert {"C10.1", "C10.2", "C10.3", "moo/T1", "moo/T2", "moo/T2'", "moo/T3", "moo/T4", "moo/T5", "moo/T6"} <= set(
        chosen
    )


def test_the_catalogue_is_complete():
    assert sorted(cls.number for cls in PROBLEMS.values()) == sorted(f"P{k}" for k in range(1, 12))


@given(world=quads())
@settings(max_examples=25)
def test_angles_and_norms_at_zero_are_the_dials(world):
    rows = world.problem.jacobian(torch.zeros(world.dim, dtype=torch.float64))
    norms = rows.norm(dim=-1)
    torch.testing.assert_close(norms, torch.tensor(world.norms, dtype=torch.float64), rtol=1e-9, atol=0)
    cosines = gramian(rows) / norms[:, None] / norms
    off = ~torch.eye(len(norms), dtype=torch.bool)
    torch.testing.assert_close(cosines[off], torch.full_like(cosines[off], world.cosine), rtol=0, atol=1e-9)
    values = torch.linalg.eigvalsh(world.hessians)
    torch.testing.assert_close(
        values[:, -1] / values[:, 0], torch.full((len(norms),), world.condition, dtype=torch.float64), rtol=1e-9, atol=0
    )


@given(world=quads())
@settings(max_examples=25)
def test_the_quadratics_are_the_losses_of_the_shared_weights(world):
    theta = Stream(0, ("theta",)).draws().normal("theta", world.dim)
    values = world.problem.values(theta) - world.problem.values(torch.zeros_like(theta))
    for i, m in enumerate(world.modalities):
        cov, cross = world.law.block([m])
        loss = theta @ cov @ theta / 2 - cross @ theta
        assert float(loss) == pytest.approx(float(values[i]), rel=1e-8, abs=1e-10)


@given(world=quads())
@settings(max_examples=25)
def test_the_shortest_direction_at_zero_has_its_closed_form(world):
    known = world.answers().get("squared min-norm")
    if known is None:
        return
    G = gramian(world.problem.jacobian(torch.zeros(world.dim, dtype=torch.float64)))
    w = MGDA().weights(G)
    assert float(w @ G @ w) == pytest.approx(known.middle, rel=1e-8, abs=1e-12)


def test_stationarity_is_an_admissible_angle():
    world = Quad(cosine=-0.5, norms=(1.0, 1.0, 1.0))
    assert world.answers()["squared min-norm"].middle == 0.0


@pytest.mark.parametrize(
    "dials",
    [
        {"norms": (1.0,)},
        {"norms": (1.0, 0.0)},
        {"cosine": -0.6, "norms": (1.0, 1.0, 1.0)},
        {"cosine": 1.1},
        {"condition": 0.5},
        {"dim": 1},
        {"label_noise": -0.1},
        {"turn": math.nan},
    ],
)
def test_bad_dials_are_named(dials):
    with pytest.raises(ArgumentError, match="expected"):
        Quad(**dials)


def test_frank_wolfe_is_exact_for_two_and_not_for_three_uneven_gradients():
    pair = torch.tensor([[1.0, -0.2], [-0.2, 0.5]], dtype=torch.float64)
    assert float(certify("mgda", pair, frank_wolfe(2)(pair)).gap) < 1e-12
    world = Quad(norms=(1.0, 0.1, 0.01), cosine=-0.4)
    G = gramian(world.problem.jacobian(torch.ones(world.dim, dtype=torch.float64)))
    assert float(certify("mgda", G, frank_wolfe(5)(G)).relative) > 1e-3
