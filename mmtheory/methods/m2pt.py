"""M2PT: a frozen encoder and a frozen reader, tuned by prompts before each of their layers and by the layer between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, cast, final

import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import Dense, Encoder, MultimodalModel, Reader
from mmtheory.models.prompted import passing_tokens, tokens_of
from mmtheory.models.prompts import Mode, Passing
from mmtheory.rng import Draws

from ._heads import head_of
from ._late import late_average, own_loss
from ._method import Card, Method, Step, View

Without = Literal["", "visual", "textual", "interaction"]


@final
class M2PT(Method):
    r"""Multimodal prompt tuning.

    .. math:: h^{i} = \mathrm{Block}_i\big([P^i \,\|\, h^{i-1}_{\rm content}]\big)

    in the frozen encoder of every modality but one (visual prompts) and in a frozen transformer (textual prompts) that reads the tokens
    of the remaining one, its language, and through interaction layers those of the others. Prompts, interaction layers and the reader's
    head are trained; everything else is buffers, which cost neither gradients nor optimiser state.

    :param visual: prompts before each layer of each encoder but the language's, at least 1.
    :param textual: prompts before each layer of the reader, at least 1.
    :param language: the modality that the reader was pre-trained on; "" for the last name in alphabetical order.
    :param width: of the reader; ``layers`` and ``heads`` likewise.
    :param mode: ``overwrite`` discards what a layer made of its prompts; ``concat`` keeps it as tokens.
    :param passing: what of the visual prompts enters the reader; ``raw_last`` is the released code's: the last layer's prompts as they
        are, and the last layer itself unused.
    :param without: ablation: prompts that do not exist, or interaction layers that stay as they were drawn.
    :param pretrain: epochs of the pre-training within the run; None as many as the settings say.
    :param pretrained: a pair that was trained before (``pair``), on whatever data, in place of it.
    :raises ArgumentError: a prompt length of zero; sizes below 1, heads that do not divide the width; a strange language; a pair of other
        widths.

    Source: Wang et al. 2024 (EMNLP; arXiv 2409.15657), layers and initial law as in the released code.
    """

    card: ClassVar[Card] = Card(
        name="m2pt",
        source="Wang et al. 2024 (EMNLP; arXiv 2409.15657)",
        summary="Tunes a frozen encoder and a frozen reader by prompts before each layer and by the interaction layer between them.",
        fidelity="reconstruction",
        cost="1F + 1B through frozen encoders and a small frozen reader, no fusion; before that one pre-training of both",
        differences=(
            "CLIP and Vicuna are small transformers of ours; real.adapters tunes a LLaVA-style checkpoint on this machine",
            "of an encoder that is no transformer the features are one token, and its visual prompts enter the reader as they are",
            "the encoders are pre-trained one by one on the labels, the reader on its language alone, within the run and with its settings",
            "there is no alignment of the interaction layer before tuning (the released code starts from a pre-trained projector)",
            "the reader sees all tokens at once and classifies from their mean; the released one generates an answer token by token",
            "outputs of the last visual layer enter the reader, prompts included; the released code takes that layer's inputs (raw_last)",
            "the head is trained, as the released script does; the paper's 0.09 % of parameters leaves it out",
            "any number of modalities beside the language, each with an interaction layer; the released model has one",
            "4 prompts a layer instead of 10, for smaller widths",
        ),
    )

    def __init__(
        self, visual: int = 4, textual: int = 4, *, language: str = "", width: int = 32, layers: int = 2, heads: int = 2,
        mode: Mode = "overwrite", passing: Passing = "contextual", without: Without = "", pretrain: int | None = None,
        pretrained: MultimodalModel | None = None,
    ) -> None:  # fmt: skip
        if min(visual, textual, width, layers, heads) < 1 or width % heads or (pretrain is not None and pretrain < 0):
            raise ArgumentError(
                f"m2pt: expected prompt lengths, width, layers, heads >= 1, heads that divide the width, pretrain >= 0, found {visual}, {textual}, {width}, {layers}, {heads} and {pretrain}"
            )
        for name, value, known in (
            ("mode", mode, ("overwrite", "concat")),
            ("passing", passing, ("contextual", "raw_last", "none")),
            ("without", without, ("", "visual", "textual", "interaction")),
        ):
            if value not in known:
                raise ArgumentError(f"m2pt: expected {name} among {', '.join(known)}, found {value!r}")
        self.visual, self.textual, self.language = visual, textual, language
        self.width, self.layers, self.heads = width, layers, heads
        self.mode: Mode = mode
        self.passing: Passing = passing
        self.without: Without = without
        self.pretrain, self.pretrained = pretrain, pretrained

    def pair(self, model: MultimodalModel, draws: Draws, *, tuned: bool) -> MultimodalModel:
        """The pair that takes the place of a model: its encoders passing tokens on, and a reader for its fusion.

        :param tuned: with prompts, and frozen but for what is trained; False is the whole pair, to be pre-trained.
        """
        language = self.language or max(model.modalities)
        if language not in model.modalities or len(model.modalities) < 2:
            raise ArgumentError(
                f"m2pt: expected a language among two or more modalities, found {language!r} and {', '.join(model.modalities)}"
            )
        dtype = next(model.parameters()).dtype
        visual = self.visual if tuned and self.without != "visual" else None
        textual = self.textual if tuned and self.without != "textual" else None
        encoders: dict[str, Encoder] = {
            m: passing_tokens(
                cast("Encoder", encoder), None if m == language else visual, draws=draws, name=m, mode=self.mode,
                passing=self.passing, freeze=tuned,
            )
            for m, encoder in model.encoders.items()
        }  # fmt: skip
        shapes = {m: (tokens_of(e).tokens, tokens_of(e).d) for m, e in encoders.items()}
        reader = Reader(
            shapes, model.fusion.classes, language=language, prompts=textual, draws=draws, d=self.width, layers=self.layers,
            heads=self.heads, mode=self.mode, interaction=not tuned or self.without != "interaction", freeze=tuned, dtype=dtype,
        )  # fmt: skip
        return MultimodalModel(encoders, reader, absence=model.absence, batch_shape=model.batch_shape)

    def remodel(self, model: MultimodalModel, draws: Draws) -> MultimodalModel:
        return self.pair(model, draws, tuned=True)

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.taught = False
        if self.pretrained is not None:
            take(model, self.pretrained, aligned=True)
            self.taught = True

    def on_epoch(self, view: View) -> None:
        if not self.taught:
            take(view.model, view.fit(_Apart(self), self.pretrain), aligned=False)
            self.taught = True

    def state_dict(self) -> dict[str, Tensor]:
        return {"taught": torch.tensor(self.taught)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.taught = bool(state["taught"])


@final
class _Apart(Method):
    """What comes before tuning: each encoder learns alone with a head of its own, and the reader on its language alone."""

    card: ClassVar[Card] = Card(
        "m2pt pre-training", "Wang et al. 2024", "Encoders and reader, each alone.", "reconstruction"
    )

    def __init__(self, tuning: M2PT) -> None:
        self.tuning = tuning

    def remodel(self, model: MultimodalModel, draws: Draws) -> MultimodalModel:
        return self.tuning.pair(model, draws, tuned=False)

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        reader = reader_of(model)
        dtype = next(model.parameters()).dtype
        return {
            head_of(m): _Pooled(d, Dense(d, reader.classes, draws=draws, name=head_of(m), dtype=dtype))
            for m, (_, d) in reader.shapes.items()
            if m != reader.language
        }

    def output(self, step: Step) -> Tensor:
        return late_average(self._logits(step), step.batch.present)

    def losses(self, step: Step) -> dict[str, Tensor]:
        own = [own_loss(step, m, f) for m, f in self._logits(step).items()]
        return {"total": torch.stack(own).sum(0)}

    def _logits(self, step: Step) -> dict[str, Tensor]:
        reader = reader_of(step.model)
        language = reader.language
        own = {m: step.auxiliary[head_of(m)](step.features[m]) for m in sorted(step.features) if m != language}
        return {**own, language: reader.read({language: step.features[language]})}

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        reader, features = reader_of(model), model.encode(batch.x)
        return reader.read({reader.language: features[reader.language]})


@final
class _Pooled(nn.Module):
    """A dense layer on the mean of tokens that lie side by side."""

    def __init__(self, d: int, layer: Dense) -> None:
        super().__init__()
        self.d, self.layer = d, layer

    def forward(self, z: Tensor) -> Tensor:
        return self.layer(z.unflatten(-1, (-1, self.d)).mean(-2))


def reader_of(model: MultimodalModel) -> Reader:
    """The reader of a pair.

    :raises ArgumentError: another fusion.
    """
    if not isinstance(model.fusion, Reader):
        raise ArgumentError(f"m2pt: expected a pair with a reader, found {type(model.fusion).__name__}")
    return model.fusion


def take(model: MultimodalModel, trained: MultimodalModel, *, aligned: bool) -> None:
    """Copy a trained pair's encoders, embedding, blocks, norm and head into a pair that is to be tuned.

    :param aligned: the interaction layers too, where the trained pair had a use for them.
    :raises ArgumentError: other modalities, widths or sizes.
    """
    mine, theirs = reader_of(model), reader_of(trained)
    if set(model.modalities) != set(trained.modalities) or mine.language != theirs.language:
        raise ArgumentError(
            f"m2pt: expected a pair of {', '.join(model.modalities)} with language {mine.language}, found {', '.join(trained.modalities)} with {theirs.language}"
        )
    parts = [(m, tokens_of(model.encoders[m]).inner, tokens_of(trained.encoders[m]).inner) for m in model.modalities]
    rooms = ("own", "head", *(("interaction",) if aligned else ()))
    for name, there, here in (*parts, *((r, mine.get_submodule(r), theirs.get_submodule(r)) for r in rooms)):
        held, wanted = here.state_dict(), there.state_dict()
        if other := sorted(
            k for k in {*held, *wanted} if k not in held or k not in wanted or held[k].shape != wanted[k].shape
        ):
            found = tuple(held[other[0]].shape) if other[0] in held else None
            expected = tuple(wanted[other[0]].shape) if other[0] in wanted else None
            raise ArgumentError(f"m2pt: expected {name}.{other[0]} of the pair to be {expected}, found {found}")
        there.load_state_dict(held)
