"""Low-rank adapters against peft: forward, gradients, initial law and counts."""

import math

import peft
import pytest
import torch
import transformers
from torch import nn

from mmtheory.models import Adapted, Encoder, LowRank, adapter_size
from mmtheory.rng import Stream

pytestmark = pytest.mark.peers
F64 = torch.float64


@pytest.fixture(autouse=True)
def _own_generator():
    """Layers of torch and of peft draw from the global generator, which is as before afterwards."""
    with torch.random.fork_rng(devices=[]):
        yield


class Plain(Encoder):
    """A torch module as an encoder."""

    def __init__(self, network, shape, width):
        super().__init__()
        self.network, self.shape, self.width = network, shape, width

    def forward(self, x):
        return self.network(x)


def network(seed=0):
    torch.random.default_generator.set_state(Stream(seed).torch().get_state())
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.GELU(), nn.Flatten(), nn.Linear(48, 6), nn.Tanh(), nn.Linear(6, 5)).double()  # fmt: skip


def by_peft(module, rank, alpha, **options):
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, **options)
    return peft.inject_adapter_in_model(config, module)


@pytest.mark.parametrize(("rank", "alpha"), [(1, 1), (2, 8), (5, 3)])
def test_a_linear_layer_and_its_gradients_are_pefts(rank, alpha):
    draws = Stream(rank).draws()
    theirs = by_peft(nn.Sequential(nn.Linear(7, 5)).double(), rank, alpha, target_modules=["0"])[0]
    ours = LowRank(7, 5, rank, draws=draws, name="w", scale=alpha / rank, dtype=F64)
    with torch.no_grad():
        ours.up.copy_(draws.normal("up", rank, 5))
        theirs.lora_A["default"].weight.copy_(ours.down.mT)
        theirs.lora_B["default"].weight.copy_(ours.up.mT)
    x, base = draws.normal("x", 9, 7), theirs.base_layer
    mine, found = base(x) + ours(x), theirs(x)
    assert torch.allclose(mine, found, atol=1e-12)
    assert torch.allclose(ours.update(), theirs.get_delta_weight("default").mT, atol=1e-12)
    a, b = torch.autograd.grad(mine.sin().sum(), (ours.down, ours.up))
    c, d = torch.autograd.grad(found.sin().sum(), (theirs.lora_A["default"].weight, theirs.lora_B["default"].weight))
    assert torch.allclose(a, c.mT, atol=1e-12)
    assert torch.allclose(b, d.mT, atol=1e-12)


def test_an_adapted_network_is_pefts_convolutions_included():
    rank, alpha = 2, 4
    ours = Adapted(Plain(network(), (2, 4, 4), 5), rank, draws=Stream(1).draws(), name="e", scale=alpha / rank)
    theirs = by_peft(network(), rank, alpha, target_modules=["0", "3", "5"])
    x = Stream(2).draws().normal("x", 6, 2, 4, 4)
    assert torch.equal(ours(x), network()(x))
    with torch.no_grad():
        for i, (key, part) in enumerate(ours.updates.items()):
            part.up.copy_(Stream(3).child(i).draws().normal("up", *part.up.shape))
            layer = theirs[int(key.split("/")[1])]
            a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            a.copy_(part.down.mT.reshape(a.shape))
            b.copy_(part.up.mT.reshape(b.shape))
    mine, found = ours(x), theirs(x)
    assert torch.allclose(mine, found, atol=1e-12)
    trained = {n: p for n, p in theirs.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in trained.values())
    wanted = torch.autograd.grad(found.sin().sum(), list(trained.values()))
    given = torch.autograd.grad(mine.sin().sum(), list(ours.parameters()))
    for key, part in ours.updates.items():
        index = key.split("/")[1]
        for name, p in (("lora_A", part.down), ("lora_B", part.up)):
            peer = wanted[list(trained).index(f"{index}.{name}.default.weight")]
            own = given[[q is p for q in ours.parameters()].index(True)]
            assert torch.allclose(own, peer.flatten(1).mT, atol=1e-12)


def test_both_start_from_the_same_law():
    """Uniform on ±1/√d_in: largest value and standard deviation of 4096 numbers."""
    theirs = by_peft(nn.Sequential(nn.Linear(64, 64)), 64, 64, target_modules=["0"])[0].lora_A["default"].weight
    ours = LowRank(64, 64, 64, draws=Stream(0).draws(), name="w").down
    for start in (theirs.detach(), ours.detach()):
        assert start.abs().max() <= 1 / 8
        # The variance estimate of n uniform numbers has relative deviation √(0.8/n): five of them.
        assert abs(float(start.var()) * 3 * 64 - 1) <= 5 * math.sqrt(0.8 / 4096)


@pytest.mark.parametrize(
    ("rank", "targets", "expected"),
    [(1, ["q_proj", "v_proj"], 36_864), (8, ["q_proj", "v_proj"], 294_912), (1, "all-linear", 165_888)],
)
def test_counts_of_a_base_vit_are_pefts(rank, targets, expected):
    """Specification §2.2 [X], counted by peft on a ViT-B that exists without memory."""
    with torch.device("meta"):
        vit = transformers.ViTModel(transformers.ViTConfig(), add_pooling_layer=False)
    names = {n for n, m in vit.named_modules() if isinstance(m, nn.Linear)}
    chosen = names if targets == "all-linear" else {n for n in names if n.rpartition(".")[2] in ({"query", "value"} | set(targets))}  # fmt: skip
    with torch.device("meta"):
        model = by_peft(vit, rank, rank, target_modules=sorted(chosen))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected
    linear = [(768, 768)] * 4 + [(768, 3072), (3072, 768)]
    assert expected == adapter_size(12 * linear if targets == "all-linear" else 24 * [(768, 768)], rank)


def test_adapters_in_an_encoder_of_transformers_are_pefts():
    """The encoder that ``--encoder vit:tiny`` makes: adapted by peft in place, and by us from outside."""
    from real.data import Part
    from real.encoders import Maintained

    def made(adapters):
        return Maintained("vit:tiny", Part((3, 16, 16), "image"), 8, draws=Stream(4).draws(), modality="m", adapters=adapters)  # fmt: skip

    rank = 2
    ours = Adapted(made(0), rank, draws=Stream(5).draws(), name="e")
    theirs = made(rank)
    x = Stream(6).draws().normal("x", 3, 3, 16, 16).float()
    with torch.no_grad():
        for i, (key, part) in enumerate(ours.updates.items()):
            name = key.replace("/", ".").removesuffix(".weight")
            layer = theirs.get_submodule(name)
            if hasattr(layer, "lora_A"):
                part.up.copy_(0.3 * Stream(7).child(i).draws().normal("up", *part.up.shape))
                layer.lora_A["default"].weight.copy_(part.down.mT)
                layer.lora_B["default"].weight.copy_(part.up.mT)
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)
    assert not torch.allclose(ours(x), made(0)(x), atol=1e-3)
    assert not any(name.startswith("inner") for name, _ in ours.named_parameters())
