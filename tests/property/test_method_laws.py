"""Laws of every registered method: neutral is joint, active acts, names not positions, stacked is separate, resumed is uninterrupted."""

import functools

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.methods import AUG, METHODS, MSES, MSLR, Greedy, InfoReg, Joint, Relearning, Valuation
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

WIDTHS = {"a": (6, 7, 5), "b": (4, 7, 5), "c": (3, 5)}
CLASSES, N = 3, 24
SETTINGS = Settings(epochs=2, batch_size=10, lr=0.05)
NAMES = [m for m in sorted(METHODS) if m != "joint"]
NEUTRAL = [m for m in NAMES if METHODS[m]().neutral() is not None]


SHORT = {
    "aug": lambda: AUG(every=1),
    "valuation": lambda: Valuation(warmup=0),
    "greedy": lambda: Greedy(start=0),
    "inforeg": lambda: InfoReg(gap=0.0),
    "mses": lambda: MSES(patience=1, tolerance=10.0),
    "relearning": lambda: Relearning(every=1),
    "mslr": lambda: MSLR(first=0, measure="score"),
}
"""What acts within two epochs, for methods whose defaults wait longer."""


def made(name):
    return SHORT.get(name, METHODS[name])()


def builder(fusion, order, dtype):
    def build(draws):
        encoders = {m: MLPEncoder(WIDTHS[m], draws=draws, name=m, dtype=dtype) for m in order}
        head = FUSIONS[fusion](dict.fromkeys(order, 5), CLASSES, draws=draws, dtype=dtype)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    return build


def samples(order, dtype, replicates, name="train"):
    """Modality a says most about the label, c nothing: there is an imbalance to act on."""
    draws = Stream(7).child(name).draws(range(replicates))
    y = draws.integers("y", CLASSES, N)
    loud = {"a": 3.0, "b": 1.0, "c": 0.0}
    x = {m: draws.normal(m, N, WIDTHS[m][0]) for m in sorted(order)}
    for m, z in x.items():
        z[..., :CLASSES] += loud[m] * torch.nn.functional.one_hot(y, CLASSES)
    return Batch({m: x[m].to(dtype) for m in order}, y)


def one(data, r):
    return Batch({m: v[r] for m, v in data.x.items()}, data.y[r])


def fresh(method, fusion="concat", order="ab", dtype=torch.float64, replicates=2, alone=None):
    data, held = (samples(order, dtype, replicates, name) for name in ("train", "validation"))
    stream = Stream(1)
    if alone is not None:
        data, held, stream = one(data, alone), one(held, alone), stream.child(alone)
    return Trainer(
        builder(fusion, order, dtype),
        method,
        data,
        settings=SETTINGS,
        stream=stream,
        replicates=None if alone is not None else range(replicates),
        validation=held,
    )


@functools.cache
def joint(fusion, order, dtype):
    return by_name(fresh(Joint(), fusion, order, dtype).run())


def by_name(trainer):
    """The model's own parameters (no auxiliary ones), by name."""
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("fusion", "order"), [("concat", "ab"), ("film", "abc"), ("sum", "abc")])
@pytest.mark.parametrize("name", NEUTRAL)
def test_neutral_setting_is_joint_training_bit_for_bit(name, fusion, order, dtype):
    neutral = METHODS[name]().neutral()
    found = by_name(fresh(neutral, fusion, order, dtype).run())
    for key, p in joint(fusion, order, dtype).items():
        assert torch.equal(found[key], p), key


@pytest.mark.parametrize(("fusion", "order"), [("concat", "ab"), ("film", "abc")])
@pytest.mark.parametrize("name", NAMES)
def test_an_active_method_changes_training_in_every_replicate(name, fusion, order):
    found = by_name(fresh(made(name), fusion, order).run())
    reference = joint(fusion, order, torch.float64)
    if set(found) != set(reference):
        return  # it trains other parameters than joint training does
    changed = torch.stack([(found[k] - p).abs().flatten(1).amax(-1) for k, p in reference.items()]).amax(0)
    assert (changed > 1e-9).all()
    assert all(p.isfinite().all() for p in found.values())


@pytest.mark.parametrize(("order", "other"), [("ab", "ba"), ("abc", "cab")])
@pytest.mark.parametrize("fusion", ["sum", "film"])
@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_modalities_does_not_matter(name, fusion, order, other):
    here, there = (by_name(fresh(made(name), fusion, o).run()) for o in (order, other))
    assert max((here[k] - there[k]).abs().max() for k in here) <= 1e-9


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("fusion", "order"), [("concat", "ab"), ("film", "abc")])
@pytest.mark.parametrize("name", sorted(METHODS))
def test_stacked_replicates_are_separate_ones(name, fusion, order, dtype, tolerance):
    together = fresh(made(name), fusion, order, dtype).run()
    said = together.predict(together.train_data)
    assert said.isfinite().all()
    for r in range(2):
        alone = fresh(made(name), fusion, order, dtype, alone=r).run()
        assert (together.flat.data[r] - alone.flat.data).abs().max() <= tolerance
        assert (said[r] - alone.predict(alone.train_data)).abs().max() <= 10 * tolerance


@pytest.mark.parametrize(("fusion", "order"), [("concat", "ab"), ("sum", "abc")])
@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(name, fusion, order):
    whole = fresh(made(name), fusion, order).run()
    half = fresh(made(name), fusion, order).run(1)
    resumed = fresh(made(name), fusion, order)
    resumed.load_state_dict(half.state_dict())
    resumed.run(1)
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key
    assert torch.equal(resumed.predict(whole.train_data), whole.predict(whole.train_data))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_card_says_what_it_must(name):
    card = METHODS[name].card
    assert card.name == name
    assert card.source
    assert card.summary.endswith(".")
    assert card.cost
    assert bool(card.neutral) == (METHODS[name]().neutral() is not None)


STRENGTHS = {
    "agm": ("alpha", 0.5, 2.0),
    "amco": ("p", 0.0, 0.9),
    "amss": ("temperature", 0.1, 1.0),
    "amss-plus": ("temperature", 0.1, 1.0),
    "cml": ("lam", 0.0, 2.0),
    "inforeg": ("beta", 0.0, 2.0),
    "lfm": ("start", 0.2, 1.0),
    "mbsd": ("lam", 0.0, 2.0),
    "mie": ("rho", 0.01, 0.2),
    "mla": ("alpha", 0.05, 1.0),
    "mmcosine": ("scale", 3.0, 10.0),
    "ogm": ("alpha", 0.0, 1.0),
    "opm": ("q_base", 0.0, 0.8),
    "pmr": ("alpha", 0.0, 2.0),
    "uniform": ("weight", 0.0, 1.5),
}
"""A strength that may be a tensor, with two values."""


@pytest.mark.parametrize("name", sorted(STRENGTHS))
def test_every_replicate_may_have_a_strength_of_its_own(name):
    keyword, *values = STRENGTHS[name]
    mixed = torch.tensor(values, dtype=torch.float64)
    together = fresh(METHODS[name](**{keyword: mixed}), "concat", "abc").run()
    for r, value in enumerate(values):
        alone = fresh(METHODS[name](**{keyword: value}), "concat", "abc", alone=r).run()
        for p, q in zip(together.model.parameters(), alone.model.parameters(), strict=True):
            assert (p[r] - q).abs().max() <= 1e-10


@pytest.mark.parametrize("name", sorted(METHODS))
def test_awkward_data_are_trained_on(name):
    """A batch of one, a class that never comes, a modality absent here and there, and one sample without any."""
    trainer = fresh(made(name), "film", "abc")
    data = trainer.train_data.rows(slice(0, 21))
    heard = {m: torch.arange(21).expand(2, 21) % (3 + i) != 1 for i, m in enumerate("bc")}
    heard["a"] = torch.arange(21).expand(2, 21) != 1
    partial = Batch(data.x, data.y % 2, heard)
    run = Trainer(
        trainer.build,
        made(name),
        partial,
        settings=SETTINGS,
        stream=Stream(1),
        replicates=range(2),
        validation=partial,
    ).run()
    assert not run.stopped
    assert run.flat.data.isfinite().all()
    assert run.predict(partial).isfinite().all()


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_replicate_that_breaks_is_stopped_and_leaves_the_others_alone(name):
    sound = fresh(made(name), "concat", "abc").run()
    broken = fresh(made(name), "concat", "abc")
    broken.train_data.x["a"][0] = torch.nan
    broken.run()
    assert broken.stopped == {0: 0}
    assert (sound.flat.data[1] - broken.flat.data[1]).abs().max() <= 1e-12
    assert broken.flat.data[0].isfinite().all()
