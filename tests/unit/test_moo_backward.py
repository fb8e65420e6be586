"""moo_backward against concatenated Jacobians: scopes, masks, features, batches, state, aliases, bad input."""

import json
import pathlib
import subprocess
import sys
from datetime import timedelta

import pytest
import torch

from mmtheory.errors import ArgumentError
from mmtheory.moo import (
    MGDA,
    GramianAccumulator,
    Linear,
    MoCo,
    clipped,
    combine,
    gramian,
    moo_backward,
    unbiased_gramian,
)
from mmtheory.rng import Stream


class Late(torch.nn.Module):
    """Two encoders, a fused head and one head a modality."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # modules initialise themselves from the global generator
            self.a, self.v = (
                torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 4)) for _ in "av"
            )
            self.fused, self.head_a, self.head_v = torch.nn.Linear(8, 3), torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
        draws = Stream(seed).draws()
        for name, p in self.named_parameters():
            p.data = draws.normal(name, *p.shape).to(p.dtype) / 2
        self.x = {k: draws.normal(k, 16, 5).to(torch.float64) for k in "av"}
        self.y = draws.integers("y", 3, 16)
        self.double()

    def losses(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        z = {"a": self.a(self.x["a"]), "v": self.v(self.x["v"])}
        ce = torch.nn.functional.cross_entropy
        out = self.fused(torch.cat((z["a"], z["v"]), -1))
        return {"fused": ce(out, self.y), "a": ce(self.head_a(z["a"]), self.y), "v": ce(self.head_v(z["v"]), self.y)}, z

    def blocks(self) -> dict[str, list[torch.nn.Parameter]]:
        return {name: list(module.parameters()) for name, module in self.named_children()}


def jacobian(model: Late, names: tuple[str, ...]) -> torch.Tensor:
    parameters = [p for n in names for p in model.blocks()[n]]
    losses, _ = model.losses()
    rows = [torch.autograd.grad(f, parameters, retain_graph=True, allow_unused=True) for f in losses.values()]
    flat = [
        torch.cat(
            [torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(parameters, r, strict=True)]
        )
        for r in rows
    ]
    return torch.stack(flat)


def gradient(model: Late, names: tuple[str, ...]) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for n in names for p in model.blocks()[n]])


ALL = ("a", "v", "fused", "head_a", "head_v")


@pytest.mark.parametrize("featured", [False, True])
@pytest.mark.parametrize("name", ["mgda", "upgrad", "mean", "cagrad"])
def test_global_scope_is_the_concatenated_solve(name, featured):
    model = Late()
    J = jacobian(model, ALL)
    losses, z = model.losses()
    report = moo_backward(losses, model.blocks(), name, features=z if featured else None)
    assert torch.allclose(report.gramian, J @ J.T, rtol=1e-12, atol=1e-14)
    assert torch.allclose(gradient(model, ALL), report.weights @ J, rtol=1e-10, atol=1e-12)
    assert float(report.certificate.gap) <= 1e-10
    assert report.reached["a"] == ("fused", "a")
    assert report.conflicts.shape == ()
    assert torch.allclose(sum(report.norms.values(), torch.zeros(3).double()) >= 0, torch.ones(3, dtype=torch.bool))


@pytest.mark.parametrize("featured", [False, True])
def test_block_scope_solves_over_the_objectives_that_reach_the_block(featured):
    """The zero-row trap: the audio loss does not reach the visual encoder and must not stop it."""
    model = Late()
    losses, z = model.losses()
    report = moo_backward(losses, model.blocks(), "mgda", scope="block", features=z if featured else None)
    for k, (name, rows) in enumerate({"a": [0, 1], "v": [0, 2]}.items()):
        J = jacobian(model, (name,))[rows]
        w = MGDA().weights(J @ J.T)
        assert torch.allclose(report.weights[k, rows], w, atol=1e-12)
        assert torch.allclose(gradient(model, (name,)), w @ J, atol=1e-12)
        assert float(gradient(model, (name,)).norm()) > 1e-6
    assert torch.equal(report.weights[2:], torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]).double())
    assert torch.allclose(gradient(model, ("head_a",)), jacobian(model, ("head_a",))[1])


def test_an_unreachable_objective_changes_nothing_in_a_block():
    plain, more = Late(), Late()
    losses, _ = plain.losses()
    moo_backward(
        {k: losses[k] for k in ("fused", "a")},
        {k: v for k, v in plain.blocks().items() if k != "head_v"},
        "mgda",
        scope="block",
    )
    moo_backward(more.losses()[0], more.blocks(), "mgda", scope="block")
    assert torch.allclose(gradient(plain, ("a",)), gradient(more, ("a",)), atol=1e-14)


def test_shared_scope_solves_over_the_shared_blocks_only():
    model = Late()
    J = jacobian(model, ("a", "v"))
    report = moo_backward(model.losses()[0], model.blocks(), "mgda", scope="shared")
    assert torch.allclose(report.weights, MGDA().weights(J @ J.T), atol=1e-10)
    assert torch.allclose(gradient(model, ("head_v",)), jacobian(model, ("head_v",))[2])


def test_a_mask_leaves_an_objective_out_of_a_block():
    model = Late()
    report = moo_backward(model.losses()[0], model.blocks(), "mgda", scope="block", mask={"a": ["fused"]})
    assert report.reached["a"] == ("fused",)
    assert torch.allclose(gradient(model, ("a",)), jacobian(model, ("a",))[0])


def test_gradients_accumulate_and_the_graph_can_be_kept():
    model = Late()
    losses, z = model.losses()
    moo_backward(losses, model.blocks(), "mean", features=z, retain_graph=True)
    once = gradient(model, ALL).clone()
    moo_backward(losses, model.blocks(), "mean", features=z)
    assert torch.allclose(gradient(model, ALL), 2 * once)


def test_replicates_in_a_batch_do_not_meet():
    draws = Stream(1).draws(range(5))
    W, X, Y = draws.normal("W", 3, 2), draws.normal("X", 8, 3), draws.normal("Y", 2, 8, 2)

    def losses(w: torch.Tensor, k: slice | int) -> list[torch.Tensor]:
        return [((X[k] @ w - Y[k][..., i, :, :]) ** 2).mean((-1, -2)) for i in range(2)]

    stacked = W.clone().requires_grad_()
    report = moo_backward(losses(stacked, slice(None)), {"w": [stacked]}, "mgda")
    assert report.weights.shape == (5, 2)
    for r in range(5):
        one = W[r].clone().requires_grad_()
        alone = moo_backward(losses(one, r), {"w": [one]}, "mgda")
        assert torch.allclose(alone.weights, report.weights[r], atol=1e-12)
        assert torch.allclose(one.grad, stacked.grad[r], atol=1e-12)


def test_state_is_carried_by_the_report():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    state, method = None, MoCo(rate=0.01)
    seen = []
    for _ in range(3):
        report = moo_backward([x[0] ** 2, x[1] ** 2], {"x": [x]}, method, state=state)
        state = report.state
        seen.append(report.weights)
    assert seen[0][0] < seen[1][0] < seen[2][0]
    per_block = moo_backward([x[0] ** 2, x[1] ** 2], {"x": [x]}, method, scope="block")
    assert torch.allclose(per_block.state["x"], seen[0], atol=1e-6)


def test_rows_that_share_memory_are_not_overwritten():
    a, b = (torch.ones(3, requires_grad=True) for _ in "ab")
    moo_backward([(a + b).sum(), (2 * a + 3 * b).sum()], {"all": [a, b]}, Linear(preference=(0.5, 0.5)))
    assert a.grad.tolist() == [1.5] * 3
    assert b.grad.tolist() == [2.0] * 3
    base = torch.ones(2, 3)
    assert combine([base[0], base[1]], torch.tensor([2.0, 3.0])).tolist() == [5.0] * 3
    assert base.tolist() == [[1.0] * 3] * 2
    assert combine([None, None], torch.tensor([2.0, 3.0])) is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("m", [2, 3, 5])
def test_streaming_is_the_concatenated_gramian(m, dtype):
    draws = Stream(m).draws()
    shapes = [(3,), (40, 50), (3, 30000), (1,)]
    tensors = [draws.normal(i, m, *s).to(dtype) for i, s in enumerate(shapes)]
    J = torch.cat([t.reshape(m, -1) for t in tensors], 1)
    exact = J.double() @ J.double().T
    accumulator = GramianAccumulator(m)
    for t in tensors:
        accumulator.add(list(t))
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 1e-5}[dtype]
    scale = exact.diagonal().max()
    assert (accumulator.total - exact).abs().max() <= tolerance * scale
    assert (gramian(J) - exact).abs().max() <= tolerance * scale


def test_u_statistic_is_unbiased_where_the_plain_gramian_is_not():
    """Error probability below 1e-6: both means lie within 6 standard errors of theory, and the bias is hundreds of them."""
    draws = Stream(7).draws(range(2000))
    J = torch.tensor([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0]], dtype=torch.float64)
    noisy = J + draws.normal("noise", 4, 2, 3)
    local, mean = noisy @ noisy.mT, noisy.mean(1)
    plain, fair = mean @ mean.mT, unbiased_gramian(mean @ mean.mT, local.transpose(0, 1))
    G = J @ J.T
    for estimate, truth in ((fair, G), (plain, G + 3 / 4 * torch.eye(2).double())):
        error = estimate.std(0) / len(estimate) ** 0.5
        assert ((estimate.mean(0) - truth).abs() <= 6 * error).all()
    assert (plain.mean(0) - G).diagonal().min() > 0.6
    assert torch.linalg.eigvalsh(clipped(fair)).min() >= -1e-12


def bad(**changes: object) -> None:
    model = Late()
    losses, z = model.losses()
    given = {
        "losses": losses,
        "blocks": model.blocks(),
        "weighting": "mgda",
        **{k: v(model, losses, z) for k, v in changes.items()},
    }
    moo_backward(**given)


@pytest.mark.parametrize(
    ("word", "changes"),
    [
        ("losses.*2", {"losses": lambda m, f, z: {"a": f["a"]}}),
        ("losses.*reaches none", {"losses": lambda m, f, z: {**f, "c": torch.ones((), dtype=torch.float64)}}),
        ("losses.*shape", {"losses": lambda m, f, z: {**f, "c": f["a"][None]}}),
        ("blocks.*one block", {"blocks": lambda m, f, z: {**m.blocks(), "again": list(m.a.parameters())}}),
        ("blocks.*in none", {"blocks": lambda m, f, z: {k: v for k, v in m.blocks().items() if k != "v"}}),
        ("blocks.*at least one", {"blocks": lambda m, f, z: {}}),
        ("blocks.*leaf", {"blocks": lambda m, f, z: {**m.blocks(), "z": [z["a"]]}}),
        ("scope", {"scope": lambda m, f, z: "everything"}),
        ("mask", {"mask": lambda m, f, z: {"a": ["smell"]}}),
        ("mask", {"mask": lambda m, f, z: {"nose": ["a"]}}),
        ("features", {"features": lambda m, f, z: {"nose": z["a"]}}),
        ("features.*path", {"features": lambda m, f, z: {"a": z["v"]}}),
        (
            "features.*own block",
            {
                "features": lambda m, f, z: {"a": z["a"]},
                "blocks": lambda m, f, z: {
                    **m.blocks(),
                    "a": list(m.a[2].parameters()),
                    "below": list(m.a[0].parameters()),
                },
            },
        ),
        ("features.*every path", {"features": lambda m, f, z: {"a": m.a(m.x["a"])}}),
        ("weighting", {"weighting": lambda m, f, z: "magic"}),
        ("unbiased", {"unbiased": lambda m, f, z: True}),
    ],
)
def test_bad_input_is_refused_by_name(word, changes):
    with pytest.raises(ArgumentError, match=f"(?s){word}"):
        bad(**changes)


def _rank(rank: int, address: str, unbiased: bool, out: str) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    x, y = (
        torch.ones(4, dtype=torch.float64, requires_grad=True),
        torch.ones(2, 3, dtype=torch.float64, requires_grad=True),
    )
    report = moo_backward(_noisy(x, y, rank), {"x": [x], "y": [y]}, "mgda", group=dist.group.WORLD, unbiased=unbiased)
    found = [report.weights.tolist(), report.gramian.tolist(), x.grad.tolist(), y.grad.flatten().tolist()]
    pathlib.Path(out).write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def _noisy(x: torch.Tensor, y: torch.Tensor, rank: int) -> list[torch.Tensor]:
    c = Stream(3).child(rank).draws()
    rows = [(c.normal(f"x{i}", 4), c.normal(f"y{i}", 2, 3)) for i in range(3)]
    losses = [(x * a).sum() + (y * b).sum() for a, b in rows]
    if rank == 1:  # its batch lacks the modality behind y, so that the last loss does not reach y
        losses[2] = (x * rows[2][0]).sum()
    return losses


@pytest.mark.parametrize("unbiased", [False, True])
def test_two_processes_solve_the_mean_problem(unbiased, tmp_path):
    """The Gramian of the mean rows, not the mean of the Gramians; every rank ends with the same bits, whatever reaches what on it."""
    outs = [tmp_path / f"{r}.json" for r in range(2)]
    command = [sys.executable, __file__, f"file://{tmp_path}/meeting", str(int(unbiased))]
    ranks = [subprocess.Popen([*command, str(r), str(out)]) for r, out in enumerate(outs)]
    assert [p.wait(90) for p in ranks] == [0, 0]
    found = [json.loads(out.read_text()) for out in outs]
    assert found[0] == found[1]
    x, y = (
        torch.ones(4, dtype=torch.float64, requires_grad=True),
        torch.ones(2, 3, dtype=torch.float64, requires_grad=True),
    )
    J = []
    for rank in range(2):
        options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        rows = [torch.autograd.grad(f, (x, y), **options) for f in _noisy(x, y, rank)]
        J.append(torch.stack([torch.cat([g.flatten() for g in row]) for row in rows]))
    mean = (J[0] + J[1]) / 2
    expected = mean @ mean.T
    if unbiased:
        expected = clipped(unbiased_gramian(expected, torch.stack([j @ j.T for j in J])))
    assert torch.allclose(torch.tensor(found[0][1], dtype=torch.float64), expected, atol=1e-12)
    w = torch.tensor(found[0][0], dtype=torch.float64)
    assert torch.allclose(w, MGDA().weights(expected), atol=1e-9)
    assert torch.allclose(torch.tensor(found[0][2] + found[0][3], dtype=torch.float64), w @ mean, atol=1e-12)


if __name__ == "__main__":
    _rank(int(sys.argv[3]), sys.argv[1], sys.argv[2] == "1", sys.argv[4])
