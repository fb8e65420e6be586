"""Every family of encoders from a configuration and from a local folder, with and without adapters: each trains."""

from __future__ import annotations

import pytest
import torch

from mmtheory.rng import Stream
from real.data import Dataset, Index, Part
from real.encoders import KINDS, Maintained
from real.recipe import Recipe
from real.trainer import Fit

PARTS = {
    "resnet": Part((3, 32, 32), "image"), "vit": Part((3, 32, 32), "image"), "ast": Part((1, 40, 24), "spectrogram"),
    "bert": Part((6,), "sequence", "int64"), "clip": Part((3, 32, 32), "image"), "clip words": Part((6,), "sequence", "int64"),
}  # fmt: skip


class Two(Dataset):
    """Two classes told by a shift, or by which tokens there are; beside one plain feature that tells nothing."""

    name, title, licence, source, needs_root = "two", "two", "none", "generated", False
    classes = ("low", "high")

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.modalities = {"m": part, "noise": Part((1,))}

    def read_index(self):
        return Index(tuple(map(str, range(48))), torch.arange(48) % 2)

    def read(self, rows):
        draws, y, part = Stream(0).draws(), torch.arange(48) % 2, self.modalities["m"]
        y = y.view(-1, *[1] * len(part.shape))
        if part.dtype == "int64":
            x = 1 + 40 * y + draws.integers("x", 30, 48, *part.shape)
        else:
            x = (draws.normal("x", 48, *part.shape) + 2.0 * y).float()
        return {"m": x.numpy(), "noise": draws.normal("n", 48, 1).float().numpy()}

    @classmethod
    def write_double(cls, root):
        return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of random weights a family, as the library writes it."""
    found = {}
    for family, part in PARTS.items():
        found[family] = tmp_path_factory.mktemp(family.replace(" ", "-"))
        network = Maintained(f"{family.split()[0]}:tiny", part, 4, draws=Stream(2).draws(), modality="m").network
        network.save_pretrained(found[family])
    return found


def test_every_family_is_tried():
    assert {family.split()[0] for family in PARTS} == set(KINDS)


@pytest.mark.parametrize("adapters", [0, 2])
@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("family", PARTS)
def test_a_family_trains(folders, family, local, adapters):
    kind = family.split()[0]
    if kind == "resnet" and adapters:
        adapters = 0  # no linear layers, which test_real_encoders.py sees refused
    name = f"{kind}:{folders[family] if local else 'tiny'}"
    recipe = Recipe(
        encoder={"m": name}, width=8, epochs=20 if adapters else 6, batch_size=8, adapters=adapters, lr=5e-3
    )
    fit = Fit(Two(PARTS[family]), recipe)
    model = fit.trainer.model
    before = {k: v.detach().clone() for k, v in (*model.named_parameters(), *model.named_buffers())}
    fit.run()
    after = dict((*model.named_parameters(), *model.named_buffers()))
    moved = {
        k for k, v in before.items() if not torch.equal(v, after[k]) and k.startswith("encoders.m") and ".network." in k
    }
    assert moved, "the network itself is trained"
    if adapters:
        assert all("lora_" in k for k in moved), "and with adapters nothing but them"
    train = fit.parts.train
    assert (fit.trainer.predict(train).argmax(-1) == train.y).float().mean() > 0.9
