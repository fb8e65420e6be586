"""Every method's certificate: next to nothing for its own answer, seen to be wrong for any other, by routes of their own."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.errors import ArgumentError
from mmtheory.moo import (
    EPO,
    FAMO,
    STCH,
    WEIGHTINGS,
    GradDrop,
    SmoothLexicographic,
    Stateful,
    certify,
    certify_graddrop,
    graddrop,
)
from mmtheory.rng import Stream

few = settings(max_examples=20, deadline=None)
KEYS = [(name, m) for name in sorted(WEIGHTINGS) for m in (2, 3, 5) if name != "mmpareto" or m == 2]
seeds = st.integers(0, 200)


def drawn(m, seed, count=5):
    draws = Stream(seed, ("certificates", m)).draws(range(count))
    J = draws.normal("J", m, 3 * m)
    return draws, J, J @ J.mT


def total(c):
    return c.gap + c.primal + c.dual


@pytest.mark.parametrize(("name", "m"), KEYS)
def test_a_wrong_answer_is_caught_for_every_weighting(name, m):
    """Its own weights pass; one weight moved by a hundredth of the largest does not, nor do permuted or negated weights."""
    draws, _, G = drawn(m, 7)
    method = WEIGHTINGS[name]()
    state = method.initial(G) if isinstance(method, Stateful) else None
    w = method.weights(G)
    own = certify(name, G, w, state=state)
    unit = own.squared_norm.clamp(min=1e-6)
    assert (own.gap <= 1e-7 * unit.clamp(min=1)).all()
    assert (own.primal <= 1e-9 * w.abs().amax(-1).clamp(min=1)).all()
    size = w.abs().amax(-1, keepdim=True)
    step = torch.zeros_like(w)
    step[:, 0] = 0.01
    for wrong in (w + size * step, w - size * step, -w, w + 0.3 * size * draws.normal("wrong", m)):
        seen = certify(name, G, wrong, state=state)
        assert (total(seen) > total(own) + 1e-7 * unit.clamp(max=1)).all(), name


@pytest.mark.parametrize("name", [n for n in sorted(WEIGHTINGS) if issubclass(WEIGHTINGS[n], Stateful)])
def test_every_later_step_is_certified_from_its_state(name):
    _, _, G = drawn(3, 9)
    method = WEIGHTINGS[name]()
    state = method.initial(G)
    for k in range(4):
        before = state
        w, state = method.step(G * (1 + k), before)
        assert (certify(name, G * (1 + k), w, state=before).gap <= 1e-10).all()
        assert (total(certify(name, G * (1 + k), w.flip(-1) * 1.5, state=before)) > 1e-4).all()


@few
@given(seeds, st.integers(2, 6), st.floats(0.02, 5.0))
def test_soft_weights_close_the_gap_of_the_entropic_maximum(seed, m, mu):
    """No shares of a thousand on the simplex attain more than softmax, whose value is μ log Σ exp; the gap says by how much they miss it."""
    draws, _, G = drawn(m, seed, 1)
    f = 0.1 + draws.uniform("f", m)
    scalar = STCH(mu=mu, preference=tuple(float(i + 1) for i in range(m)), ideal=(0.05,) * m)
    w = scalar.weights(f)
    own = certify(scalar, G, w, losses=f)
    assert float(own.gap) <= 1e-12
    assert float(own.primal) <= 1e-12
    p = torch.arange(1, m + 1, dtype=torch.float64)
    a = p * (f - 0.05)
    u = torch.from_numpy(Stream(seed).numpy().dirichlet([1.0] * m, 1000))
    values = (u * a).sum(-1) - mu * torch.xlogy(u, u).sum(-1)
    best = mu * torch.logsumexp(a / mu, -1)
    assert (values <= best + 1e-12).all()
    many = certify(scalar, G.expand(1000, m, m), p * u, losses=f.expand(1000, m))
    torch.testing.assert_close(many.gap, best - values, rtol=1e-7, atol=1e-9)


@few
@given(seeds, st.integers(2, 5), st.floats(0.05, 2.0), st.floats(0.0, 5.0))
def test_the_certificate_of_the_mimo_style_objective_is_its_gradient(seed, m, mu, lam):
    """squared_norm is ‖∇Φ‖² by autograd, and the gap tells weights of another smoothing."""
    draws, J, G = drawn(m + 1, seed, 1)
    f = draws.uniform("f", m + 1)
    method = SmoothLexicographic(lam=lam, mu=mu)
    x = torch.zeros(J.shape[-1], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(method.objective(f[0] + J[0] @ x), x)
    own = certify(method, G, method.weights(f), losses=f)
    assert float(own.gap) <= 1e-12 * max(lam, 1)
    assert float(own.primal) <= 1e-12 * max(lam, 1)
    torch.testing.assert_close(own.squared_norm[0], slope @ slope, rtol=1e-9, atol=1e-9)
    off = certify(method, G, 1.01 * method.weights(f), losses=f)
    assert float(off.primal) >= 0.009
    if lam > 0.1 and float(f[0, 1:].max() - f[0, 1:].min()) > 0.1 * mu:
        other = SmoothLexicographic(lam=lam, mu=2 * mu).weights(f)
        assert float(certify(method, G, other, losses=f).gap) > 1e-6 * lam * mu


@few
@given(seeds, st.integers(2, 6))
def test_famo_is_the_softmax_of_its_state_and_its_state_is_adams(seed, m):
    """Weights against the state; the state against torch's own Adam on autograd's gradient of Σ softmax(ξ) Δ log f."""
    draws, _, G = drawn(m, seed, 1)
    famo = FAMO(rate=0.1, decay=0.01)
    before = [0.2 + draws.uniform(f"b{k}", m)[0] for k in range(4)]
    state = famo.initial(before[0])
    logits = torch.zeros(m, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=0.1, weight_decay=0.01)
    for k, losses in enumerate(before):
        w = famo.weights(losses, state)
        assert float(certify(famo, G[0], w, losses=losses, state=state).gap) <= 1e-12
        wrong = w * torch.linspace(1, 1.5, m, dtype=w.dtype)
        seen = certify(famo, G[0], wrong / wrong.sum(), losses=losses, state=state)
        assert float(seen.gap) > 1e-4
        if k:
            assert float(certify("famo", G[0], w, losses=losses).gap) > 1e-9  # the first step's state is another
        after = losses * (0.5 + 0.5 * draws.uniform(f"a{k}", m)[0])
        adam.zero_grad()
        (torch.softmax(logits, -1) @ (losses.log() - after.log())).backward()
        adam.step()
        state = famo.updated(state, losses, after)
        torch.testing.assert_close(state.logits, logits.detach(), rtol=1e-9, atol=1e-12)


@few
@given(seeds, st.integers(2, 6), st.floats(0.0, 1.0))
def test_graddrop_keeps_one_sum_of_a_column_and_the_rows_sum_on_average(seed, m, leak):
    """Either draw of every column: what certify allows, and together, weighed by their chances, the plain sum: GradDrop has no bias."""
    draws, J, _ = drawn(m, seed)
    u = draws.uniform("u", 3 * m)
    method = GradDrop(leak=leak)
    d = method.direction(J, u)
    for known in (u, None):
        c = certify("graddrop" if leak == 0 else method, J, d, uniform=known)
        assert (c.gap <= 1e-12).all()
        assert (c.dual <= 1e-12).all()
    P = 0.5 * (1 + J.sum(1) / J.abs().sum(1))
    keeps, drops = graddrop(J, P / 2, leak=leak), graddrop(J, (1 + P) / 2, leak=leak)
    torch.testing.assert_close(P * keeps + (1 - P) * drops, J.sum(1), rtol=0, atol=1e-12)
    assert (certify_graddrop(J, 0.99 * d, u, leak=leak).gap > 1e-4).all()
    if leak < 0.9:
        mixed = (P > 0.01) & (P < 0.99)
        flipped = torch.where(u < P, (1 + P) / 2, P / 2)
        other = graddrop(J, flipped, leak=leak)
        assert (certify_graddrop(J, other, leak=leak).gap <= 1e-12).all()  # some draw's direction
        assert (certify_graddrop(J, other, u, leak=leak).gap > 1e-4).all()  # but not this one's
        assert mixed.any()


def test_graddrop_against_a_pure_column_is_seen():
    J = torch.tensor([[1.0, 2.0], [3.0, -2.0]], dtype=torch.float64)
    assert float(certify_graddrop(J, torch.tensor([-4.0, 2.0]).double()).dual) == 1.0


@few
@given(seeds)
def test_epo_is_certified_by_name_of_the_face(seed):
    draws, _, G = drawn(3, seed)
    f = 0.1 + draws.uniform("f", 3)
    epo = EPO(preference=(1.0, 2.0, 3.0))
    assert (certify(epo, G, epo.weights(G, f), losses=f).gap <= 1e-8).all()


@pytest.mark.parametrize("name", ["famo", "stch", "mimo"])
def test_methods_that_look_at_losses_are_certified_by_name(name):
    _, _, G = drawn(3, 1)
    f = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).expand(5, 3)
    method = {"famo": FAMO(), "stch": STCH(), "mimo": SmoothLexicographic()}[name]
    w = method.weights(f, method.initial(f)) if isinstance(method, FAMO) else method.weights(f)
    c = certify(name, G, w, losses=f)
    assert (c.gap + c.primal <= 1e-12).all()
    torch.testing.assert_close(c.squared_norm, (w * (G @ w[..., None])[..., 0]).sum(-1))
    wrong = certify(name, G, w.roll(1, -1), losses=f)
    assert (wrong.gap + wrong.primal > 1e-3).all()
    with pytest.raises(ArgumentError, match="losses: expected shape"):
        certify(name, G, w)
    with pytest.raises(ArgumentError, match="losses: expected shape"):
        certify(name, G, w, losses=f[:, :2])


def test_gibbs_gap_is_a_divergence():
    gap = float(certify(STCH(mu=2.0), torch.eye(2), torch.tensor([0.5, 0.0]), losses=torch.tensor([1.0, 1.0])).gap)
    assert gap == pytest.approx(2 * math.log(2), rel=1e-12)
