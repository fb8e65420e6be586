"""MinVI's pipeline through the one loop, and the machines on binary data: objectives, directions, states, stacking, refusals."""

import itertools

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS, Boltzmann, MinVI
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

WIDTHS = {"a": 6, "b": 5, "c": 4}
OBJECTIVES = ("mp", "ml", "percloss", "hybrid", "subset")


def build(names):
    def made(draws):
        encoders = {m: MLPEncoder((WIDTHS[m], 7), draws=draws, name=m, dtype=torch.float64) for m in names}
        head = FUSIONS["sum"](dict.fromkeys(names, 7), 3, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    return made


def data(names="ab", n=40, replicates=None, bits=False, absent=()):
    """A hidden cause with three values behind every modality; in bits the cause switches units on."""
    draws = Stream(3).draws(None if replicates is None else range(replicates))
    y = draws.integers("y", 3, n)
    cause = torch.nn.functional.one_hot(y, 3).double()
    x = {}
    for m in names:
        drive = 4 * cause @ Stream(4).child(m).draws().normal("mix", 3, WIDTHS[m])
        x[m] = (
            (draws.uniform(m, n, WIDTHS[m]) < torch.sigmoid(drive)).double()
            if bits
            else drive + draws.normal(m, n, WIDTHS[m])
        )
    return Batch(x, y, {m: draws.uniform(f"present {m}", n) < 0.6 for m in absent})


def trainer(method, batch, names="ab", epochs=3, replicates=None, lr=0.02, optimiser="adam"):
    config = Settings(epochs=epochs, batch_size=16, lr=lr, optimiser=optimiser, weight_decay=0.0)
    over = None if replicates is None else range(replicates)
    return Trainer(build(names), method, batch, settings=config, stream=Stream(1), replicates=over)


def owned(run, owner):
    return run.flat.data[..., run.flat.columns[owner]].clone()


def test_before_fine_tuning_labels_reach_the_classifier_alone():
    """Other labels, same pathways and shared layer, until the labels are let in."""
    batch = data()
    other = Batch(batch.x, (batch.y + 1) % 3)
    for pretrain, same in ((3, True), (2, False)):
        runs = [trainer(MinVI(pretrain=pretrain), b).run() for b in (batch, other)]
        for owner in ("a", "path:a", "data:b", "top:a", "top:shared"):
            assert owned(runs[0], owner).equal(owned(runs[1], owner)) is same, owner
        assert not owned(runs[0], "head:shared").equal(owned(runs[1], "head:shared"))


def test_a_direction_trains_its_own_read_out_alone():
    for direction, moved in (("a->b", "b"), ("b->a", "a"), ("->a", "a")):
        run = trainer(MinVI(direction=direction), data())
        before = {m: owned(run, f"data:{m}") for m in "ab"}
        run.run()
        assert [m for m in "ab" if not owned(run, f"data:{m}").equal(before[m])] == [moved]


def test_pre_training_predicts_what_another_modality_knows():
    """The squared error of standardised data falls well below one half, which is what their mean would leave."""
    batch = data("abc", n=200)
    run = trainer(MinVI(pretrain=30), batch, "abc", epochs=30)
    losses = []

    def watch(step, _gradients, by_hand):
        if step.index == 0 and step.epoch in {0, 29}:
            losses.append(float(run.method.variation(step).detach()))

    run.watch = watch
    run.run()
    ceiling = 3 / 2
    assert losses[-1] < 0.5 * ceiling < 0.7 * losses[0]
    gone = {m: torch.zeros_like(batch.y, dtype=torch.bool) for m in "ab"}
    heard = run.predict(Batch(batch.x, batch.y, gone))
    assert (heard.argmax(-1) == batch.y).double().mean() > 0.6


@pytest.mark.parametrize("options", [{}, {"keep": 0.5}, {"direction": "->b", "sweeps": 0}])
def test_absent_values_do_not_matter(options):
    """What stands in the place of an absent sample reaches neither the parameters nor the predictions."""
    batch = data("abc", absent="ac")
    noise = Stream(9).draws()
    other = {
        m: torch.where(batch.present[m].unsqueeze(-1), v, noise.normal(m, *v.shape)) if m in batch.present else v
        for m, v in batch.x.items()
    }
    runs = [
        trainer(MinVI(pretrain=1, **options), Batch(x, batch.y, batch.present), "abc").run() for x in (batch.x, other)
    ]
    torch.testing.assert_close(runs[0].flat.data, runs[1].flat.data, rtol=0, atol=1e-12)
    said = [r.predict(Batch(x, batch.y, batch.present)) for r, x in zip(runs, (batch.x, other), strict=True)]
    torch.testing.assert_close(said[0], said[1], rtol=0, atol=1e-12)


def test_more_numbers_than_the_most_are_averaged(monkeypatch):
    monkeypatch.setattr("mmtheory.methods.minvi.MOST", 4)
    run = trainer(MinVI(), data()).run()
    assert run.auxiliary["data:a"].weight.shape[-1] == 4
    assert run.flat.data.isfinite().all()


@pytest.mark.parametrize("bad", [{"sweeps": -1}, {"pretrain": -1}, {"units": 0}, {"hidden": 0}])
def test_minvi_refuses_numbers(bad):
    with pytest.raises(ArgumentError, match="minvi: expected pretrain, sweeps >= 0 and units, hidden >= 1"):
        METHODS["minvi"](**bad)


def test_minvi_refuses_the_rest():
    with pytest.raises(ArgumentError, match=r"minvi: keep: expected a number in \[0, 1\], found 2"):
        MinVI(keep=2.0)
    with pytest.raises(ArgumentError, match="minvi: weight"):
        MinVI(-1.0)
    with pytest.raises(
        ArgumentError, match="directions: expected a direction like both, ->a, a->b among a, b, found 'a->q'"
    ):
        trainer(MinVI(direction="a->q"), data())
    with pytest.raises(ArgumentError, match="two modalities or more, found a"):
        trainer(MinVI(), data("a"), "a")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_stacked_machines_are_separate_ones_and_resume(objective):
    method = {"objective": objective, "keep": 0.5, "hidden": 8, "chains": 10, "steps": 2}
    batch = data(replicates=2, bits=True)
    together = trainer(Boltzmann(**method), batch, replicates=2).run()
    for r in range(2):
        mine = Batch({m: v[r] for m, v in batch.x.items()}, batch.y[r])
        alone = Trainer(
            build("ab"), Boltzmann(**method), mine, settings=together.settings, stream=Stream(1).child(r)
        ).run()
        assert (together.flat.data[r] - alone.flat.data).abs().max() <= 1e-10
    half = trainer(Boltzmann(**method), batch, replicates=2).run(1)
    resumed = trainer(Boltzmann(**method), batch, replicates=2)
    resumed.load_state_dict(half.state_dict())
    resumed.run()
    for name, value in together.state_dict().items():
        assert resumed.state_dict()[name].equal(value), name


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_learns_what_one_modality_knows_of_the_other(objective):
    """From one modality the shared layer tells the label better than the most frequent class would."""
    batch = data(n=200, bits=True)
    run = trainer(
        Boltzmann(objective, keep=0.5 if objective == "subset" else 0.0, hidden=16, steps=3), batch, epochs=25
    ).run()
    gone = {"b": torch.zeros_like(batch.y, dtype=torch.bool)}
    assert (run.predict(Batch(batch.x, batch.y, gone)).argmax(-1) == batch.y).double().mean() > 0.55
    assert all(owned(run, m).equal(owned(trainer(Boltzmann(), batch), m)) for m in "ab")


def test_the_deep_network_needs_its_layers_pre_trained():
    """From small weights it stays at what the modalities' means leave; greedy layers first, it comes near what the cause leaves."""
    batch = data("abc", n=200, bits=True)
    options = {"layers": 2, "units": 8, "hidden": 12, "deviation": 0.1, "sweeps": 3}

    def left(p):
        return float(-(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)).sum())

    def loss(run, **more):
        return float(run.method.network(run.auxiliary).loss(batch.x, sweeps=3, **more).detach())

    means = sum(left(x.mean(0)) for x in batch.x.values())
    cause = sum(
        left(x[batch.y == k].mean(0)) * float((batch.y == k).double().mean())
        for x in batch.x.values()
        for k in range(3)
    )
    plain = trainer(Boltzmann(**options), batch, "abc", epochs=10).run()
    assert loss(plain) > means - 0.1
    run = trainer(Boltzmann(greedy=20, **options), batch, "abc", epochs=90).run()
    assert loss(run) < cause + 0.2 * (means - cause)
    fine = trainer(Boltzmann(direction="->c", keep=0.1, **options), batch, "abc", epochs=100)
    fine.start_from(run)
    fine.run()
    assert loss(fine, direction="->c") < loss(run, direction="->c")


def test_layers_move_one_after_another():
    batch = data(bits=True)
    run = trainer(Boltzmann(layers=2, units=4, greedy=1), batch)
    weights = [run.auxiliary[name].weight for name in ("path 0:a", "path 1:a")]
    seen = [[w.detach().clone() for w in weights]]
    for _ in range(3):
        run.run(1)
        seen.append([w.detach().clone() for w in weights])
    moved = [[not p.equal(q) for p, q in zip(*pair, strict=True)] for pair in itertools.pairwise(seen)]
    assert moved == [[True, False], [False, True], [True, True]]


def test_supervised_lets_the_labels_in():
    batch = data(bits=True)
    other = Batch(batch.x, (batch.y + 1) % 3)
    for supervised, same in ((None, True), (1, False)):
        one, two = (owned(trainer(Boltzmann(supervised=supervised), b).run(), "top:a") for b in (batch, other))
        assert one.equal(two) is same


def test_the_released_options_act():
    """A horizon that grows to its end is the whole gradient from then on; sparsity moves the hidden means to where they cost least."""
    batch = data(bits=True, n=60)
    plain = trainer(Boltzmann(sweeps=3), batch).run()
    for options, same in (
        ({"horizon": 3}, True), ({"horizon": 9, "grow": 0}, True), ({"horizon": 3, "grow": 2}, False), ({"doubling": False}, False),
    ):  # fmt: skip
        assert trainer(Boltzmann(sweeps=3, **options), batch).run().flat.data.equal(plain.flat.data) is same, options
    sparse = trainer(Boltzmann(sparsity=30.0, active=0.2, hidden=6), batch, epochs=60).run()
    means = sparse.method.shared(sparse.model, sparse.auxiliary, batch).mean(-2).detach()
    assert (means - 0.2).abs().max() < 0.12


def test_boltzmann_refuses():
    with pytest.raises(ArgumentError, match=r"rbm: expected visibles of a in \[0, 1\]"):
        trainer(Boltzmann(), data()).run()
    with pytest.raises(ArgumentError, match="an objective among mp, ml, percloss, hybrid, subset, found 'vae'"):
        Boltzmann("vae")
    for bad in ({"sweeps": -1}, {"layers": -1}, {"steps": 0}, {"chains": 0}, {"hidden": 0}, {"greedy": -1}):
        with pytest.raises(ArgumentError, match="boltzmann: expected sweeps, layers, greedy >= 0"):
            Boltzmann(**bad)
    for bad in ({"alpha": 2.0}, {"keep": -1.0}):
        with pytest.raises(ArgumentError, match="alpha and keep in"):
            Boltzmann(**bad)
    for bad in ({"horizon": -1}, {"grow": -1}, {"sparsity": -0.1}, {"active": 1.0}):
        with pytest.raises(ArgumentError, match="horizon, grow, sparsity >= 0 and active in"):
            Boltzmann(**bad)
    with pytest.raises(ArgumentError, match="expected objective mp with layers, found ml"):
        Boltzmann("ml", layers=1)
    with pytest.raises(ArgumentError, match="directions: expected a direction"):
        trainer(Boltzmann(direction="up"), data(bits=True))
