"""Weights beside TorchJD's where its method is exact, and beside cvxpy as an independent oracle of every programme."""

import itertools

import cvxpy as cp
import numpy as np
import pytest
import torch
import torchjd.aggregation as jd
from scipy.optimize import linprog

from mmtheory.moo import (
    CRMOGM,
    EPO,
    MGDA,
    PCD,
    WEIGHTINGS,
    AlignedMTL,
    CAGrad,
    CappedMGDA,
    ConFIG,
    DualProj,
    FairGrad,
    GradVac,
    MoDo,
    NashMTL,
    NGDiff,
    SDMGrad,
    UPGrad,
    certify,
    nnqp,
)
from mmtheory.rng import Stream

pytestmark = pytest.mark.peers

SIZES = (2, 3, 5, 8)


def jacobian(m, seed=0, kind="conflict"):
    draws = Stream(seed, ("peer", m)).draws()
    J = draws.normal("J", m, 3 * m)
    if kind == "conflict":
        J = J - 1.1 * J.mean(0)
    if kind == "spread":
        J = J / J.norm(dim=-1, keepdim=True) * 10 ** (6 * draws.uniform("length", m, 1) - 3)
    return J


def close(a, b, tolerance):
    return bool((a - b).abs().max() <= tolerance * b.abs().max())


cases = pytest.mark.parametrize(("m", "seed"), list(itertools.product(SIZES, range(3))))

# TorchJD. Its UPGrad and DualProj need two packages more and add a ridge of 1e-4, so cvxpy below is their oracle.


@cases
def test_torchjd_has_the_same_weights_where_it_is_exact(m, seed):
    J = jacobian(m, seed)
    G = J @ J.T
    assert close(WEIGHTINGS["mean"]().weights(G), jd.MeanWeighting()(G), 1e-15)
    assert close(WEIGHTINGS["imtl-g"]().weights(G), jd.IMTLGWeighting()(G), 1e-9)
    assert close(PCD().weights(G), jd.PCDWeighting()(G), 1e-10)
    assert close(CAGrad(c=0.5).weights(G), jd.CAGradWeighting(c=0.5)(G), 2e-3)  # an interior point's weights
    assert close(FairGrad(alpha=2.0).weights(G), jd.FairGradWeighting(alpha=2.0)(G), 1e-5)
    assert close(ConFIG().weights(G) @ J, jd.ConFIG()(J), 1e-9)
    for scale, mode in (("min", "min"), ("median", "median"), ("mean", "rmse")):
        assert close(AlignedMTL(scale=scale).weights(G), jd.AlignedMTLWeighting(scale_mode=mode)(G), 1e-8)


@cases
def test_torchjd_remembers_alike(m, seed):
    """Several steps of the weightings with a memory, ours carried by hand."""
    ours = {"modo": MoDo(rate=0.1, ridge=0.1), "pcd": PCD(beta=0.9)}
    theirs = {"modo": jd.MoDoWeighting(gamma=0.1, rho=0.1), "pcd": jd.PCDWeighting(beta=0.9)}
    for name, method in ours.items():
        state = None
        for step in range(4):
            J = jacobian(m, 100 * seed + step)
            G = J @ J.T
            w, state = method.step(G, method.initial(G) if state is None else state)
            assert close(w, theirs[name](G), 1e-9), (name, step)
    smooth, peer = CRMOGM(decay=0.7), jd.CRMOGMWeighting(jd.MeanWeighting(), alpha=0.7)
    G = jacobian(m, seed) @ jacobian(m, seed).T
    assert close(CRMOGM(decay=0.7, inner=WEIGHTINGS["mean"]()).weights(G), peer(G), 1e-15)
    assert close(smooth.weights(G), 0.7 / m + 0.3 * MGDA().weights(G), 1e-15)


@cases
def test_torchjds_inner_descent_of_sdmgrad(m, seed):
    """On a cross-Gramian of two samples, which is not symmetric."""
    cross = jacobian(m, seed) @ jacobian(m, seed + 50).T
    w, _ = SDMGrad().descend(cross, torch.full((m,), 1 / m, dtype=torch.float64), rate=10.0)
    assert close(w, jd.SDMGradWeighting()(cross), 1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_torchjds_surgery_of_two(seed):
    """Two objectives leave no order to draw; the first step of GradVac is PCGrad."""
    J = jacobian(2, seed)
    G = J @ J.T
    with torch.random.fork_rng(devices=[]):
        assert close(WEIGHTINGS["pcgrad"]().weights(G), jd.PCGradWeighting()(G), 1e-12)
        theirs, ours, state = jd.GradVacWeighting(beta=0.5), GradVac(beta=0.5), None
        for step in range(3):
            J = jacobian(2, seed + 10 * step)
            w, state = ours.step(J @ J.T, ours.initial(J @ J.T) if state is None else state)
            assert close(w, theirs(J @ J.T), 1e-6), step


def test_torchjds_frank_wolfe_misses_where_rows_differ():
    """Three to six decades: its direction climbs some objective, which the min-norm direction never does."""
    for m in (4, 8):
        gaps, climbs = [], 0
        for seed in range(40):
            J = jacobian(m, seed, "spread")
            G = J @ J.T
            ours, theirs = MGDA().weights(G), jd.MGDAWeighting()(G)
            assert float(certify("mgda", G, ours).relative) <= 1e-10
            assert ((G @ ours) >= 0).all()
            gaps.append(float(certify("mgda", G, theirs).relative))
            climbs += int(((G @ theirs) < 0).any())
        assert max(gaps) > 1
        assert climbs > 5


def test_torchjds_small_gradients_become_the_mean_or_nothing():
    """‖J‖² below its norm_eps of 1e-4: CAGrad returns zero there, ours the same weights at any scale."""
    J = 1e-3 * jacobian(3)
    G = J @ J.T
    assert jd.CAGradWeighting(c=0.5)(G).abs().max() == 0
    assert close(CAGrad(c=0.5).weights(G), CAGrad(c=0.5).weights(1e6 * G), 1e-9)
    assert CAGrad(c=0.5).weights(G).abs().max() > 0.1


# cvxpy


def solved(objective, constraints):
    problem = cp.Problem(objective, constraints)
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-9)
    problem.solve(solver="CLARABEL", **tight)
    return problem.value


def minimised(rows, constraints_of, extra=0.0):
    """Smallest ½‖Jᵀv‖² + extra·v under constraints, and its v."""
    v = cp.Variable(len(rows))
    value = solved(cp.Minimize(cp.sum_squares(rows.T.numpy() @ v) / 2 + extra @ v), constraints_of(v))
    return value, torch.from_numpy(v.value)


@cases
def test_cvxpy_min_norm_and_capped(m, seed):
    J = jacobian(m, seed)
    G = J @ J.T
    for cap in (1.0, 1.5 / m):
        w = CappedMGDA(cap=cap).weights(G) if cap < 1 else MGDA().weights(G)
        value, _ = minimised(J, lambda v, cap=cap: [v >= 0, v <= cap, cp.sum(v) == 1], np.zeros(m))
        assert float(w @ G @ w) / 2 <= value + 1e-9 * abs(value)
        assert float(w @ G @ w) / 2 >= value - 1e-6 * abs(value)


@cases
def test_cvxpy_projections(m, seed):
    """Each of UPGrad's parts and DualProj, as projections on the cone of non-conflict in the space of directions."""
    J = jacobian(m, seed)
    G = J @ J.T

    def projected(target):
        x = cp.Variable(J.shape[1])
        solved(cp.Minimize(cp.sum_squares(x - target.numpy())), [J.numpy() @ x >= 0])
        return torch.from_numpy(x.value)

    parts = torch.stack([projected(row) for row in J])
    assert close(UPGrad().weights(G) @ J, parts.mean(0), 1e-5)
    p = torch.arange(1.0, m + 1, dtype=torch.float64)
    p /= p.sum()
    assert close(UPGrad(preference=tuple(p.tolist())).weights(G) @ J, p @ parts, 1e-5)
    assert close(DualProj().weights(G) @ J, projected(J.mean(0)), 1e-5)


@cases
def test_cvxpy_cagrad(m, seed):
    """The method's own maximum over the ball, in the space of directions."""
    J = jacobian(m, seed)
    G = J @ J.T
    for c in (0.2, 0.8):
        d, worst = cp.Variable(J.shape[1]), cp.Variable()
        mean = J.mean(0).numpy()
        ball = cp.norm(d - mean) <= c * float(J.mean(0).norm())
        value = solved(cp.Maximize(worst), [J.numpy() @ d >= worst, ball])
        ours = float((G @ CAGrad(c=c).weights(G)).min())
        assert abs(ours - value) <= 1e-7 * float(G.diagonal().max())


@cases
def test_cvxpy_fair_bargains(m, seed):
    J = jacobian(m, seed, "plain")
    G = J @ J.T
    w = cp.Variable(m)
    solved(cp.Minimize(cp.sum_squares(J.T.numpy() @ w) / 2 - cp.sum(cp.log(w))), [])
    assert close(NashMTL().weights(G), torch.from_numpy(w.value), 1e-4)
    v = cp.Variable(m)
    # (Gw)_i = w_i^{-1/2} is the stationarity of ½wᵀGw − 2Σ√w_i
    solved(cp.Minimize(cp.sum_squares(J.T.numpy() @ v) / 2 - 2 * cp.sum(cp.sqrt(v))), [])
    assert close(FairGrad(alpha=2.0).weights(G), torch.from_numpy(v.value), 1e-4)


@cases
def test_cvxpy_pcd_sdmgrad_and_ngdiff(m, seed):
    J = jacobian(m, seed)
    G = J @ J.T
    units = J / J.norm(dim=-1, keepdim=True)
    x = cp.Variable(J.shape[1])
    value = solved(cp.Minimize(cp.sum_squares(x - units[0].numpy())), [units[1:].numpy() @ x >= 0.02] if m > 1 else [])
    assert np.isfinite(value)
    d = torch.from_numpy(x.value)
    assert close(PCD(tau=0.02).weights(G) @ J, d * J[0].norm() / d.norm(), 1e-5)
    moved = J + 0.7 * J.mean(0)
    value, _ = minimised(moved, lambda v: [v >= 0, cp.sum(v) == 1], np.zeros(m))
    w = SDMGrad(lam=0.7).weights(G)
    assert abs(float((w @ J).square().sum()) / 2 * 1.7**2 - value) <= 1e-7 * float(G.diagonal().max())
    signs = torch.ones(m, dtype=torch.float64)
    signs[1:] = -1
    signed = signs[:, None] * units
    x = cp.Variable(J.shape[1])
    solved(cp.Minimize(cp.sum_squares(x - signed.sum(0).numpy())), [signed.numpy() @ x >= 0])
    assert close(NGDiff().weights(G) @ J, torch.from_numpy(x.value), 1e-5)


@cases
def test_cvxpy_nnqp(m, seed):
    J = jacobian(m, seed)
    q = J @ Stream(seed, ("q", m)).draws().normal("q", 3 * m)
    value, _ = minimised(J, lambda v: [v >= 0], q.numpy())
    z = nnqp(J @ J.T, q)
    ours = float(z @ (J @ J.T) @ z) / 2 + float(q @ z)
    assert abs(ours - value) <= 1e-8 * max(1.0, abs(value))


@pytest.mark.parametrize(("m", "seed"), list(itertools.product((2, 3, 5), range(4))))
def test_linprog_epo(m, seed):
    """Both linear programmes by HiGHS."""
    J = jacobian(m, seed, "plain" if seed % 2 else "conflict")
    G = (J @ J.T) / (J @ J.T).diagonal().max()
    f = 0.1 + Stream(seed, ("losses", m)).draws().uniform("f", m)
    r = tuple(float(i + 1) for i in range(m))
    w = EPO(preference=r, eps=0.0).weights(G, f)
    weighted = torch.tensor(r, dtype=torch.float64) * f
    share = weighted / weighted.sum()
    logs = (m * share).log()
    a = torch.tensor(r, dtype=torch.float64) * (logs - (share * logs).sum())
    pull = G @ a
    bound = torch.where(pull > 0, -torch.inf, pull)
    bound[weighted.argmax()] = 0.0
    if not (pull > 0).any():
        bound = torch.zeros(m)
    rows = bound.isfinite()
    limits = {"A_eq": np.ones((1, m)), "b_eq": [1.0], "bounds": [(0, 1)] * m}
    found = linprog(-pull.numpy(), A_ub=-G[rows].numpy(), b_ub=-bound[rows].numpy(), **limits)
    gain = pull
    if found.status != 0:
        gain = G.sum(0)
        found = linprog(-gain.numpy(), A_ub=-G.numpy(), b_ub=np.zeros(m), **limits)
    assert float(gain @ w) == pytest.approx(-found.fun, rel=1e-7, abs=1e-9)
