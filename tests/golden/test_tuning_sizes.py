"""How many parameters tuning trains, against numbers computed from the published shapes."""

import pytest

from mmtheory.models import Adapted, TransformerEncoder, adapter_size, prompt_tuning_size
from mmtheory.rng import Stream

D, LAYERS = 768, 12
LINEAR = [(D, D)] * 4 + [(D, 4 * D), (4 * D, D)]


@pytest.mark.parametrize(("rank", "expected"), [(1, 36_864), (4, 147_456), (8, 294_912), (16, 589_824)])
def test_adapters_of_query_and_value_in_a_base_transformer(rank, expected):
    """Specification §2.2 [X]."""
    assert adapter_size([(D, D)] * (2 * LAYERS), rank) == expected


@pytest.mark.parametrize(("rank", "expected"), [(1, 165_888), (8, 1_327_104)])
def test_adapters_of_every_layer_of_a_base_transformer(rank, expected):
    """Specification §2.2 [X]."""
    assert adapter_size(LINEAR * LAYERS, rank) == expected


def test_adapters_of_our_transformer_are_counted_by_the_same_formula():
    d, layers, rank = 16, 3, 4
    encoder = TransformerEncoder(5, 7, 6, draws=Stream(0).draws(), name="e", d=d, heads=4, layers=layers)
    blocks = ([(d, d)] * 4 + [(d, 4 * d), (4 * d, d)]) * layers
    adapted = Adapted(encoder, rank, draws=Stream(1).draws(), name="e")
    assert sum(p.numel() for p in adapted.parameters()) == adapter_size([(5, d), *blocks, (d, 6)], rank)


@pytest.mark.parametrize(
    ("textual", "visual", "expected", "with_head"),
    [
        (10, 10, 5_754_880, 136_826_880),
        (10, 20, 6_000_640, 137_072_640),
        (20, 10, 7_065_600, 138_137_600),
        (20, 20, 7_311_360, 138_383_360),
    ],
)
def test_prompts_of_a_large_pair(textual, visual, expected, with_head):
    """CLIP ViT-L/14 and Vicuna-7B: specification §3.3 [X]."""
    vision, language = (24, 1024), (32, 4096)
    assert prompt_tuning_size(vision, language, visual, textual) == expected
    assert prompt_tuning_size(vision, language, visual, textual, vocabulary=32_000) == with_head
