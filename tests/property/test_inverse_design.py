"""Inverse design: the world that from_targets gives has the targets, by the second route too; others are refused with what is feasible."""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmtheory.errors import ArgumentError, InfeasibleError, NotExactError
from mmtheory.info import subsets
from synthetic.worlds import (
    WORLDS,
    Competition,
    ConnectionSine,
    Gated,
    Histogram,
    LatentProbit,
    LatentRegression,
    Quad,
    Saturation,
    SelectionTable,
    TwoDials,
)

LN2 = math.log(2)


def vectors(low, high, least=1, most=5):
    return st.lists(st.floats(low, high), min_size=least, max_size=most).map(tuple)


def check(world, quantity, targets, tolerance):
    """Every modality's target, by every route there is."""
    for m, target in zip(world.modalities, targets, strict=True):
        for route in world.routes(quantity):
            assert world.known(quantity, m, route=route).middle == pytest.approx(target, abs=tolerance), (m, route)


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_every_world_can_be_designed(name):
    assert callable(getattr(WORLDS[name], "from_targets", None)), name


@given(information=vectors(0.0, 0.3), share=st.floats(0.5, 1.0), label_noise=st.floats(0, 0.2))
@settings(max_examples=25)
def test_latent_regression_informations(information, share, label_noise):
    world = LatentRegression.from_targets(information=information, share=share, label_noise=label_noise)
    check(world, "information", information, 1e-9)


@given(information=vectors(0.02, 0.4, least=2), place=st.floats(0, 1))
@settings(max_examples=20)
def test_latent_regression_joint(information, place):
    """The joint information runs from what one shared latent leaves to what private ones add up to; outside it is refused."""
    shared = LatentRegression.from_targets(information=information, share=1.0)
    low = shared.known("information", shared.modalities).middle
    explained = [(1 + 0.1) * -math.expm1(-2 * i) for i in information]
    part = max(0.0, (max(explained) - 1 / len(explained)) / (1 - 1 / len(explained)))
    part += 1e-6 * (1 - part)
    private = LatentRegression.from_targets(information=information, share=part)
    high = private.known("information", private.modalities).middle
    joint = low + place * (high - low)
    world = LatentRegression.from_targets(information=information, joint=joint)
    check(world, "information", information, 1e-9)
    for route in world.routes("information"):
        assert world.known("information", world.modalities, route=route).middle == pytest.approx(joint, abs=1e-9)
    with pytest.raises(InfeasibleError, match="all modalities"):
        LatentRegression.from_targets(information=information, joint=low - 0.01)


@given(information=vectors(0.01, 0.2, most=3), share=st.floats(0.6, 1.0))
@settings(max_examples=4)
def test_latent_probit_informations(information, share):
    world = LatentProbit.from_targets(information=information, share=share, label_noise=0.05)
    check(world, "information", information, 1e-8)


@given(data=st.data(), count=st.integers(2, 4))
@settings(max_examples=25)
def test_gated_informations(data, count):
    by_reliability = data.draw(vectors(0.0, 0.3, count, count))
    world = Gated.from_targets(information=by_reliability)
    check(world, "information", by_reliability, 1e-11)
    for m, target in zip(world.modalities, by_reliability, strict=True):
        risk = 0.5 - target / (LN2 - 0.3250829733914482) * 0.4  # π(½ − ε), h(0.1) in nats
        assert world.known("bayes_risk", m, route="vote").middle == pytest.approx(risk, abs=1e-10)
    by_flip = data.draw(vectors(0.0, 0.34, count, count))
    check(Gated.from_targets(information=by_flip, reliability=(0.5,) * count), "information", by_flip, 1e-11)


@given(
    cells=st.lists(st.integers(2, 3), min_size=2, max_size=3).map(tuple),
    signal=st.floats(0.1, 2),
    interaction=st.floats(-1, 1),
    decay=st.floats(0.3, 1),
    place=st.floats(0.05, 0.99),
)
@settings(max_examples=15)
def test_histogram_risk_and_entropy(cells, signal, interaction, decay, place):
    shape = {"cells": cells, "signal": (signal,) * len(cells), "interaction": interaction, "decay": decay}
    base = Histogram(**shape)
    floor = 0.5 * float(base.table.sum(-1)[(base.table[..., 1] - base.table[..., 0]).abs() < 1e-12].sum())
    risk = floor + place * (0.5 - floor)
    assume(floor < 0.49)
    world = Histogram.from_targets(bayes_risk=risk, **shape)
    for route in world.routes("bayes_risk"):
        assert world.known("bayes_risk", world.modalities, route=route).middle == pytest.approx(risk, abs=1e-10)
    world = Histogram.from_targets(posterior_entropy=2 * risk * LN2, **shape)
    for route in world.routes("posterior_entropy"):
        found = world.known("posterior_entropy", world.modalities, route=route).middle
        assert found == pytest.approx(2 * risk * LN2, abs=1e-10)


@given(symbols=st.integers(2, 5), shares=vectors(0.0, 0.999, 2, 4), synergy=st.floats(0, 0.999))
@settings(max_examples=25)
def test_selection_table(symbols, shares, synergy):
    targets = tuple(s * math.log(symbols) for s in shares)
    check(SelectionTable.from_targets(information=targets, symbols=symbols), "information", targets, 1e-11)
    asked = synergy * math.log(symbols)
    world = SelectionTable.from_targets(synergy=asked, count=3, symbols=symbols)
    for s in subsets(world.modalities):
        expected = asked if len(s) == 3 else 0.0
        assert world.known("information", s).middle == pytest.approx(expected, abs=1e-11)


@given(shares=vectors(0.0, 1.0), features=st.integers(1, 6))
@settings(max_examples=25)
def test_saturation_informations(shares, features):
    targets = tuple(s * LN2 for s in shares)
    world = Saturation.from_targets(information=targets, features=features)
    check(world, "information", targets, 1e-12)
    for m, target in zip(world.modalities, targets, strict=True):
        assert world.known("bayes_risk", m, route="first feature").middle == pytest.approx(
            (1 - target / LN2) / 2, abs=1e-12
        )


@given(
    redundancy=st.floats(0, 0.3),
    unique=st.floats(0, 0.3),
    place=st.floats(0, 1),
    features=st.integers(1, 4),
)
@settings(max_examples=25)
def test_saturation_decompositions(redundancy, unique, place, features):
    rich, poor = 1 - (redundancy + unique) / LN2, 1 - redundancy / LN2
    low, high = LN2 * rich * (1 - poor), LN2 * rich
    synergy = min(max(low + place * (high - low), low), high)
    world = Saturation.from_targets(redundancy=redundancy, unique=unique, synergy=synergy, features=features)
    for quantity, s, target in (("redundancy", "ab", redundancy), ("unique", "a", unique), ("synergy", "ab", synergy)):
        assert world.known(quantity, s).middle == pytest.approx(target, abs=1e-12)
    with pytest.raises(InfeasibleError, match=r"\["):
        Saturation.from_targets(redundancy=redundancy, unique=unique, synergy=high + 1e-3)


@given(noise=st.floats(0, 0.5), bits=st.integers(4, 12), n=st.integers(0, 30), code=st.integers(0, 15))
@settings(max_examples=25)
def test_connection_sine(noise, bits, n, code):
    truth = ConnectionSine(bits, code, noise, n)
    for name, key, found in (
        ("information", "information", truth.known("information", "ab").middle),
        ("bayes_risk", "bayes_risk", truth.known("bayes_risk", "ab").middle),
        ("unimodal_risk", "unimodal risk", truth.answers()["unimodal risk"].middle),
    ):
        world = ConnectionSine.from_targets(**{name: found}, bits=bits, code=code, n=n)
        again = world.answers()[key] if key == "unimodal risk" else world.known(key, "ab")
        assert again.middle == pytest.approx(found, abs=1e-12)


@given(strong=st.floats(0.01, 0.49), more=st.floats(0, 0.95), signal=st.integers(1, 8))
@settings(max_examples=15)
def test_two_dials(strong, more, signal):
    """The closed form by Student's t, against quadrature over the chi-squared law of the separation."""
    from scipy import integrate, special, stats

    weak = strong + more * (0.5 - strong)
    world = TwoDials.from_targets(pair_error=(weak, strong), speed=1.5, signal=signal)
    for m, target, sigma in (("a", weak, 1 + world.information / 2), ("b", strong, 1.0)):
        assert world.answers()[f"pair error of {m}"].middle == pytest.approx(target, abs=1e-12)

        def error(r, sigma=sigma):
            return special.ndtr(-world.spread / sigma / math.sqrt(2) * r) * stats.chi.pdf(r, signal)

        value, _ = integrate.quad(error, 0, math.inf, epsabs=1e-11)
        assert value == pytest.approx(target, abs=1e-8)


@given(
    shares=st.lists(st.floats(0.02, 0.15), min_size=2, max_size=3),
    cosine=st.floats(-0.4, 0.9),
    condition=st.floats(1, 30),
    turn=st.floats(-1, 1),
)
@settings(max_examples=20)
def test_quad_informations(shares, cosine, condition, turn):
    targets = tuple(-0.5 * math.log1p(-s) for s in shares)
    world = Quad.from_targets(information=targets, cosine=cosine, condition=condition, turn=turn)
    check(world, "information", targets, 1e-9)
    whole = -0.5 * math.log1p(-sum(shares))
    assert world.known("information", world.modalities).middle == pytest.approx(whole, abs=1e-8)


@given(distance=st.floats(0.01, 0.99), norms=st.sampled_from(((1.0, 1.0), (1.0, 3.0), (1.0, 1.0, 1.0))))
@settings(max_examples=20)
def test_quad_distance(distance, norms):
    """Against the solver of the min-norm problem on the very gradients."""
    from mmtheory.moo import MGDA

    world = Quad.from_targets(min_norm=distance, norms=norms)
    gramian = world.slopes @ world.slopes.mT
    weights = MGDA().weights(gramian)
    assert float((weights @ gramian @ weights).clamp(min=0).sqrt()) == pytest.approx(distance, abs=1e-6)
    assert world.answers()["squared min-norm"].middle == pytest.approx(distance**2, abs=1e-10)


@given(shares=vectors(0.0, 1.0, 2, 5), classes=st.integers(2, 8))
@settings(max_examples=20)
def test_competition_informations(shares, classes):
    targets = tuple(s * math.log(classes) for s in shares)
    world = Competition.from_targets(information=targets, classes=classes)
    check(world, "information", targets, 1e-12)
    for m, s in zip(world.modalities, shares, strict=True):
        risk = (1 - s) * (1 - 1 / classes)
        assert world.known("bayes_risk", m, route="first shown").middle == pytest.approx(risk, abs=1e-12)


@given(win=st.floats(0.05, 0.9), shares=st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)), q=st.floats(2.5, 6))
@settings(max_examples=10)
def test_competition_winner_beside_informations(win, shares, q):
    targets = tuple(s * math.log(10) for s in shares)
    world = Competition.from_targets(win=win, information=targets, q=q)
    assert world.answers()["win_a"].middle == pytest.approx(win, abs=1e-9)
    check(world, "information", targets, 1e-12)


@pytest.mark.parametrize(
    ("kind", "targets", "said"),
    [
        (LatentRegression, {"information": (5.0, 0.1)}, r"\[0, 0\.5725"),
        (LatentRegression, {"information": (0.2, 0.2), "joint": 2.0}, r"all modalities"),
        (LatentProbit, {"information": (0.6, 0.1)}, r"\[0, 0\."),
        (Gated, {"information": (0.5, 0.1)}, r"\[0, 0\.368"),
        (Gated, {"information": (0.5, 0.1), "reliability": (0.5, 0.5)}, r"\[0, 0\.346"),
        (Histogram, {"bayes_risk": 0.6}, r"0\.5\]"),
        (SelectionTable, {"information": (1.2, 0.1)}, r"\[0, 1\.0986"),
        (SelectionTable, {"synergy": -0.1}, r"\[0, 1\.0986"),
        (Saturation, {"information": (0.7,)}, r"\[0, 0\.6931"),
        (ConnectionSine, {"bayes_risk": 0.7}, r"\[0, 0\.5\]"),
        (ConnectionSine, {"unimodal_risk": 0.1}, r"\[0\.295"),
        (TwoDials, {"pair_error": (0.1, 0.2)}, r"\[0\.2, 0\.5\)"),
        (Quad, {"information": (0.3, 2.0)}, "the information of a"),
        (Quad, {"min_norm": 1.5}, r"\[0, 1\]"),
        (Competition, {"information": (3.0, 1.0)}, r"\[0, 2\.302"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(kind, targets, said):
    with pytest.raises(InfeasibleError, match=said):
        kind.from_targets(**targets)


@pytest.mark.parametrize(
    ("kind", "targets", "error"),
    [
        (Histogram, {}, ArgumentError),
        (SelectionTable, {"information": (0.1, 0.1), "synergy": 0.1}, ArgumentError),
        (Saturation, {}, ArgumentError),
        (ConnectionSine, {"information": 0.1, "bayes_risk": 0.1}, ArgumentError),
        (Quad, {}, ArgumentError),
        (Quad, {"min_norm": 0.5, "norms": (1.0, 2.0, 3.0)}, NotExactError),
    ],
)
def test_targets_that_do_not_go_together(kind, targets, error):
    with pytest.raises(error):
        kind.from_targets(**targets)
