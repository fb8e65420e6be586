"""PMR: coefficients, prototypes, and a prototype gradient that no other modality can touch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.methods import PMR, Phase, Step
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

WIDTHS = {"a": 4, "b": 3, "c": 3}


def build(draws):
    encoders = {m: MLPEncoder((w, 5), draws=draws, name=m, dtype=torch.float64) for m, w in WIDTHS.items()}
    head = FUSIONS["film"](dict.fromkeys(WIDTHS, 5), 3, draws=draws, dtype=torch.float64)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


def trainer(method, n=30):
    draws = Stream(3).draws(range(2))
    data = Batch({m: draws.normal(m, n, w) for m, w in WIDTHS.items()}, draws.integers("y", 3, n))
    return Trainer(
        build, method, data, settings=Settings(epochs=3, batch_size=10), stream=Stream(0), replicates=range(2)
    )


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=5), st.sampled_from(["clipped", "binary"]))
def test_coefficients(scores, ratio):
    named = {str(i): torch.tensor(s, dtype=torch.float64) for i, s in enumerate(scores)}
    lag, lead = PMR(ratio=ratio).coefficients(named)
    best, worst = max(named, key=named.get), min(named, key=named.get)
    for c in (lag, lead):
        assert all(0 <= v <= 1 for v in c.values())
        assert sum(v > 0 for v in c.values()) <= len(scores) - 1
    assert lag[best] == 0
    assert lead[worst] == 0
    if len(scores) == 2:  # the paper's beta and gamma: one modality is pulled, the other one is kept from collapsing
        first, second = named.values()
        rho = first / second
        expected = ((1 / rho - 1).clamp(0, 1), (rho - 1).clamp(0, 1))
        for k, e in zip("01", expected, strict=True):
            assert torch.allclose(lag[k], e.ceil() if ratio == "binary" else e)
            assert torch.equal(lead[k], lag["1" if k == "0" else "0"])


def test_nobody_is_pulled_at_exact_balance():
    lag, lead = PMR().coefficients({m: torch.tensor(0.7) for m in "abc"})
    assert all(c == 0 for c in (*lag.values(), *lead.values()))


def test_prototypes_are_class_means_with_momentum():
    first = trainer(PMR(subset=1.0)).run(1)
    start = trainer(PMR(subset=1.0))
    z = start.model.encode(start.train_data.x)["b"]
    for r in range(2):
        for k in range(3):
            expected = z[r][start.train_data.y[r] == k].mean(0)
            assert torch.allclose(first.method.prototypes["b"][r, k], expected, atol=1e-12)
    z = first.model.encode(first.train_data.x)["b"]
    old = first.method.prototypes["b"].clone()
    first.run(1)
    for k in range(3):
        mean = torch.stack([z[r][first.train_data.y[r] == k].mean(0) for r in range(2)])
        assert torch.allclose(first.method.prototypes["b"][:, k], 0.2 * old[:, k] + 0.8 * mean, atol=1e-12)


def test_momentum_one_freezes_the_first_prototypes():
    run = trainer(PMR(momentum=1.0, subset=1.0)).run(1)
    old = run.method.prototypes["a"].clone()
    assert torch.equal(run.run(1).method.prototypes["a"], old)


def test_the_prototype_gradient_of_one_encoder_ignores_the_other_modalities():
    run = trainer(PMR(subset=1.0)).run(1)
    batch = run.train_data
    shuffled = Batch({**batch.x, "b": batch.x["b"].flip(-2)}, batch.y)
    gradients = []
    for data in (batch, shuffled):
        step = Step(run.model, run.auxiliary, data, Phase(), 9, 0, run.draws, features=run.model.encode(data.x))
        own = step.cross_entropy(run.method.similarities(step)["a"]).sum()
        gradients.append(torch.autograd.grad(own, run.model.encoders["a"].layers[0], retain_graph=True)[0])
        joint = step.cross_entropy(run.model.fuse(step.features)).sum()
        gradients.append(torch.autograd.grad(joint, run.model.encoders["a"].layers[0])[0])
    assert torch.equal(gradients[0], gradients[2])
    assert not torch.allclose(gradients[1], gradients[3])


def test_the_entropy_term_ends():
    runs = [trainer(PMR(entropy_epochs=e, mu=0.5)).run(1).flat.data for e in (0, 1, 9)]
    assert torch.equal(runs[1], runs[2])
    assert not torch.equal(runs[0], runs[1])
    without = trainer(PMR(mu=0.0)).run(1).flat.data
    assert torch.equal(runs[0], without)


@pytest.mark.parametrize("bad", [{"alpha": -1.0}, {"mu": -1.0}, {"subset": 0.0}, {"momentum": 1.1}, {"ratio": "x"}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="pmr"):
        PMR(**bad)
