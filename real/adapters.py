"""Prompt tuning of a LLaVA-style checkpoint on this machine: its layers as they are, prompts put before each by hooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.models import DeepPrompts, frozen
from mmtheory.rng import Draws

from .encoders import loaded

Passing = Literal["contextual", "raw_last"]
IGNORED = -100
"""What a label says where there is nothing to predict."""


class Answer(NamedTuple):
    """Logits [n, positions, vocabulary] without those of textual prompts, and the mean cross-entropy of the next tokens, nat."""

    logits: Tensor
    loss: Tensor | None


@final
class PromptedLlava(nn.Module):
    r"""A frozen vision tower and a frozen language model with prompts before each layer, and the projector between them.

    Before a layer its prompts take the place of what the layer before made of its own. The projector gets the tokens that enter the layer
    which the checkpoint names (the last, as a rule), prompts included and the class token left out. Trained are prompts, projector and
    head; of the rest nothing is a parameter.

    :param network: a ``LlavaForConditionalGeneration`` of transformers; it is changed in place.
    :param visual: prompts before each vision layer that is used, at least 1.
    :param textual: prompts before each language layer, at least 1.
    :param passing: ``raw_last``, as in the released code: the prompts of the layer that is not used any more enter the projector as they
        are, and in place of the class token the first of them is left out.
    :param head: whether the language model's head is trained, as the released script does.
    :raises ArgumentError: a prompt length of zero, another passing, or a network of another make.

    Source: Wang et al. 2024 (M2PT), ``M2PT/model`` of the released code.
    """

    def __init__(
        self, network: Any, visual: int, textual: int, *, draws: Draws,  # noqa: ANN401 (a library imported late)
        passing: Passing = "contextual", head: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if passing not in {"contextual", "raw_last"}:
            raise ArgumentError(f"llava: expected passing contextual or raw_last, found {passing!r}")
        config = network.config
        self.vision, self.language = _holding(network, "pre_layrnorm"), _holding(network, "embed_tokens")
        self.projector = _holding(network, "multi_modal_projector").get_submodule("multi_modal_projector")
        self.image_token, self.passing = int(config.image_token_index), passing
        layers = int(config.vision_config.num_hidden_layers)
        self.select = int(config.vision_feature_layer) % (layers + 1)
        if self.select == layers:
            raise ArgumentError("llava: expected a vision_feature_layer before the last output, found the last output")
        self.head = _own(network.get_output_embeddings())
        for part in (self.vision, self.language, *(() if head else (self.head,))):
            frozen(part)
        dtype = next(self.projector.parameters()).dtype
        used = self.select + (passing == "raw_last")
        self.visual = DeepPrompts(
            used, visual, int(config.vision_config.hidden_size), draws=draws, name="visual", dtype=dtype
        )
        width, depth = int(config.text_config.hidden_size), int(config.text_config.num_hidden_layers)
        self.textual = DeepPrompts(depth, textual, width, draws=draws, name="textual", dtype=dtype)
        self._seen: list[Tensor] = []
        self._hook()

    def forward(
        self,
        input_ids: Tensor,
        pixel_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Answer:
        """Logits and loss of questions with one picture each.

        Shape: input_ids, attention_mask and labels [n, t], with the checkpoint's image token once in every row; pixel_values [n, c, h, w].

        :param labels: tokens to predict; −100 where there is none.
        :raises ArgumentError: a row without the image token, or with several.
        """
        places = input_ids == self.image_token
        if bool((places.sum(-1) != 1).any()):
            raise ArgumentError(
                f"llava: expected the image token {self.image_token} once in every row, found {places.sum(-1).tolist()}"
            )
        tokens = self.visual_tokens(pixel_values)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        words = self.language.get_submodule("embed_tokens")(torch.where(places, 0, input_ids))
        at = places.int().argmax(-1)
        given = _spliced(words, tokens, at)
        there = _spliced(mask, mask.new_ones(tokens.shape[:2]), at)
        p = self.textual.length
        padded = torch.cat([given.new_zeros(len(given), p, given.shape[-1]), given], -2)
        full = torch.cat([there.new_ones(len(there), p), there], -1)
        states = self.language(inputs_embeds=padded, attention_mask=full, use_cache=False).last_hidden_state
        logits: Tensor = self.head(states[:, p:])
        if labels is None:
            return Answer(logits, None)
        aims = _spliced(labels, labels.new_full(tokens.shape[:2], IGNORED), at)
        loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), aims[:, 1:].flatten(), ignore_index=IGNORED)
        return Answer(logits, loss)

    def visual_tokens(self, pixel_values: Tensor) -> Tensor:
        """What the language model gets of a picture, [n, prompts + patches, width]."""
        self._seen.clear()
        self.vision(pixel_values=pixel_values)
        h, p = self._seen.pop(), self.visual.length
        kept = h[:, 1:] if self.passing == "raw_last" else torch.cat([h[:, :p], h[:, p + 1 :]], -2)
        return self.projector(kept)

    def trained(self) -> dict[str, int]:
        """Trained parameters by part."""
        parts = {"visual": self.visual, "textual": self.textual, "projector": self.projector, "head": self.head}
        return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}

    def _hook(self) -> None:
        """Put the prompts where they belong."""

        def joined(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
            return torch.cat([self.visual.before(0, output), output], -2)

        def before(prompts: DeepPrompts, layer: int) -> Any:  # noqa: ANN401 (torch's hook)
            def replaced(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
                h: Tensor = args[0] if args else kwargs["hidden_states"]
                looking = prompts is self.visual
                if looking and layer == self.select and self.passing == "contextual":
                    self._seen.append(h)
                if layer < prompts.values.shape[0]:
                    h = torch.cat([prompts.before(layer, h), h[:, prompts.length :]], -2)
                if looking and layer == self.select and self.passing == "raw_last":
                    self._seen.append(h)
                return ((h, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": h})

            return replaced

        self.vision.get_submodule("pre_layrnorm").register_forward_hook(joined)
        for stack, prompts in ((self.vision.get_submodule("encoder"), self.visual), (self.language, self.textual)):
            for i, layer in enumerate(stack.get_submodule("layers").children()):
                layer.register_forward_pre_hook(before(prompts, i), with_kwargs=True)


def llava(
    folder: Path,
    visual: int = 10,
    textual: int = 10,
    *,
    draws: Draws,
    passing: Passing = "contextual",
    head: bool = True,
) -> PromptedLlava:
    """A LLaVA-style checkpoint in a local folder, to be tuned by prompts; nothing is ever downloaded.

    :raises DataError: no folder, or one without whole weights of LLaVA.
    :raises ArgumentError: transformers is missing, or a prompt length of zero.
    """
    try:
        from transformers import LlavaForConditionalGeneration
    except ImportError as error:
        raise ArgumentError("llava: expected transformers, found none; pip install 'mmtheory[encoders]'") from error
    more: Mapping[str, Any] = {"attn_implementation": "sdpa"}
    return PromptedLlava(
        loaded(LlavaForConditionalGeneration, "llava", folder, more), visual, textual, draws=draws, passing=passing, head=head
    )  # fmt: skip


def _holding(network: nn.Module, name: str) -> nn.Module:
    """The part of a network that has a child of this name."""
    for part in network.modules():
        if name in dict(part.named_children()):
            return part
    raise ArgumentError(f"llava: expected a network with {name}, found {type(network).__name__}")


def _own(layer: Any) -> nn.Module:  # noqa: ANN401 (a library's type)
    """The head with a weight of its own, even where it was the embedding's: training it must not move what is frozen."""
    layer.weight = nn.Parameter(layer.weight.detach().clone())
    return layer


def _spliced(row: Tensor, middle: Tensor, at: Tensor) -> Tensor:
    """Every row with ``middle`` in the place of its element ``at``."""
    return torch.stack([torch.cat([r[:i], m, r[i + 1 :]]) for r, m, i in zip(row, middle, at.tolist(), strict=True)])
