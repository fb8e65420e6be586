"""Laws of the interaction transformer, of masked contrasts, of the MRHP method and of its rankings."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import MRHP, Phase, Step
from mmtheory.methods.mrhp import expected_class, ranking_loss
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.models.contrastive import adaptive_contrastive, info_nce
from mmtheory.models.interaction import Interaction
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer
from real.ranking import ranking

seeds = st.integers(0, 2**31)


def interaction(names="abc", **more):
    draws = Stream(1).draws(range(2))
    return Interaction({m: 3 + i for i, m in enumerate(names)}, draws=draws, d=4, dtype=torch.float64, **more)


def features(names="abc", n=5, seed=0):
    draws = Stream(seed).draws(range(2))
    return {m: draws.normal(m, n, 3 + i) for i, m in enumerate(names)}


def test_an_absent_modality_tells_nobody_and_is_told_nothing():
    module, z = interaction(), features()
    there = torch.tensor([True, False, True, True, False]).expand(2, 5)
    found = module(z, {"b": there})
    other = {**z, "b": torch.where(there.unsqueeze(-1), z["b"], 7.0)}
    again = module(other, {"b": there})
    for m in "ac":
        assert torch.equal(found[m], again[m])
    assert torch.equal(found["b"][~there], z["b"][~there])
    assert not torch.allclose(found["b"][there], z["b"][there])
    assert not torch.allclose(found["a"], module(z)["a"])


def test_samples_and_replicates_do_not_see_each_other():
    module, z = interaction(layers=2), features()
    found = module(z)
    other = {m: v.clone() for m, v in z.items()}
    other["c"][0, 2] += 1
    moved = module(other)
    same = torch.ones(2, 5, dtype=torch.bool)
    same[0, 2] = False
    for m in "abc":
        assert torch.equal(found[m][same], moved[m][same])
        assert not torch.equal(found[m][0, 2], moved[m][0, 2])


@pytest.mark.parametrize("more", [{"tokens": 0}, {"layers": 0}, {"heads": 3}])
def test_sizes_that_cannot_be_are_refused(more):
    with pytest.raises(ArgumentError):
        interaction(**more)


def test_one_modality_is_refused():
    with pytest.raises(ArgumentError, match="two modalities or more"):
        interaction("a")
    model = MultimodalModel(
        {"a": MLPEncoder((3, 4), draws=(d := Stream(0).draws()), name="a", dtype=torch.float64)},
        FUSIONS["sum"]({"a": 4}, 2, draws=d, dtype=torch.float64),
    )
    with pytest.raises(ArgumentError, match="two modalities or more to contrast, found a"):
        MRHP().bind(model, d)


@given(seeds, st.booleans(), st.integers(3, 7))
def test_masked_columns_are_columns_left_out(seed, keep, n):
    s = Stream(seed).draws().uniform("s", n, n) * 2 - 1
    out = n - 1
    columns = torch.arange(n) != out
    rows = columns.clone()
    small = s[:out, :out]
    found = adaptive_contrastive(s, sharpness=8.0, keep_diagonal=keep, rows=rows, columns=columns)
    assert torch.allclose(found, adaptive_contrastive(small, sharpness=8.0, keep_diagonal=keep))
    assert torch.allclose(info_nce(s, rows=rows, columns=columns), info_nce(small))


def test_with_nobody_to_contrast_there_is_no_loss_and_no_gradient():
    s = (torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).requires_grad_()
    columns = torch.tensor([[True, False, False], [False, False, False]])
    for keep in (False, True):
        loss = adaptive_contrastive(s, rows=columns, columns=columns, keep_diagonal=keep) + info_nce(
            s, rows=columns, columns=columns
        )
        (gradient,) = torch.autograd.grad(loss.sum(), s)
        assert loss[1] == 0
        assert gradient.isfinite().all()
        assert (gradient[1] == 0).all()


@given(seeds)
def test_the_ranking_loss_is_zero_only_for_ranked_levels_far_enough_apart(seed):
    draws = Stream(seed).draws()
    y = draws.integers("y", 4, 9)
    certain = 1e4 * torch.nn.functional.one_hot(y, 4).double()
    assert torch.allclose(expected_class(certain), y.double())
    assert float(ranking_loss(certain, y)) == 0
    worst = ranking_loss(certain.flip(-1), y)
    assert float(worst) == 0 if len(y.unique()) == 1 else float(worst) > 0
    assert float(ranking_loss(draws.normal("l", 9, 4), torch.zeros(9).long())) == 0


@given(seeds, st.integers(1, 4))
def test_rankings_are_means_over_the_lists_that_have_anything_to_find(seed, lists):
    draws = Stream(seed).draws()
    y, groups = draws.integers("y", 3, 12), [f"p{i % lists}" for i in range(12)]
    perfect = ranking(y.double(), y, groups)
    useful = sum(bool((y[i::lists] > 0).any()) for i in range(lists))
    assert perfect["lists"] == useful
    if useful:
        assert perfect["map"] == perfect["ndcg@3"] == perfect["ndcg@5"] == 1
        scores = draws.normal("s", 12)
        found = ranking(scores, y, groups)
        alone = [ranking(scores[i::lists], y[i::lists], ["p"] * len(y[i::lists])) for i in range(lists)]
        kept = [a["map"] for a in alone if a["map"] is not None]
        assert found["map"] == pytest.approx(sum(kept) / len(kept))
    else:
        assert perfect["map"] is None


def trained(method, names="ab", **more):
    def build(draws):
        encoders = {m: MLPEncoder((4, 6), draws=draws, name=m, dtype=torch.float64) for m in names}
        return MultimodalModel(encoders, FUSIONS["concat"](dict.fromkeys(names, 6), 3, draws=draws, dtype=torch.float64), batch_shape=draws.batch_shape)  # fmt: skip

    draws = Stream(5).draws(range(2))
    shared = draws.normal("z", 40, 4)
    x = {m: shared + 0.3 * draws.normal(m, 40, 4) for m in names}
    data = Batch(x, (shared[..., 0] > 0).long() + (shared[..., 1] > 0).long())
    told = {"epochs": 60, "batch_size": 20, "lr": 0.01, "optimiser": "adam", **more}
    return Trainer(build, method, data, settings=Settings(**told), stream=Stream(2), replicates=range(2)).run(), data


@torch.no_grad()
def similarities(trainer, data, one="a", other="b"):
    """Mean cosine of pairs and of strangers in the common space."""
    z = trainer.model.encode(data.x)
    codes = trainer.method.codes(trainer.auxiliary, z)
    s = codes[one] @ codes[other].mT
    own = torch.eye(data.n, dtype=torch.bool)
    return float(s[:, own].mean()), float(s[:, ~own].mean())


def test_contrasting_parts_strangers_and_the_kept_diagonal_holds_pairs_at_one_half():
    pairs, strangers = similarities(*trained(MRHP(4.0, layers=0)))
    held, kept = similarities(*trained(MRHP(4.0, layers=0, keep_diagonal=True)))
    assert abs(held - 0.5) < 0.02
    assert pairs - strangers > 2 * (held - kept) > 0


@pytest.mark.parametrize("names", ["abc", "abcd"])
def test_all_pairs_of_modalities_are_contrasted_alike(names):
    """The loss is the mean over pairs and directions, written out; trained by it, every pair tells its own from strangers better."""
    (trainer, data), (before, _) = (trained(MRHP(4.0, layers=0), names, epochs=epochs) for epochs in (60, 0))
    step = Step(trainer.model, trainer.auxiliary, data, Phase(), 0, 0, lambda: Stream(0).draws(range(2)))
    step.features = trainer.model.encode(data.x)
    codes = trainer.method.codes(trainer.auxiliary, step.features)
    ways = [adaptive_contrastive(codes[m] @ codes[k].mT) for m in names for k in names if m != k]
    assert torch.allclose(trainer.method.contrastive(step), sum(ways) / len(ways) / 256)
    for m, k in combinations(names, 2):
        gaps = [pairs - strangers for pairs, strangers in (similarities(t, data, m, k) for t in (before, trainer))]
        assert gaps[1] > 0.05 + gaps[0]


def test_only_relevant_classes_are_contrasted():
    trainer, data = trained(MRHP(layers=0, relevant=1), epochs=1)
    step = Step(trainer.model, trainer.auxiliary, data, Phase(), 0, 0, lambda: Stream(0).draws(range(2)))
    step.features = trainer.model.encode(data.x)
    rows = data.y >= 1
    codes = trainer.method.codes(trainer.auxiliary, step.features)
    s = codes["a"] @ codes["b"].mT
    wanted = (adaptive_contrastive(s, rows=rows) + adaptive_contrastive(s.mT, rows=rows)) / 2 / 256
    assert torch.allclose(trainer.method.contrastive(step), wanted)
    assert not torch.allclose(wanted, adaptive_contrastive(s) / 256)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"weight": -1.0}, "mrhp: weight"),
        ({"sharpness": 0.0}, "a finite sharpness > 0"),
        ({"layers": -1}, "layers"),
        ({"width": 0}, "width >= 1"),
        ({"contrast": "circle"}, "adaptive or plain"),
        ({"task": "sort"}, "classify or rank"),
    ],
)
def test_settings_out_of_their_domain_are_refused(more, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        MRHP(**more)
