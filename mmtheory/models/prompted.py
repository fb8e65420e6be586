"""A frozen pair that is tuned by prompts: encoders that pass tokens on, interaction layers, and a reader of all tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws

from ._attention import Block, LayerNorm, over_tokens
from ._dense import Dense
from ._encoders import Encoder
from ._transformer import TransformerEncoder
from .adapters import frozen
from .fusion import Features, Fusion
from .prompts import DeepPrompts, Mode, Passing, through


@final
class TokenEncoder(Encoder):
    """An encoder whose tokens are passed on, side by side in one vector, with prompts before each of its layers.

    The tokens of a ``TransformerEncoder`` are those of its last block (its norm, mean and last layer are left out). Of any other encoder
    the features are one token, in front of which the prompts are put as they are.

    Shape: as the encoder's inputs, to [*batch, n, tokens · d].

    :param inner: the encoder.
    :param prompts: their number before each layer; None for none.
    :param freeze: turn the encoder's own parameters into buffers.
    :raises ArgumentError: prompts that nobody reads: not passed on, of an encoder without layers.
    """

    def __init__(
        self, inner: Encoder, prompts: int | None, *, draws: Draws, name: str, mode: Mode = "overwrite",
        passing: Passing = "contextual", freeze: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        dtype = next(inner.parameters()).dtype
        sequence = isinstance(inner, TransformerEncoder)
        if prompts is not None and passing == "none" and not (sequence and len(inner.blocks)):
            raise ArgumentError(
                f"prompts of {name}: expected layers that read them, found none; pass them on, or take --encoder transformer"
            )
        self.inner, self.shape = inner, inner.shape
        self.mode: Mode = mode
        self.passing: Passing = passing
        self.d = inner.lift.weight.shape[-1] if sequence else inner.width
        layers, self.tokens = (len(inner.blocks), inner.shape[0]) if sequence else (0, 1)
        self.prompts: DeepPrompts | None = None
        if prompts is not None:
            self.prompts = DeepPrompts(layers, prompts, self.d, draws=draws, name=name, dtype=dtype)
            if passing != "none":
                self.tokens += prompts * (max(layers, 1) if mode == "concat" else 1)
        self.width = self.tokens * self.d
        if freeze:
            frozen(inner)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner
        if isinstance(inner, TransformerEncoder):
            h, blocks = inner.lifted(x), list(inner.blocks)
        else:
            h, blocks = inner(x).unsqueeze(-2), list[nn.Module]()
        return through(blocks, h, self.prompts, mode=self.mode, passing=self.passing).flatten(-2)


@final
class Reader(Fusion):
    r"""A transformer that reads the tokens of all modalities behind prompts of its own, and a linear head on the mean of what it read.

    .. math:: h_0 = [P_t \,\|\, f_m(t_m) \text{ for each } m \ne \ell \,\|\, E t_\ell], \qquad o = H\,\overline{\mathrm{LN}(h_L)}

    The language modality's tokens come through an embedding E that belongs to the frozen reader; every other modality's through an
    interaction layer f_m of its own, which is trained. The mean is over content, not over prompts; a modality's tokens come in the
    order of the alphabet.

    :param shapes: tokens and width of a token by modality.
    :param language: the modality that the reader was made for.
    :param prompts: their number before each layer; None for none.
    :param interaction: whether the interaction layers are trained; False freezes them as they were drawn.
    :param freeze: turn embedding, blocks and norm into buffers.
    :raises ArgumentError: a language that is no modality, layers below 1, or heads that do not divide d.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, int]], classes: int, *, language: str, prompts: int | None, draws: Draws,
        d: int = 32, layers: int = 2, heads: int = 2, mode: Mode = "overwrite", interaction: bool = True, freeze: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        super().__init__()
        if language not in shapes or layers < 1:
            raise ArgumentError(
                f"reader: expected its language among {', '.join(shapes)} and layers >= 1, found {language!r} and {layers}"
            )
        self.shapes, self.classes, self.language = dict(shapes), classes, language
        self.mode: Mode = mode
        self.widths = {m: count * width for m, (count, width) in shapes.items()}

        def dense(name: str, d_in: int, d_out: int) -> Dense:
            return Dense(d_in, d_out, draws=draws, name=name, dtype=dtype)

        own: Mapping[str, nn.Module] = {
            "embedding": dense("embedding", shapes[language][1], d),
            "blocks": nn.ModuleList(
                Block(d, heads, draws=draws, name=f"reader {i}", dtype=dtype) for i in range(layers)
            ),
            "norm": LayerNorm(d, draws=draws, dtype=dtype),
        }
        self.own = nn.ModuleDict(own)
        self.interaction = nn.ModuleDict(
            {m: dense(f"interaction {m}", width, d) for m, (_, width) in shapes.items() if m != language}
        )
        self.head = dense("head", d, classes)
        self.prompts = (
            None if prompts is None else DeepPrompts(layers, prompts, d, draws=draws, name="reader", dtype=dtype)
        )
        if freeze:
            frozen(self.own)
        if not interaction:
            frozen(self.interaction)

    def forward(self, features: Features) -> Tensor:
        found = {m: tuple(features[m].shape[-1:]) for m in features}
        if found != {m: (w,) for m, w in self.widths.items()}:
            raise ArgumentError(f"reader: expected tokens side by side of widths {self.widths}, found {found}")
        return self.read(features)

    def read(self, features: Features) -> Tensor:
        """Logits from the tokens of some modalities."""
        tokens = torch.cat([self.entered(m, features[m]) for m in sorted(features)], -2)
        blocks = self.own["blocks"]
        if not isinstance(blocks, nn.ModuleList):
            raise ArgumentError("reader: expected blocks, found none")
        h = through(blocks, tokens, self.prompts, mode=self.mode, passing="none")
        return self.head(self.own["norm"](h).mean(-2))

    def entered(self, modality: str, z: Tensor) -> Tensor:
        """A modality's tokens as the reader's first layer gets them, [*batch, n, tokens, d]."""
        layer = self.own["embedding"] if modality == self.language else self.interaction[modality]
        if not isinstance(layer, Dense):
            raise ArgumentError(f"reader: expected a dense layer for {modality}, found {type(layer).__name__}")
        return over_tokens(layer, z.unflatten(-1, self.shapes[modality]))

    def owner_of(self, parameter: str) -> str | None:
        room, _, rest = parameter.partition(".")
        return rest.partition(".")[0] if room == "interaction" else None


def tokens_of(encoder: nn.Module) -> TokenEncoder:
    """The token encoder below whatever scales or decodes its inputs.

    :raises ArgumentError: there is none.
    """
    while not isinstance(encoder, TokenEncoder):
        below = getattr(encoder, "inner", None)
        if not isinstance(below, nn.Module):
            raise ArgumentError(f"prompts: expected an encoder that passes tokens on, found {type(encoder).__name__}")
        encoder = below
    return encoder


def passing_tokens(
    encoder: Encoder, prompts: int | None, *, draws: Draws, name: str, mode: Mode, passing: Passing, freeze: bool
) -> Encoder:
    """The encoder with a token encoder in its place, or in the place of the transformer that it holds as ``inner``."""
    below = getattr(encoder, "inner", None)
    if isinstance(below, Encoder) and any(isinstance(part, TransformerEncoder) for part in below.modules()):
        found = passing_tokens(below, prompts, draws=draws, name=name, mode=mode, passing=passing, freeze=freeze)
        setattr(encoder, "inner", found)  # noqa: B010 (a wrapper's own name for what it holds)
        encoder.width = found.width
        return encoder
    return TokenEncoder(encoder, prompts, draws=draws, name=name, mode=mode, passing=passing, freeze=freeze)


def pooled(encoder: nn.Module, z: Tensor) -> Tensor:
    """The mean over an encoder's tokens, [*batch, n, d]; the features as they are where nothing passes tokens on.

    >>> pooled(nn.Identity(), torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """
    for part in encoder.modules():
        if isinstance(part, TokenEncoder):
            return z.unflatten(-1, (part.tokens, part.d)).mean(-2)
    return z
