"""What a GPU would have to wait for, found without one: the operations on a device's tensors are watched one by one.

The meta device has no values, so that a branch on one fails by itself (test_moo_device). What would pass there and still wait on a GPU is
refused here: factorisations that check for errors, LAPACK-only routines, copies between devices that are not told to go on.
"""

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmtheory.moo import EPO, FAMO, STCH, WEIGHTINGS, SmoothLexicographic, Stateful, certify, moo_backward

READS = {"_local_scalar_dense", "is_nonzero", "equal", "allclose"}
SHAPES_FROM_VALUES = {"nonzero", "masked_select", "_unique2", "unique_consecutive", "unique_dim", "repeat_interleave"}
CHECKED_ON_THE_HOST = {
    "_linalg_check_errors", "_linalg_eigh", "linalg_eigh", "linalg_eig", "_linalg_svd", "linalg_svd", "linalg_lstsq",
    "linalg_qr", "linalg_cholesky", "_linalg_solve_ex_checked",
}  # fmt: skip
WAITING = READS | SHAPES_FROM_VALUES | CHECKED_ON_THE_HOST


class Operations(TorchDispatchMode):
    """Refuses operations that wait."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, given = func.overloadpacket.__name__, kwargs or {}
        assert name not in WAITING, f"waits: {name}"
        if name in {"index", "index_put", "index_put_"}:
            index = [i for i in args[1] if isinstance(i, torch.Tensor)]
            assert all(i.dtype != torch.bool for i in index), "waits: an index of booleans"
        if name in {"_to_copy", "copy_"}:
            target = given.get("device") or args[0].device
            source = args[0].device if name == "_to_copy" else args[1].device
            quick = given.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])
            assert torch.device(target).type == source.type or quick, f"waits: a copy from {source} to {target}"
        return func(*args, **given)


class Calls(TorchFunctionMode):
    """Refuses Python numbers that are copied to the device as a tensor, which waits for the copy."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        given = kwargs or {}
        made = func in {torch.tensor, torch.as_tensor, torch.asarray} and given.get("device") is not None
        assert not (made and torch.device(given["device"]).type == "meta"), f"waits: {func.__name__} on the device"
        return func(*args, **given)


def watched(work):
    with Calls(), Operations():
        found = work()
    return found


def gramian(*shape):
    return torch.empty(*shape, dtype=torch.float64, device="meta")


@pytest.mark.parametrize(("name", "m"), [(n, m) for n in sorted(WEIGHTINGS) for m in (3 if n != "mmpareto" else 2,)])
def test_no_weighting_waits(name, m):
    """On the device every round of an iteration is run, which takes the host long to watch: few objectives, the same operations."""
    shape = (7,)
    method = WEIGHTINGS[name]()
    G = gramian(*shape, m, m)
    w = watched(lambda: method.weights(G))
    assert w.shape == (*shape, m)
    assert w.device == G.device
    watched(lambda: certify(method, G, w))
    if isinstance(method, Stateful):
        state = watched(lambda: method.initial(G))
        for _ in range(2):
            w, after = watched(lambda state=state: method.step(G, state))
            watched(lambda state=state, w=w: certify(method, G, w, state=state))
            state = after


@pytest.mark.parametrize("shape", [(), (7,)])
def test_no_method_that_looks_at_losses_waits(shape):
    f, G = gramian(*shape, 4), gramian(*shape, 4, 4)
    famo = FAMO()
    state = watched(lambda: famo.initial(f))
    watched(lambda: famo.updated(state, f, f))
    for weigh in (
        lambda: famo.weights(f, state),
        lambda: STCH(preference=(0.1, 0.2, 0.3, 0.4)).weights(f),
        lambda: SmoothLexicographic().weights(f),
        lambda: EPO(preference=(1.0, 2.0, 3.0, 4.0)).weights(G, f),
    ):
        assert watched(weigh).shape == f.shape


@pytest.mark.parametrize("scope", ["global", "block", "shared"])
@pytest.mark.parametrize("name", ["mgda", "upgrad", "pcgrad"])
def test_no_step_waits(name, scope):
    x, y = gramian(40).requires_grad_(), gramian(3, 4).requires_grad_()
    losses = {"both": (x**2).sum() + y.sum(), "y": (y**3).sum()}
    watched(lambda: moo_backward(losses, {"x": [x], "y": [y]}, name, scope=scope))
    assert x.grad is not None
    assert y.grad is not None


@pytest.mark.parametrize(
    "work",
    [
        lambda G: torch.linalg.cholesky(torch.eye(2)),
        lambda G: torch.linalg.eigh(G),
        lambda G: torch.linalg.solve(torch.eye(2), torch.ones(2)),
        lambda G: torch.ones(2).to("meta"),
        lambda G: torch.tensor([1.0], device="meta"),
        lambda G: torch.ones(2)[torch.ones(2, dtype=torch.bool)],
        lambda G: torch.ones(2).nonzero(),
        lambda G: bool(torch.ones(()) > 0),
        lambda G: torch.ones(2).sum().item(),
    ],
)
def test_what_waits_is_seen(work):
    with pytest.raises(AssertionError, match="waits"):
        watched(lambda: work(gramian(2, 2)))


def test_what_does_not_wait_is_let_through():
    watched(lambda: torch.ones(2).to("meta", non_blocking=True) + torch.linalg.cholesky_ex(gramian(2, 2)).info)
