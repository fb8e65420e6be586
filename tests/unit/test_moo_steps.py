"""Steps with the less usual weightings: by tensor, by the losses, without copies; and what they refuse."""

import pytest
import torch

from mmtheory.errors import ArgumentError
from mmtheory.moo import (
    CRMOGM,
    EPO,
    FAMO,
    GramianAccumulator,
    MMPareto,
    MoDo,
    SDMGrad,
    SmoothLexicographic,
    combine,
    gramian,
    moo_backward,
    nnqp,
    track,
    unbiased_gramian,
)
from mmtheory.rng import Stream

I2 = torch.eye(2, dtype=torch.float64)


def pair(seed=0):
    """Two conflicting linear losses of one encoder of two tensors, and their gradients."""
    draws = Stream(seed, ("steps",)).draws()
    a, b = draws.normal("a", 2, 3), draws.normal("b", 2, 2, 2)
    a[1] -= 2 * a[0]
    x, y = torch.zeros(3, dtype=torch.float64, requires_grad=True), torch.zeros(2, 2, dtype=torch.float64)
    y.requires_grad_()
    losses = [(x * a[i]).sum() + (y * b[i]).sum() + 1 + i for i in range(2)]
    return losses, {"encoder": [x, y]}, a, b.flatten(1)


def stray():
    """A plain tensor that a loss reaches and no block names."""
    x, y = (torch.ones(2, requires_grad=True) for _ in "xy")
    moo_backward([(x * y).sum(), x.sum()], {"x": [x]}, "mgda")


def test_mmpareto_restores_each_tensors_magnitude_or_the_encoders():
    losses, blocks, a, b = pair()
    moo_backward(losses, blocks, MMPareto(gamma=1.0, rescale="tensor"), scope="block")
    x, y = blocks["encoder"]
    for tensor, rows in ((x, a), (y, b)):
        assert float(tensor.grad.norm()) >= float(rows.sum(0).norm()) * (1 - 1e-12)
    own = MMPareto(gamma=1.0, rescale="tensor").tensor_weights(torch.stack((a @ a.T, b @ b.T)))
    assert torch.allclose(x.grad, own[0] @ a, atol=1e-14)
    assert torch.allclose(y.grad.flatten(), own[1] @ b, atol=1e-14)
    losses, blocks, a, b = pair()
    report = moo_backward(losses, blocks, MMPareto(gamma=1.0), scope="block")
    J = torch.cat((a, b), 1)
    d = torch.cat([p.grad.flatten() for p in blocks["encoder"]])
    assert torch.allclose(d, report.weights[0] @ J, atol=1e-14)
    assert (J @ d >= -1e-12).all()  # one factor for the whole encoder keeps the common descent


def test_a_factor_for_each_tensor_can_break_common_descent():
    """Two tensors of one number each: the min-norm direction descends both losses, restored tensor by tensor it climbs the second."""
    rows = torch.tensor([[3.0, 1.0], [-2.0, -1.0]], dtype=torch.float64)
    tensors = rows.T[:, :, None] * rows.T[:, None, :]
    whole = MMPareto(gamma=1.0).tensor_weights(tensors)
    each = MMPareto(gamma=1.0, rescale="tensor").tensor_weights(tensors)
    common, broken = ((w * rows.T).sum(-1) for w in (whole, each))
    assert (rows @ common >= -1e-12).all()
    cosines = (rows @ broken) / rows.norm(dim=1) / broken.norm()
    assert cosines[1] < -0.69


def test_each_encoder_is_passed_once_for_each_loss_that_reaches_it():
    """Late fusion: two passes an encoder, the fused loss's and its own, and none of the other encoder's."""
    draws = Stream(2, ("passes",)).draws()
    weights = {k: draws.normal(k, 4, 4).requires_grad_() for k in "av"}
    passes = dict.fromkeys("av", 0)
    hidden = {k: draws.normal(f"x{k}", 5, 4) @ w for k, w in weights.items()}

    def counted(k):
        def count(_):
            passes[k] += 1

        return count

    for k, h in hidden.items():
        h.register_hook(counted(k))
    features = {k: h.tanh() for k, h in hidden.items()}
    losses = {"fused": (features["a"] * features["v"]).sum(), **{k: (z**2).sum() for k, z in features.items()}}
    report = moo_backward(losses, {k: [w] for k, w in weights.items()}, "mgda", scope="block", features=features)
    assert passes == {"a": 2, "v": 2}
    assert report.reached == {"a": ("fused", "a"), "v": ("fused", "v")}
    assert report.conflicts.shape == (2,)
    assert set(report.norms) == {"a", "v"}
    assert report.norms["a"][2] == 0


def test_epo_sees_the_losses_in_a_step():
    losses, blocks, a, b = pair()
    report = moo_backward(losses, blocks, EPO(preference=(1.0, 1.0)))
    J = torch.cat((a, b), 1)
    seen = torch.stack([f.detach() for f in losses])
    assert torch.allclose(report.weights, EPO(preference=(1.0, 1.0)).weights(J @ J.T, seen), atol=1e-12)
    assert float(report.certificate.gap) <= 1e-9
    assert report.certificate.primal <= 1e-9


@pytest.mark.parametrize("m", [2, 3, 5])
def test_long_rows_are_neither_joined_nor_copied(m):
    """The largest single allocation of Gramian and combination is a fraction of one row."""
    d = 2_000_000
    rows = [torch.full((d,), float(i + 1)) for i in range(m)]
    out = torch.zeros(d)
    cpu = [torch.profiler.ProfilerActivity.CPU]
    # Without acc_events some versions warn that one cycle's events are dropped by the next, of which there is none here.
    with torch.profiler.profile(activities=cpu, profile_memory=True, acc_events=True) as seen:
        total = GramianAccumulator(m)
        total.add(rows)
        G = total.total
        combine(rows, torch.ones(m), out)
    assert max(event.self_cpu_memory_usage for event in seen.events()) <= 4 * d
    assert float(G[0, 1]) == 2 * d
    assert float(out[0]) == m * (m + 1) / 2


def test_long_gramians_agree():
    J = Stream(4).draws().normal("J", 3, 300_000).float()
    exact = J.double() @ J.double().T
    total = GramianAccumulator(3)
    total.add(list(J))
    for G in (gramian(J), total.total):
        assert ((G - exact).abs() <= 1e-6 * exact.diagonal().max()).all()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: CRMOGM(inner=MoDo()), "inner"),
        (lambda: FAMO().weights(torch.tensor([1.0, 0.0]), FAMO().initial(torch.ones(2))), "losses"),
        (lambda: EPO(preference=(1.0, 1.0)).weights(I2, torch.tensor([1.0, -1.0])), "losses"),
        (lambda: EPO(preference=(1.0, 0.0)), "preference"),
        (lambda: EPO(preference=(1.0, 1.0)).weights(I2, torch.ones(3)), "preference"),
        (lambda: SmoothLexicographic().objective(torch.ones(1)), "losses"),
        (lambda: SmoothLexicographic().weights(torch.ones(())), "losses"),
        (lambda: nnqp(I2, torch.ones(3, dtype=torch.float64)), "linear"),
        (lambda: nnqp(torch.ones(2, 3, dtype=torch.float64), torch.ones(2, dtype=torch.float64)), "gramian"),
        (lambda: combine([torch.ones(2)], torch.ones(2)), "weights"),
        (lambda: unbiased_gramian(I2, torch.ones(2, 3, 3)), "local"),
        (lambda: unbiased_gramian(I2, I2[None]), "local"),
        (lambda: track([torch.ones(2)], [], 0.5), "rows"),
        (lambda: SDMGrad().descend(I2, torch.ones(3)), "start"),
        (lambda: GramianAccumulator(2).add([torch.ones(2)]), "rows"),
        (lambda: GramianAccumulator(0), "m:"),
        (lambda: gramian(torch.ones(3)), "jacobian"),
        (lambda: moo_backward(*pair()[:2], MMPareto(rescale="tensor")), "scope"),
        (lambda: MMPareto(rescale="layer"), "rescale"),
        (lambda: stray(), "blocks: .* in none"),
        (
            lambda: moo_backward([(x := torch.ones(3, 2).requires_grad_()).sum(0), x.sum(0)], {"x": [x]}, "mgda"),
            "blocks",
        ),
    ],
)
def test_bad_input_is_refused_by_name(make, name):
    with pytest.raises(ArgumentError, match=name):
        make()
