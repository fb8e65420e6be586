"""What prompt tokens can do to one frozen attention head: take a share of every query, and nothing between the content tokens."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError


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
