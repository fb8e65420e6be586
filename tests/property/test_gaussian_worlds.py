"""Laws that the Gaussian worlds obey for every setting of their dials (theory §13: 1–5, 11–16, 30, 35, 36)."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.errors import InfeasibleError, NotExactError
from mmtheory.info import gaussian_conditional_information, lda_information, lda_separation, subsets
from mmtheory.rng import Stream
from synthetic.strategies import discriminants, latents, linear_gaussians, matrix
from synthetic.worlds import GaussianDiscriminant, GaussianProbit, GaussianRegression, LatentProbit, LatentRegression

strengths = st.floats(0.01, 20.0)
seeds = st.integers(0, 2**32)
counts = st.integers(2, 4)


generals = latents(LatentRegression)
pairs = latents(LatentRegression, widths=st.tuples(st.integers(1, 3), st.integers(1, 3)))
worlds = st.one_of(linear_gaussians(GaussianRegression), generals, linear_gaussians(GaussianProbit), discriminants())


@given(worlds)
@settings(max_examples=40)
def test_more_modalities_never_hurt(world):
    """Property 1."""
    for s in subsets(world.modalities):
        for m in set(world.modalities) - s:
            assert world.known("bayes_risk", s | {m}).low <= world.known("bayes_risk", s).high + 1e-10
            assert world.known("information", s | {m}).high >= world.known("information", s).low - 1e-10


@given(pairs)
def test_chain_rule(world):
    """Property 2: I(a, b; y) = I(a; y) + I(b; y | a)."""
    law = world.law
    d = len(law.scale)
    further = float(gaussian_conditional_information(law.joint, law.columns("b"), [d], law.columns("a")))
    total = world.known("information", "a").middle + further
    assert total == pytest.approx(world.known("information", "ab").middle, abs=1e-9)


@given(linear_gaussians(GaussianRegression, count=st.just(2)), st.floats(0.01, 100.0))
def test_scale_moves_no_answer(world, factor):
    """Property 3 and the scale row of the dial table: it moves ‖Σ_yx‖, the curvature, ridge and early stopping, nothing else."""
    scaled = replace(world, scale=(world.scale[0] * factor, world.scale[1]))
    for s in ("a", "b", "ab"):
        for quantity in ("information", "bayes_risk"):
            assert scaled.known(quantity, s).middle == pytest.approx(
                world.known(quantity, s).middle, rel=1e-9, abs=1e-9
            )
            last = world.routes(quantity)[-1]
            assert scaled.known(quantity, s, route=last).middle == pytest.approx(
                world.known(quantity, s).middle, rel=1e-8, abs=1e-8
            )
        assert scaled.law.ols_risk(50, s).middle == pytest.approx(world.law.ols_risk(50, s).middle, rel=1e-9)
    for quantity, s in (("redundancy", "ab"), ("unique", "a"), ("unique", "b"), ("synergy", "ab")):
        assert scaled.known(quantity, s).middle == pytest.approx(world.known(quantity, s).middle, abs=1e-9)
    at = world.law.columns("a")
    assert torch.allclose(scaled.law.cross[at], factor * world.law.cross[at], rtol=1e-12)
    assert torch.allclose(
        scaled.law.covariance[at][:, at], factor**2 * world.law.covariance[at][:, at], rtol=1e-12, atol=0
    )


def test_ridge_and_early_stopping_feel_the_scale():
    world = GaussianRegression(snr=(3.0, 1.0), dims=(2, 2))
    fast = replace(world, scale=(10.0, 1.0))
    design = Stream(1).draws().normal("design", 30, 4)
    wide = design * fast.law.scale
    assert float(fast.law.ridge_risk(wide, 0.0, "ab")) == pytest.approx(
        float(world.law.ridge_risk(design, 0.0, "ab")), rel=1e-9
    )
    assert abs(float(fast.law.ridge_risk(wide, 0.5, "ab") - world.law.ridge_risk(design, 0.5, "ab"))) > 1e-3
    assert abs(float(fast.law.flow_risk(0.1, "ab") - world.law.flow_risk(0.1, "ab"))) > 1e-2


@given(pairs, seeds)
def test_invertible_maps_move_no_answer(world, seed):
    """Property 3: any invertible linear map of each modality leaves information, risk, decomposition and OLS risk alone."""
    draws = Stream(seed, ("maps",)).draws()
    maps = []
    for m, block in zip(world.modalities, world.loadings, strict=True):
        q, _ = torch.linalg.qr(draws.normal(m, len(block), len(block)))
        maps.append(q * torch.linspace(0.5, 2.0, len(block), dtype=torch.float64))
    turn = torch.block_diag(*maps)
    noise = turn @ world.law.noise @ turn.mT
    blocks = (turn @ world.law.loading).split([len(b) for b in world.loadings])
    mapped = replace(world, loadings=tuple(matrix(b) for b in blocks), noise=matrix((noise + noise.mT) / 2))
    for s in ("a", "b", "ab"):
        assert mapped.known("information", s).middle == pytest.approx(world.known("information", s).middle, abs=1e-8)
        assert mapped.known("bayes_risk", s).middle == pytest.approx(world.known("bayes_risk", s).middle, abs=1e-8)
        assert mapped.law.ols_risk(40, s).middle == pytest.approx(world.law.ols_risk(40, s).middle, abs=1e-7)
    assert mapped.known("synergy", "ab").middle == pytest.approx(world.known("synergy", "ab").middle, abs=1e-8)


@given(st.one_of(linear_gaussians(GaussianRegression, count=st.just(3)), discriminants(count=st.just(3))))
def test_modalities_in_another_order(world):
    """Property 4: names follow the dials, so reversing the dials reverses every vector-valued answer."""
    dial = "snr" if isinstance(world, GaussianRegression) else "d2"
    changes = {f: getattr(world, f)[::-1] for f in (dial, "dims", "scale") if hasattr(world, f)}
    turned = replace(world, **changes)
    back = dict(zip(world.modalities, reversed(world.modalities), strict=True))
    there, here = turned.shapley(), world.shapley()
    for m in world.modalities:
        assert there[back[m]].middle == pytest.approx(here[m].middle, abs=1e-10)
        assert turned.known("information", back[m]).middle == pytest.approx(
            world.known("information", m).middle, abs=1e-12
        )


@given(linear_gaussians(GaussianRegression, count=st.just(2)))
def test_swapping_two_modalities_swaps_their_unique_parts(world):
    """Property 4, which a peer's code gets wrong (theory §14.1)."""
    turned = replace(world, snr=world.snr[::-1], dims=world.dims[::-1], scale=world.scale[::-1])
    for m, other in ("ab", "ba"):
        assert turned.known("unique", other).middle == pytest.approx(world.known("unique", m).middle, abs=1e-10)
    for quantity in ("redundancy", "synergy"):
        assert turned.known(quantity, "ab").middle == pytest.approx(world.known(quantity, "ab").middle, abs=1e-10)


@given(pairs, seeds, st.floats(0.01, 5.0))
def test_a_noisier_channel_tells_no_more(world, seed, amount):
    """Property 5: noise added to one modality, and a coordinate dropped from it."""
    block = world.law.columns("a")
    root = Stream(seed, ("extra",)).draws().normal("root", len(block), len(block))
    extra = torch.zeros_like(world.law.noise)
    extra[: len(block), : len(block)] = amount * (root @ root.mT)
    noisy = replace(world, noise=matrix(world.law.noise + (extra + extra.mT) / 2))
    for s in ("a", "ab"):
        assert noisy.known("information", s).middle <= world.known("information", s).middle + 1e-10
        assert noisy.known("bayes_risk", s).middle >= world.known("bayes_risk", s).middle - 1e-10


@given(pairs, seeds)
def test_quality_of_an_encoder(world, seed):
    """Property 12: η >= 0, <= what there is to explain, blind to the head's basis, falling as the span grows."""
    law = world.law
    d = len(law.scale)
    draws = Stream(seed, ("encoder",)).draws()
    a, head = draws.normal("a", 5, d, 2), draws.normal("head", 2, 2) + 3 * torch.eye(2, dtype=torch.float64)
    eta = law.encoder_gap(a)
    most = law.variance - world.known("bayes_risk", world.modalities).middle
    assert bool((eta >= 0).all())
    assert bool((eta <= most + 1e-10).all())
    assert torch.allclose(law.encoder_gap(a @ head), eta, atol=1e-8)
    assert bool((law.encoder_gap(torch.cat([a, draws.normal("more", 5, d, 1)], -1)) <= eta + 1e-9).all())
    everything = torch.eye(d, dtype=torch.float64)
    assert float(law.encoder_gap(everything)) == pytest.approx(0, abs=1e-9)
    for m in world.modalities:
        only = everything[:, law.columns(m)]
        left = world.known("bayes_risk", m).middle - world.known("bayes_risk", world.modalities).middle
        assert float(law.encoder_gap(only)) == pytest.approx(left, abs=1e-9)


@given(generals)
def test_quality_gap(world):
    """Property 13: antisymmetric, zero on the diagonal, additive along chains, non-positive upwards."""
    law, names = world.law, world.modalities
    chain = [names[:k] for k in range(len(names) + 1)]
    for small, large in pairwise(chain):
        assert law.quality_gap(large, small).low <= 1e-10
        assert law.quality_gap(large, small).middle == pytest.approx(-law.quality_gap(small, large).middle, abs=1e-12)
    assert law.quality_gap(names, names).middle == 0
    steps = sum(law.quality_gap(large, small).middle for small, large in pairwise(chain))
    assert steps == pytest.approx(law.quality_gap(names, ()).middle, abs=1e-10)


@given(linear_gaussians(GaussianRegression, count=st.just(2)))
def test_least_squares_law(world):
    """Property 14: falls in n, rises in d, diverges at d + 1; the crossing is beyond d_M + 1 and unique."""
    law, d = world.law, sum(world.dims)
    risks = [law.ols_risk(n, "ab").middle for n in range(d + 2, d + 20)]
    assert risks == sorted(risks, reverse=True)
    wider = replace(world, dims=(world.dims[0] + 1, world.dims[1]))
    assert wider.law.ols_risk(60, "ab").middle > law.ols_risk(60, "ab").middle
    assert wider.known("bayes_risk", "ab").middle == pytest.approx(world.known("bayes_risk", "ab").middle, rel=1e-12)
    for n in (d, d + 1):
        with pytest.raises(NotExactError, match="expected n > d"):
            law.ols_risk(n, "ab")
    star = law.ols_crossover("a", "ab")
    assert star > d + 1
    signs = [law.ols_risk(n, "a").middle > law.ols_risk(n, "ab").middle for n in range(d + 2, d + 200, 9)]
    assert signs == sorted(signs)
    if star < 1e6:
        below, above = math.ceil(star) - 1, math.floor(star) + 1
        assert below <= d + 1 or law.ols_risk(below, "a").middle <= law.ols_risk(below, "ab").middle * (1 + 1e-9)
        assert law.ols_risk(above, "a").middle >= law.ols_risk(above, "ab").middle * (1 - 1e-9)


@given(st.floats(0.0, 30.0), st.floats(0.0, 30.0), st.floats(-0.95, 0.95))
def test_separations(one, two, rho):
    """Property 15."""
    low, high = float(lda_information(min(one, two))), float(lda_information(max(one, two)))
    assert 0 <= low <= high <= math.log(2)
    if one < 8:
        assert float(lda_separation(lda_information(one))) == pytest.approx(one, abs=1e-6)
    world = GaussianDiscriminant(d2=(one, two), rho=rho)
    assert world.separation2("ab") >= max(one, two) * (1 - 1e-12)
    if one and two:
        ratio = math.sqrt(min(one, two) / max(one, two))
        if ratio < 0.99:
            pure = GaussianDiscriminant(d2=(one, two), rho=ratio)
            assert pure.separation2("ab") == pytest.approx(max(one, two), rel=1e-9)


@given(linear_gaussians(GaussianProbit, count=st.just(3)))
@settings(max_examples=25)
def test_angles(world):
    """Property 16: the correlation with the score grows with the subset, the error is its angle and at most one half."""
    for s in subsets(world.modalities):
        error = world.known("bayes_risk", s)
        assert 0 <= error.low <= error.high <= 0.5
        own = world.linear_risk(world.law.coefficients(s), s)
        assert float(own) == pytest.approx(error.middle, abs=1e-9)
        for m in set(world.modalities) - s:
            assert world.correlation(s | {m}).high >= world.correlation(s).low


@given(discriminants(), seeds)
def test_no_linear_classifier_beats_the_bayes_error(world, seed):
    mean, _ = world.moments(world.modalities)
    draws = Stream(seed, ("directions",)).draws()
    best = world.known("bayes_risk", world.modalities)
    others = world.linear_risk(draws.normal("w", 20, len(mean)), world.modalities, bias=draws.normal("b", 20))
    assert float(others.min()) >= best.low - 1e-12
    own = world.linear_risk(world.direction(world.modalities), world.modalities)
    assert float(own) == pytest.approx(best.middle, abs=1e-12)


@given(discriminants(count=st.just(2)), st.integers(0, 6))
@settings(max_examples=25)
def test_plug_in_risk(world, power):
    """Never below the Bayes error, falls with the sample, reaches the Bayes error."""
    wide = replace(world, dims=(1, 5))
    risks = [wide.plug_in_risk(10**k, "ab").middle for k in (power, power + 1)]
    bayes = wide.known("bayes_risk", "ab").middle
    assert bayes - 1e-9 <= risks[1] <= risks[0] + 1e-9 <= 0.5 + 2e-9


@given(st.integers(2, 6), st.floats(0.01, 4.0), st.floats(0.01, 4.0))
@settings(max_examples=20)
def test_signalling_is_lda_for_two_classes_and_fano_holds(classes, one, two):
    """Two orthogonal signals of amplitude δ are two classes with D² = δ²/2; Fano and Hellman–Raviv hold for any number."""
    from synthetic.worlds._signalling import signalling_accuracy, signalling_equivocation

    pair = GaussianDiscriminant(d2=(one / 2,))
    assert signalling_equivocation(math.sqrt(one), 2)[0] == pytest.approx(
        pair.known("posterior_entropy", "a").middle, abs=1e-11
    )
    assert 1 - signalling_accuracy(math.sqrt(one), 2)[0] == pytest.approx(
        pair.known("bayes_risk", "a").middle, abs=1e-12
    )
    world = GaussianDiscriminant(d2=(one, two), classes=classes)
    for s in ("a", "b", "ab"):
        e, h = world.known("bayes_risk", s).middle, world.known("posterior_entropy", s).middle
        bit = -sum(p * math.log(p) for p in (e, 1 - e) if p > 0)
        assert h <= bit + e * math.log(max(classes - 1, 1)) + 1e-9
        assert e <= h / 2 / math.log(2) + 1e-9


@given(linear_gaussians(GaussianRegression, count=st.just(3)), st.floats(0.1, 10.0))
def test_blending_weights(world, factor):
    """Property 30: normalised weights sum to 1, are positive for gains, follow symmetry, and no common rescaling of the loss moves them."""

    def weights(law, n=80):
        raw = {s: law.blending(n, s).weight for s in subsets(world.modalities)}
        return {s: v / sum(raw.values()) for s, v in raw.items()}, raw

    found, raw = weights(world.law)
    assert sum(found.values()) == pytest.approx(1, abs=1e-9)
    for s, value in raw.items():
        assert (value > 0) == (world.law.blending_flip(s) < 80)
    assert weights(replace(world, snr=(1.0,) * 3, dims=(2,) * 3).law)[1][frozenset("a")] == pytest.approx(
        weights(replace(world, snr=(1.0,) * 3, dims=(2,) * 3).law)[1][frozenset("b")], rel=1e-9
    )
    loud = LatentRegression(
        tuple(((math.sqrt(s),),) for s in world.snr),
        (factor,),
        matrix(world.law.noise),
        (1.0,),
        world.label_noise * factor**2,
    )
    plain = replace(loud, weights=(1.0,), label_noise=world.label_noise)
    for s in subsets(world.modalities):
        if abs(raw[s]) > 1e-6:
            assert weights(loud.law)[1][s] * factor**2 == pytest.approx(weights(plain.law)[1][s], rel=1e-6)


@given(st.floats(0.0, 0.6), st.floats(0.001, 0.6), st.floats(0.0, 0.6), st.floats(0.0, 0.1), st.sampled_from("+-"))
def test_inverse_design_of_a_regression(redundancy, unique, synergy, noise, side):
    """Property 35."""

    def build():
        return GaussianRegression.from_targets(
            redundancy=redundancy, unique=unique, synergy=synergy, label_noise=noise, side=side
        )

    if noise > 0 and redundancy + unique + synergy >= 0.5 * math.log1p(1 / noise):
        with pytest.raises(InfeasibleError, match=r"\[0, "):
            build()
        return
    world = build()
    for quantity, s, target in (
        ("redundancy", "ab", redundancy), ("unique", "a", unique), ("unique", "b", 0), ("synergy", "ab", synergy)
    ):  # fmt: skip
        assert world.known(quantity, s).middle == pytest.approx(target, abs=1e-6)


@given(st.floats(0.0, 0.2), st.floats(0.001, 0.2), st.floats(0.0, 0.2))
@settings(max_examples=20)
def test_inverse_design_of_two_classes(redundancy, unique, synergy):
    """Property 35."""
    world = GaussianDiscriminant.from_targets(redundancy=redundancy, unique=unique, synergy=synergy)
    for quantity, s, target in (("redundancy", "ab", redundancy), ("unique", "a", unique), ("synergy", "ab", synergy)):
        assert world.known(quantity, s).middle == pytest.approx(target, abs=1e-6)


@pytest.mark.parametrize(
    ("build", "most"),
    [
        (lambda i: GaussianRegression.from_targets(information=i, label_noise=0.1), 0.5 * math.log(11)),
        (lambda i: GaussianDiscriminant.from_targets(information=i), math.log(2)),
        (lambda i: GaussianDiscriminant.from_targets(information=i, classes=4), math.log(4)),
        (lambda i: GaussianProbit.from_targets(information=i), math.log(2) - 1e-4),
    ],
)
def test_inverse_design_of_information(build, most):
    targets = (0.9 * most, 0.3 * most, 0.0)
    world = build(targets)
    for m, target in zip(world.modalities, targets, strict=True):
        assert world.known("information", m).middle == pytest.approx(target, abs=1e-6)
    with pytest.raises(InfeasibleError, match=r"\[0, "):
        build((1.1 * most,))


@given(st.one_of(worlds, latents(LatentProbit, widths=st.just((1, 2)))))
@settings(max_examples=30)
def test_serialisation(world):
    """Property 36."""
    twin = type(world).from_dials(world.as_dict()["dials"])
    assert twin == world
    assert twin.known("information", world.modalities) == world.known("information", world.modalities)


@given(pairs)
def test_a_scalar_target_makes_any_pair_a_pair_of_noisy_copies(world):
    """The reduction behind ``decomposition``: the two best predictors alone have the same information as what they summarise."""
    law = world.law
    for m in "ab":
        b, (cov, cross) = law.coefficients(m), law.block(m)
        explained = float(b @ cross) ** 2 / float(b @ cov @ b)
        assert law.variance - explained == pytest.approx(world.known("bayes_risk", m).middle, abs=1e-9)
    parts = [
        world.known(q, s).middle for q, s in (("redundancy", "ab"), ("unique", "a"), ("unique", "b"), ("synergy", "ab"))
    ]
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(world.known("information", "ab").middle, abs=1e-9)
