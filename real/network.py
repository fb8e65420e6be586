"""From a data set's modalities and a recipe to a model: an encoder a modality, chosen by its kind, and a fusion."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import FUSIONS, CNNEncoder, Encoder, MLPEncoder, MultimodalModel, TransformerEncoder
from mmtheory.rng import Draws
from real.data import Part, Parts

from .encoders import KINDS as MAINTAINED
from .encoders import Maintained, scaling
from .passes import Passed
from .recipe import Recipe
from .spectrogram import Heard, heard, log_mel

CHANNELS = (16, 32, 64)
ENOUGH, FEWEST, MOST_BYTES = 1024, 32, 256 << 20
"""Training samples from which the moments of pictures, sound and sequences are taken, fewer where those are large."""
FARTHEST = 10.0
"""Deviations at which a standardised feature is cut."""


@final
class Scaled(Encoder):
    """Another encoder behind a fixed shift and scale, for inputs that stay on disk as they are.

    :param moments: mean and deviation, broadcast over the inputs; they become buffers.
    :param shape: of one sample.
    :param flat: lay a sample out as one vector first.
    """

    def __init__(self, inner: Encoder, moments: tuple[Tensor, Tensor], shape: tuple[int, ...], *, flat: bool) -> None:
        super().__init__()
        self.inner, self.width, self.shape = inner, inner.width, shape
        self.rank = len(shape) if flat else 0
        self.register_buffer("shift", moments[0])
        self.register_buffer("scale", moments[1])

    def forward(self, x: Tensor) -> Tensor:
        shift, scale = self.get_buffer("shift"), self.get_buffer("scale")
        x = ((x.to(scale.dtype) - shift) / scale).clamp(-FARTHEST, FARTHEST)
        return self.inner(x.flatten(-self.rank) if self.rank else x)


def builder(
    modalities: Mapping[str, Part], classes: int, recipe: Recipe, train: Batch, *, host: bool = False
) -> Callable[[Draws], MultimodalModel]:
    """Makes the model from draws; inputs that are not plain features get their moments from the training part.

    :param host: inputs lie elsewhere than the model, whose encoders bring them over.
    :raises ArgumentError: an encoder for a modality that the data set does not have.
    """
    dtype: torch.dtype = getattr(torch, recipe.dtype)
    if strangers := sorted(recipe.by_modality.keys() - modalities.keys()):
        raise ArgumentError(f"encoder: expected modalities among {', '.join(modalities)}, found {strangers[0]!r}")
    moments = {m: moments_of(train.x[m], p, dtype) for m, p in modalities.items() if _scaled(p)}

    def build(draws: Draws) -> MultimodalModel:
        encoders = {m: _encoder(m, part, recipe, draws, moments.get(m), host=host) for m, part in modalities.items()}
        widths = {m: encoder.width for m, encoder in encoders.items()}
        fusion = FUSIONS[recipe.fusion](widths, classes, draws=draws, dtype=dtype)
        return MultimodalModel(encoders, fusion, batch_shape=draws.batch_shape)

    return build


def _scaled(part: Part) -> bool:
    """Whether inputs of this kind are shifted and scaled where they are encoded: not features, nor numbers of tokens."""
    return part.kind != "features" and not (part.kind == "sequence" and part.dtype.startswith("int"))


def _encoder(
    m: str, part: Part, recipe: Recipe, draws: Draws, moments: tuple[Tensor, Tensor] | None, *, host: bool
) -> Encoder:
    """Wave to spectrogram, shift and scale, the encoder itself; and how they are run, where that is not plain."""
    name, dtype = recipe.encoder_of(m), getattr(torch, recipe.dtype)
    seen = heard(part) if part.kind == "wave" else part
    maintained = name.partition(":")[0] in MAINTAINED
    if maintained:
        encoder: Encoder = Maintained(
            name, seen, recipe.width, draws=draws, modality=m, adapters=recipe.adapters, dtype=dtype
        )
    else:
        encoder = _own(m, seen, name, recipe, draws)
    if moments is not None:
        given = scaling(name, seen) if maintained else None
        moments = moments if given is None else (given[0].to(dtype), given[1].to(dtype))
        encoder = Scaled(encoder, moments, seen.shape, flat=name in {"linear", "mlp"} and len(seen.shape) > 1)
    if part.kind == "wave":
        encoder = Heard(encoder, part)
    if recipe.passes.plain and not maintained and not host:
        return encoder
    return Passed(encoder, recipe.passes, replicate_axes=len(draws.batch_shape))


def _own(m: str, part: Part, kind: str, recipe: Recipe, draws: Draws) -> Encoder:
    """One of the library's encoders, by its name or the kind of the modality."""
    dtype = getattr(torch, recipe.dtype)
    if kind == "auto":
        kind = {"features": "mlp", "sequence": "transformer"}.get(part.kind, "cnn")
    if kind in {"linear", "mlp"}:
        return MLPEncoder(
            [math.prod(part.shape), recipe.width], draws=draws, name=m, activate=kind == "mlp", dtype=dtype
        )
    if kind == "cnn" and len(part.shape) == 3:
        c, h, w = part.shape
        return CNNEncoder((c, *CHANNELS), recipe.width, draws=draws, name=m, size=(h, w), dtype=dtype)
    if kind == "transformer" and len(part.shape) == 2:
        tokens, d = part.shape
        return TransformerEncoder(d, tokens, recipe.width, draws=draws, name=m, d=32, heads=4, dtype=dtype)
    raise ArgumentError(
        f"encoder {kind}: expected inputs that it can read, found {m} of shape {part.shape}; take auto or mlp"
    )


def moments_of(x: Tensor, part: Part, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Mean and deviation over the first samples: one a feature for sequences, one a channel for pictures and sound.

    Those of a wave are of its log mel spectrogram.

    Shape: x [*batch, n, *part.shape]; both broadcast over it (over the spectrograms of waves).
    """
    rank = len(part.shape)
    size = 8 * x.numel() // max(1, x.shape[-rank - 1])
    some = x.narrow(-rank - 1, 0, min(ENOUGH, max(FEWEST, MOST_BYTES // size), x.shape[-rank - 1])).double()
    if part.kind == "wave":
        some, rank = log_mel(some, part.rate), 3
    over = (-rank - 1, -2) if part.kind == "sequence" else (-rank - 1, -2, -1)
    mean, std = some.mean(over, keepdim=True), some.std(over, keepdim=True)
    return mean.to(dtype), (std + 1e-6).to(dtype)


def standardised(parts: Parts, modalities: Mapping[str, Part], dtype: torch.dtype = torch.float32) -> Parts:
    """Plain features centred and scaled by the training part's own moments, cut at ten deviations; the rest as it is."""
    moments = {
        m: (parts.train.x[m].double().mean(-2, keepdim=True), parts.train.x[m].double().std(-2, keepdim=True) + 1e-6)
        for m, p in modalities.items()
        if p.kind == "features"
    }

    def scaled(batch: Batch) -> Batch:
        x = {
            m: ((v - moments[m][0]) / moments[m][1]).clamp(-FARTHEST, FARTHEST).to(dtype) if m in moments else v
            for m, v in batch.x.items()
        }
        return Batch(x, batch.y, batch.present, batch.ids)

    return Parts(scaled(parts.train), scaled(parts.validation), scaled(parts.test))


def stacked(parts: list[Parts]) -> Parts:
    """Splits of equal sizes side by side on a new replicate axis."""

    def together(batches: list[Batch]) -> Batch:
        first = batches[0]
        return Batch(
            {m: torch.stack([b.x[m] for b in batches]) for m in first.x},
            torch.stack([b.y for b in batches]),
            {m: torch.stack([b.present[m] for b in batches]) for m in first.present},
        )

    return Parts(
        together([p.train for p in parts]), together([p.validation for p in parts]), together([p.test for p in parts])
    )


def moved(parts: Parts, device: str) -> Parts:
    """The parts on that device."""

    def there(b: Batch) -> Batch:
        return Batch(
            {m: v.to(device) for m, v in b.x.items()}, b.y.to(device), {m: v.to(device) for m, v in b.present.items()},
            None if b.ids is None else b.ids.to(device),
        )  # fmt: skip

    return parts if device == "cpu" else Parts(there(parts.train), there(parts.validation), there(parts.test))
