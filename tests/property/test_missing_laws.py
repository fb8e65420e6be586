"""Laws of modalities missing at random: one mixture in every world, and its second route by enumeration of what is seen."""

from dataclasses import replace
from itertools import chain, combinations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.info import pid, subsets
from mmtheory.rng import Stream
from synthetic.strategies import COMPLETE, histograms, incomplete, joint_tables
from synthetic.worlds import WORLDS, GaussianDiscriminant, GaussianRegression, Incomplete, Saturation, Table

INCOMPLETE = sorted(name for name, kind in WORLDS.items() if issubclass(kind, Incomplete))
MIXED = ("information", "bayes_risk", "posterior_entropy")


def patterns(rates):
    """Every set of present modalities with its probability, without the world's own book-keeping."""
    for there in chain.from_iterable(combinations(sorted(rates), k) for k in range(len(rates) + 1)):
        chance = 1.0
        for m, rate in rates.items():
            chance *= 1 - rate if m in there else rate
        yield frozenset(there), chance


@pytest.mark.parametrize("name", INCOMPLETE)
@given(data=st.data())
@settings(max_examples=5)
def test_every_answer_is_the_mixture_over_patterns(name, data):
    world = data.draw(incomplete(COMPLETE[name]))
    complete, rates = replace(world, missingness=0.0), dict(zip(world.modalities, world.rates, strict=True))
    for quantity in (q for q in MIXED if world.routes(q)):
        for s in (frozenset(), *subsets(world.modalities)):
            mixed = sum(c * complete.known(quantity, s & there).middle for there, c in patterns(rates) if c)
            assert world.known(quantity, s).middle == pytest.approx(mixed, abs=1e-10)


@pytest.mark.parametrize("name", INCOMPLETE)
@given(data=st.data())
@settings(max_examples=3)
def test_what_is_always_missing_says_nothing(name, data):
    world = replace(data.draw(COMPLETE[name]), missingness=1.0)
    batch = world.sample(20, stream=Stream(1))
    assert all(not bool(batch.present[m].any()) and not bool(batch.x[m].any()) for m in world.modalities)
    if world.routes("information"):
        assert world.known("information", world.modalities).middle == pytest.approx(0, abs=1e-11)
        assert all(v.middle == pytest.approx(0, abs=1e-11) for v in world.shapley().values())
        assert world.known("bayes_risk", world.modalities).middle == pytest.approx(
            world.known("bayes_risk").middle, abs=1e-12
        )


@pytest.mark.parametrize("name", INCOMPLETE)
@given(data=st.data())
@settings(max_examples=3)
def test_rates_of_zero_change_no_bit(name, data):
    world = data.draw(COMPLETE[name])
    zeros = replace(world, missingness=(0.0,) * len(world.modalities))
    one, two = (w.sample(16, stream=Stream(3)) for w in (world, zeros))
    assert one.y.equal(two.y)
    assert one.present.keys() == two.present.keys()
    assert all(one.x[m].equal(two.x[m]) for m in world.modalities)
    for quantity in (q for q in MIXED if world.routes(q)):
        for s in subsets(world.modalities):
            assert world.known(quantity, s) == zeros.known(quantity, s)


@pytest.mark.parametrize("name", INCOMPLETE)
@given(data=st.data())
@settings(max_examples=4)
def test_missingness_leaves_alone_what_is_there(name, data):
    world = data.draw(incomplete(COMPLETE[name]))
    whole, batch = (w.sample(32, stream=Stream(4)) for w in (replace(world, missingness=0.0), world))
    for m in world.modalities:
        here = batch.present.get(m, torch.ones_like(batch.y, dtype=torch.bool)) & whole.present.get(
            m, torch.ones_like(batch.y, dtype=torch.bool)
        )
        assert batch.x[m][here].equal(whole.x[m][here])


@given(world=incomplete(joint_tables()))
@settings(max_examples=25)
def test_the_table_of_what_is_seen_is_a_law(world):
    assert float(world.seen.sum()) == pytest.approx(1, abs=1e-12)
    for m, rate in zip(world.modalities, world.rates, strict=True):
        if rate:
            assert float(world.seen_marginal(m)[-1].sum()) == pytest.approx(rate, abs=1e-12)


@given(world=incomplete(joint_tables()), seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_a_predictor_without_a_mask_does_no_better_than_bayes(world, seed):
    """Any function of zero-filled symbols is a function of what is seen; with nothing missing Bayes' own attains the risk."""
    weights = [Stream(seed).draws().normal(m, 4, world.classes) for m in world.modalities]

    def model(x):
        return sum(weight[x[m]] for m, weight in zip(world.modalities, weights, strict=True))

    assert world.risk(model).high >= world.known("bayes_risk", world.modalities).low
    complete = replace(world, missingness=0.0)
    assert complete.risk(complete.posterior).middle == pytest.approx(
        complete.known("bayes_risk", complete.modalities).middle, abs=1e-11
    )


@given(world=incomplete(joint_tables(), least=0.05))
@settings(max_examples=10)
def test_the_certified_decomposition_sums_to_the_mixture(world):
    assume(len(world.modalities) == 2)
    parts = {q: world.known(q, "ab").middle for q in ("redundancy", "synergy")}
    unique = {m: world.known("unique", m).middle for m in "ab"}
    assert sum((*parts.values(), *unique.values())) == pytest.approx(world.known("information", "ab").middle, abs=1e-7)
    for m in "ab":
        assert parts["redundancy"] + unique[m] == pytest.approx(world.known("information", m).middle, abs=1e-7)


@given(
    d2=st.tuples(st.floats(0.05, 4), st.floats(0.05, 4)),
    rates=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=12)
def test_erased_garblings_against_the_certified_program(d2, rates):
    """The rule of the weaker and rarer modality, against the cone program on a channel of the same kind (binary, erased)."""
    flips = tuple(0.5 / (1 + d) for d in d2)
    world = Table("bsc", flip=flips, missingness=rates)
    certified = pid(world.seen)
    blackwell = Incomplete.exact_erased(world, world.exact_complete())
    weak = "a" if flips[0] > flips[1] else "b"
    if world.rates["ab".index(weak)] >= world.rates["ab".index("b" if weak == "a" else "a")]:
        found = blackwell["redundancy", "degraded erasure"](frozenset("ab")).middle
        assert found == pytest.approx(float(certified.redundancy), abs=2e-7)
        synergy = blackwell["synergy", "degraded erasure"](frozenset("ab")).middle
        assert synergy == pytest.approx(float(certified.synergy), abs=2e-7)


def test_a_decomposition_that_is_not_exact_is_refused():
    for kind in (GaussianRegression, GaussianDiscriminant):
        world = kind(missingness=(0.5, 0.1))  # a knows more and is there less often
        with pytest.raises(NotExactError, match="missing at least as often"):
            world.known("redundancy", "ab")
        assert kind(missingness=(0.1, 0.5)).known("redundancy", "ab").low > 0


def test_an_erased_gate_by_hand():
    """y is the parity of two fair bits: both are needed, so everything scales with the chance that both are there."""
    world = Table("xor", missingness=(0.25, 0.5))
    assert world.known("synergy", "ab").middle == pytest.approx(0.75 * 0.5 * 0.6931471805599453, abs=1e-8)
    assert world.known("bayes_risk", "ab").middle == pytest.approx(0.5 - 0.75 * 0.5 * 0.5, abs=1e-12)


def test_erasure_channels_in_two_worlds():
    """A feature of presence p is a copy of the label that is missing at rate 1 − p."""
    features, copies = Saturation(presence=((0.7,), (0.4,))), Table("rdn", missingness=(0.3, 0.6))
    for s in subsets("ab"):
        for quantity in ("information", "bayes_risk"):
            assert features.known(quantity, s).middle == pytest.approx(copies.known(quantity, s).middle, abs=1e-12)
    for quantity, s in (("redundancy", "ab"), ("synergy", "ab"), ("unique", "a")):
        assert features.known(quantity, s).middle == pytest.approx(copies.known(quantity, s).middle, abs=1e-7)


@given(world=incomplete(histograms()), m=st.integers(1, 40))
@settings(max_examples=8)
def test_the_learner_that_sees_absence_is_above_bayes_and_comes_down_to_it(world, m):
    risk = world.expected_risk(m, world.modalities)
    assert risk.high >= world.known("bayes_risk", world.modalities).low
    more = world.expected_risk(20_000, world.modalities).middle
    assert more == pytest.approx(world.known("bayes_risk", world.modalities).middle, abs=0.02)


@pytest.mark.parametrize("rates", [-0.1, 1.5, (0.1, 0.2, 0.3), (0.1, float("nan"))])
@pytest.mark.parametrize("name", INCOMPLETE)
def test_rates_are_checked(name, rates):
    with pytest.raises(ArgumentError, match="missingness in"):
        WORLDS[name](missingness=rates)


@pytest.mark.parametrize("name", ["histogram", "selection-table", "gated", "table"])
@given(data=st.data(), noise=st.floats(0, 0.45))
@settings(max_examples=8)
def test_label_noise_mixes_the_posterior_with_the_other_labels(name, data, noise):
    """Two labels: r = ε + (1 − 2ε)r₀, whoever is missing; information never grows; and noise on noise composes."""
    world = data.draw(incomplete(COMPLETE[name] if name != "table" else st.just(Table("and"))))
    clean, noisy = replace(world, label_noise=0.0), replace(world, label_noise=noise)
    for s in (frozenset(), *subsets(world.modalities)):
        assert noisy.known("information", s).low <= clean.known("information", s).high
        if clean.classes == 2:
            risk = clean.known("bayes_risk", s).middle
            assert noisy.known("bayes_risk", s).middle == pytest.approx(noise + (1 - 2 * noise) * risk, abs=1e-11)
        flip = noise * clean.classes / (clean.classes - 1)
        blurred = (1 - flip) * clean.marginal(s) + flip * clean.marginal(s).sum(-1, keepdim=True) / clean.classes
        torch.testing.assert_close(noisy.marginal(s), blurred, rtol=0, atol=1e-12)
