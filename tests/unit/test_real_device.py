"""The trainer on a GPU: what the host computes, inputs from either side, resume, half precision, compilation."""

from __future__ import annotations

import pytest
import torch

from mmtheory.methods import METHODS
from real.data import DATASETS
from real.recipe import Recipe
from real.trainer import Fit

DEVICE = "cuda"
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
AV = {"encoder": {"image": "resnet:tiny", "audio": "cnn"}, "epochs": 2, "width": 8, "batch_size": 8}


@pytest.fixture(scope="module")
def htad(tmp_path_factory):
    return DATASETS["htad"].write_double(tmp_path_factory.mktemp("htad"))


@pytest.fixture(scope="module")
def crema(tmp_path_factory):
    return DATASETS["crema-d"].write_double(tmp_path_factory.mktemp("crema"))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_computes_there_what_it_computes_here(htad, method):
    told = {"method": method, "epochs": 2, "width": 6, "batch_size": 16, "dtype": "float64"}
    fusion = "shared" if method == "mla" else "concat"
    here, there = (Fit(DATASETS["htad"](htad), Recipe(**told, fusion=fusion), device=d).run() for d in ("cpu", DEVICE))
    assert torch.allclose(here.trainer.flat.data, there.trainer.flat.data.cpu(), atol=1e-8)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_inputs_from_the_host_are_those_on_the_device(htad, method):
    told = {"method": method, "epochs": 2, "width": 6, "batch_size": 16, "dtype": "float64"}
    fusion = "shared" if method == "mla" else "concat"
    fits = [Fit(DATASETS["htad"](htad), Recipe(**told, fusion=fusion, inputs=where), device=DEVICE).run() for where in ("host", "device")]  # fmt: skip
    # Adapters draw their numbers by the names of what they adapt, and one of both is wrapped.
    if method not in {"mmlora", "m2pt"}:
        assert torch.allclose(*(fit.trainer.flat.data for fit in fits), atol=1e-9)
    assert fits[0].measure()["test"].keys() == fits[1].measure()["test"].keys()


@pytest.mark.parametrize(
    "more", [{}, {"precision": "bf16", "channels_last": True}, {"precision": "fp16", "accumulate": 2}]
)
@pytest.mark.parametrize("inputs", ["host", "device"])
def test_a_run_is_resumed_there(crema, tmp_path, more, inputs):
    recipe = Recipe(**AV, **more, inputs=inputs)

    class StopError(Exception):
        pass

    def stop(line):
        if line["epoch"] == 2:
            raise StopError

    whole, part, rest = (Fit(DATASETS["crema-d"](crema), recipe, device=DEVICE, folder=tmp_path / f) for f in ("a", "b", "b"))  # fmt: skip
    whole.run()
    with pytest.raises(StopError):
        part.run(stop)
    rest.resume()
    assert rest.trainer.epoch == 1
    rest.run()
    assert torch.allclose(whole.trainer.flat.data, rest.trainer.flat.data, atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler imports torch's own old parts
def test_encoders_are_compiled_there(crema):
    plain, compiled = (Fit(DATASETS["crema-d"](crema), Recipe(**AV, compile=c), device=DEVICE).run() for c in (False, True))  # fmt: skip
    assert not compiled.notes
    assert torch.allclose(plain.trainer.flat.data, compiled.trainer.flat.data, atol=1e-2)


def test_a_step_never_waits_for_the_device(htad):
    """Only what is said after an epoch may."""
    fit = Fit(DATASETS["htad"](htad), Recipe(epochs=3, width=6, batch_size=16), device=DEVICE)
    fit.trainer.run(1)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        fit.trainer.run(1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
