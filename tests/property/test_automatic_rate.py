"""GeN: on a quadratic the factor is the exact line search, approached from its own side; in the loop it repairs a rate that is no good."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import NGDiff
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.moo import NGDiff as Rule
from mmtheory.moo import gen_step, gramian
from mmtheory.moo.problems import Quadratics
from mmtheory.rng import Stream
from mmtheory.testing import check_method
from mmtheory.training import Settings, Trainer

R = 6


def retained(seed):
    """The first of two quadratics, a start, NGDiff's direction there, and the exact line search along it."""
    draws = Stream(seed, ("gen",)).draws(range(R))
    problem = Quadratics.drawn(draws, 2, 4)
    x = draws.normal("x", 4)
    rows = problem.jacobian(x)
    u = -(Rule(signs=(1, 1)).solve(gramian(rows))[..., None] * rows).sum(-2)
    bend = (u[..., None, :] @ problem.hessians[:, 0] @ u[..., None])[..., 0, 0]
    return (lambda p: problem.values(p)[..., 0]), x, u, -(rows[:, 0] * u).sum(-1) / bend


def line(loss, x, u, s):
    return loss(x + s[..., None] * u)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 500), st.floats(-8, 8))
def test_a_quadratic_is_searched_exactly(seed, log2):
    """Doubling or halving first, then in one call; no other step of a hundred lowers the loss more."""
    loss, x, u, best = retained(seed)
    s = best * 2**log2
    for _ in range(10):
        s = gen_step(loss, x, u, s, loss(x), memory=0.0)
    torch.testing.assert_close(s, best, rtol=1e-7, atol=0)
    found = line(loss, x, u, s)
    for part in torch.linspace(0, 3, 100, dtype=torch.float64):
        assert (found <= line(loss, x, u, part * best) * (1 + 1e-12)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 500), st.floats(0.0, 0.95), st.floats(0.51, 1.99))
def test_the_factor_contracts_and_its_step_keeps_its_promise(seed, memory, ratio):
    """|s' − s*| = a|s − s*| within a factor of two, never across; the fall is (1 − (1 − s/s*)²) of the exact line search's."""
    loss, x, u, best = retained(seed)
    s = best * ratio
    for _ in range(4):
        after = gen_step(loss, x, u, s, loss(x), memory=memory)
        torch.testing.assert_close(after - best, memory * (s - best), rtol=1e-6, atol=1e-8 * float(best.max()))
        fall, most = loss(x) - line(loss, x, u, after), loss(x) - line(loss, x, u, best)
        torch.testing.assert_close(fall, (1 - (1 - after / best) ** 2) * most, rtol=1e-7, atol=1e-12)
        assert (fall > 0).all()
        s = after


def test_a_parabola_that_opens_downwards_or_rises_leaves_the_factor_alone():
    one = torch.ones(1, dtype=torch.float64)
    x, u = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    for loss in (
        lambda p: -(p**2).sum(-1) - p.sum(-1),
        lambda p: (p**2).sum(-1) + p.sum(-1),
        lambda p: p.sum(-1) * torch.nan,
    ):
        assert float(gen_step(loss, x, u, one, loss(x), memory=0.0)) == 1.0


def build(draws):
    encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in "ab"}
    head = FUSIONS["concat"](dict.fromkeys("ab", 5), 2, draws=draws, dtype=torch.float64)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


def trainer(method, lr, steps=1):
    draws = Stream(3, ("automatic",)).draws(range(2))
    y = draws.integers("y", 2, 24)
    x = {m: draws.normal(m, 24, 4) + 2.0 * y[..., None] for m in "ab"}
    config = Settings(epochs=steps, batch_size=24, lr=lr, weight_decay=0.0, momentum=0.0)
    return Trainer(build, method, Batch(x, y), settings=config, stream=Stream(5), replicates=range(2))


@pytest.mark.parametrize("scope", ["encoder", "joint"])
def test_the_automatic_rate_keeps_the_contract_of_a_method(scope):
    check_method(NGDiff(scope=scope, automatic=True, every=2), fusions=("concat",))


def test_off_is_the_method_and_a_full_memory_moves_alike():
    plain, off, held = (
        trainer(m, 0.1, 4).run() for m in (NGDiff(), NGDiff(automatic=False), NGDiff(automatic=True, memory=1.0))
    )
    assert torch.equal(plain.flat.data, off.flat.data)
    torch.testing.assert_close(held.flat.data, plain.flat.data, rtol=0, atol=1e-12)
    assert not NGDiff().needs
    assert NGDiff(automatic=True).needs == {"update"}


def test_a_rate_far_too_small_is_doubled_to_the_line_search_of_its_own_loss():
    method = NGDiff(automatic=True, memory=0.0, every=1)
    t = trainer(method, 1e-5, 30)
    last = torch.ones(2, dtype=torch.float64)
    for _ in range(5):
        t.run(1)
        ratio = t.method.factor / last
        assert ((ratio == 2) | (ratio == 1)).all()  # 1 where the loss is concave along the move
        last = t.method.factor
    assert (last == 32).any()
    t.run(20)
    slow = trainer(NGDiff(), 1e-5, 25).run()

    def fused(at):
        logits = at.predict(at.train_data)
        y = at.train_data.y.expand(2, -1)
        return torch.nn.functional.cross_entropy(logits.mT, y, reduction="none").mean(-1)

    assert (fused(t) <= fused(slow) * (1 + 1e-9)).all()
    assert (fused(t) < 0.5 * fused(slow)).any()


def test_a_step_that_would_raise_the_loss_is_halved():
    method = NGDiff(automatic=True, memory=0.0, every=1)
    trainer(method, 2.0).run()
    assert (method.factor < 1).any()
    assert (method.factor <= 1).all()


@pytest.mark.parametrize("bad", [{"memory": 1.5}, {"memory": -0.1}, {"every": 0}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ArgumentError, match="ngdiff"):
        NGDiff(automatic=True, **bad)
