"""The multimodal machine by enumeration; recurrent prediction's closed-form gradient; contrasts and their limits; the deep network."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory import info
from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.models.rbm import (
    MultimodalDeepRNN,
    MultimodalRBM,
    Pathway,
    binary,
    clamped_negatives,
    contrast,
    directions,
    gibbs,
    multi_prediction_loss,
    perceptron_loss,
    recurrent,
    states,
    subset_prediction_loss,
)
from mmtheory.rng import Stream

WIDTHS = {"x": 3, "y": 2, "z": 4}
seeds, groups = st.integers(0, 2**30), st.sampled_from(("xy", "xyz"))


def machine(seed, names="xy", hidden=4, batch=None, scale=1.0):
    draws = Stream(seed).draws(None if batch is None else range(batch))
    weights = {m: scale * draws.normal(f"w {m}", WIDTHS[m], hidden) for m in names}
    return MultimodalRBM(weights, {m: draws.normal(f"a {m}", WIDTHS[m]) for m in names}, draws.normal("b", hidden))


def live(m):
    """The same machine with parameters that want gradients, and these."""
    parts = [p.clone().requires_grad_() for p in (*m.weights.values(), *m.biases.values(), m.hidden)]
    return rebuilt(m, parts), parts


def rebuilt(m, parts):
    k = len(m.groups)
    return MultimodalRBM(
        dict(zip(m.groups, parts, strict=False)), dict(zip(m.groups, parts[k:], strict=False)), parts[-1]
    )


def samples(seed, names="xy", n=5, batch=None):
    draws = Stream(seed).child("x").draws(None if batch is None else range(batch))
    x = {m: draws.integers(m, 2, n, WIDTHS[m]).double() for m in names}
    return x, {m: draws.uniform(f"seen {m}", n, WIDTHS[m]) < 0.4 for m in names}


def plain(m, x, sweeps, seen=None, boost=None):
    """The recurrence as it is written down, for autograd."""
    seen, boost = seen or {}, boost or {}
    mask = {k: seen.get(k, torch.ones_like(v, dtype=torch.bool)).double() for k, v in x.items()}
    standard = len(m.groups) / len(x)
    h = torch.sigmoid(
        m.hidden.unsqueeze(-2) + sum(boost.get(k, standard) * (mask[k] * v) @ m.weights[k] for k, v in x.items())
    )
    for _ in range(sweeps):
        guess = {k: m.visible(h, k) for k in m.groups}
        v = {k: mask[k] * x[k] + (1 - mask[k]) * guess[k] if k in x else guess[k] for k in m.groups}
        h = torch.sigmoid(m.drive(v))
    return h, {k: h @ m.weights[k].mT + m.biases[k].unsqueeze(-2) for k in m.groups if k not in x or k in seen}


@given(seeds, groups)
@settings(max_examples=20)
def test_the_law_is_the_sum_over_hidden_states(seed, names):
    m = machine(seed, names, hidden=3)
    every, hs = [states(WIDTHS[k]) for k in names], states(3)
    log = torch.zeros([len(s) for s in every] + [len(hs)], dtype=torch.float64) + hs @ m.hidden
    for axis, (k, s) in enumerate(zip(names, every, strict=True)):
        part = s @ m.weights[k] @ hs.T + (s @ m.biases[k])[:, None]
        log = log + part.reshape([len(s) if a == axis else 1 for a in range(len(names))] + [len(hs)])
    law = (log.logsumexp(-1) - log.flatten().logsumexp(0)).exp()
    torch.testing.assert_close(m.log_law().exp(), law, rtol=1e-10, atol=1e-14)
    grid = torch.cartesian_prod(*(torch.arange(len(s)) for s in every))
    energy = m.free_energy({k: s[grid[:, a]] for a, (k, s) in enumerate(zip(names, every, strict=True))})
    torch.testing.assert_close((-energy).log_softmax(0), m.log_law().flatten(), rtol=1e-10, atol=1e-12)
    turned = MultimodalRBM({k: m.weights[k] for k in reversed(names)}, m.biases, m.hidden)
    back = turned.log_law().permute(*reversed(range(len(names))))
    torch.testing.assert_close(back, m.log_law(), rtol=1e-10, atol=1e-12)


@given(seeds)
@settings(max_examples=10)
def test_gradients_of_likelihood_and_conditionals_are_contrasts(seed):
    """With negatives from the machine's own law, or its own conditionals, the contrast's gradient is the exact one."""
    m, parts = live(machine(seed))
    law = Stream(seed).child("law").draws().uniform("p", 8, 4)
    law = law / law.sum()
    own = m.log_law().exp()
    forth, back = info.conditional_losses(law, own)
    grid = torch.cartesian_prod(torch.arange(8), torch.arange(4))
    energy = m.free_energy({"x": states(3)[grid[:, 0]], "y": states(2)[grid[:, 1]]}).reshape(8, 4)
    given_x = (own / own.sum(1, keepdim=True)).detach() * law.sum(1, keepdim=True)
    given_y = (own / own.sum(0)).detach() * law.sum(0)
    pairs = [(info.joint_loss(law, own), own.detach()), (forth, given_x), (back, given_y)]
    for loss, negative in pairs:
        exact = torch.autograd.grad(loss, parts, retain_graph=True, allow_unused=True)
        found = torch.autograd.grad(((law - negative) * energy).sum(), parts, retain_graph=True)
        for e, f in zip(exact, found, strict=True):
            torch.testing.assert_close(torch.zeros_like(f) if e is None else e, f, rtol=1e-8, atol=1e-12)


@given(seeds, groups, st.integers(0, 3), st.booleans())
@settings(max_examples=30)
def test_the_sweeps_and_their_gradient_are_those_of_the_formula(seed, names, sweeps, partly):
    """Values and the closed-form gradient against autograd through the recurrence as written down, stacked."""
    m, parts = live(machine(seed, names, batch=2))
    x, seen = samples(seed, names, batch=2)
    given = {k: x[k].clone().requires_grad_() for k in ("x", "y" if partly else "x")}
    options = (
        {"seen": {"y": seen["y"]}, "boost": {"x": 1.5, "y": Stream(seed).draws(range(2)).uniform("boost", 5, 1)}}
        if partly
        else {}
    )
    found = recurrent(m, given, sweeps=sweeps, **options)
    hidden, logits = plain(m, given, sweeps, **options)
    torch.testing.assert_close(found.hidden, hidden, rtol=1e-12, atol=1e-14)
    assert list(found.logits) == list(logits)
    leaves = [*parts, *given.values()]
    gradients = []
    for h, free in ((found.hidden, found.logits), (hidden, logits)):
        total = (h * torch.arange(4)).sum() + sum(v.square().sum() for v in free.values())
        gradients.append(torch.autograd.grad(total, leaves, allow_unused=True))
    for ours, theirs in zip(*gradients, strict=True):
        reference = torch.zeros_like(ours) if theirs is None else theirs
        torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-11)


@given(seeds, groups, st.booleans())
@settings(max_examples=8, deadline=None)
def test_the_loss_gradient_is_its_finite_difference(seed, names, partly):
    m, parts = live(machine(seed, names))
    x, seen = samples(seed, names, n=3)

    def loss(*p):
        options = {"seen": seen, "keep": 0.4} if partly else {}
        whole = multi_prediction_loss(rebuilt(m, list(p)), x, sweeps=2, **options)
        return whole + subset_prediction_loss(rebuilt(m, list(p)), x, seen, sweeps=2)

    assert torch.autograd.gradcheck(loss, tuple(parts))


@given(seeds, st.integers(0, 4))
@settings(max_examples=10)
def test_a_horizon_cuts_the_gradient_where_it_says(seed, horizon):
    """Going back h sweeps is the gradient with what lies before held fixed; past the first sweep it is the whole."""
    m, parts = live(machine(seed))
    x, _ = samples(seed)
    sweeps = 3

    def gradient(loss):
        return torch.autograd.grad(loss, parts, allow_unused=True)

    cut = gradient(multi_prediction_loss(m, x, sweeps=sweeps, direction="x->y", horizon=horizon))
    h = torch.sigmoid(m.hidden + 2 * x["x"] @ m.weights["x"])
    for t in range(sweeps):
        v = m.visible(h, "y")
        h = torch.sigmoid(m.drive({"x": x["x"], "y": v.detach() if t < sweeps - horizon else v}))
    guess = m.visible(h, "y")
    loss = torch.nn.functional.binary_cross_entropy(guess, x["y"], reduction="none").sum(-1).mean()
    for ours, theirs in zip(cut, gradient(loss), strict=True):
        torch.testing.assert_close(ours, torch.zeros_like(ours) if theirs is None else theirs, rtol=1e-8, atol=1e-11)


@given(seeds, st.integers(0, 4))
@settings(max_examples=20)
def test_multi_prediction_is_at_least_the_variation_of_information(seed, sweeps):
    """Sweeps predict by some conditional law, so each half is at least the data's conditional entropy."""
    m = machine(seed)
    law = Stream(seed).child("law").draws().uniform("p", 8, 4) ** 4
    law = law / law.sum()
    xs, ys = states(3), states(2)
    halves = []
    for known, values, target in (("x", xs, ys), ("y", ys, xs)):
        p = torch.sigmoid(next(iter(recurrent(m, {known: values}, sweeps=sweeps).logits.values())))
        log = (target[None] * p.log()[:, None] + (1 - target[None]) * (1 - p).log()[:, None]).sum(-1)
        joint = law if known == "x" else law.T
        halves.append(-(joint * log).sum())
        assert halves[-1] >= info.entropy(joint.flatten()) - info.entropy(joint.sum(1)) - 1e-12
    assert sum(halves) >= info.variation_of_information(law) - 1e-12
    chosen = torch.multinomial(law.flatten(), 1, generator=Stream(seed).torch())[0]
    i, j = divmod(int(chosen), 4)
    loss = multi_prediction_loss(m, {"x": xs[i : i + 1], "y": ys[j : j + 1]}, sweeps=sweeps)
    point = torch.zeros(8, 4, dtype=torch.float64)
    point[i, j] = 1.0
    assert torch.allclose(loss, _enumerated(m, point, sweeps), atol=1e-10)


def _enumerated(m, law, sweeps):
    total = 0.0
    for known, target, axis in (("x", "y", 0), ("y", "x", 1)):
        _, logits = plain(m, {known: states(WIDTHS[known])}, sweeps)
        p, t = torch.sigmoid(logits[target])[:, None], states(WIDTHS[target])[None]
        total = total - ((law if axis == 0 else law.T) * (t * p.log() + (1 - t) * (1 - p).log()).sum(-1)).sum()
    return total


@given(seeds, st.integers(1, 3))
@settings(max_examples=10)
def test_without_coupling_the_sweeps_are_exact(seed, sweeps):
    m = machine(seed)
    lone = MultimodalRBM({**m.weights, "y": torch.zeros_like(m.weights["y"])}, m.biases, m.hidden)
    found = recurrent(lone, {"x": states(3)}, sweeps=sweeps)
    torch.testing.assert_close(torch.sigmoid(found.logits["y"]), torch.sigmoid(m.biases["y"]).expand(8, 2))
    torch.testing.assert_close(found.hidden, torch.sigmoid(lone.drive({"x": states(3)})))
    whole = recurrent(m, {"x": states(3)[:4], "y": states(2)}, sweeps=sweeps)
    torch.testing.assert_close(whole.hidden, torch.sigmoid(m.drive({"x": states(3)[:4], "y": states(2)})))
    assert not whole.logits


@given(seeds)
@settings(max_examples=15)
def test_the_bias_of_contrastive_divergence_falls_like_the_squared_correlation(seed):
    """|E_k f − E f| ≤ ρ^{2k} χ(p, π) sd(f) for the statistics f of the gradient, p the data and π the machine's own law."""
    m = machine(seed, scale=0.7)
    grid, hs = torch.cartesian_prod(torch.arange(8), torch.arange(4)), states(4)
    x, y = states(3)[grid[:, 0]], states(2)[grid[:, 1]]
    own = m.log_law().exp().flatten()
    up = torch.sigmoid(m.drive({"x": x, "y": y}))
    h_given_v = torch.exp(hs @ up.log().T + (1 - hs) @ (1 - up).log().T).T
    v = torch.cat([x, y], 1)
    down = torch.cat([m.visible(hs, "x"), m.visible(hs, "y")], 1)
    v_given_h = torch.exp(v @ down.log().T + (1 - v) @ (1 - down).log().T).T
    chain = h_given_v @ v_given_h
    rho = info.maximal_correlation(own[:, None] * h_given_v)
    law = Stream(seed).child("law").draws().uniform("p", 32)
    law = law / law.sum()
    distance = ((law - own).square() / own).sum().sqrt()
    statistics = (x[:, :, None] * up[:, None, :]).flatten(1)
    mean = own @ statistics
    spread = (own @ (statistics - mean).square()).sqrt()
    state, biases = law, []
    for k in range(1, 40):
        state = state @ chain
        bias = (state @ statistics - mean).abs()
        assert (bias <= rho ** (2 * k) * distance * spread + 1e-12).all()
        biases.append(bias.norm())
    assert biases[-1] <= max(1e-9, float(rho) ** 60 * float(biases[0]) * 10)


@given(seeds, groups)
@settings(max_examples=15)
def test_the_best_guess_is_the_best_and_more_steps_never_worsen_it(seed, names):
    m = machine(seed, names)
    x, _ = samples(seed, names, n=6)
    last = torch.full((6,), torch.inf, dtype=torch.float64)
    for steps in (0, 3, 300):
        guess = clamped_negatives(m, x, "y", Stream(seed).draws(), steps=steps)
        energy = m.free_energy({**x, "y": guess})
        assert (energy <= last).all()
        last = energy
    every = torch.stack([m.free_energy({**x, "y": s.expand(6, 2)}) for s in states(2)])
    chance = (-every).softmax(0)
    sure = chance.max(0).values > 0.2  # of 300 draws, missing it has a probability below 1e-29 were they independent
    torch.testing.assert_close(last[sure], every.min(0).values[sure], rtol=0, atol=1e-12)


def test_a_perceptron_that_guesses_right_learns_nothing():
    """Where the best guess is the data itself the contrast and its gradient are zero."""
    m, parts = live(machine(3))
    x, _ = samples(3)
    loss = contrast(m, x, x)
    assert float(loss.detach()) == 0
    assert all(g.abs().max() == 0 for g in torch.autograd.grad(loss, parts))


@given(seeds)
@settings(max_examples=8)
def test_stacked_machines_are_machines(seed):
    stacked = machine(seed, batch=3)
    one = MultimodalRBM(
        {k: v[1] for k, v in stacked.weights.items()}, {k: v[1] for k, v in stacked.biases.items()}, stacked.hidden[1]
    )
    torch.testing.assert_close(stacked.log_law()[1], one.log_law(), rtol=1e-12, atol=1e-12)
    x, seen = samples(seed, batch=3)
    mine, my_seen = ({k: v[1] for k, v in part.items()} for part in (x, seen))
    for loss in (
        lambda m, x, s: multi_prediction_loss(m, x, sweeps=3),
        lambda m, x, s: multi_prediction_loss(m, x, sweeps=2, seen=s, keep=0.3),
        lambda m, x, s: subset_prediction_loss(m, x, s, sweeps=2),
    ):
        torch.testing.assert_close(loss(stacked, x, seen)[1], loss(one, mine, my_seen), rtol=1e-12, atol=1e-12)
    together = perceptron_loss(stacked, x, Stream(seed).draws(range(3)), steps=3)
    torch.testing.assert_close(together[1], perceptron_loss(one, mine, Stream(seed).child(1).draws(), steps=3))
    h = torch.zeros(3, 5, 4, dtype=torch.float64)
    _, chains = gibbs(stacked, h, Stream(seed).draws(range(3)), steps=3)
    assert chains[1].equal(gibbs(one, h[1], Stream(seed).child(1).draws(), steps=3)[1])


def deep(seed, batch=None, units="binary"):
    draws = Stream(seed).child("deep").draws(None if batch is None else range(batch))
    sizes = {"x": (6, 5, WIDTHS["x"]), "y": (4, WIDTHS["y"])}
    paths = {
        m: Pathway(
            tuple(draws.normal(f"w {m} {i}", *s) for i, s in enumerate(itertools.pairwise(d))),
            tuple(draws.normal(f"b {m} {i}", k) for i, k in enumerate(d[:-1])),
            units,
        )
        for m, d in sizes.items()
    }
    return MultimodalDeepRNN(paths, machine(seed, batch=batch)), {m: d[0] for m, d in sizes.items()}


@given(seeds, st.integers(0, 3))
@settings(max_examples=10)
def test_without_layers_the_deep_network_is_the_machine(seed, sweeps):
    m = machine(seed)
    network = MultimodalDeepRNN({"x": Pathway(), "y": Pathway()}, m)
    x, seen = samples(seed)
    for options in ({}, {"direction": "x->y"}):
        torch.testing.assert_close(
            network.loss(x, sweeps=sweeps, **options), multi_prediction_loss(m, x, sweeps=sweeps, **options)
        )
    ours = network.recurrent(x, sweeps=sweeps, seen={"y": seen["y"]}, boost={"x": 1.5, "y": 0.5})
    theirs = recurrent(m, x, sweeps=sweeps, seen={"y": seen["y"]}, boost={"x": 1.5, "y": 0.5})
    torch.testing.assert_close(ours.hidden, theirs.hidden)
    torch.testing.assert_close(ours.logits["y"], theirs.logits["y"])


@given(seeds, st.sampled_from(("binary", "real")))
@settings(max_examples=6, deadline=None)
def test_the_deep_loss_is_stacked_and_one_direction_leaves_the_other_target_alone(seed, units):
    stacked, widths = deep(seed, batch=2, units=units)
    draws = Stream(seed).child("data").draws(range(2))
    x = {m: draws.uniform(m, 3, d) for m, d in widths.items()}
    seen = {"y": draws.uniform("seen", 3, widths["y"]) < 0.5}
    one = MultimodalDeepRNN(
        {
            m: Pathway(tuple(w[1] for w in p.weights), tuple(b[1] for b in p.biases), units)
            for m, p in stacked.paths.items()
        },
        MultimodalRBM(
            {k: v[1] for k, v in stacked.top.weights.items()},
            {k: v[1] for k, v in stacked.top.biases.items()},
            stacked.top.hidden[1],
        ),
    )
    mine = {m: v[1] for m, v in x.items()}
    part = {"y": seen["y"][1]}
    torch.testing.assert_close(
        stacked.loss(x, sweeps=2, seen=seen, keep=0.5)[1], one.loss(mine, sweeps=2, seen=part, keep=0.5)
    )
    data_bias = one.paths["x"].biases[0].requires_grad_()
    weight = one.paths["x"].weights[0].requires_grad_()
    forth = one.loss(mine, sweeps=2, direction="x->y")
    assert torch.autograd.grad(forth, data_bias, allow_unused=True, retain_graph=True)[0] is None
    assert torch.autograd.grad(forth, weight)[0].abs().max() > 0
    assert torch.autograd.grad(one.loss(mine, sweeps=2, direction="y->x"), data_bias)[0].abs().max() > 0


def test_directions():
    assert [(d.given, d.target) for d in directions("abc")] == [(("b", "c"), "a"), (("a", "c"), "b"), (("a", "b"), "c")]
    assert [(d.given, d.target) for d in directions("abc", "->b")] == [(("a", "c"), "b")]
    for bad in ("a->a", "a->d", "backwards", "a->", "d->a"):
        with pytest.raises(ArgumentError, match="directions: expected a direction like both"):
            directions("abc", bad)
    with pytest.raises(ArgumentError, match="two modalities or more"):
        directions("a")


def test_refusals():
    m = machine(0)
    x, seen = samples(0)
    with pytest.raises(ArgumentError, match=r"rbm: expected visibles of x in \[0, 1\], found 2"):
        binary({"x": 2 * torch.ones(3, 3)})
    with pytest.raises(ArgumentError, match=r"in \[0, 1\], found nan"):
        binary({"x": torch.full((1, 3), torch.nan)})
    with pytest.raises(ArgumentError, match="expected 3 units of x, found 2"):
        m.free_energy({"x": x["y"], "y": x["y"]})
    with pytest.raises(ArgumentError, match="expected 3 units of x, found 2"):
        recurrent(m, {"x": x["y"]}, sweeps=1)
    with pytest.raises(ArgumentError, match="expected groups among x, y, found 'q'"):
        m.drive({"q": x["x"]})
    with pytest.raises(ArgumentError, match="found none of 'y'"):
        m.free_energy({"x": x["x"]})
    for bad in ({"sweeps": -1}, {"sweeps": 1, "horizon": -1}):
        with pytest.raises(ArgumentError, match="sweeps and horizon >= 0"):
            recurrent(m, x, **bad)
    with pytest.raises(ArgumentError, match="values of some group"):
        recurrent(m, {}, sweeps=1)
    with pytest.raises(ArgumentError, match="every group that is partly seen"):
        recurrent(m, {"x": x["x"]}, sweeps=1, seen=seen)
    with pytest.raises(ArgumentError, match="keep in"):
        multi_prediction_loss(m, x, sweeps=1, keep=1.5)
    with pytest.raises(ArgumentError, match="a mask for every group"):
        subset_prediction_loss(m, x, {"x": seen["x"]}, sweeps=1)
    with pytest.raises(ArgumentError, match="at least one step"):
        gibbs(m, x["x"][:, :1].expand(-1, 4), Stream(0).draws(), steps=0)
    with pytest.raises(ArgumentError, match="expected a target among x, y"):
        clamped_negatives(m, x, "q", Stream(0).draws(), steps=1)
    with pytest.raises(ArgumentError, match="of shapes"):
        MultimodalRBM(m.weights, {**m.biases, "x": m.biases["y"]}, m.hidden)
    with pytest.raises(ArgumentError, match="the same groups"):
        MultimodalRBM(m.weights, {"x": m.biases["x"]}, m.hidden)
    with pytest.raises(NotExactError, match="at most 16 visible units"):
        MultimodalRBM({"x": torch.zeros(17, 1)}, {"x": torch.zeros(17)}, torch.zeros(1)).log_law()
    with pytest.raises(ArgumentError, match="layers that fit"):
        Pathway((torch.zeros(3, 2),), (torch.zeros(2),))
    with pytest.raises(ArgumentError, match="pathways ending in"):
        MultimodalDeepRNN({"x": Pathway((torch.zeros(4, 5),), (torch.zeros(4),)), "y": Pathway()}, m)
    network = MultimodalDeepRNN({"x": Pathway(), "y": Pathway()}, m)
    with pytest.raises(ArgumentError, match="sweeps >= 0"):
        network.recurrent(x, sweeps=-1)
    with pytest.raises(ArgumentError, match="data of some of x, y"):
        network.recurrent({"q": x["x"]}, sweeps=1)
