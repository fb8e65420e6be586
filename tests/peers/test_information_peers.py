"""Decompositions against cvxpy, the paper's own program; integrals against scipy."""

import itertools
import math

import cvxpy as cp
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from mmtheory import info
from mmtheory.rng import Stream
from synthetic.worlds import Table

pytestmark = pytest.mark.peers


def random_table(seed, shape, spike=1.0):
    mass = (-(1 - Stream(seed, ("peer",)).draws().uniform("mass", *shape)).log()) ** spike
    return mass / mass.sum()


def cvxpy_synergy(table):
    """The program as the paper's authors state it, through cvxpy and Clarabel."""
    p = table.numpy()
    q = [cp.Variable(p.shape[:2], nonneg=True) for _ in range(p.shape[2])]
    total = sum(q)
    constraints = []
    for y, slab in enumerate(q):
        constraints += [cp.sum(slab, axis=1) == p[:, :, y].sum(1), cp.sum(slab, axis=0) == p[:, :, y].sum(0)]
    problem = cp.Problem(cp.Minimize(sum(cp.sum(cp.rel_entr(slab, total)) for slab in q)), constraints)
    problem.solve(solver="CLARABEL")
    least = problem.value + float(info.entropy(table.sum((0, 1))))
    return float(info.information(table.flatten(0, 1))) - least


@pytest.mark.parametrize("shape", [(2, 2, 2), (3, 2, 2), (3, 3, 3), (4, 4, 4), (2, 5, 3)])
@pytest.mark.parametrize("spike", [1.0, 3.0])
@pytest.mark.parametrize("route", ["cone", "newton"])
def test_cvxpy_agrees(shape, spike, route):
    table = random_table(7, shape, spike)
    assert float(info.pid(table, route=route).synergy) == pytest.approx(cvxpy_synergy(table), rel=0, abs=3e-7)


@pytest.mark.parametrize("gate", ["and", "xor", "sum", "unq", "bsc"])
def test_cvxpy_agrees_on_gates(gate):
    table = Table(gate).table
    assert float(info.pid(table).synergy) == pytest.approx(cvxpy_synergy(table), rel=0, abs=1e-4)


@pytest.mark.parametrize("d2", [1e-3, 0.36, 1.0, 4.0, 30.0])
def test_two_classes_by_adaptive_quadrature(d2):
    d = math.sqrt(d2)

    def integrand(z):
        odds = -2 * d2 - 2 * d * z
        return norm.pdf(z) * (odds if odds > 700 else math.log1p(math.exp(odds)))

    left = sum(quad(integrand, *ends, epsabs=0, epsrel=1e-12, limit=200)[0] for ends in ((-40, -d), (-d, 15)))
    assert float(info.lda_equivocation(d2)) == pytest.approx(left, rel=1e-11)


def test_greatest_entropy_by_cvxpy():
    """The max-entropy table with three pairwise marginals, as a convex program."""
    table = random_table(3, (2, 3, 2))
    p = table.numpy()
    q = [cp.Variable(p.shape[:2], nonneg=True) for _ in range(p.shape[2])]
    constraints = [sum(q) == p.sum(2)]
    for y, slab in enumerate(q):
        constraints += [cp.sum(slab, axis=1) == p[:, :, y].sum(1), cp.sum(slab, axis=0) == p[:, :, y].sum(0)]
    problem = cp.Problem(cp.Maximize(sum(cp.sum(cp.entr(slab)) for slab in q)), constraints)
    problem.solve(solver="CLARABEL")
    assert float(info.greatest_entropy(table)) == pytest.approx(problem.value, rel=0, abs=1e-6)


def test_least_coupling_entropy_by_brute_force():
    """Every vertex met by filling cells greedily in some order; five cells suffice at 3 × 3."""
    p, q = (torch.tensor(v, dtype=torch.float64) for v in ([0.5, 0.3, 0.2], [0.45, 0.35, 0.2]))
    best = math.inf
    for order in itertools.permutations(range(9), 5):
        rows, columns, masses = p.tolist(), q.tolist(), []
        for cell in order:
            i, j = divmod(cell, 3)
            mass = min(rows[i], columns[j])
            rows[i] -= mass
            columns[j] -= mass
            masses.append(mass)
        if sum(rows) < 1e-9:
            best = min(best, -sum(m * math.log(m) for m in masses if m > 1e-12))
    assert float(info.least_coupling_entropy(p, q)) == pytest.approx(best, abs=1e-6)
