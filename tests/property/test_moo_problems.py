"""Laws of the test problems: gradients, constants, Pareto points, merits, and the sets that nothing may leave."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.moo import MGDA, gramian
from mmtheory.moo.problems import (
    PROBLEMS,
    CAGradToy,
    CommonHessian,
    LinearMultimodal,
    LogisticPair,
    NoisyQuadratics,
    Quadratics,
    SharedMinimiser,
    SmoothDTLZ2,
    Spheres,
    descend,
)
from mmtheory.rng import Stream

SEEDS = st.integers(0, 2**32)
NAMES = sorted(PROBLEMS)
CONVEX = sorted(name for name in PROBLEMS if name not in {"vlmop2", "smooth-dtlz2", "cagrad-toy"})
MERITS = sorted(set(CONVEX) - {"linear-multimodal"})


def some(name, seed, replicates=3):
    """A random problem of each of some replicates, and their streams."""
    draws = Stream(seed, ("problem",)).draws(range(replicates))
    return PROBLEMS[name].drawn(draws), Stream(seed, ("points",)).draws(range(replicates))


def simplex(draws, m):
    raw = draws.uniform("weights", m) + 0.05
    return raw / raw.sum(-1, keepdim=True)


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
@settings(max_examples=15)
def test_the_jacobian_is_the_derivative_of_the_values(name, seed):
    problem, draws = some(name, seed)
    x = (2 * draws.normal("x", problem.dim)).requires_grad_()
    f = problem.values(x)
    rows = torch.stack(
        [torch.autograd.grad(f[:, i].sum(), x, retain_graph=True)[0] for i in range(problem.objectives)], 1
    )
    assert f.shape == (3, problem.objectives)
    torch.testing.assert_close(problem.jacobian(x), rows, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
@settings(max_examples=10)
def test_replicates_do_not_see_each_other(name, seed):
    problem, draws = some(name, seed)
    x = draws.normal("x", problem.dim)
    alone = PROBLEMS[name].drawn(Stream(seed, ("problem",)).child(1).draws())
    torch.testing.assert_close(problem.values(x)[1], alone.values(x[1]), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(problem.jacobian(x)[1], alone.jacobian(x[1]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"cagrad-toy"}))
@given(seed=SEEDS)
@settings(max_examples=15)
def test_the_constants_bound_every_difference_of_gradients(name, seed):
    problem, draws = some(name, seed)
    x, y = draws.normal("x", problem.dim), draws.normal("y", problem.dim)
    if isinstance(problem, SmoothDTLZ2):
        x, y = x.clamp(-1, 1), y.clamp(-1, 1)
    apart = problem.jacobian(x) - problem.jacobian(y)
    run = (x - y)[:, None]
    L, mu = (torch.as_tensor(c).expand(3)[:, None] for c in (problem.smoothness, problem.convexity))
    assert (apart.norm(dim=-1) <= L * run.norm(dim=-1) * (1 + 1e-9)).all()
    assert ((apart * run).sum(-1) >= mu * (run**2).sum(-1) - 1e-9).all()


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
@settings(max_examples=15)
def test_no_value_lies_below_its_infimum(name, seed):
    problem, draws = some(name, seed)
    assert (problem.values(3 * draws.normal("x", problem.dim)) >= problem.infima - 1e-9).all()


@pytest.mark.parametrize("name", NAMES)
@given(seed=SEEDS)
@settings(max_examples=15)
def test_pareto_points_are_stationary(name, seed):
    problem, draws = some(name, seed)
    x = problem.pareto_point(simplex(draws, problem.objectives))
    G = gramian(problem.jacobian(x))
    least = (MGDA().solve(G)[..., None, :] @ G @ MGDA().solve(G)[..., None])[..., 0, 0]
    assert (least <= 1e-16 * G.diagonal(dim1=-2, dim2=-1).amax(-1) + 1e-18).all()


@pytest.mark.parametrize("name", CONVEX)
@given(seed=SEEDS)
@settings(max_examples=15)
def test_pareto_points_of_convex_problems_are_the_scalarised_minimisers(name, seed):
    problem, draws = some(name, seed)
    weights = simplex(draws, problem.objectives)
    x = problem.pareto_point(weights)
    other = x + draws.normal("move", problem.dim) * 10 ** -(4 * draws.uniform("size", 1))
    at, near = ((weights * problem.values(z)).sum(-1) for z in (x, other))
    assert (at <= near + 1e-12).all()


@pytest.mark.parametrize("name", MERITS)
@given(seed=SEEDS)
@settings(max_examples=15)
def test_a_merit_is_certified_from_both_sides(name, seed):
    problem, draws = some(name, seed)
    x = 2 * draws.normal("x", problem.dim)
    merit = problem.merit(x)
    scale = problem.values(x).amax(-1)
    assert (merit.low >= -1e-12 * scale).all()
    assert (merit.high - merit.low <= 1e-9 * scale).all()
    rival = x + draws.normal("z", problem.dim)
    assert ((problem.values(x) - problem.values(rival)).amin(-1) <= merit.high + 1e-12 * scale).all()
    at = problem.merit(problem.pareto_point(simplex(draws, problem.objectives)))
    assert (at.low <= 1e-9 * scale).all()


@given(seed=SEEDS, m=st.integers(3, 6))
@settings(max_examples=12)
def test_the_merit_of_many_quadratics_is_certified_and_that_of_spheres(seed, m):
    """Any number of general quadratics: a closed bracket, zero at Pareto points, the closed form where all Hessians are the identity."""
    draws = Stream(seed, ("many", m)).draws(range(6))
    problem = Quadratics.drawn(draws, m, 4)
    x = 2 * draws.normal("x", 4)
    merit = problem.merit(x)
    scale = problem.values(x).amax(-1)
    assert (merit.high - merit.low <= 1e-8 * scale).all()
    z = problem.pareto_point(simplex(draws, m))
    assert (problem.merit(z).high <= 1e-9 * scale).all()
    spheres = PROBLEMS["spheres"](problem.centres)
    same = Quadratics(spheres.centres, spheres.hessians.contiguous()).merit(x)
    torch.testing.assert_close(same.high, spheres.merit(x).high, rtol=1e-9, atol=1e-12)
    assert ((problem.values(x) - problem.values(z)).amin(-1) <= merit.high + 1e-12 * scale).all()


@given(seed=SEEDS, t=st.floats(0.05, 0.95))
def test_on_spheres_a_step_shortens_the_direction_by_exactly_1_minus_t(seed, t):
    problem, draws = some("spheres", seed)
    path = descend(problem, MGDA().solve, 3 * draws.normal("x", problem.dim), t, 8)
    length = path.squared.sqrt()
    live = length[1:] > 1e-3
    torch.testing.assert_close(
        (length[1:] / length[:-1])[live], torch.full((int(live.sum()),), 1 - t, dtype=torch.float64), rtol=1e-6, atol=0
    )


@given(seed=SEEDS)
def test_a_common_hessian_does_not_move_the_set(seed):
    bent, draws = some("common-hessian", seed)
    flat = Spheres(bent.centres)
    x = draws.normal("x", bent.dim)
    assert bent.distance(x).equal(flat.distance(x))
    weights = simplex(draws, bent.objectives)
    assert bent.pareto_point(weights).equal(flat.pareto_point(weights))


@given(seed=SEEDS)
def test_the_front_of_smooth_dtlz2_is_the_sphere(seed):
    problem, draws = SmoothDTLZ2(4, 2), Stream(seed, ("points",)).draws(range(3))
    weights = simplex(draws, 4)
    f = problem.values(problem.pareto_point(weights))
    torch.testing.assert_close(f**2, weights, rtol=1e-9, atol=1e-12)
    off = problem.values(draws.normal("x", problem.dim))
    assert ((off**2).sum(-1) >= 1).all()


@given(seed=SEEDS)
def test_separate_heads_are_not_coupled(seed):
    draws = Stream(seed, ("problem",)).draws(range(3))
    shared = LinearMultimodal.drawn(draws)
    apart = LinearMultimodal(shared.covariance, shared.cross, shared.variance, shared.widths, shared=False)
    rows = apart.jacobian(Stream(seed, ("points",)).draws(range(3)).normal("x", apart.dim))
    assert apart.dim == 2 * shared.dim
    assert (rows[:, ~apart.masks] == 0).all()
    torch.testing.assert_close(apart.infima, shared.infima)


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.9, 0.1), (1.0, 0.0)])
def test_the_pareto_curve_of_the_toy_is_bent(weights):
    toy = CAGradToy()
    x = toy.pareto_point(torch.tensor(weights, dtype=torch.float64))
    assert abs(float(x[0]) - 7 * (weights[0] - weights[1])) < 1e-12
    two = float(x[1])
    depth = 4.9 * 4 * weights[0] * weights[1] - 20 + 0.01 * (two + 8) ** 2
    assert 0.02 * (two + 8) * math.tanh(-two / 2) == pytest.approx(depth / 2 / math.cosh(two / 2) ** 2, rel=1e-9)
    assert {0.5: -8.35511, 0.9: -8.40712, 1.0: -8.43446}[weights[0]] == pytest.approx(two, abs=1e-5)


def test_noise_is_what_it_says():
    problem = NoisyQuadratics(noise=0.5)
    x, z = torch.ones(2, dtype=torch.float64), torch.ones(2, 2, dtype=torch.float64)
    torch.testing.assert_close(problem.noisy_jacobian(x, z, 4) - problem.jacobian(x), 0.25 * z)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Quadratics(torch.zeros(2, 2), torch.zeros(3, 2, 2)),
        lambda: Quadratics(torch.zeros(2, 2), torch.tensor([[[1.0, 1.0], [0.0, 1.0]]] * 2)),
        lambda: CommonHessian(torch.zeros(2, 2), torch.zeros(3, 3)),
        lambda: SharedMinimiser(torch.full((2,), torch.nan)),
        lambda: NoisyQuadratics(noise=-1.0),
        lambda: LogisticPair(ridge=0.0),
        lambda: LogisticPair(labels=torch.zeros(2, 4)),
        lambda: LinearMultimodal(widths=(1, 2)),
        lambda: SmoothDTLZ2(1),
        lambda: PROBLEMS["vlmop2"](0),
        lambda: PROBLEMS["element-wise"](1),
        lambda: descend(Spheres(), MGDA().solve, torch.zeros(2), 0.1, 0),
    ],
)
def test_bad_input_is_named(wrong):
    with pytest.raises(ArgumentError, match="expected"):
        wrong()


@pytest.mark.parametrize(
    "unknown",
    [
        lambda: CAGradToy().smoothness,
        lambda: Quadratics().distance(torch.zeros(2)),
        lambda: PROBLEMS["vlmop2"]().merit(torch.zeros(2)),
        lambda: SmoothDTLZ2().pareto_point(torch.tensor([1.0, 0.0, 0.0])),
    ],
)
def test_what_is_not_known_is_not_guessed(unknown):
    with pytest.raises(NotExactError):
        unknown()
