"""MLA: the projection is a recursive inverse, keeps off seen means, leaves the others alone; the surer modality weighs more."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import MLA
from mmtheory.methods._late import entropy, entropy_weights, late_average
from mmtheory.methods.mla import HEAD, recursive_projection
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

SEEDS = st.integers(0, 2**32)
WIDTHS = {"a": (4, 6), "b": (3, 6), "c": (2, 6)}


def build(draws):
    encoders = {m: MLPEncoder(w, draws=draws, name=m, dtype=torch.float64) for m, w in WIDTHS.items()}
    head = FUSIONS["sum"](dict.fromkeys(WIDTHS, 6), 3, draws=draws, dtype=torch.float64)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


def trainer(method, *, epochs=1, batch=20, make=build, **settings):
    draws = Stream(3).draws(range(2))
    data = Batch({m: draws.normal(m, 20, w[0]) for m, w in WIDTHS.items()}, draws.integers("y", 3, 20))
    chosen = Settings(epochs=epochs, batch_size=batch, **settings)
    return Trainer(make, method, data, settings=chosen, stream=Stream(0), replicates=range(2))


@given(SEEDS, st.integers(1, 8), st.integers(1, 6))
def test_the_projection_is_a_recursive_inverse(seed, d, steps):
    draws = Stream(seed).draws(range(3))
    hs, alphas = draws.normal("h", steps, d), 0.01 + draws.uniform("alpha", steps)
    p, before = torch.eye(d, dtype=torch.float64).expand(3, d, d), None
    for j in range(steps):
        before, p = p, recursive_projection(p, hs[:, j], alphas[:, j])
        assert torch.equal(p, p.mT)
        assert torch.linalg.eigvalsh(before - p).min() >= -1e-12
    eigenvalues = torch.linalg.eigvalsh(p)
    assert eigenvalues.min() > 0
    assert eigenvalues.max() <= 1 + 1e-12
    outer = (hs.mT / alphas.unsqueeze(-2)) @ hs
    assert torch.allclose(p, torch.linalg.inv(torch.eye(d, dtype=torch.float64) + outer), atol=1e-9)
    moved = torch.linalg.vector_norm(p @ hs.mT, dim=-2)
    assert (moved < alphas.sqrt()).all()


@given(SEEDS)
def test_the_order_of_means_does_not_matter_at_constant_alpha(seed):
    hs = Stream(seed).draws().normal("h", 4, 5)
    ends = []
    for order in (hs, hs.flip(0)):
        p = torch.eye(5, dtype=torch.float64)
        for h in order:
            p = recursive_projection(p, h, 0.1)
        ends.append(p)
    assert torch.allclose(*ends, atol=1e-12)


@given(SEEDS)
def test_small_alpha_projects_off_the_seen_means(seed):
    hs = Stream(seed).draws().normal("h", 3, 6)
    p = torch.eye(6, dtype=torch.float64)
    for h in hs:
        p = recursive_projection(p, h, 1e-12)
    assert (p @ hs.mT).abs().max() <= 1e-5
    q = torch.linalg.qr(hs.mT).Q
    assert torch.allclose(p, torch.eye(6, dtype=torch.float64) - q @ q.mT, atol=1e-5)


class Watching(MLA):
    """Records the head and everybody's parameters around every pass."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen, self.needs = [], frozenset({"update"})

    def on_update(self, step, before, flat):
        super().on_update(step, before, flat)
        old, new = (flat.views(t, HEAD)[0].clone() for t in (before, flat.data))
        mean = step.features[step.phase.name].detach().mean(-2).clone()
        self.seen.append((step.phase.name, old, new, mean, before, flat.data.clone()))


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_in_update_space_no_step_moves_what_the_head_says_of_a_seen_mean(optimiser):
    method = Watching(1e-10, alpha_end=1e-10, space="update")
    run = trainer(method, epochs=2, lr=0.05, optimiser=optimiser, momentum=0.9, weight_decay=0.01).run()
    means = []
    for _, old, new, mean, *_ in method.seen:
        for h in means:
            assert (h.unsqueeze(-2) @ (new - old)).abs().max() <= 1e-5
        means.append(mean)
    first = method.seen[0]
    assert (first[2] - first[1]).abs().max() > 1e-4
    assert run.alive.all()


def test_in_gradient_space_momentum_and_decay_move_it_again():
    method = Watching(1e-10, alpha_end=1e-10)
    trainer(method, epochs=3, lr=0.05, momentum=0.9, weight_decay=0.1).run()
    h = method.seen[0][3]
    assert max((h.unsqueeze(-2) @ (new - old)).abs().max() for _, old, new, *_ in method.seen[3:]) > 1e-4


def test_a_pass_leaves_the_other_encoders_and_their_momentum_alone():
    method = Watching()
    run = trainer(method, epochs=2, batch=7, weight_decay=0.01)
    run.run()
    for name, _, _, _, before, after in method.seen:
        for owner, columns in run.flat.columns.items():
            moved = not torch.equal(before[:, columns], after[:, columns])
            assert moved == (owner in {name, HEAD})


def test_the_projection_is_live():
    plain, projected = (trainer(MLA(projection=p), epochs=2).run().flat.data for p in ("off", "rls"))
    assert (plain - projected).abs().max() > 1e-6


@given(SEEDS, st.integers(2, 5))
def test_prediction_weights(seed, modalities):
    logits = {str(m): Stream(seed).draws().normal(m, 7, 4) for m in range(modalities)}
    weights = entropy_weights(logits)
    w, h = torch.stack(list(weights.values())), torch.stack([entropy(f) for f in logits.values()])
    assert (w > 0).all()
    assert torch.allclose(w.sum(0), torch.ones(7, dtype=torch.float64))
    assert torch.equal(w.argsort(0), (-h).argsort(0))
    published = torch.exp(h.amax(0) - h) / torch.exp(h.amax(0) - h).sum(0)
    assert torch.allclose(w, published)
    same = dict.fromkeys(logits, logits["0"])
    assert torch.allclose(late_average(same, {}, entropy_weights(same)), logits["0"])


def test_absent_modalities_have_no_say():
    run = trainer(MLA()).run()
    data = run.train_data
    gone = torch.zeros(2, 20, dtype=torch.bool)
    said = run.predict(Batch(data.x, data.y, {"a": gone, "b": gone}))
    alone = run.auxiliary[HEAD](run.model.encode(data.x)["c"])
    assert torch.allclose(said, alone)
    nobody = run.predict(Batch(data.x, data.y, dict.fromkeys("abc", gone)))
    assert torch.equal(nobody, torch.zeros_like(nobody))


def test_unequal_widths_are_refused_with_the_alternatives():
    def uneven(draws):
        encoders = {m: MLPEncoder((w[0], 3 + i), draws=draws, name=m) for i, (m, w) in enumerate(WIDTHS.items())}
        head = FUSIONS["sum"]({m: e.width for m, e in encoders.items()}, 3, draws=draws)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    with pytest.raises(ArgumentError, match=r"one width.*ume"):
        trainer(MLA(), make=uneven)


@pytest.mark.parametrize("bad", [{"alpha": 0.0}, {"projection": "x"}, {"space": "x"}, {"blend": "x"}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ArgumentError, match="mla: expected"):
        MLA(**bad)
