"""MIE: a real and undone perturbation, dampers with eigenvalues in [e^-T, 1], stages that touch one modality."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import MIE
from mmtheory.methods._inputs import mean_inputs
from mmtheory.methods.mie import damper, perturbed
from mmtheory.models import FUSIONS, FlatParameters, MLPEncoder, MultimodalModel, TransformerEncoder
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

SEEDS = st.integers(0, 2**32)
WIDTHS = {"a": (4, 7, 6), "b": (3, 7, 6), "c": (5, 6)}


def build(draws):
    encoders = {m: MLPEncoder(w, draws=draws, name=m, dtype=torch.float64) for m, w in WIDTHS.items()}
    head = FUSIONS["concat"](dict.fromkeys(WIDTHS, 6), 3, draws=draws, dtype=torch.float64)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


def trainer(method, *, epochs=1, batch=10, **settings):
    draws = Stream(3).draws(range(2))
    data = Batch({m: draws.normal(m, 20, w[0]) for m, w in WIDTHS.items()}, draws.integers("y", 3, 20))
    chosen = Settings(epochs=epochs, batch_size=batch, **settings)
    return Trainer(build, method, data, settings=chosen, stream=Stream(0), replicates=range(2))


def covariance(seed, d, rank):
    x = Stream(seed).draws(range(3)).normal("x", rank, d)
    return x.mT @ x


@given(SEEDS, st.integers(2, 7), st.integers(1, 9), st.floats(0.01, 5), st.floats(1e-6, 1e6))
def test_dampers(seed, d, rank, temperature, scale):
    c = covariance(seed, d, rank)
    p = damper(c, temperature)
    values = torch.linalg.eigvalsh(p)
    assert torch.allclose(p, p.mT, atol=1e-12)
    assert torch.allclose(values[:, 0], torch.full((3,), math.exp(-temperature), dtype=torch.float64), atol=1e-9)
    assert torch.allclose(values[:, -1], torch.ones(3, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(damper(scale * c, temperature), p, atol=1e-9)
    assert torch.allclose(p @ c, c @ p, atol=1e-9 * float(c.abs().max()))
    top = torch.linalg.eigh(c).eigenvectors[..., -1:]
    assert torch.allclose(p @ top, math.exp(-temperature) * top, atol=1e-7)


def test_flat_spectra_and_zero_temperature_damp_nothing():
    eye = torch.eye(4, dtype=torch.float64)
    for c, t in ((3 * eye, 0.4), (torch.zeros(4, 4), 0.4), (covariance(0, 4, 9)[0], 0.0)):
        assert torch.allclose(damper(c, t), eye, atol=1e-12)


@given(SEEDS, st.floats(1e-3, 1.0), st.sampled_from(["global", "tensor"]))
def test_the_perturbation_has_its_radius_and_is_undone_bit_for_bit(seed, rho, norm):
    draws = Stream(seed).draws(range(2))
    parts = {"a": [nn.Parameter(draws.normal("w", 3, 4)), nn.Parameter(draws.normal("b", 4))]}
    parts["other"] = [nn.Parameter(draws.normal("o", 5))]
    flat = FlatParameters(parts, (2,))
    before, g = flat.data.clone(), draws.normal("g", flat.data.shape[-1])

    def inside():
        with perturbed(flat, g, ("a",), rho, norm):
            moved = flat.data - before
            assert torch.equal(moved[:, 16:], torch.zeros(2, 5, dtype=torch.float64))
            assert (moved[:, :16] != 0).double().mean() >= 0.99
            pieces = [moved[:, :16]] if norm == "global" else [moved[:, :12], moved[:, 12:16]]
            for piece in pieces:
                assert torch.allclose(piece.norm(dim=-1), torch.full((2,), rho, dtype=torch.float64), rtol=1e-9)
            raise KeyError

    with pytest.raises(KeyError):
        inside()
    assert torch.equal(flat.data, before)


class Watching(MIE):
    """Records losses by pass and where the parameters were."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen, self.where = [], []

    def losses(self, step):
        found = super().losses(step)
        self.seen.append((step.phase.name, found["total"].detach().clone()))
        return found

    def on_gradients(self, step, gradients):
        total = super().on_gradients(step, gradients)
        self.seen[-1] += (total.norm(dim=-1),)
        return total

    def after_step(self, step):
        self.where.append(step.epoch)


@pytest.mark.parametrize("rho", [1e-3, 1e-4])
def test_the_loss_rises_by_the_radius_times_the_slope(rho):
    method = Watching(rho)
    trainer(method, batch=20).run()
    (up, plain, slope), (down, higher, _) = method.seen[:2]
    assert (up, down) == ("ascent", "descent")
    assert torch.allclose((higher - plain) / rho, slope, atol=20 * rho)


def test_without_smoothing_and_damping_it_is_alternating_unimodal_training():
    alternating = trainer(MIE(0.0, temperature=0.0), epochs=3, lr=0.05).run()
    assert torch.equal(
        alternating.flat.data, trainer(MIE(0.3, gamma=0.0, temperature=0.0), epochs=3, lr=0.05).run().flat.data
    )
    for rho, gamma, temperature in ((0.3, 1.0, 0.0), (0.0, 0.3, 0.4)):
        other = trainer(MIE(rho, gamma=gamma, temperature=temperature), epochs=3, lr=0.05).run()
        assert (alternating.flat.data - other.flat.data).abs().max() > 1e-6


def test_a_stage_moves_one_modality_and_its_head():
    run = trainer(MIE(stage=2), epochs=6, weight_decay=0.1)
    for epoch in range(6):
        before = run.flat.data.clone()
        run.run(1)
        turn = "abc"[epoch // 2]
        for owner, columns in run.flat.columns.items():
            assert torch.equal(before[:, columns], run.flat.data[:, columns]) == (owner not in {turn, f"head:{turn}"})


def test_dampers_come_from_the_modality_before_and_act():
    run = trainer(MIE(0.0), epochs=2, lr=0.05)
    run.run(1)
    a = run.model.encoders["a"]
    x = run.train_data.x["a"]
    hidden = (x @ a.layers[0] + a.layers[1].unsqueeze(-2)).relu()
    top = (hidden @ a.layers[2] + a.layers[3].unsqueeze(-2)).relu()
    run.run(1)
    for k, seen in ((-1, top), (-2, hidden), (-3, x)):
        mean = seen.mean(-2, keepdim=True)  # 20 samples are one chunk
        assert torch.allclose(run.method.dampers[k], damper(mean.mT @ mean, 0.4), atol=1e-9)
    plain = trainer(MIE(0.0, temperature=0.0), epochs=2, lr=0.05).run()
    b = run.flat.columns["b"]
    assert (run.flat.data[:, b] - plain.flat.data[:, b]).abs().max() > 1e-6
    assert torch.equal(run.flat.data[:, run.flat.columns["a"]], plain.flat.data[:, plain.flat.columns["a"]])


def test_means_of_inputs_leave_absent_samples_out_and_serve_transformers():
    draws = Stream(1).draws()
    encoder = MLPEncoder((3, 4), draws=draws, name="m", dtype=torch.float64)
    x, here = draws.normal("x", 6, 3), torch.tensor([True, True, False, True, False, False])
    ((weight, means),) = mean_inputs([encoder], x, here, size=4)
    assert weight is encoder.layers[0]
    assert torch.allclose(means[0], x[[0, 1, 3]].mean(0))
    assert torch.equal(means[1], torch.zeros(3, dtype=torch.float64))
    several = TransformerEncoder(3, 5, 8, draws=draws, name="t", dtype=torch.float64)
    found = mean_inputs([several], draws.normal("tokens", 6, 5, 3), size=6)
    assert all(means.shape == (1, weight.shape[0]) for weight, means in found)
    assert len(found) > 4


def test_prediction_is_the_mean_of_probabilities():
    run = trainer(MIE(), epochs=3).run()
    said = run.predict(run.train_data).exp()
    assert torch.allclose(said.sum(-1), torch.ones(2, 20, dtype=torch.float64))
    z = run.model.encode(run.train_data.x)
    mean = torch.stack([run.auxiliary[f"head:{m}"](z[m]).softmax(-1) for m in "abc"]).mean(0)
    assert torch.allclose(said, mean)


@pytest.mark.parametrize("bad", [{"rho": -1.0}, {"gamma": 1.5}, {"temperature": -0.1}, {"stage": 0}, {"norm": "x"}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ArgumentError, match="mie"):
        MIE(**bad)
