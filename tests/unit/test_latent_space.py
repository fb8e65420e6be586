"""The dial board: what it names, what it refuses, and that its dials do what they say."""

import math

import pytest
import torch

from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.info import subsets
from mmtheory.rng import Stream
from synthetic.latent import LatentSpace


@pytest.mark.parametrize(
    ("space", "name"),
    [
        (LatentSpace(), "gaussian-regression"),
        (LatentSpace(task="classification"), "gaussian-probit"),
        (LatentSpace(private=(1, 0)), "latent-regression"),
        (LatentSpace(decoder="rotated", dims=(3, 3)), "latent-regression"),
        (LatentSpace(private=(1, 0), task="classification"), "latent-probit"),
        (LatentSpace(snr=(1.0,) * 8), "gaussian-regression"),
    ],
)
def test_it_names_its_world_and_samples_its_bits(space, name):
    world = space.exact()
    assert world.name == name
    ours, theirs = space.sample(20, stream=Stream(2)), world.sample(20, stream=Stream(2))
    assert torch.equal(ours.y, theirs.y)
    assert all(torch.equal(ours.x[m], theirs.x[m]) for m in ours.modalities)


def test_it_says_why_it_is_not_exact():
    space = LatentSpace(decoder="network")
    with pytest.raises(NotExactError, match="network"):
        space.exact()
    assert space.equivalent().known("bayes_risk", "ab") == LatentSpace().exact().known("bayes_risk", "ab")


@pytest.mark.parametrize("decoder", ["linear", "rotated", "network"])
def test_missing_modalities_are_the_exact_worlds_dial(decoder):
    space = LatentSpace(missing=(0.3, 0.1), decoder=decoder)
    assert space.equivalent().missingness == (0.3, 0.1)
    risk = {s: LatentSpace().exact().known("bayes_risk", s).middle for s in ("", "a", "b", "ab")}
    mixed = 0.7 * 0.9 * risk["ab"] + 0.7 * 0.1 * risk["a"] + 0.3 * 0.9 * risk["b"] + 0.3 * 0.1 * risk[""]
    assert space.bayes_risk().middle == pytest.approx(mixed, abs=1e-12)
    batch = space.sample(200, stream=Stream(5))
    assert all(bool((batch.x[m][~batch.present[m]] == 0).all()) for m in "ab")


@pytest.mark.parametrize(
    ("dials", "said"),
    [
        ({"shared": 0}, "at least one latent"),
        ({"snr": (1.0,), "shared": 0, "synergistic": 1}, "at least 2 modalities"),
        ({"snr": (1.0, -1.0)}, "snr"),
        ({"rho": 1.0}, "rho"),
        ({"missing": (1.5, 0.0)}, "missing"),
        ({"dims": (1, 1), "private": (1, 1)}, "dims"),
        ({"scale": (1.0, 2.0, 3.0)}, "one value for each of the 2"),
        ({"importance": (0.0, 1.0, 1.0)}, "importance"),
        ({"decoder": "magic"}, "decoder"),
        ({"snr": (1.0,) * 9}, "from 1 to 8"),
    ],
)
def test_bad_dials(dials, said):
    with pytest.raises(ArgumentError, match=said):
        LatentSpace(**dials)


def test_masks_hide_a_synergistic_latent_from_all_but_everyone():
    world = LatentSpace(snr=(3.0, 1.0, 1.0), shared=0, synergistic=1, mask=100.0, label_noise=0.0).exact()
    known = {s: world.known("information", s).middle for s in subsets("abc")}
    assert all(v < 1e-3 for s, v in known.items() if len(s) < 3)
    # With every mask known up to its noise of 1, a sees √3 z + ε_a − ε_b − ε_c.
    assert known[frozenset("abc")] == pytest.approx(0.5 * math.log1p(3 / 3), abs=1e-3)


def test_the_decoders_move_no_answer():
    plain = LatentSpace(private=(1, 2), rho=0.3, dims=(5, 6))
    for decoder in ("rotated", "network"):
        other = LatentSpace(private=(1, 2), rho=0.3, dims=(5, 6), decoder=decoder).equivalent()
        for s in subsets("ab"):
            assert other.known("information", s).middle == pytest.approx(
                plain.exact().known("information", s).middle, abs=1e-10
            )


def test_the_network_decoder_is_invertible_and_not_linear():
    space = LatentSpace(dims=(3, 3), decoder="network", scale=(2.0, 1.0))
    seen = space.sample(50, stream=Stream(1)).x["a"]
    latent = space.equivalent().sample(50, stream=Stream(1)).x["a"]
    first, second = (space._rotation(0, 3, layer) for layer in ("first", "second"))
    hidden = (seen / 2) @ second
    undone = torch.where(hidden > 0, hidden, hidden / 0.3) @ first
    assert torch.allclose(undone, latent, atol=1e-12)
    best = torch.linalg.lstsq(latent, seen).solution
    assert float((seen - latent @ best).abs().max()) > 0.1


def test_replicates_and_scale():
    space = LatentSpace(private=(1, 1), missing=(0.2, 0.2), decoder="network")
    stacked = space.sample(10, stream=Stream(0), replicates=range(3))
    assert stacked.x["a"].shape == (3, 10, 2)
    assert stacked.present["b"].shape == (3, 10)
    slow, fast = (LatentSpace(scale=(c, 1.0)).sample(10, stream=Stream(0)).x["a"] for c in (1.0, 8.0))
    assert torch.equal(8.0 * slow, fast)
