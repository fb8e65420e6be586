"""Laws of the one loop: closed form is autograd, a replicate that fell disturbs nobody, optimisers are PyTorch's, checkpoints resume."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, StoreError
from mmtheory.methods import METHODS, OGM, Joint, Method
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import (
    SGD,
    Adam,
    Constant,
    Cosine,
    Settings,
    Stairs,
    Trainer,
    Warmup,
    counted_cost,
    gather,
    load,
    predicted_cost,
    save,
)

WIDTHS = {"a": (6, 20, 5), "b": (4, 5)}
CLASSES, N = 3, 50


def builder(fusion="concat", dtype=torch.float32, classes=CLASSES):
    def build(draws):
        encoders = {m: MLPEncoder(w, draws=draws, name=m, dtype=dtype) for m, w in WIDTHS.items()}
        head = FUSIONS[fusion]({m: w[-1] for m, w in WIDTHS.items()}, classes, draws=draws, dtype=dtype)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    return build


def samples(replicates=None, dtype=torch.float32, n=N, classes=CLASSES):
    draws = Stream(7).draws(None if replicates is None else range(replicates))
    x = {m: draws.normal(m, n, w[0]).to(dtype) for m, w in WIDTHS.items()}
    return Batch(x, draws.integers("y", classes, n))


def fresh(method=None, replicates=3, *, settings=None, data=None, dtype=torch.float32, stream=None, **more):
    rows = None if replicates is None else range(replicates)
    return Trainer(
        builder(more.pop("fusion", "concat"), dtype, more.get("classes", CLASSES)),
        method or Joint(),
        samples(replicates, dtype, classes=more.pop("classes", CLASSES)) if data is None else data,
        settings=settings or Settings(epochs=3, batch_size=16, lr=0.05),
        stream=stream or Stream(1),
        replicates=rows,
        validation=samples(replicates, dtype),
        **more,
    )


@pytest.mark.parametrize("classes", [3, 20])
@pytest.mark.parametrize("fusion", ["concat", "sum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("replicates", [None, 1, 4])
def test_closed_form_is_autograd_bit_for_bit(replicates, dtype, fusion, classes):
    for method in (Joint, OGM):
        closed, graph = (
            fresh(method(), replicates, dtype=dtype, fusion=fusion, classes=classes, closed=way).run()
            for way in (True, False)
        )
        assert closed.closed is not None
        assert graph.closed is None
        assert torch.equal(closed.flat.data, graph.flat.data)


def test_only_plain_passes_of_our_own_networks_are_closed():
    assert fresh(METHODS["opm"]()).closed is None
    assert fresh(fusion="film").closed is None


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("closed", [True, False])
def test_a_replicate_whose_loss_is_nan_stops_and_the_others_never_notice(optimiser, closed):
    settings = Settings(epochs=3, batch_size=16, lr=0.05, optimiser=optimiser)
    sound, data = samples(4), samples(4)
    data.x["a"][2, 17] = math.nan
    reference, found = (fresh(replicates=4, settings=settings, data=d, closed=closed).run() for d in (sound, data))
    others = [0, 1, 3]
    assert torch.equal(found.flat.data[others], reference.flat.data[others])
    assert found.alive.tolist() == [True, True, False, True]
    assert found.stopped == {2: 0}
    assert found.flat.data[2].isfinite().all()
    frozen = found.flat.data[2].clone()
    assert torch.equal(found.run(1).flat.data[2], frozen)
    assert found.stopped == {2: 0}
    assert reference.stopped == {}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_under_no_method_does_a_fallen_replicate_touch_the_others(name):
    sound, data = samples(3, torch.float64), samples(3, torch.float64)
    data.x["a"][1, 17] = math.nan
    whole, found = (fresh(METHODS[name](), data=d, dtype=torch.float64).run() for d in (sound, data))
    assert found.alive.tolist() == [True, False, True]
    assert torch.equal(found.flat.data[[0, 2]], whole.flat.data[[0, 2]])
    assert found.flat.data[1].isfinite().all()


def test_one_plain_model_can_fall_too():
    data = samples()
    data.x["b"][3] = math.inf
    found = fresh(replicates=None, data=data).run()
    assert found.stopped == {0: 0}
    assert found.flat.data.isfinite().all()


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_rates_and_decays_of_each_replicate_are_its_own(name):
    lrs, decays = torch.tensor([0.1, 0.03, 0.01]), torch.tensor([0.0, 1e-2, 0.3])
    data = samples(3, torch.float64)
    together = fresh(
        data=data, dtype=torch.float64, settings=Settings(4, 16, name, lrs.double(), decays.double())
    ).run()
    for r in range(3):
        alone = fresh(
            replicates=None,
            dtype=torch.float64,
            stream=Stream(1).child(r),
            data=Batch({m: v[r] for m, v in data.x.items()}, data.y[r]),
            settings=Settings(4, 16, name, float(lrs.double()[r]), float(decays.double()[r])),
        ).run()
        assert (together.flat.data[r] - alone.flat.data).abs().max() <= 1e-10


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_optimisers_are_those_of_pytorch(name):
    draws = Stream(3).draws()
    start, slopes = draws.normal("start", 7), draws.normal("slopes", 30, 7)
    ours = start.clone()
    theirs = torch.nn.Parameter(start.clone())
    if name == "sgd":
        mine = SGD(ours, lr=0.1, weight_decay=0.02, momentum=0.9)
        other = torch.optim.SGD([theirs], lr=0.1, weight_decay=0.02, momentum=0.9)
    else:
        mine = Adam(ours, lr=0.1, weight_decay=0.02, decoupled=name == "adamw")
        kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
        other = kind([theirs], lr=0.1, weight_decay=0.02)
    for g in slopes:
        mine.step(g.clone(), slice(0, 7), 1.0)
        theirs.grad = g.clone()
        other.step()
    assert (ours - theirs.detach()).abs().max() <= 1e-12


def test_clipping_looks_at_each_replicate_alone():
    data = samples(2, torch.float64)
    data.x["a"][1] *= 1e3
    still = Settings(1, N, lr=1.0, weight_decay=0.0, momentum=0.0, clip=0.5)
    trainer = fresh(replicates=2, data=data, dtype=torch.float64, settings=still)
    before = trainer.flat.data.clone()
    moved = torch.linalg.vector_norm(trainer.run().flat.data - before, dim=-1)
    free = fresh(replicates=2, data=data, dtype=torch.float64, settings=Settings(1, N, "sgd", 1.0, 0.0, 0.0)).run()
    length = torch.linalg.vector_norm(free.flat.data - before, dim=-1)
    assert (moved - length.clamp(max=0.5)).abs().max() <= 1e-12
    assert length[1] > 0.5


def test_schedules_reach_the_optimiser():
    lr = 0.05
    halves = fresh(settings=Settings(2, 16, lr=lr, schedule=Stairs((0,), gamma=0.5))).run()
    plain = fresh(settings=Settings(2, 16, lr=lr / 2)).run()
    assert (halves.flat.data - plain.flat.data).abs().max() <= 1e-6
    none = fresh(settings=Settings(2, 16, lr=lr, schedule=lambda _epoch: 0.0))
    before = none.flat.data.clone()
    assert torch.equal(none.run().flat.data, before)
    rise = Warmup(2, Cosine(4))
    assert [round(rise(t), 4) for t in range(7)] == [0.3333, 0.6667, 1.0, 0.8536, 0.5, 0.1464, 0.0]
    assert Constant()(3) == 1.0


@pytest.mark.parametrize(
    "wrong", [lambda: Cosine(0), lambda: Cosine(3, floor=2.0), lambda: Stairs((3, 1)), lambda: Stairs((1,), gamma=0.0), lambda: Warmup(-1, Constant())]
)  # fmt: skip
def test_impossible_schedules_are_refused(wrong):
    with pytest.raises(ArgumentError, match="expected"):
        wrong()


@pytest.mark.parametrize(
    ("name", "optimiser"),
    [*((m, "adam") for m in sorted(METHODS)), ("joint", "sgd"), ("ogm-ge", "sgd"), ("opm", "adamw")],
)
def test_a_run_resumed_from_its_file_is_the_uninterrupted_one_bit_for_bit(name, optimiser, tmp_path):
    settings = Settings(3, 16, optimiser, 0.01, schedule=Cosine(3))
    whole = fresh(METHODS[name](), settings=settings).run()
    save(fresh(METHODS[name](), settings=settings).run(2), tmp_path / "half.safetensors")
    resumed = load(fresh(METHODS[name](), settings=settings), tmp_path / "half.safetensors").run()
    expected, found = whole.state_dict(), resumed.state_dict()
    assert set(expected) == set(found)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    assert torch.equal(resumed.predict(whole.train_data), whole.predict(whole.train_data))


def test_a_checkpoint_is_one_whole_file_of_tensors_and_json(tmp_path):
    path = tmp_path / "run.safetensors"
    trainer = fresh().run(1)
    save(trainer, path)
    save(trainer.run(1), path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]
    tensors = load_file(path)
    assert int(tensors["epoch"]) == 2
    blob = path.read_bytes()
    header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
    assert json.loads(header["__metadata__"]["mmtheory.trainer"])["method"] == "joint"


def test_foreign_and_damaged_checkpoints_are_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    save(fresh().run(1), path)
    with pytest.raises(StoreError, match="method"):
        load(fresh(OGM()), path)
    with pytest.raises(StoreError, match="seed"):
        load(fresh(stream=Stream(2)), path)
    with pytest.raises(StoreError, match="settings"):
        load(fresh(settings=Settings(3, 16, lr=0.5)), path)
    with pytest.raises(StoreError, match="found"):
        load(fresh(), tmp_path / "nowhere.safetensors")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StoreError, match="whole"):
        load(fresh(), path)
    save_file({"parameters": torch.zeros(3)}, path)
    with pytest.raises(StoreError, match="format"):
        load(fresh(), path)
    with pytest.raises(StoreError, match="written"):
        save(fresh(), tmp_path / "no folder" / "run.safetensors")


def test_batches_are_the_rows_that_the_order_names():
    own, shared = samples(3), samples()
    index = Stream(5).draws(range(3)).integers("rows", N, 11)
    for data in (own, shared):
        found = gather(data, index)
        for r in range(3):
            source = data if data is shared else Batch({m: v[r] for m, v in data.x.items()}, data.y[r])
            assert torch.equal(found.x["a"][r], source.x["a"][index[r]])
            assert torch.equal(found.y[r], source.y[index[r]])


def test_an_epoch_visits_every_sample_once_and_two_epochs_differ():
    seen = []

    class Watch(Method):
        card = Joint.card

        def losses(self, step):
            seen.append(step.batch.x["a"][..., 0].clone())
            return super().losses(step)

    trainer = fresh(Watch(), settings=Settings(2, 16)).run()
    first, second = torch.cat(seen[:4], -1), torch.cat(seen[4:], -1)
    assert torch.equal(first.sort(-1).values, trainer.train_data.x["a"][..., 0].sort(-1).values)
    assert torch.equal(first.sort(-1).values, second.sort(-1).values)
    assert not torch.equal(first, second)


def test_data_of_other_replicates_are_refused():
    with pytest.raises(ArgumentError, match="replicate axes"):
        fresh(replicates=3, data=samples(2))


EXTRA = {
    "pmr",
    "mses",
    "mslr",
    "gblend",
    "umt",
    "mie",
    "reconboost",
    "relearning",
    "valuation",
    "inforeg",
    "lfm",
    "famo",
    "mmlora",
    "m2pt",
}
"""Methods with forwards of their own accord (an epoch's, a teacher's, a stage's), or other passes in later epochs."""


@pytest.mark.parametrize("name", sorted(set(METHODS) - EXTRA))
def test_the_declared_passes_are_what_a_step_costs(name):
    trainer = fresh(METHODS[name]())
    told, counted = predicted_cost(trainer.method, trainer.model), counted_cost(trainer)
    assert (counted.forwards, counted.backwards) == pytest.approx((told.forwards, told.backwards))
    assert counted.seconds > 0
    assert trainer.watch is None


def test_costs_of_known_methods():
    expected = {"joint": 1.0, "ogm": 1.0, "uniform": 1.0, "mla": 1.0, "mmpareto": 5 / 3, "bogc": 5 / 3}
    model = fresh().model
    for name, cost in expected.items():
        trainer = fresh(METHODS[name]())
        assert predicted_cost(trainer.method, model).over_joint == pytest.approx(cost), name


def test_what_a_method_trains_beside_and_its_teachers_count():
    """UMT: a unimodal training of as many epochs (1F + 1B), then a teacher's forward a step; G-Blend: two trial trainings a stage."""
    for method, forwards, backwards in ((METHODS["umt"](), 3.0, 2.0), (METHODS["gblend"](super_epoch=3), 3.0, 3.0)):
        cost = counted_cost(fresh(method, settings=Settings(epochs=3, batch_size=25, lr=0.05)), epochs=3)
        assert cost.backwards == pytest.approx(backwards), method.card.name
        assert cost.forwards >= forwards - 1e-9, method.card.name


def test_batches_of_one_and_the_last_short_one():
    one = fresh(settings=Settings(1, 1, lr=0.01)).run()
    assert one.flat.data.isfinite().all()
    short, dropped = (fresh(settings=Settings(1, 16, drop_last=last)).run() for last in (False, True))
    assert not torch.equal(short.flat.data, dropped.flat.data)


def test_orders_of_every_length_leave_two_plans_behind():
    class Shrinking(Method):
        card = Joint.card

        def on_epoch(self, view):
            view.set_order(torch.arange(40 - view.epoch).expand(3, -1))

    trainer = fresh(Shrinking(), settings=Settings(6, 16)).run()
    assert trainer.closed is not None
    assert len(trainer.closed._plans) == 2


def test_wrong_labels_and_rates_are_refused_before_training():
    data = samples(3)
    data.y[1, 4] = CLASSES
    with pytest.raises(ArgumentError, match="labels in 0 … 2, found 3"):
        fresh(data=data)
    with pytest.raises(ArgumentError, match=r"one a replicate \(3,\), found \(2,\)"):
        fresh(settings=Settings(1, 16, lr=torch.tensor([0.1, 0.2])))
    with pytest.raises(ArgumentError, match="sgd, adam or adamw"):
        fresh(settings=Settings(1, 16, "lion"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["joint", "ogm", "opm", "amss", "mla"])
def test_a_cuda_device_trains_what_the_cpu_trains(name):
    here, there = (fresh(METHODS[name](), dtype=torch.float64, device=d).run() for d in ("cpu", "cuda"))
    assert (here.flat.data - there.flat.data.cpu()).abs().max() <= 1e-9
