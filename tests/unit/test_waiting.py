"""What a GPU would have to wait for, found without one: the operations on a device's tensors are watched one by one.

The meta device has no values, so that a branch on one fails by itself (test_moo_device). What would pass there and still wait on a GPU is
refused here, in every weighting and in every method's training: factorisations that check for errors, LAPACK-only routines, copies between devices that are not told to go on.
"""

from functools import partial

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmtheory.batch import Batch
from mmtheory.methods import METHODS, _pretrained
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.moo import EPO, FAMO, STCH, WEIGHTINGS, SmoothLexicographic, Stateful, certify, moo_backward
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer
from mmtheory.training import _loop as loop

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


WAITS_BETWEEN_EPOCHS = "mie"
"""It decomposes covariances at the beginning of a stage."""


def trained(build, name, **how):
    """Three epochs on a device, mini-batches of two sizes, absent samples; what is asked of the data once, before, is not watched."""
    draws = Stream(0).draws()
    here = {"a": draws.uniform("here", 40) < 0.8} if how.pop("absent", False) else {}
    data = Batch({m: draws.normal(m, 40, 6).float() for m in "abc"}, draws.integers("y", 3, 40), here)
    held = Batch({m: v[:16] for m, v in data.x.items()}, data.y[:16])
    settings = Settings(batch_size=16, epochs=3, **how)
    trainer = Trainer(
        build, METHODS[name](), data, settings=settings, stream=Stream(0), replicates=range(3), validation=held, device="meta"
    )  # fmt: skip
    if name == WAITS_BETWEEN_EPOCHS:
        step = trainer._pass
        trainer._pass = lambda *a: watched(partial(step, *a))
        return trainer.run()
    return watched(trainer.run)


@pytest.fixture
def on_meta(monkeypatch):
    monkeypatch.setattr(loop, "check_labels", lambda *_: None)
    monkeypatch.setattr(_pretrained, "fingerprint", lambda _: "")

    def build(draws, fusion="concat"):
        encoders = {m: MLPEncoder((6, 8, 8), draws=draws, name=m) for m in "abc"}
        return MultimodalModel(
            encoders, FUSIONS[fusion](dict.fromkeys("abc", 8), 3, draws=draws), batch_shape=draws.batch_shape
        )

    return build


@pytest.mark.parametrize("name", sorted(METHODS))
def test_no_method_waits(name, on_meta):
    """A step neither reads a value nor copies to the host; nor does an epoch's beginning, but for one method."""
    assert trained(on_meta, name).flat.data.device.type == "meta"


@pytest.mark.parametrize("how", [{"optimiser": "adam", "clip": 1.0}, {"optimiser": "adamw", "absent": True}], ids=str)
@pytest.mark.parametrize("name", ["joint", "ogm", "mla", "mmpareto"])
def test_no_optimiser_clipping_or_absence_waits(name, how, on_meta):
    assert trained(on_meta, name, **how).flat.data.device.type == "meta"


@pytest.mark.parametrize("fusion", sorted(FUSIONS))
def test_no_fusion_waits(fusion, on_meta):
    assert trained(partial(on_meta, fusion=fusion), "ogm").flat.data.device.type == "meta"


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
    copied, info = watched(
        lambda: (torch.ones(2).to("meta", non_blocking=True), torch.linalg.cholesky_ex(gramian(2, 2)).info)
    )
    assert (copied.device.type, info.device.type) == ("meta", "meta")
