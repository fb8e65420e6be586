"""I2M2's product is Bayes' rule where it should be; UmURL's labels reach the probe alone, and its hinge keeps codes apart."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.methods import I2M2, METHODS
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.testing.strategies import streams
from mmtheory.training import Settings, Trainer


def build(draws):
    encoders = {m: MLPEncoder((4, 8, 5), draws=draws, name=m, dtype=torch.float64) for m in "ab"}
    head = FUSIONS["concat"](dict.fromkeys("ab", 5), 3, draws=draws, dtype=torch.float64)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


def data(n=60):
    draws = Stream(3).draws()
    y = draws.integers("y", 3, n)
    means = draws.normal("means", 3, 4)
    return Batch({m: means[y] + draws.normal(m, n, 4) for m in "ab"}, y)


def trainer(method, epochs=3, lr=0.05, **settings):
    return Trainer(
        build, method, data(), settings=Settings(epochs=epochs, batch_size=20, lr=lr, **settings), stream=Stream(1)
    )


@given(streams("experts"), st.integers(2, 4), st.integers(2, 4))
@settings(max_examples=25)
def test_the_product_of_calibrated_experts_is_the_posterior(stream, classes, count):
    """Modalities independent given the label: prior as joint expert and p(y | x_m) as the others give p(y | x_1 … x_M)."""
    draws = stream.draws()
    names = "abcd"[:count]
    prior = draws.normal("prior", classes).softmax(-1)
    given_label = {m: draws.normal(m, classes, 7).softmax(-1) for m in names}
    symbols = {m: draws.integers(f"x {m}", 7, 11) for m in names}
    single = {m: (prior[:, None] * t)[:, symbols[m]].T.log() for m, t in given_label.items()}
    method = I2M2()
    method.log_prior = prior.log()
    product = method.product(prior.log().expand(11, classes), single, {}).softmax(-1)
    joint = prior.expand(11, classes).clone()
    for m, table in given_label.items():
        joint = joint * table[:, symbols[m]].T
    torch.testing.assert_close(product, joint / joint.sum(-1, keepdim=True), rtol=1e-10, atol=1e-12)


def test_an_absent_expert_leaves_with_its_prior():
    method = I2M2()
    method.log_prior = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64).log()
    draws = Stream(0).draws()
    joint, own = draws.normal("joint", 6, 3), {m: draws.normal(m, 6, 3) for m in "ab"}
    there = torch.tensor([True, False, True, False, True, False])
    some = method.product(joint, own, {"b": there})
    alone = method.product(joint, {"a": own["a"]}, {})
    both = method.product(joint, own, {})
    torch.testing.assert_close(some, torch.where(there[:, None], both, alone), rtol=0, atol=1e-14)


def test_the_prior_is_that_of_the_training_labels_and_comes_back():
    run = trainer(I2M2()).run()
    counts = 1 + torch.bincount(run.train_data.y, minlength=3).double()
    torch.testing.assert_close(run.method.log_prior.double(), (counts / counts.sum()).log(), rtol=1e-6, atol=1e-6)
    other = I2M2()
    other.load_state_dict(run.method.state_dict())
    assert other.log_prior.equal(run.method.log_prior)
    assert trainer(I2M2(prior=False)).run().method.log_prior.eq(0).all()


def test_pre_training_is_each_experts_own_loss():
    """Before the product every expert learns by itself, so the first epochs differ from those from scratch."""
    alone, product = trainer(I2M2(pretrain=3)).run(), trainer(I2M2()).run()
    assert not alone.flat.data.equal(product.flat.data)
    uniform = trainer(METHODS["uniform"]()).run()
    torch.testing.assert_close(alone.flat.data, uniform.flat.data, rtol=1e-9, atol=1e-12)


def test_labels_reach_the_probe_alone():
    """Without any consistency the encoders stay where they were; supervised, they move."""
    quiet = {"agreement": 0.0, "variance": 0.0, "covariance": 0.0}
    for supervised in (False, True):
        run = trainer(METHODS["umurl"](**quiet, supervised=supervised), weight_decay=0.0)
        before = {m: [p.clone() for p in run.model.owned(m)] for m in "ab"}
        probe = [p.clone() for p in run.auxiliary["probe:shared"].parameters()]
        run.run()
        moved = any(not p.equal(q) for m in "ab" for p, q in zip(run.model.owned(m), before[m], strict=True))
        assert moved is supervised
        assert any(not p.equal(q) for p, q in zip(run.auxiliary["probe:shared"].parameters(), probe, strict=True))


@torch.no_grad()
def spread(run):
    """Mean standard deviation of the fused stream, by its own prediction's input."""
    features = run.model.encode(run.train_data.x)
    embedded = {m: run.auxiliary[f"embed:{m}"](z) for m, z in features.items()}
    fused = run.auxiliary["stream:shared"](sum(embedded.values()) / 2).relu()
    return float(run.auxiliary["project:a"](fused).std(-2).mean())


def test_the_hinge_keeps_codes_apart():
    """Agreement alone collapses the codes; the variance hinge does not let it."""
    alone = trainer(METHODS["umurl"](variance=0.0, covariance=0.0), epochs=60, lr=0.005).run()
    held = trainer(METHODS["umurl"](), epochs=60, lr=0.005).run()
    assert spread(held) > 5 * spread(alone)
