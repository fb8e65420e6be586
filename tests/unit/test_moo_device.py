"""Nothing on the way from gradients to weights asks the host: it works on a device whose values nobody can read."""

import pytest
import torch

from mmtheory.moo import WEIGHTINGS, Stateful, moo_backward


def unreadable(*shape):
    """Tensors of the meta device have shapes and no values: a branch on one, or a copy to the host, is an error."""
    return torch.empty(*shape, dtype=torch.float64, device="meta")


def test_the_meta_device_refuses_to_be_read():
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(unreadable(2).any())
    with pytest.raises((RuntimeError, NotImplementedError)):
        unreadable(2).tolist()


@pytest.mark.parametrize("shape", [(), (7,)])
@pytest.mark.parametrize(
    ("name", "m"), [(n, m) for n in sorted(WEIGHTINGS) for m in (2, 4) if (n, m) != ("mmpareto", 4)]
)
def test_no_weighting_reads_a_device(name, m, shape):
    method, G = WEIGHTINGS[name](), unreadable(*shape, m, m)
    w = method.weights(G)
    assert w.shape == (*shape, m)
    assert w.device.type == "meta"
    if isinstance(method, Stateful):
        w, _ = method.step(G, method.initial(G))
    assert method.certificate(G, w).gap.shape == shape


@pytest.mark.parametrize("scope", ["global", "block", "shared"])
@pytest.mark.parametrize("name", ["mgda", "upgrad", "cagrad", "nash"])
def test_no_step_reads_a_device(name, scope):
    x, y = unreadable(40).requires_grad_(), unreadable(3, 4).requires_grad_()
    losses = {"both": (x**2).sum() + y.sum(), "x": x.sum(), "y": (y**3).sum()}
    report = moo_backward(losses, {"x": [x], "y": [y]}, name, scope=scope)
    assert report.weights.device.type == "meta"
    assert x.grad.shape == x.shape


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", sorted(WEIGHTINGS))
def test_no_weighting_synchronises(name):
    method = WEIGHTINGS[name]()
    G = torch.eye(2, dtype=torch.float64).expand(5, 2, 2).contiguous().cuda()
    here = method.weights(G)  # the first call loads kernels, which may wait
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = method.weights(G)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(here, again)
    assert torch.allclose(again.cpu(), method.weights(G.cpu()), atol=1e-9)
