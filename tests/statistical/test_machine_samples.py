"""Gibbs chains of the multimodal machine against enumeration: persistent, from the data, and clamped; error probability 1e-6 a test."""

import math

import torch

from mmtheory import info
from mmtheory.models.rbm import (
    MultimodalRBM,
    contrast,
    divergence_loss,
    gibbs,
    perceptron_loss,
    persistent_loss,
    states,
)
from mmtheory.rng import Stream

ALPHA, CHAINS, UNITS, HIDDEN = 1e-6, 200_000, {"x": 3, "y": 2}, 4


def machine(seed, scale=0.8):
    draws = Stream(seed).child("machine").draws()
    weights = {m: (scale * draws.normal(f"w {m}", d, HIDDEN)).requires_grad_() for m, d in UNITS.items()}
    biases = {m: draws.normal(f"a {m}", d).requires_grad_() for m, d in UNITS.items()}
    return MultimodalRBM(weights, biases, draws.normal("b", HIDDEN).requires_grad_())


def parameters(m):
    return [*m.weights.values(), *m.biases.values(), m.hidden]


def hoeffding(m, n=CHAINS):
    """What a mean of numbers in [0, 1] may be off by, for every entry of the gradient at once."""
    entries = sum(p.numel() for p in parameters(m))
    return math.sqrt(math.log(2 * entries / ALPHA) / (2 * n))


def grid():
    index = torch.cartesian_prod(torch.arange(8), torch.arange(4))
    return {"x": states(3)[index[:, 0]], "y": states(2)[index[:, 1]]}


def drawn(law, n, seed):
    """Samples of the 32 states, one law's cumulated probabilities met by uniform numbers."""
    u = Stream(seed).child("samples").draws().uniform("u", n)
    index = torch.searchsorted(law.cumsum(0)[:-1].contiguous(), u)
    return {m: v[index] for m, v in grid().items()}


def law_of(seed):
    p = Stream(seed).child("law").draws().uniform("p", 32)
    return p / p.sum()


def exact(m, positive, negative):
    """Gradient of E_positive F − E_negative F by enumeration."""
    return torch.autograd.grad(((positive - negative) * m.free_energy(grid())).sum(), parameters(m))


def transition(m):
    """Probabilities from each visible state to each, through the hidden states."""
    v, hs = torch.cat(list(grid().values()), 1), states(HIDDEN)
    up = torch.sigmoid(m.drive(grid()))
    down = torch.cat([m.visible(hs, k) for k in UNITS], 1)
    h_given_v = torch.exp(up.log() @ hs.T + (1 - up).log() @ (1 - hs).T)
    return h_given_v, h_given_v @ torch.exp(down.log() @ v.T + (1 - down).log() @ (1 - v).T).detach()


def clamped_bias(m, steps):
    """Error of a mean of numbers in [0, 1] after so many clamped steps, for the worst state of the clamped group: ρ^{2k} / √(least π)."""
    hs, worst = states(HIDDEN), 0.0
    for clamped, free in (("x", "y"), ("y", "x")):
        for value in states(UNITS[clamped]):
            every = states(UNITS[free])
            log = (
                every @ m.weights[free] @ hs.T
                + (every @ m.biases[free])[:, None]
                + m.drive({clamped: value[None]}) @ hs.T
            )
            joint = log.detach().flatten().softmax(0).reshape(log.shape)
            rho = float(info.maximal_correlation(joint))
            worst = max(worst, rho ** (2 * steps) / math.sqrt(float(joint.sum(0).min())))
    return worst


def compare(m, loss, wanted, allowed):
    found = torch.autograd.grad(loss, parameters(m))
    gap = max(float((f - w).abs().max()) for f, w in zip(found, wanted, strict=True))
    assert gap <= allowed, (gap, allowed)


def test_persistent_chains_end_at_the_exact_gradient_of_the_likelihood():
    """Bias after k steps from any start: ρ^{2k} χ(start, π) by enumeration; the rest is the chance of so many chains."""
    m, law = machine(1), law_of(1)
    own = m.log_law().exp().flatten().detach()
    h_given_v, _ = transition(m)
    rho = float(info.maximal_correlation((own[:, None] * h_given_v).detach()))
    chains = torch.zeros(CHAINS, HIDDEN, dtype=torch.float64)
    for round_ in range(4):
        draws = Stream(1).child("round", round_).draws()
        data = grid()
        value, chains = persistent_loss(m, data, chains, draws, steps=10)
    # The data's half is enumerated, so that chance is in the chains alone.
    flat = torch.full((32,), 1 / 32, dtype=torch.float64)
    rarest = float(((own @ h_given_v).min()).detach())
    bias = rho ** (2 * 39) / math.sqrt(rarest)
    assert bias < 1e-4
    compare(m, value, exact(m, flat, own), hoeffding(m) + bias)
    likelihood = torch.autograd.grad(-(law * m.log_law().flatten()).sum(), parameters(m))
    for one, other in zip(likelihood, exact(m, law, own), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_contrastive_divergence_takes_the_steps_that_it_says():
    """From data of a law, k Gibbs steps: the law times the k-th power of the enumerated chain."""
    m, law = machine(2), law_of(2)
    _, chain = transition(m)
    data = drawn(law, CHAINS, 2)
    for k in (1, 3):
        loss = divergence_loss(m, data, Stream(2).child(k).draws(), steps=k)
        after = law @ torch.linalg.matrix_power(chain, k)
        # Chance enters twice: in the data's half and in the negative one; each within the bound at half the error probability.
        compare(m, loss, exact(m, law, after.detach()), 2 * math.sqrt(1.1) * hoeffding(m))


def test_clamped_chains_end_at_the_gradient_of_the_variation_of_information():
    """CD on the conditionals, without the best guess: half the exact gradient of the minVI loss of the sampled data."""
    m, law = machine(3), law_of(3)
    data = drawn(law, CHAINS, 3)
    loss = perceptron_loss(m, data, Stream(3).draws(), steps=40, best=False)
    halves = info.conditional_losses(law.reshape(8, 4), m.log_law().exp())
    wanted = torch.autograd.grad((halves[0] + halves[1]) / 2, parameters(m))
    compare(m, loss, wanted, 2 * math.sqrt(1.1) * hoeffding(m) + clamped_bias(m, steps=40))


def test_the_best_guess_is_another_gradient():
    """A control: with the perceptron's best guess the same comparison fails by far."""
    m, law = machine(3), law_of(3)
    data = drawn(law, CHAINS, 3)
    loss = perceptron_loss(m, data, Stream(3).draws(), steps=40)
    halves = info.conditional_losses(law.reshape(8, 4), m.log_law().exp())
    wanted = torch.autograd.grad((halves[0] + halves[1]) / 2, parameters(m))
    found = torch.autograd.grad(loss, parameters(m))
    assert max(float((f - w).abs().max()) for f, w in zip(found, wanted, strict=True)) > 10 * hoeffding(m)


def test_long_chains_have_the_machines_law():
    """Frequencies of the 32 states, and the energy's gradient with both halves from the machine itself is zero."""
    m = machine(4)
    start = torch.ones(CHAINS, HIDDEN, dtype=torch.float64)
    x, _ = gibbs(m, start, Stream(4).draws(), steps=40)
    code = (torch.cat(list(x.values()), 1) @ (2.0 ** torch.arange(4, -1, -1, dtype=torch.float64))).long()
    share = torch.bincount(code, minlength=32) / CHAINS
    own = m.log_law().exp().flatten().detach()
    allowed = math.sqrt(math.log(64 / ALPHA) / (2 * CHAINS)) + 1e-4
    assert (share - own).abs().max() <= allowed
    value = contrast(m, x, {k: v.detach() for k, v in x.items()})
    assert float(value.detach()) == 0
