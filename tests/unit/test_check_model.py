"""check_model lets models pass and catches each way of breaking the contract by its name."""

import pytest
import torch
from torch import nn

from mmtheory.models import (
    FUSIONS,
    CNNEncoder,
    DeepLinearEncoder,
    Dense,
    Encoder,
    MLPEncoder,
    MultimodalModel,
    TransformerEncoder,
)
from mmtheory.models.fusion import Concat, Fusion, Sum
from mmtheory.testing import check_model

F64 = torch.float64


def with_fusion(cls, dtype=F64, absence="zero"):
    def build(draws):
        encoders = {m: MLPEncoder((4, 3), draws=draws, name=m, dtype=dtype) for m in "abc"}
        fused = cls(dict.fromkeys("abc", 3), 3, draws=draws, dtype=dtype)
        return MultimodalModel(encoders, fused, absence=absence, batch_shape=draws.batch_shape)

    return build


def with_encoder(make):
    def build(draws):
        encoders = {"a": MLPEncoder((4, 3), draws=draws, name="a", dtype=F64), "b": make(draws)}
        fused = FUSIONS["film"](dict.fromkeys("ab", 3), 3, draws=draws, dtype=F64)
        return MultimodalModel(encoders, fused, batch_shape=draws.batch_shape)

    return build


class Affine(Fusion):
    """A sound base to be broken: the sum of one head a modality."""

    def __init__(self, widths, classes, *, draws, dtype):
        super().__init__()
        self.widths, self.classes = dict(widths), classes
        self.heads = nn.ModuleDict({m: Dense(d, classes, draws=draws, name=m, dtype=dtype) for m, d in widths.items()})

    def forward(self, features):
        return torch.stack([self.heads[m](features[m]) for m in self.widths]).sum(0)


class ByPosition(Affine):
    def forward(self, features):
        return sum(head(z) for head, z in zip(self.heads.values(), features.values(), strict=True))


class OverSamples(Affine):
    def forward(self, features):
        o = super().forward(features)
        return o - o.mean(-2, keepdim=True)


class OverReplicates(Affine):
    def forward(self, features):
        o = super().forward(features)
        return o if o.ndim == 2 else o * 0.5 + 0.5 * o.mean(0, keepdim=True)


class OnTheHost(Affine):
    def forward(self, features):
        o = super().forward(features)
        return o if float(o.detach().sum()) > -1e9 else -o


class Unreached(Affine):
    def __init__(self, widths, classes, *, draws, dtype):
        super().__init__(widths, classes, draws=draws, dtype=dtype)
        self.idle = Dense(2, 2, draws=draws, name="idle", dtype=dtype)


class Ownerless(Affine):
    def owner_of(self, parameter):
        return "somebody"


class OneForAll(Affine):
    """A parameter that the replicates share."""

    def __init__(self, widths, classes, *, draws, dtype):
        super().__init__(widths, classes, draws=draws, dtype=dtype)
        self.temperature = nn.Parameter(torch.ones((), dtype=dtype))

    def forward(self, features):
        return super().forward(features) * self.temperature


class LyingShares(Affine):
    refusals = {}

    def parts(self, features):
        return {m: self.heads[m](features[m]) * 1.01 for m in self.widths}


class UnknownProvider(Affine):
    @property
    def admits(self):
        return frozenset({"telepathy"})


class _Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.tanh()

    @staticmethod
    def backward(ctx, g):
        return g


class WrongGradient(Affine):
    def forward(self, features):
        return _Wrong.apply(super().forward(features))


class TooWide(Affine):
    def forward(self, features):
        return torch.cat([super().forward(features)] * 2, -1)


class Infinite(Affine):
    def forward(self, features):
        return super().forward(features) / 0.0


class Liar(Encoder):
    """Declares another width than it has."""

    shape = (4,)

    def __init__(self, draws):
        super().__init__()
        self.width, self.layer = 3, Dense(4, 2, draws=draws, name="b", dtype=F64)

    def forward(self, x):
        return self.layer(x)


class Shapeless(Encoder):
    width = 3

    def __init__(self, draws):
        super().__init__()
        self.layer = Dense(4, 3, draws=draws, name="b", dtype=F64)

    def forward(self, x):
        return self.layer(x)


@pytest.mark.parametrize("absence", ["zero", "mean", "token"])
@pytest.mark.parametrize("name", sorted(FUSIONS))
def test_every_fusion_passes(name, absence):
    check_model(with_fusion(FUSIONS[name], absence=absence))


@pytest.mark.parametrize("name", ["sum", "mbt"])
def test_float32_passes(name):
    check_model(with_fusion(FUSIONS[name], dtype=torch.float32))


@pytest.mark.parametrize(
    "make",
    [
        lambda d: CNNEncoder((2, 3), 3, draws=d, name="b", size=(4, 5), dtype=F64),
        lambda d: TransformerEncoder(3, 4, 3, draws=d, name="b", d=4, dtype=F64),
        lambda d: DeepLinearEncoder((4, 4, 3), draws=d, name="b", dtype=F64),
        lambda d: MLPEncoder((4, 5, 3), draws=d, name="b", dtype=F64),
    ],
    ids=["cnn", "transformer", "deep linear", "mlp"],
)
def test_every_encoder_passes(make):
    check_model(with_encoder(make))


def test_inputs_can_be_given():
    def build(draws):
        encoders = {"a": MLPEncoder((4, 3), draws=draws, name="a", dtype=F64), "b": Shapeless(draws)}
        fused = Sum(dict.fromkeys("ab", 3), 3, draws=draws, dtype=F64)
        return MultimodalModel(encoders, fused, batch_shape=draws.batch_shape)

    check_model(build, inputs=lambda draws, n: {m: draws.uniform(m, n, 4) for m in "ab"})


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (with_fusion(ByPosition), "ByPosition: expected the order in which modalities are named not to matter"),
        (with_fusion(OverSamples), "OverSamples: expected a sample's logits to depend on no other sample"),
        (with_fusion(OverReplicates), "OverReplicates: stacked replicate 0 is not the model trained alone"),
        (with_fusion(OnTheHost), "OnTheHost: expected no wait of the host"),
        (
            with_fusion(Unreached),
            "Unreached: expected every parameter to be reached by the logits, found fusion.idle.weight",
        ),
        (with_fusion(Ownerless), "Ownerless: expected one owner of fusion.heads.a.weight among"),
        (with_fusion(OneForAll), "OneForAll: expected fusion.temperature to begin with the replicates"),
        (with_fusion(LyingShares), "LyingShares: expected the shares by linear split to sum to the logits"),
        (with_fusion(UnknownProvider), "UnknownProvider: expected providers among"),
        (with_fusion(WrongGradient), "WrongGradient: expected the gradient of finite differences"),
        (with_fusion(TooWide), "TooWide: expected logits"),
        (with_fusion(Infinite), "Infinite: expected finite logits"),
        (with_encoder(Liar), "FiLM: expected features of 'b'"),
        (with_encoder(Shapeless), "FiLM: expected encoder Shapeless of 'b' to declare"),
    ],
    ids=lambda v: v.split(":")[0] if isinstance(v, str) else "",
)
def test_a_broken_model_is_caught_by_name(build, said):
    with pytest.raises(AssertionError) as caught:
        check_model(build)
    assert str(caught.value).startswith(f"model with {said}"), str(caught.value)


def test_a_model_that_ignores_its_batch_shape_is_caught():
    def build(draws):
        model = with_fusion(Concat)(draws)
        model.batch_shape = ()
        return model

    with pytest.raises(AssertionError, match=r"expected batch shape \(2,\)"):
        check_model(build)
