"""The laws of decompositions, bounds of synergy and Shapley values; each test's docstring is the law."""

import itertools
import math
import time

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmtheory import info
from mmtheory.rng import Stream
from mmtheory.testing.strategies import tables
from synthetic.worlds import Table


def informations(p):
    return info.information(p.sum(-2)), info.information(p.sum(-3)), info.information(p.flatten(-3, -2))


def carried(q):
    return info.information(q.flatten(-3, -2))


@given(p=tables(most=3))
def test_atoms_are_never_negative_and_the_gap_is_small(p):
    """Every atom is at least −gap, and the gap at most 1e-8 nat."""
    found = info.pid(p)
    assert bool((found.atoms() >= -found.gap[..., None]).all())
    assert float(found.gap.max()) <= 1e-8


@given(p=tables(most=3))
def test_consistency(p):
    """R + U1 = I1, R + U2 = I2, R + U1 + U2 + S = I12."""
    found, (first, second, both) = info.pid(p), informations(p)
    r, u, v, s = found.atoms().unbind(-1)
    for left, right in ((r + u, first), (r + v, second), (r + u + v + s, both)):
        assert float((left - right).abs().max()) <= 1e-12


@given(p=tables(most=3))
def test_the_coupling_is_feasible_and_no_worse_than_the_table(p):
    """q has both marginals, and I_q <= I_p."""
    q = info.pid(p).coupling
    assert bool((q >= 0).all())
    assert float((q.sum(-2) - p.sum(-2)).abs().max()) <= 1e-12
    assert float((q.sum(-3) - p.sum(-3)).abs().max()) <= 1e-12
    assert float((carried(q) - carried(p)).max()) <= 1e-8


@given(p=tables(most=3, batch=3))
def test_two_solvers_agree(p):
    """The cone program and the interior-point method differ by at most the sum of their gaps."""
    one, two = info.pid(p, route="newton"), info.pid(p, route="cone")
    assert bool(((one.atoms() - two.atoms()).abs() <= (one.gap + two.gap)[..., None]).all())


@given(p=tables(most=3))
def test_sources_exchanged(p):
    """Exchanging the sources exchanges U1 and U2 and nothing else."""
    one, two = info.pid(p), info.pid(p.transpose(-3, -2)).swapped()
    assert bool(((one.atoms() - two.atoms()).abs() <= (one.gap + two.gap)[..., None]).all())


@given(p=tables(most=3), seed=st.integers(0, 2**31))
def test_relabelling_and_unused_symbols_change_nothing(p, seed):
    """Atoms do not depend on the symbols' names, nor on symbols of probability 0."""
    orders = [torch.argsort(Stream(seed).draws().uniform(axis, n)) for axis, n in enumerate(p.shape[1:])]
    turned = p[:, orders[0]][:, :, orders[1]][..., orders[2]]
    padded = torch.nn.functional.pad(turned, (0, 1, 1, 0, 0, 2))
    one, two = info.pid(p), info.pid(padded)
    assert bool(two.atoms().isfinite().all())
    assert bool(((one.atoms() - two.atoms()).abs() <= (one.gap + two.gap)[..., None]).all())


@given(p=tables(most=3))
def test_duplicated_source_is_all_redundant(p):
    """X2 = X1: U1 = U2 = S = 0."""
    copy = torch.einsum("nxy,xz->nxzy", p.sum(-2), torch.eye(p.shape[1], dtype=p.dtype))
    found = info.pid(copy)
    assert bool((found.atoms()[:, 1:].abs() <= found.gap[:, None]).all())


@given(p=tables(most=3))
def test_independent_target_has_no_atoms(p):
    """Y independent of the sources: every atom is 0."""
    found = info.pid(p.sum(-1, keepdim=True) * p.sum((1, 2))[:, None, None])
    assert bool((found.atoms().abs() <= found.gap[:, None] + 1e-12).all())


@given(p=tables(least=2, most=2, batch=2), q=tables(least=2, most=2, batch=2))
@settings(max_examples=15)
def test_independent_subsystems_add(p, q):
    """The decomposition of two independent subsystems side by side is the sum of theirs."""
    side_by_side = torch.einsum("nijy,nabz->niajbyz", p, q).reshape(-1, 4, 4, 4)
    whole, parts = info.pid(side_by_side), info.pid(p) + info.pid(q)
    assert bool(((whole.atoms() - parts.atoms()).abs() <= (whole.gap + parts.gap)[:, None] + 1e-12).all())


@given(p=tables(most=3), seed=st.integers(0, 2**31), log=st.floats(-6, -1))
def test_continuity(p, seed, log):
    """Moving ε of the mass moves no atom by more than 40 (ε ln 1/ε + ε)."""
    eps = 10.0**log
    other = Stream(seed, ("other",)).draws().uniform("mass", *p.shape) + 1e-3
    moved = (1 - eps) * p + eps * other / other.sum((1, 2, 3), keepdim=True)
    one, two = info.pid(p), info.pid(moved)
    allowed = 40 * (eps * math.log(1 / eps) + eps) + float((one.gap + two.gap).max())
    assert float((one.atoms() - two.atoms()).abs().max()) <= allowed


@given(p=tables(most=3, batch=4))
@settings(max_examples=60)
def test_synergy_sandwich(p):
    """Agreement, disagreement <= S <= coupling, trivial and vertex bounds; 240 tables."""
    bounds, found = info.synergy_bounds(p), info.pid(p)
    slack = found.gap + 1e-9
    assert bool((bounds.agreement <= found.synergy + slack).all())
    assert bool((bounds.disagreement <= found.synergy + slack).all())
    for upper in (bounds.coupling_upper, bounds.trivial_upper, bounds.vertex_upper):
        assert upper is None or bool((found.synergy - slack <= upper).all())


@given(seed=st.integers(0, 2**31), rows=st.integers(2, 3), classes=st.integers(2, 3))
@settings(max_examples=15)
def test_bounds_look_at_pairs_only(seed, rows, classes):
    """Tables with the same pairwise marginals have the same bounds."""
    p = Stream(seed, ("pairs",)).draws().uniform("mass", 4, rows, 2, classes) + 0.05
    p = p / p.sum((1, 2, 3), keepdim=True)
    twist = torch.zeros_like(p)
    for bits in itertools.product(range(2), repeat=3):
        twist[(slice(None), *bits)] = (-1) ** sum(bits)
    room = p[:, :2, :2, :2].flatten(1).amin(1)
    one, two = info.synergy_bounds(p), info.synergy_bounds(p + 0.9 * room[:, None, None, None] * twist)
    for field in ("agreement", "disagreement", "coupling_upper", "trivial_upper"):
        assert float((getattr(one, field) - getattr(two, field)).abs().max()) <= 1e-7


@given(targets=st.tuples(*[st.floats(0, math.log(2))] * 4))
@settings(max_examples=10)
def test_inverse_design_of_tables(targets):
    """The table built for four atoms has them."""
    world = Table.from_targets(*targets)
    both = world.modalities
    atoms = (
        world.known("redundancy", both),
        world.known("unique", both[:1]),
        world.known("unique", both[1:]),
        world.known("synergy", both),
    )
    assert all(abs(found.middle - wanted) <= 1e-7 for found, wanted in zip(atoms, targets, strict=True))


@given(
    r=st.floats(0, 0.2),
    u=st.floats(1e-6, 0.2),
    s=st.floats(0, 0.25),
    view=st.sampled_from([("gaussian", "+"), ("gaussian", "-"), ("lda", "+"), ("lda", "-")]),
)
def test_inverse_design_of_correlated_views(r, u, s, view):
    """(R, U, S) → (weaker, stronger, ρ) → (R, U, 0, S)."""
    weak, strong, rho = info.design_correlated(r, u, s, law=view[0], side=view[1])
    assume(abs(rho) < 0.999)
    forward = info.gaussian_decomposition if view[0] == "gaussian" else info.lda_decomposition
    found = forward(strong, weak, rho).atoms().tolist()
    assert all(abs(a - b) <= 1e-8 for a, b in zip(found, (r, u, 0.0, s), strict=True))


@given(count=st.integers(2, 5), seed=st.integers(0, 2**31))
def test_shapley_is_the_mean_over_orders(count, seed):
    """φ by subsets = φ by orders of arrival; Σφ = v([M]) − v(∅)."""
    players = "abcde"[:count]
    coalitions = [frozenset(), *info.subsets(players)]
    worth = dict(zip(coalitions, Stream(seed).draws().normal("v", len(coalitions)).tolist(), strict=True))
    values, total = info.shapley(worth, players), dict.fromkeys(players, 0.0)
    for order in itertools.permutations(players):
        for k, p in enumerate(order):
            total[p] += worth[frozenset(order[: k + 1])] - worth[frozenset(order[:k])]
    assert all(abs(values[p] - total[p] / math.factorial(count)) <= 1e-12 for p in players)
    assert abs(sum(values.values()) - worth[frozenset(players)] + worth[frozenset()]) <= 1e-12


@given(p=tables(most=3))
def test_shapley_of_information(p):
    """φ1 = U1 + (R + S)/2, and the interaction is S − R."""
    found, (first, second, both) = info.pid(p), informations(p)
    phi = info.shapley(
        {frozenset(): 0 * both, frozenset("a"): first, frozenset("b"): second, frozenset("ab"): both}, "ab"
    )
    r, u, _, s = found.atoms().unbind(-1)
    assert float((phi["a"] - u - (r + s) / 2).abs().max()) <= 1e-12
    assert float((both - first - second - s + r).abs().max()) <= 1e-12


def test_shapley_of_eight_players_is_quick():
    """256 subsets in under 50 ms (best of five)."""
    worth = {s: float(len(s) ** 2) for s in (frozenset(), *info.subsets("abcdefgh"))}
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        assert math.isclose(info.shapley(worth, "abcdefgh")["a"], 8.0)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.05
