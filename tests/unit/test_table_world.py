"""The table world's refusals, its exact risks, its groups of modalities; refusals of the functionals beneath."""

import math
import subprocess
import sys

import pytest
import torch

from mmtheory import info
from mmtheory.errors import ArgumentError, InfeasibleError, NotExactError
from mmtheory.rng import Stream
from synthetic.worlds import Table


@pytest.mark.parametrize(
    "dials",
    [
        {"gate": "nand"},
        {"gate": "xor", "count": 9},
        {"gate": "bsc", "flip": (0.1, 1.2)},
        {"gate": "composite", "bits": (1, 1, -1, 1)},
        {"gate": "composite", "bits": (9, 9, 9, 9)},
        {"gate": "xor", "label_noise": 0.7},
        {"gate": "joint", "joint": ()},
        {"gate": "joint", "joint": (((0.5, 0.5), (0.5, 0.5)), ((0.5, 0.5), (0.5, 0.5)))},
        {"gate": "joint", "joint": (((0.5, 0.5), (0.0,)), ((0.0, 0.0), (0.0, 0.0)))},
    ],
)
def test_dials_out_of_their_domain(dials):
    with pytest.raises(ArgumentError):
        Table(**dials)


def test_proper_subsets_of_parity_know_nothing():
    world = Table("xor", count=5)
    for given in info.subsets(world.modalities):
        bits = world.known("information", given).middle / math.log(2)
        assert bits == pytest.approx(1.0 if len(given) == 5 else 0.0, abs=1e-12)


def test_label_noise_composes_with_channel_flips():
    noisy = Table("bsc", flip=(0.1, 0.2), label_noise=0.05)
    flips = [e * 0.95 + 0.05 * (1 - e) for e in (0.1, 0.2)]
    for m, e in zip(noisy.modalities, flips, strict=True):
        assert noisy.known("bayes_risk", {m}).middle == pytest.approx(e, abs=1e-12)


def test_risk_of_any_model_is_exact():
    world = Table("sum", label_noise=0.3)
    both = set(world.modalities)
    assert world.risk(lambda x: x["a"] + x["b"]).middle == pytest.approx(0.3, abs=1e-12)
    assert world.risk(world.posterior).middle == pytest.approx(world.known("bayes_risk", both).middle, abs=1e-12)
    assert world.risk(lambda x: torch.zeros_like(x["a"])).middle == pytest.approx(
        1 - 0.25 * 0.7 - 0.75 * 0.15, abs=1e-12
    )


def test_groups_of_modalities():
    """Parity of four, split in two pairs, is pure synergy; of three against one copy, too."""
    world = Table("xor", count=4)
    for groups in (("ab", "cd"), ("a", "bcd"), ("db", "ca")):
        atoms = world.decomposition(*groups).atoms().tolist()
        assert atoms == pytest.approx([0, 0, 0, math.log(2)], abs=1e-8)
    assert world.decomposition("a", "b").atoms().tolist() == pytest.approx([0, 0, 0, 0], abs=1e-8)
    with pytest.raises(ArgumentError):
        world.decomposition("ab", "bc")


def test_atoms_of_the_wrong_subset_are_refused():
    with pytest.raises(NotExactError):
        Table("and").known("redundancy", {"a"})
    with pytest.raises(NotExactError):
        Table("and").known("unique", {"a", "b"})
    with pytest.raises(NotExactError):
        Table("xor", count=3).known("synergy", {"a", "b"})


def test_inverse_design_names_the_interval():
    with pytest.raises(InfeasibleError, match=r"0\.693147"):
        Table.from_targets(0.1, 0.8, 0.0, 0.0)
    with pytest.raises(InfeasibleError, match="ln 2"):
        info.design_correlated(0.3, 0.3, 0.2, law="lda")
    with pytest.raises(InfeasibleError, match="side '-'"):
        info.design_correlated(0.2, 0.0, 0.1, law="gaussian", side="+")


def test_composite_of_three_modalities():
    world = Table("composite", bits=(1, 2, 0, 1, 1))
    bits = {s: world.known("information", s).middle / math.log(2) for s in info.subsets("abc")}
    assert bits[frozenset("a")] == pytest.approx(3)
    assert bits[frozenset("ab")] == pytest.approx(3)
    assert bits[frozenset("abc")] == pytest.approx(5)


def test_samples_follow_the_table():
    """Frequencies of all cells within six standard errors: a false alarm has probability below 1e-6."""
    world = Table.from_dials({"gate": "sum", "label_noise": 0.2})
    batch, n = world.sample(40_000, stream=Stream(0)), 40_000
    index = torch.stack([batch.x["a"], batch.x["b"], batch.y], 1)
    p, seen = world.table, torch.zeros_like(world.table)
    seen.index_put_(tuple(index.T), torch.tensor(1.0, dtype=torch.float64), accumulate=True)
    assert bool(((seen / n - p).abs() <= 6 * (p * (1 - p) / n).sqrt()).all())


def test_decomposition_refuses_what_is_no_table():
    for bad in (torch.ones(2, 2, 2), torch.tensor([[0.5, 0.5]]), torch.full((1, 1, 2), math.nan)):
        with pytest.raises(ArgumentError):
            info.pid(bad)


def test_least_coupling_entropy_needs_small_tables():
    with pytest.raises(NotExactError):
        info.least_coupling_entropy(torch.full((5,), 0.2), torch.full((2,), 0.5))


def test_a_singular_covariance_is_refused():
    with pytest.raises(ArgumentError):
        info.gaussian_information(torch.ones(2, 2, dtype=torch.float64), [0], [1])
    with pytest.raises(ArgumentError):
        info.gaussian_information(torch.eye(2, dtype=torch.float64), [0], [0])


def test_importing_information_does_not_import_solvers():
    code = "import sys, mmtheory.info; print([m for m in ('cvxpy', 'clarabel', 'hypothesis', 'matplotlib') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
