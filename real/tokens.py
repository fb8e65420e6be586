"""Words to token numbers, by the tokenizer that lies beside the weights of a local BERT; nothing is ever downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError, DataError
from real.data import Dataset, Part
from real.data._files import json_of, reading, sound

from .encoders import SIZES, named
from .recipe import Recipe

VOCABULARIES = ("tokenizer.json", "vocab.txt")


def tokenised(data: Dataset, recipe: Recipe) -> Dataset:
    """The data set with token numbers in the place of hashed words, where the recipe reads them with a folder of weights of BERT.

    Where no modality is so, the data set itself: a BERT from scratch has no vocabulary.

    :raises DataError: a folder without a whole tokenizer.
    :raises ArgumentError: a tokenizer that pads with another number than 0.
    """
    found: dict[str, tuple[Part, Tensor]] = {}
    for m in data.modalities:
        kind, _, where = recipe.encoder_of(m).partition(":")
        if kind != "bert" or not where or named(f"{kind}:{where}")[1] in SIZES[kind]:
            continue
        if (said := data.said(m)) is not None:
            numbers = tokens(said, Path(where))
            found[m] = (Part(tuple(numbers.shape[1:]), "sequence", "int64"), numbers)
    return data.exchanged(found) if found else data


def tokens(said: list[str], folder: Path) -> Tensor:
    """Token numbers [n, length], 0 behind the end: as long as the longest text, cut at what the network has positions for.

    :raises DataError: a folder without a whole tokenizer, or with one of another network.
    :raises ArgumentError: a tokenizer that pads with another number than 0.
    """
    tokenizer = _tokenizer(folder)
    told = json_of(folder / "config.json")
    most, vocabulary = int(told.get("max_position_embeddings", 512)), int(told.get("vocab_size", len(tokenizer)))
    if len(tokenizer) > vocabulary:
        raise DataError(
            f"{folder}: expected a tokenizer of at most {vocabulary} words, as the weights are for, found {len(tokenizer)}"
        )
    numbers: list[list[int]] = tokenizer(said, truncation=True, max_length=most)["input_ids"]
    held = torch.zeros(len(said), max(map(len, numbers)), dtype=torch.int64)
    for row, own in zip(held, numbers, strict=True):
        row[: len(own)] = torch.tensor(own)
    return held


def _tokenizer(folder: Path) -> Any:  # noqa: ANN401 (a library's type)
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ArgumentError("tokens: expected transformers, found none; pip install 'mmtheory[encoders]'") from error
    files = [folder / name for name in VOCABULARIES if (folder / name).exists()]
    if not files:
        raise DataError(f"{folder / VOCABULARIES[0]}: expected a tokenizer ({' or '.join(VOCABULARIES)}), found none")
    with reading(sound(files[0]), "a tokenizer"):
        found = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    if found.pad_token_id != 0:
        raise ArgumentError(f"{files[0]}: expected a tokenizer that pads with 0, found {found.pad_token_id}")
    return found
