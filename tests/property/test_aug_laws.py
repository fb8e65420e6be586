"""Laws of AUG: who gets another classifier, which losses it trains, what it leaves alone."""

import pytest
import torch
from torch.nn.functional import one_hot

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import AUG
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

R, N, MOST, HIDDEN = 3, 24, 3, 4


def trainer(method, order="abc", **options):
    def build(draws):
        encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in order}
        head = FUSIONS["film" if len(order) > 1 else "sum"](
            dict.fromkeys(order, 5), 3, draws=draws, dtype=torch.float64
        )
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    draws = Stream(3).draws(range(R))
    y = draws.integers("y", 3, N)
    x = {m: draws.normal(m, N, 4) for m in order}
    x["a"][..., :3] += 3 * one_hot(y, 3)
    config = Settings(**({"epochs": 4, "batch_size": 8, "lr": 0.05} | options))
    return Trainer(build, method, Batch(x, y), settings=config, stream=Stream(1), replicates=range(R))


def reference(t, count, lam):
    """The paper's losses classifier by classifier, replicate by replicate, with one-hot residual labels."""
    total = torch.zeros((), dtype=torch.float64)
    last = t.auxiliary["last layer"]
    for r in range(R):
        label = one_hot(t.train_data.y[r], 3).double()
        for m in "abc":
            z = t.model.encoders[m](t.train_data.x[m])[r]
            head = t.auxiliary[f"head:{m}"]
            inner = (z @ head.weight[r] + head.bias[r]).relu()
            f = [inner[:, HIDDEN * j : HIDDEN * (j + 1)] @ last.weight[r] + last.bias[r] for j in range(MOST)]
            k = int(count[m][r])
            p = [logits.softmax(-1).detach() for logits in f]
            rest = (label - lam * sum((label * q for q in p[: k - 1]), torch.zeros_like(label))).clamp(min=0)
            loss = -(rest * f[k - 1].log_softmax(-1)).sum(-1) - (label * sum(f[:k]).log_softmax(-1)).sum(-1)
            if k > 1:
                loss = loss - (label * sum(f[: k - 1]).log_softmax(-1)).sum(-1)
            total = total + loss.mean()
    return total


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_the_step_is_the_gradient_of_the_papers_losses_whatever_each_replicate_owns(lam):
    method = AUG(lam, most=MOST, hidden=HIDDEN)
    t = trainer(method, epochs=1, batch_size=N, lr=1.0, weight_decay=0.0, momentum=0.0)
    count = {"a": [1.0, 2.0, 3.0], "b": [2.0, 1.0, 1.0], "c": [3.0, 3.0, 1.0]}
    method.count = {m: torch.tensor(v, dtype=torch.float64) for m, v in count.items()}
    parts = torch.autograd.grad(reference(t, count, lam), t.flat.parameters, allow_unused=True)
    expected, before = t.flat.gather(parts), t.flat.data.clone()
    assert (before - t.run().flat.data - expected).abs().max() <= 1e-12


def test_the_fusion_is_neither_asked_nor_moved():
    t = trainer(AUG())
    shared = t.flat.columns["shared"]
    before = t.flat.data[:, shared].clone()
    t.run()
    assert torch.equal(t.flat.data[:, shared], before)


def test_only_who_lags_is_boosted_and_never_beyond_the_most():
    """Modality a says much about the label, b and c nothing."""
    method = AUG(every=4, most=3)
    t = trainer(method, epochs=16)
    seen = []
    for _ in range(16):
        t.run(1)
        seen.append({m: v.clone() for m, v in method.count.items()})
    assert all((s["a"] == 1).all() for s in seen)
    assert all((seen[-1][m] == 3).all() for m in "bc")
    for m in "bc":
        steps = torch.stack([s[m] for s in seen]).diff(dim=0)
        assert ((steps == 0) | (steps == 1)).all()
    assert all((s["b"] == 1).all() for s in seen[:4])


def test_a_lag_for_each_replicate():
    method = AUG(every=1, tau=torch.tensor([0.01, torch.inf, 0.01], dtype=torch.float64))
    trainer(method).run()
    assert (method.count["b"] > 1).tolist() == [True, False, True]


def test_who_waits_gets_no_gradient():
    method = AUG(most=MOST, hidden=HIDDEN)
    t = trainer(method, weight_decay=0.0, epochs=2)
    before = t.auxiliary["head:b"].weight.detach().clone()
    t.run()
    after = t.auxiliary["head:b"].weight.detach()
    assert torch.equal(after[..., HIDDEN:], before[..., HIDDEN:])
    assert not torch.equal(after[..., :HIDDEN], before[..., :HIDDEN])


@pytest.mark.parametrize("options", [{"lam": 1.5}, {"every": 0}, {"tau": -1.0}, {"sigma": 0.0}, {"most": 0}, {"hidden": 0}])  # fmt: skip
def test_bad_settings_are_refused(options):
    with pytest.raises(ArgumentError, match="expected"):
        AUG(**options)


def test_one_modality_has_nobody_to_lag_behind():
    with pytest.raises(ArgumentError, match="at least two modalities"):
        trainer(AUG(), order="a")
