"""The planner groups cells of equal shapes, cuts where a limit is, and deals what stacks measured back to their cells."""

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.experiment import Cell, Serial, Sweep, chunks, run_stacks, stacks, training_bytes
from mmtheory.methods import OGM
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

SWEEP = Sweep("alpha", {"width": (4, 6), "alpha": (0.0, 0.5), "lr": (0.1, 0.05), "seed": tuple(range(3))})
VARYING = ("alpha", "lr", "seed")


def train(factors, note):
    """A whole stack: one trainer whose places differ in seed, learning rate and strength."""
    width, rows = factors["same"]["width"], factors["rows"]
    data = [Stream(row["seed"], ("data",)).draws(range(1)) for row in rows]
    x = {m: torch.cat([d.normal(m, 20, 3) for d in data]) for m in "ab"}
    y = torch.cat([d.integers("y", 2, 20) for d in data])

    def build(draws):
        encoders = {m: MLPEncoder((3, width), draws=draws, name=m, dtype=torch.float64) for m in "ab"}
        head = FUSIONS["sum"](dict.fromkeys("ab", width), 2, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    strength, lr = (torch.tensor([row[k] for row in rows], dtype=torch.float64) for k in ("alpha", "lr"))
    trainer = Trainer(
        build,
        OGM(strength),
        Batch(x, y),
        settings=Settings(2, 8, lr=lr),
        stream=Stream(0),
        replicates=[row["seed"] for row in rows],
    ).run()
    note(len(rows))
    return {"rows": [{"norm": float(v.norm())} for v in trainer.flat.data]}


def test_cells_trained_in_stacks_are_cells_trained_alone():
    cells = list(SWEEP)
    heard = []
    together, alone = (
        {
            o.cell.id: o.measured["norm"]
            for o in run_stacks(Serial(), train, stacks(cells, VARYING, most=most), lambda s, n: heard.append((len(s.cells), n)))
        }
        for most in (8, 1)
    )  # fmt: skip
    assert set(together) == set(alone) == {c.id for c in cells}
    assert max(abs(together[k] - alone[k]) for k in alone) <= 1e-10
    assert len(set(together.values())) == len(cells)
    assert all(size == noted for size, noted in heard)
    assert max(size for size, _ in heard) == 6


def test_stacks_hold_every_cell_once_and_share_what_is_not_to_vary():
    planned = stacks(SWEEP, VARYING, most=5)
    assert [len(s.cells) for s in planned] == [4, 4, 4] * 2
    assert sorted(c.id for s in planned for c in s.cells) == sorted(c.id for c in SWEEP)
    assert [s.same for s in planned] == [{"width": 4}] * 3 + [{"width": 6}] * 3
    assert planned[0].column("seed") == [0, 1, 2, 0]
    assert len({s.as_cell().id for s in planned}) == len(planned)


def test_memory_bounds_a_stack():
    size = training_bytes(parameters=1000, numbers=5000, activations=100)
    planned = stacks(SWEEP, VARYING, bytes_each=lambda same: size * same["width"], memory=size * 12)
    assert [len(s.cells) for s in planned] == [3, 3, 3, 3] + [2] * 6
    with pytest.raises(ArgumentError, match="room for a replicate"):
        stacks(SWEEP, VARYING, bytes_each=lambda _same: size, memory=size - 1)


def test_a_failing_stack_fails_its_cells_alone():
    def work(factors, note):
        if factors["same"]["width"] == 4:
            raise ArgumentError("work: expected wide nets, found narrow ones")
        return {"rows": [{"seed": row["seed"]} for row in factors["rows"]]}

    outcomes = list(run_stacks(Serial(), work, stacks(SWEEP, VARYING), lambda _s, _n: None))
    assert all((o.failure is not None) == (o.cell.factors["width"] == 4) for o in outcomes)
    assert all(o.measured["seed"] == o.cell.factors["seed"] for o in outcomes if o.measured is not None)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 512])
def test_chunks_cover_each_place_once_in_even_runs(count):
    found = chunks(count)
    assert [i for run in found for i in run] == list(range(count))
    assert max(map(len, found), default=0) <= 64
    assert max(map(len, found), default=0) - min(map(len, found), default=0) <= 1


def test_a_cell_without_a_varying_factor_is_named():
    with pytest.raises(ArgumentError, match="seed"):
        stacks([Cell("e", {"width": 1})], ["seed"])
