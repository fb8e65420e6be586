"""Every method survives what data are like: absent modalities, samples without any, a batch of one, an absent class, a broken replicate."""

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.methods import AUG, METHODS, MSES, MSLR, Greedy, Relearning, Valuation
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

R, N = 3, 25
SHORT = {
    "aug": lambda: AUG(every=1),
    "greedy": lambda: Greedy(start=0),
    "mses": lambda: MSES(patience=1, tolerance=10.0),
    "mslr": lambda: MSLR(first=0, measure="score"),
    "relearning": lambda: Relearning(every=1),
    "valuation": lambda: Valuation(warmup=0),
}


def made(name):
    return SHORT.get(name, METHODS[name])()


def split(k, broken=(), absent=False):
    draws = Stream(3).child(k).draws(range(R))
    y = draws.integers("y", 2, N)  # of three classes
    x = {m: draws.normal(m, N, 4) for m in "abc"}
    for r in broken:
        x["b"][r, 3] = torch.inf
    present = {m: draws.uniform(f"present {m}", N) < 0.7 for m in "ab"} if absent else {}
    if absent:
        present["c"] = draws.uniform("present c", N) < 0.7
        for here in present.values():
            here[:, 0] = False  # a sample without any modality
            here[0] &= torch.arange(N) < 8  # replicate 0: whole batches without any
    return Batch(x, y, present)


def trainer(method, fusion="concat", **options):
    def build(draws):
        encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in "abc"}
        head = FUSIONS[fusion](dict.fromkeys("abc", 5), 3, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    config = Settings(epochs=3, batch_size=8, lr=0.05)  # the last batch of 25 is of one sample
    return Trainer(
        build, method, split("train", **options), settings=config, stream=Stream(1), replicates=range(R),
        validation=split("held", absent=options.get("absent", False)),
    )  # fmt: skip


@pytest.mark.parametrize("fusion", ["concat", "film"])
@pytest.mark.parametrize("name", sorted(METHODS))
def test_absent_modalities_are_survived(name, fusion):
    t = trainer(made(name), fusion, absent=True).run()
    assert t.flat.data.isfinite().all()
    assert t.alive.all()
    assert t.predict(t.train_data).isfinite().all()


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_broken_replicate_stops_where_it_was_and_the_others_never_notice(name):
    clean, broken = trainer(made(name)).run(), trainer(made(name), broken=(1,)).run()
    assert broken.alive.tolist() == [True, False, True]
    assert broken.flat.data.isfinite().all()
    for r in (0, 2):
        assert torch.equal(broken.flat.data[r], clean.flat.data[r])
