"""Prompt tokens before frozen attention: of one head, exactly what they can do; and a trained matrix of them before every layer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws

Mode = Literal["overwrite", "concat"]
Passing = Literal["contextual", "raw_last", "none"]


class Prompted(NamedTuple):
    """A head's output with prompts, and the parts it is a mixture of.

    Shape: ``output``, ``content`` and ``prompt`` [*batch_shape, queries, d_v], ``share`` [*batch_shape, queries].
    """

    output: Tensor
    content: Tensor
    prompt: Tensor
    share: Tensor


def prompted_attention(query: Tensor, key: Tensor, value: Tensor, prompt_key: Tensor, prompt_value: Tensor) -> Prompted:
    r"""Attention over prompts and content, split into what it is made of.

    .. math:: o = (1-\lambda)\,o_{\rm content} + \lambda\,o_{\rm prompt}, \qquad
        \lambda(q) = \frac{\sum_p e^{q^\top k_p/\sqrt d}}{\sum_p e^{q^\top k_p/\sqrt d} + \sum_j e^{q^\top k_j/\sqrt d}}

    The ratios of the attention among content tokens are those without prompts, whatever the prompts are; so one layer of prompts moves
    the output towards the span of the prompts' values only. Deeper layers read moved contents, and their ratios change.

    Shape: query [*batch_shape, t, d], key [*batch_shape, s, d], value [*batch_shape, s, d_v], prompt_key [*batch_shape, p, d],
    prompt_value [*batch_shape, p, d_v].

    :raises ArgumentError: no prompts, no content, or widths that disagree.

    Source: derived here, for Wang et al. 2024 (M2PT) and every prompt or prefix tuning.

    >>> zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    >>> prompted_attention(zero, zero, zero, zero, one).share.tolist()
    [0.5]
    """
    if 0 in (prompt_key.shape[-2], key.shape[-2]) or not query.shape[-1] == key.shape[-1] == prompt_key.shape[-1]:
        raise ArgumentError(
            f"prompted_attention: expected at least one prompt and one content token, as wide as the query ({query.shape[-1]}), "
            f"found prompts {tuple(prompt_key.shape[-2:])} and content {tuple(key.shape[-2:])}"
        )
    scale = math.sqrt(query.shape[-1])
    own, extra = query @ key.mT / scale, query @ prompt_key.mT / scale
    content, prompt = own.softmax(-1) @ value, extra.softmax(-1) @ prompt_value
    share = torch.sigmoid(extra.logsumexp(-1) - own.logsumexp(-1))
    return Prompted((1 - share[..., None]) * content + share[..., None] * prompt, content, prompt, share)


@final
class DeepPrompts(nn.Module):
    r"""One matrix of prompts for every layer of a frozen stack.

    .. math:: P^i_{jk} \sim U\big(\pm\sqrt{6 / (p d + d)}\big), \qquad i = 1 \dots L

    Parameters: L p d. A stack without layers has one matrix, whose rows are passed on as they are.

    Shape: ``values`` [*batch, max(L, 1), p, d].

    :param layers: L, at least 0.
    :param length: p, prompts a layer.
    :raises ArgumentError: a length below 1: no prompts are no tuning.

    Source: Wang et al. 2024 (M2PT), initial law of the released code (Xavier of a tensor (1, p, d)).
    """

    def __init__(
        self, layers: int, length: int, d: int, *, draws: Draws, name: str, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        if length < 1 or layers < 0 or d < 1:
            raise ArgumentError(
                f"prompts of {name}: expected a length and a width of at least 1 and layers >= 0, found {length}, {d} and {layers}"
            )
        self.length, bound = length, math.sqrt(6 / (length * d + d))
        start = (2 * draws.uniform(f"{name} prompts", max(layers, 1), length, d) - 1) * bound
        self.values = nn.Parameter(start.to(dtype))

    def before(self, layer: int, tokens: Tensor) -> Tensor:
        """The prompts of one layer, once for each sample of ``tokens`` [*batch, n, t, d]."""
        own = self.values[..., layer, :, :].unsqueeze(-3)
        return own.expand(*tokens.shape[:-2], *own.shape[-2:])


def through(
    blocks: Iterable[nn.Module],
    tokens: Tensor,
    prompts: DeepPrompts | None,
    *,
    mode: Mode = "overwrite",
    passing: Passing = "contextual",
) -> Tensor:
    """Tokens through a stack of blocks with prompts in front of each.

    With ``overwrite`` the prompts of a layer replace what the layer before made of its own, so that nothing but content passes between
    layers; with ``concat`` they come in addition, and the earlier ones go on as tokens.

    Shape: tokens [*batch, n, t, d] to [*batch, n, p + t, d], with ``concat`` L p + t; with ``passing`` none t.

    :param prompts: None for the plain stack.
    :param passing: what comes out: ``contextual``, outputs of the last block; ``raw_last``, its inputs, so that the last prompts come out as
        they are and the last block is not used (as the released code of M2PT does); ``none``, the outputs of the content alone.

    >>> from mmtheory.rng import Stream
    >>> prompts = DeepPrompts(0, 2, 3, draws=Stream(0).draws(), name="p")
    >>> tuple(through([], torch.zeros(5, 4, 3), prompts).shape)
    (5, 6, 3)
    """
    stack, h = list(blocks), tokens
    if prompts is None:
        for block in stack:
            h = block(h)
        return h
    for i in range(max(len(stack), 1)):
        kept = h[..., prompts.length :, :] if i and mode == "overwrite" else h
        h = torch.cat([prompts.before(i, h), kept], -2)
        if not stack or (passing == "raw_last" and i == len(stack) - 1):
            break
        h = stack[i](h)
    return h[..., -tokens.shape[-2] :, :] if passing == "none" else h


def prompt_tuning_size(
    vision: tuple[int, int], language: tuple[int, int], visual: int, textual: int, *, vocabulary: int = 0
) -> int:
    r"""Trained parameters of a prompted pair with a linear interaction layer.

    .. math:: L_v p_v d_v + L_t p_t d_t + (d_v + 1) d_t + d_t V

    :param vision: layers and width of the vision encoder; ``language`` likewise.
    :param vocabulary: V of a trained head without bias; 0 for a frozen one.

    >>> prompt_tuning_size((24, 1024), (32, 4096), 10, 10)  # CLIP ViT-L/14 and Vicuna-7B
    5754880
    """
    (lv, dv), (lt, dt) = vision, language
    return lv * visual * dv + lt * textual * dt + (dv + 1) * dt + dt * vocabulary
