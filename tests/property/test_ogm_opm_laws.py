"""Laws of OGM and OPM: what the coefficients, the masks and the noise are (methods §15, O1 to O6, F1, F2, E3, E4)."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import OGM, OGMGE, OPM, Contribution, Joint, discrepancy, label_scores
from mmtheory.methods._scores import ogm_coefficient
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

scores = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=6)
alphas = st.floats(0.0, 1.0)
forms = st.sampled_from(["cvpr", "journal"])
references = st.sampled_from(["harmonic", "mean", "median"])


def ratios(values, reference="harmonic"):
    named = {chr(97 + i): torch.tensor(v, dtype=torch.float64) for i, v in enumerate(values)}
    return torch.stack(list(discrepancy(named, reference=reference).values()))


@given(scores, alphas, forms, references)
def test_a_coefficient_slows_the_leaders_and_never_the_last(values, alpha, form, reference):
    rho = ratios(values, reference)
    k = ogm_coefficient(rho, alpha, form=form)
    assert ((k >= 0) & (k <= 1)).all()
    assert (k[rho <= 1] == 1).all()
    least = torch.tensor(values, dtype=torch.float64).argmin()
    assert k[least] == 1
    assert int((k < 1).sum()) <= len(values) - 1


@given(alphas)
def test_the_journal_form_is_continuous_where_the_first_one_jumps(alpha):
    near = torch.tensor([1 + 1e-9, 1e9], dtype=torch.float64)
    first, journal = (ogm_coefficient(near, alpha, form=form) for form in ("cvpr", "journal"))
    assert float(journal[0]) == pytest.approx(1, abs=1e-8)
    assert float(journal[1]) >= 1 - alpha
    assert float(first[0]) == pytest.approx(1 - math.tanh(alpha), abs=1e-8)


@given(st.lists(st.floats(0.01, 50), min_size=2, max_size=8, unique=True), st.tuples(alphas, alphas), forms)
def test_more_lead_and_more_strength_slow_more(rho, pair, form):
    rho, (low, high) = torch.tensor(sorted(rho), dtype=torch.float64), sorted(pair)
    assert (ogm_coefficient(rho, high, form=form).diff() <= 1e-15).all()
    assert (ogm_coefficient(rho, high, form=form) <= ogm_coefficient(rho, low, form=form) + 1e-15).all()


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_two_ratios_are_reciprocal(one, two):
    rho = ratios([one, two])
    assert float(rho[0] * rho[1]) == pytest.approx(1, rel=1e-12)


@given(st.integers(0, 2**31), references)
@settings(max_examples=20, deadline=None)
def test_scores_do_not_depend_on_the_order_of_samples_nor_ratios_on_names(seed, reference):
    draws = Stream(seed).draws()
    y = draws.integers("y", 3, 9)
    logits = {m: draws.normal(m, 9, 3) for m in "abc"}
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    here = discrepancy(label_scores(logits, y), reference=reference)
    there = discrepancy(label_scores({m: logits[m][order] for m in "cab"}, y[order]), reference=reference)
    for m in "abc":
        assert float(here[m]) == pytest.approx(float(there[m]), rel=1e-12)


def trainer(
    method, *, replicates=2, epochs=1, optimiser="sgd", rate=0.1, fusion="concat", twins=False, n=24, names="ab"
):
    def build(draws):
        encoders = {
            m: MLPEncoder((4, 6, 5), draws=draws, name="twin" if twins and m == "a" else f"{m}", dtype=torch.float64)
            for m in names
        }
        if twins:
            for p, q in zip(encoders["a"].parameters(), encoders["b"].parameters(), strict=True):
                q.data.copy_(p.data)
        head = FUSIONS[fusion](dict.fromkeys(names, 5), 3, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    draws = Stream(5).draws(range(replicates))
    x = {m: draws.normal(m, n, 4) for m in names}
    if twins:
        x["b"] = x["a"].clone()
    config = Settings(
        epochs=epochs,
        batch_size=n,
        lr=rate,
        optimiser=optimiser,
        momentum=0.0 if optimiser == "sgd" else 0.9,
        weight_decay=0.0,
    )
    data = Batch(x, draws.integers("y", 3, n))
    return Trainer(build, method, data, settings=config, stream=Stream(1), replicates=range(replicates))


class Constant(Joint):
    """Every encoder's gradient times a constant."""

    def __init__(self, k):
        self.k = k

    def on_gradients(self, step, gradients):
        for m in step.features:
            gradients.owned("total", m).mul_(self.k)
        return gradients.total()


@pytest.mark.parametrize(("optimiser", "factor", "tolerance"), [("sgd", 0.3, 1e-12), ("adam", 1.0, 1e-6)])
def test_a_constant_coefficient_scales_sgds_step_and_leaves_adams_alone(optimiser, factor, tolerance):
    moves = []
    for method in (Joint(), Constant(0.3)):
        t = trainer(method, optimiser=optimiser, rate=0.01)
        before = t.flat.data.clone()
        t.run()
        moves.append((t.flat.data - before)[..., t.flat.columns["a"]])
    # Adam divides by the gradient's size: what is left of the constant is its own epsilon, for all but vanishing gradients.
    large = moves[0].abs() > 1e-4
    assert (factor * moves[0] - moves[1])[large].abs().max() <= tolerance + (1e-4 if optimiser == "adam" else 0)


@pytest.mark.parametrize(("ge", "amount"), [("paper", lambda k: 1.0), ("matched", lambda k: 1 - k**2)])
def test_the_enhancements_noise_has_its_variance(ge, amount):
    """h/std(g) is normal with variance c, tensor by tensor: the mean of squares of N numbers is within 6 standard errors."""
    seen = []

    class Seen(OGM):
        def on_gradients(self, step, gradients):
            before = {m: gradients.owned("total", m).clone() for m in step.features}
            tensors = {m: [g.clone() for g in gradients.tensors("total", m)] for m in step.features}
            said = self.provider.logits(step.model, step.features)
            rho = discrepancy(label_scores(said, step.batch.y))
            after = super().on_gradients(step, gradients)
            for m in step.features:
                k = ogm_coefficient(rho[m], self.alpha, form=self.form)[:, None]
                h = after[..., gradients.flat.columns[m]] - k * before[m]
                spread = torch.cat(
                    [g.flatten(1).std(-1, correction=0, keepdim=True).expand(-1, g[0].numel()) for g in tensors[m]], -1
                )
                wanted = torch.as_tensor(amount(k), dtype=torch.float64).expand_as(h)
                assert (h[wanted == 0] == 0).all()
                noisy = (wanted > 0) & (spread > 0)
                seen.append((h[noisy] / spread[noisy]) ** 2 / wanted[noisy])
            return after

    trainer(Seen(0.4, ge=ge), replicates=100).run()
    squares = torch.cat(seen)
    assert len(squares) > 5000
    assert abs(float(squares.mean()) - 1) <= 6 * math.sqrt(2 / len(squares))


def test_with_noise_strength_zero_is_not_joint_training_and_matched_noise_is():
    joint, paper, matched = (trainer(m).run().flat.data for m in (Joint(), OGMGE(0.0), OGM(0.0, ge="matched")))
    assert (paper - joint).abs().max() > 1e-6
    assert torch.equal(matched, joint)


@pytest.mark.parametrize("method", [OGM(0.8), OGM(0.8, form="journal"), OPM(0.9)], ids=["cvpr", "journal", "opm"])
def test_identical_modalities_are_treated_alike(method):
    """Two copies with equal parameters and inputs before one shared head: nobody leads, so nobody is slowed or dropped."""
    both = [trainer(m, twins=True, fusion="shared", epochs=3).run() for m in (method, Joint())]
    assert torch.equal(both[0].flat.data, both[1].flat.data)
    for p, q in zip(both[0].model.owned("a"), both[0].model.owned("b"), strict=True):
        assert torch.equal(p, q)


def masks(q, *, scale="exact", n=4000, p_exe=1.0):
    """Features of ones before and after OPM's mask with these drop probabilities, {m: [R, n, d]}."""
    method = OPM(0.5, p_exe=p_exe, scale=scale)
    t = trainer(method, n=n, replicates=2, names="abc" if len(q) > 2 else "ab")
    method.q = {m: torch.full((2,), v, dtype=torch.float64) for m, v in zip("abc", q, strict=False)}
    ones = {m: torch.ones(2, n, 5, dtype=torch.float64) for m in method.q}
    step = SimpleNamespace(features=ones, batch=t.train_data, draws=t.draws("masks"))
    method._mask(step)
    return step.features


@pytest.mark.parametrize("scale", ["none", "exact", "shared"])
@pytest.mark.parametrize("q", [(0.6, 0.0), (0.3, 0.7, 0.0)])
def test_masks_have_their_rate_their_scale_and_leave_somebody(q, scale):
    found = masks(q, scale=scale)
    heard = torch.stack([z[..., 0] > 0 for z in found.values()])
    assert heard.any(0).all()
    mean_q = sum(q) / len(q)
    for (m, z), probability in zip(found.items(), q, strict=True):
        kept, n = z[..., 0] > 0, z[..., 0].numel()
        assert abs(float(kept.double().mean()) - (1 - probability)) <= 6 * math.sqrt(0.25 / n), m
        lost = {"none": 0.0, "exact": probability, "shared": mean_q}[scale]
        assert torch.allclose(z[kept], torch.tensor(1 / (1 - lost), dtype=torch.float64))
        if scale == "exact":
            assert abs(float(z.mean()) - 1) <= 6 * math.sqrt(probability / (1 - probability) / n) + 1e-12
        if scale == "shared":
            assert abs(float(z.mean()) - (1 - probability) / (1 - mean_q)) <= 6 * math.sqrt(0.25 / n) / (1 - mean_q)


def test_nothing_is_masked_where_nobody_leads_or_a_step_is_spared():
    assert all((z == 1).all() for z in masks((0.0, 0.0)).values())
    assert all((z == 1).all() for z in masks((0.9, 0.0), p_exe=0.0).values())


class Told(Contribution):
    """Logits under which modality m gives label 0 the probability that its feature says."""

    def cost(self, modalities):
        return 0

    def refuse(self, model):
        return None

    def logits(self, model, features):
        return {m: torch.stack((p, 1 - p), -1).log() for m, p in features.items()}


@given(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=5), st.floats(0, 1), st.floats(0, 3), references)
@settings(deadline=None)
def test_drop_probabilities(values, base, lam, reference):
    """0 where ρ ≤ 1, at most min(1, q_base(1 + λ)), the stated rule between, and never for the last."""
    names = [chr(97 + i) for i in range(len(values))]
    method = OPM(base, lam=lam, reference=reference, contribution=Told(), warmup=1)
    method.provider, method.q = Told(), {}
    told = {m: torch.tensor([v], dtype=torch.float64) for m, v in zip(names, values, strict=True)}
    step = SimpleNamespace(
        epoch=0, features=told, model=None, batch=SimpleNamespace(y=torch.zeros(1, dtype=torch.long))
    )
    method.on_features(step)
    for m, rho in zip(names, ratios(values, reference).tolist(), strict=True):
        q = float(method.q[m])
        assert 0 <= q <= min(1.0, base * (1 + lam)) + 1e-12
        if rho > 1 + 1e-9:
            assert q == pytest.approx(min(1.0, base * (1 + lam * math.tanh(rho - 1))), abs=1e-6)
        if rho < 1 - 1e-9:
            assert q == 0
    last, *others = sorted(values)
    if last < others[0] * (1 - 1e-9):
        assert float(method.q[names[values.index(last)]]) == 0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: OGM(-0.1), r"ogm: alpha: expected a number in \[0, inf\], found -0.1"),
        (lambda: OGM(1.1, form="journal"), r"ogm: alpha: expected a number in \[0, 1\], found 1.1"),
        (lambda: OGM(math.nan), "ogm: alpha: expected"),
        (lambda: OGM(form="other"), "expected form cvpr or journal"),
        (lambda: OGM(reference="other"), "reference: expected harmonic, mean or median, found 'other'"),
        (lambda: OPM(1.1), r"opm: expected q_base in \[0, 1.0\], found 1.1"),
        (lambda: OPM(p_exe=-0.1), "opm: expected p_exe"),
        (lambda: OPM(scale="other"), "opm: expected scale"),
        (lambda: OPM(reference="other"), "reference: expected"),
    ],
)
def test_bad_settings_are_refused(make, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make()
