"""Words by a local tokenizer into a local BERT: a tiny one is written to disk, and everything happens without a network."""

from __future__ import annotations

import json
import shutil
import socket

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from mmtheory.errors import ArgumentError, DataError, MmtheoryError
from mmtheory.rng import Stream
from real.cli import train as command
from real.data import DATASETS, Part
from real.encoders import Maintained
from real.recipe import Recipe
from real.tokens import tokenised, tokens
from real.trainer import Fit

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = (
    *SPECIAL,
    *[
        "a",
        "positive",
        "neutral",
        "negative",
        "day",
        "how",
        "we",
        "cook",
        "apple",
        "pie",
        "ramen",
        "tacos",
        "recipe",
        "level",
        "very",
        "good",
        "coat",
        "warm",
    ],
)
SPOKEN = ("food-101", "mvsa-single", "twitter2015", "mir-flickr", "emoji", "openclipart", "iemocap", "mrhp", "films")


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """A network would be an error."""

    def refused(*_args, **_more):
        raise AssertionError("a network was asked for")

    monkeypatch.setattr(socket, "create_connection", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights at random and a tokenizer, as a download of both would lie there."""
    place = tmp_path_factory.mktemp("bert")
    network = Maintained("bert:tiny", Part((4,), "sequence", "int64"), 0, draws=Stream(1).draws(), modality="t").network
    network.save_pretrained(place)
    words = {w: i for i, w in enumerate(VOCABULARY)}
    made = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    transformers.BertTokenizerFast(tokenizer_object=made, **names).save_pretrained(place)
    return place


def test_tokens_are_the_words_in_their_order(folder):
    found = tokens(["How we cook ramen", "", "tacos!"], folder)
    spelled = [[VOCABULARY[i] for i in row] for row in found.tolist()]
    assert spelled[0] == ["[CLS]", "how", "we", "cook", "ramen", "[SEP]"]
    assert spelled[1] == ["[CLS]", "[SEP]", *["[PAD]"] * 4]
    assert spelled[2][:4] == ["[CLS]", "tacos", "[UNK]", "[SEP]"]
    assert tokens(["day " * 2000], folder).shape == (1, 512), "cut at what the network has positions for"


@pytest.mark.parametrize("name", SPOKEN)
def test_every_data_set_of_words_is_read_by_tokens(name, folder, tmp_path):
    data = DATASETS[name](DATASETS[name].write_double(tmp_path))
    spoken = [m for m in data.modalities if data.said(m) is not None]
    assert spoken
    other = tokenised(data, Recipe(encoder=dict.fromkeys(spoken, f"bert:{folder}")))
    for m, x in other.whole.items():
        assert x.shape[1:] == other.modalities[m].shape
        assert (x.dtype == torch.int64) == (m in spoken)
        assert m in spoken or torch.equal(x, data.whole[m])
    assert other.index is data.index
    assert all(data.modalities[m].kind == "features" for m in spoken), "the data set itself is as it was"


@pytest.mark.parametrize("adapters", [0, 2])
def test_a_local_bert_learns_from_words(folder, tmp_path, adapters):
    data = DATASETS["mrhp"](DATASETS["mrhp"].write_double(tmp_path))
    recipe = Recipe(encoder=f"bert:{folder}", width=8, epochs=30, batch_size=5, lr=5e-3, adapters=adapters)
    fit = Fit(data, recipe)
    held = dict(fit.trainer.model.named_parameters()) | dict(fit.trainer.model.named_buffers())
    key = next(k for k in held if k.startswith("encoders.review") and k.endswith("word_embeddings.weight"))
    before, row = held[key].clone(), VOCABULARY.index("very")
    fit.run()
    train = fit.parts.train
    assert train.x["review"].dtype == torch.int64
    assert (fit.trainer.predict(train).argmax(-1) == train.y).float().mean() > 0.8, "a level is how often it says very"
    after = (dict(fit.trainer.model.named_parameters()) | dict(fit.trainer.model.named_buffers()))[key]
    assert torch.equal(before[row], after[row]) == bool(adapters), "adapters leave what was read from the folder"


def test_the_command_reads_prepared_pictures_and_local_words(folder, tmp_path, capsys):
    root = DATASETS["food-101"].write_double(tmp_path / "d")
    from real.cli import data as prepare

    assert prepare(["prepare", "food-101", "--root", str(root)]) == 0
    capsys.readouterr()
    words = ["food-101", "--root", str(root), "--encoder", f"text=bert:{folder},image=linear", "--epochs", "2"]
    assert command([*words, "--out", str(tmp_path / "r"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["recipe"]["encoder"]["text"] == f"bert:{folder}"
    assert prepare(["check", "food-101", "--root", str(root)]) == 0, "the preparation is as it was"


def broken(folder, tmp_path, harm):
    place = tmp_path / "b"
    shutil.copytree(folder, place)
    harm(place)
    return place


def padded(place):
    file = place / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pad_token": "[SEP]"}))


def narrow(place):
    file = place / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"vocab_size": 7}))


@pytest.mark.parametrize(
    ("harm", "kind", "sentence"),
    [
        (lambda p: (p / "tokenizer.json").unlink(), DataError, r"tokenizer.json: expected a tokenizer \(tokenizer.json or vocab"),
        (lambda p: (p / "tokenizer.json").write_text("{"), DataError, r"tokenizer.json: expected a tokenizer, found"),
        (lambda p: (p / "tokenizer.json").write_bytes(b"version https://git-lfs"), DataError, r"tokenizer.json: .*Git-LFS stub"),
        (padded, ArgumentError, "expected a tokenizer that pads with 0, found 3"),
        (narrow, DataError, "expected a tokenizer of at most 7 words"),
    ],
)  # fmt: skip
def test_a_folder_without_a_whole_tokenizer_is_refused(folder, tmp_path, harm, kind, sentence):
    with pytest.raises(kind, match=sentence) as refused:
        tokens(["a day"], broken(folder, tmp_path, harm))
    assert isinstance(refused.value, MmtheoryError)
    assert "\n" not in str(refused.value)
