"""Quadratic programmes with the batch as the last axis, beside the same programmes one by one."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.moo import WEIGHTINGS, CAGrad, GradVac, UPGrad, certify, nnqp, nnqp_by_enumeration
from mmtheory.moo._cagrad import by_support
from mmtheory.moo._cagrad_lanes import path_in_lanes
from mmtheory.moo._cagrad_path import Inner
from mmtheory.moo._lanes import in_lanes
from mmtheory.moo._nnqp import scaled, solve_rows
from mmtheory.moo._pivot_lanes import WORTHWHILE, eliminated, pivot_lanes
from mmtheory.rng import Stream

few = settings(max_examples=25, deadline=None)
EPS = 2.3e-16
KINDS = ("plain", "conflict", "scaled", "duplicated", "dependent", "zero", "mixed")
cases = st.tuples(st.integers(2, 8), st.sampled_from(KINDS), st.integers(0, 99))


def rows(m, kind, seed, count):
    """Jacobians ``[count, m, 3m]``; in a mixed stack every kind has its share."""
    draws = Stream(seed, ("lanes", kind, m)).draws(range(count))
    J = draws.normal("J", m, 3 * m)
    share = {
        k: slice(i, None, len(KINDS)) if kind == "mixed" else slice(0, None if k == kind else 0)
        for i, k in enumerate(KINDS)
    }
    J[share["conflict"]] -= 1.1 * J[share["conflict"]].mean(1, keepdim=True)
    J[share["scaled"]] *= 10 ** (6 * draws.uniform("scale", m, 1)[share["scaled"]] - 3)
    J[share["duplicated"], -1] = J[share["duplicated"], 0]
    J[share["dependent"], :, max(1, m // 2) :] = 0
    J[share["zero"], m // 2] = 0
    return J


def violations(C, r, z):
    """By how many units of rounding y < 0 somewhere, and the largest product zy beside the terms that make it up."""
    y = (C @ z[..., None])[..., 0] + r
    terms = (C.abs() @ z.abs()[..., None])[..., 0] + r.abs()
    return (-y / (EPS * C.shape[-1] * terms.clamp(min=1e-300))).amax(-1), (z * y).abs().amax(-1) / (z * terms).amax(
        -1
    ).clamp(min=1e-300)


@few
@given(cases)
def test_what_lanes_call_done_is_optimal(case):
    J = rows(*case, 2 * WORTHWHILE)
    G = J @ J.mT
    for q in (G[..., 0], G.mean(-1), -G.diagonal(dim1=-2, dim2=-1)):
        problem = scaled(G, q.contiguous())
        found = pivot_lanes(in_lanes(problem.cosines), in_lanes(problem.linear))
        z = found.z.mT[found.done]
        ascent, product = violations(problem.cosines[found.done], problem.linear[found.done], z)
        assert (z >= 0).all()
        assert (ascent <= 8).all()
        assert (product <= 1e-9).all()


@few
@given(cases)
def test_a_stack_in_lanes_is_its_programmes_one_by_one(case):
    """Values agree also where minimisers do not, because rows depend on each other."""
    J = rows(*case, WORTHWHILE + 7)
    G = J @ J.mT
    q = G.mean(-1)

    def value(z):
        return (z * (0.5 * (G[: len(z)] @ z[..., None])[..., 0] + q[: len(z)])).sum(-1)

    size = (G.abs() @ torch.ones_like(q)[..., None])[..., 0].amax(-1)
    together, reference = nnqp(G, q), nnqp_by_enumeration(G[:21], q[:21])
    assert ((value(together)[:21] - value(reference)).abs() <= 1e-11 * size[:21]).all()
    assert ((value(nnqp(G[:5], q[:5])) - value(together)[:5]).abs() <= 1e-11 * size[:5]).all()


@few
@given(cases)
def test_upgrad_of_a_large_batch_has_its_certificate(case):
    """The certificate comes from the active-set method; no objective rises either."""
    J = rows(*case, WORTHWHILE)
    G = J @ J.mT
    w = UPGrad().weights(G)
    assert (certify("upgrad", G, w).gap <= 1e-9).all()
    norms = J.norm(dim=-1)
    assert ((G @ w[..., None])[..., 0] >= -1e-11 * norms * (norms * w).sum(-1, keepdim=True)).all()
    shaped = UPGrad().weights(G.reshape(2, WORTHWHILE // 2, *G.shape[1:]))
    assert torch.equal(shaped.reshape(w.shape), w)


def test_programmes_left_open_are_solved_from_where_lanes_left_them():
    """Duplicated rows stay open in lanes, all of them, and are solved all the same; a lying flag would be seen here."""
    J = rows(5, "duplicated", 0, WORTHWHILE)
    C = scaled(J @ J.mT, torch.zeros(WORTHWHILE, 5).double()).cosines
    pull = -C.sum(-1).abs()
    assert not pivot_lanes(in_lanes(C), in_lanes(pull)).done.all()
    z = solve_rows(C)
    for i in range(5):
        ascent, product = violations(C, C[:, i], z[:, i])
        assert (ascent <= 200).all()
        assert (product <= 1e-9).all()


def test_elimination_on_supports():
    J = rows(6, "conflict", 3, 50)
    C = scaled(J @ J.mT, torch.zeros(50, 6).double()).cosines
    right = Stream(4).draws(range(50)).normal("r", 2, 6)
    inside = torch.tensor([True, False, True, True, False, True])
    found, regular = eliminated(in_lanes(C), right.permute(1, 2, 0), inside[:, None].expand(6, 50))
    wanted = torch.linalg.solve(C[:, inside][:, :, inside], right[:, :, inside].mT).mT
    assert regular.all()
    assert torch.allclose(found.permute(2, 0, 1)[..., inside], wanted, rtol=1e-9, atol=1e-11)
    assert (found[:, ~inside] == 0).all()
    twice = torch.cat((C[:, :1], C[:, :1], C[:, 2:]), 1)
    twice = torch.cat((twice[..., :1], twice[..., :1], twice[..., 2:]), -1)
    assert not eliminated(in_lanes(twice), right.permute(1, 2, 0), torch.ones(6, 50).bool())[1].any()


@few
@given(cases, st.floats(0.05, 3.0))
def test_cagrad_in_lanes_attains_the_best_of_all_supports(case, c):
    J = rows(*case, 28)
    G = J @ J.mT
    G = G / G.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    h = G.mean(-1)
    size = h.mean(-1)
    inner = Inner(G, h, c**2 * size, size)
    points, certain = path_in_lanes(inner)

    def value(u):
        return (u * h).sum(-1) + (inner.phi * (u * (G @ u[..., None])[..., 0]).sum(-1).clamp(min=0)).sqrt()

    assert (points[certain] >= 0).all()
    assert ((points[certain].sum(-1) - 1).abs() <= 1e-9).all()
    assert ((value(points) - value(by_support(inner)))[certain].abs() <= 1e-8).all()
    # Rows that depend on each other may be left to other routes, all others hardly.
    assert certain.double().mean() >= 0.9 or case[1] in {"duplicated", "dependent", "zero", "mixed"}


@few
@given(cases, st.floats(0.05, 3.0), st.sampled_from((1.0, 1e-12, 1e12)))
def test_cagrad_of_a_large_batch_has_no_gap(case, c, scale):
    J = rows(*case, WORTHWHILE + 1)
    G = scale * (J @ J.mT)
    w = CAGrad(c=c).weights(G)
    assert (certify(CAGrad(c=c), G, w).gap <= 1e-8 * G.diagonal(dim1=-2, dim2=-1).amax(-1)).all()


@few
@given(cases, st.sampled_from((1.0, 1e-12, 1e12)))
def test_large_batches_point_where_single_gramians_do(case, scale):
    J = rows(*case, WORTHWHILE)
    G = scale * (J @ J.mT)
    size = G.diagonal(dim1=-2, dim2=-1).amax(-1)
    # PCD brings its direction to one length, so that where it vanishes, as it may for dependent rows, it points nowhere.
    settled = ("pcd",) if case[1] in {"plain", "conflict", "scaled"} else ()
    for name in ("mgda", "upgrad", "dualproj", "sdmgrad", "capped-mgda", *settled):
        method = WEIGHTINGS[name]()
        apart = method.weights(G) - torch.stack([method.weights(g) for g in G])
        assert ((apart * (G @ apart[..., None])[..., 0]).sum(-1).abs() <= 1e-12 * size).all(), name


@few
@given(cases)
def test_gradvac_of_a_large_batch_is_gradvac_item_by_item(case):
    """Three steps with their targets, in lanes and on the host alone."""
    J = rows(*case, 9)
    G, method = J @ J.mT, GradVac(beta=0.3)
    state, states = method.initial(G), [method.initial(g) for g in G]
    clear = case[1] in {
        "plain",
        "conflict",
        "scaled",
    }  # else what is left of a gradient may be rounding alone, which has no cosine
    for _ in range(3 if clear else 1):
        w, state = method.step(G, state)
        alone = [method.step(g, s) for g, s in zip(G, states, strict=True)]
        states = [s for _, s in alone]
        one = torch.stack([v for v, _ in alone])
        assert ((w - one).abs() <= 1e-9 * one.abs().amax(-1, keepdim=True)).all()
        if clear:
            assert torch.allclose(state.targets, torch.stack([s.targets for s in states]), rtol=0, atol=1e-9)


@few
@given(cases)
def test_cagrad_of_a_large_batch_moves_on_where_one_gradient_vanishes(case):
    J = rows(*case, WORTHWHILE)
    J[:, 0] = 0
    G = J @ J.mT
    d = (CAGrad(c=0.5).weights(G)[:, None] @ J)[:, 0]
    mean, size = J.mean(1), G.diagonal(dim1=-2, dim2=-1).amax(-1)
    assert ((d * mean).sum(-1) >= 0.375 * (mean**2).sum(-1) - 1e-9 * size).all()
