"""Prompt tuning of a LLaVA-style checkpoint: a small one is written to disk, loaded from there, tuned."""

import pytest
import torch
import transformers

from mmtheory.errors import ArgumentError, DataError
from mmtheory.models import prompt_tuning_size
from mmtheory.rng import Stream
from real.adapters import IGNORED, PromptedLlava, llava
from real.data import DATASETS
from real.recipe import Recipe
from real.trainer import Fit

VISION, LANGUAGE, VOCABULARY, IMAGE = (3, 16), (2, 24), 40, 39


def tiny(**changes):
    vision = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=8, patch_size=2,
        projection_dim=16,
    )  # fmt: skip
    text = transformers.LlamaConfig(
        hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=VOCABULARY, max_position_embeddings=128, **changes,
    )  # fmt: skip
    config = transformers.LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE)
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.set_state(Stream(0).torch().get_state())
        return transformers.LlavaForConditionalGeneration(config)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("llava")
    tiny().save_pretrained(place)
    return place


def prompted(folder, **options):
    return llava(folder, 3, 2, draws=Stream(1).draws(), **options)


def question(n=4):
    draws = Stream(2).draws()
    ids = draws.integers("ids", IMAGE, n, 6)
    ids[:, 1] = IMAGE
    labels = ids.clone()
    labels[:, :4] = IGNORED
    return ids, draws.normal("pixels", n, 3, 8, 8).float(), labels


def projector(model):
    return sum(p.numel() for p in model.projector.parameters())


def test_what_is_trained_is_what_the_formula_says(folder):
    for passing, layers in (("raw_last", 3), ("contextual", 2)):
        for head in (True, False):
            model = prompted(folder, passing=passing, head=head)
            linear = (VISION[1] + 1) * LANGUAGE[1]
            wanted = prompt_tuning_size((layers, VISION[1]), LANGUAGE, 3, 2, vocabulary=VOCABULARY if head else 0)
            assert sum(model.trained().values()) == wanted - linear + projector(model)
            assert sum(p.numel() for p in model.parameters()) == sum(model.trained().values())


def test_the_language_model_gets_prompts_and_patches(folder):
    ids, pixels, labels = question()
    for passing in ("contextual", "raw_last"):
        model = prompted(folder, passing=passing)
        tokens = model.visual_tokens(pixels)
        assert tokens.shape == (4, 3 + 16, 24)
        answer = model(ids, pixels, labels=labels)
        assert answer.logits.shape == (4, 6 - 1 + 3 + 16, VOCABULARY)
        assert answer.loss.isfinite()
    raw = model.projector(model.visual.values[-1])
    # As released: the last layer's prompts but the first, then class token and patches.
    assert torch.allclose(tokens[:, :2], raw[1:].expand(4, -1, -1), atol=1e-6)


def test_prompts_are_overwritten_in_every_layer(folder):
    """A language layer reads its own prompts, never what the layer before made of its."""
    model, seen = prompted(folder), []
    layers = list(model.language.layers)
    for layer in layers:
        layer.register_forward_pre_hook(lambda _m, args, kwargs: seen.append((args or (kwargs["hidden_states"],))[0]), with_kwargs=True)  # fmt: skip
    ids, pixels, _ = question()
    model(ids, pixels)
    for i, h in enumerate(seen):
        assert torch.equal(h[:, :2], model.textual.values[i].expand(4, -1, -1))


def test_visual_tokens_are_those_of_the_layers_taken_one_by_one(folder):
    _, pixels, _ = question()
    model, tower = prompted(folder), tiny().eval().model.vision_tower
    h = tower.pre_layrnorm(tower.embeddings(pixels))
    for i, layer in enumerate(list(tower.encoder.layers)[:2]):
        h = torch.cat([model.visual.values[i].expand(4, -1, -1), h[:, 3:] if i else h], 1)
        out = layer(h, attention_mask=None)
        h = out if isinstance(out, torch.Tensor) else out[0]
    kept = torch.cat([h[:, :3], h[:, 4:]], 1)
    assert torch.allclose(model.visual_tokens(pixels), model.projector(kept), atol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_tuning_lowers_the_loss_and_leaves_the_frozen_bits(tied):
    model = PromptedLlava(tiny(tie_word_embeddings=tied), 3, 2, draws=Stream(1).draws())
    before = {k: v.clone() for k, v in model.named_buffers()}
    parameters = list(model.parameters())
    optimiser = torch.optim.Adam(parameters, lr=0.02)
    ids, pixels, labels = question()
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = model(ids, pixels, labels=labels).loss
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(v, before[k]) for k, v in model.named_buffers())
    assert all(v.grad is None for v in model.buffers())
    assert all(p.grad is not None for p in parameters)
    held = sum(v.numel() for s in optimiser.state.values() for v in s.values() if v.ndim)
    assert held == 2 * sum(model.trained().values())


def test_what_is_not_there_is_refused_in_a_sentence(folder, tmp_path):
    with pytest.raises(DataError, match=r"nowhere/config\.json: expected .*, found") as told:
        llava(tmp_path / "nowhere", draws=Stream(0).draws())
    assert "\n" not in str(told.value)
    other = transformers.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    with torch.random.fork_rng(devices=[]):
        transformers.ViTModel(other).save_pretrained(tmp_path / "vit")
    with pytest.raises(DataError, match="expected weights of llava, found those of vit"):
        llava(tmp_path / "vit", draws=Stream(0).draws())
    for lengths in ((0, 2), (2, 0)):
        with pytest.raises(ArgumentError, match="a length and a width of at least 1"):
            llava(folder, *lengths, draws=Stream(0).draws())
    with pytest.raises(ArgumentError, match="passing contextual or raw_last, found 'none'"):
        prompted(folder, passing="none")
    ids, pixels, _ = question()
    ids[0, 1] = 3
    with pytest.raises(ArgumentError, match=r"the image token 39 once in every row, found \[0, 1, 1, 1\]"):
        prompted(folder)(ids, pixels)
    broken = torch.nn.Sequential()
    broken.config = tiny().config
    with pytest.raises(ArgumentError, match="a network with pre_layrnorm, found Sequential"):
        PromptedLlava(broken, 1, 1, draws=Stream(0).draws())


@pytest.mark.parametrize(("name", "encoder"), [("watch", "auto"), ("crema-d", "vit:tiny")])
@pytest.mark.parametrize("method", ["mmlora", "m2pt"])
def test_data_sets_of_sequences_and_encoders_of_transformers_are_tuned(method, name, encoder, tmp_path):
    data = DATASETS[name](DATASETS[name].write_double(tmp_path / name))
    chosen = encoder if encoder == "auto" else {"image": encoder}
    fit = Fit(data, Recipe(method=method, encoder=chosen, epochs=2, width=8, batch_size=8)).run()
    frozen = {k: v.clone() for k, v in fit.trainer.model.named_buffers()}
    trained = {k for k, _ in fit.trainer.model.encoders.named_parameters()}
    wanted = {"mmlora": ("updates",), "m2pt": ("prompts",)}[method]
    assert trained
    assert all(any(f".{w}." in name for w in wanted) for name in trained)
    fit.trainer.run(1)
    assert all(torch.equal(v, frozen[k]) for k, v in fit.trainer.model.named_buffers())
    assert 0 <= fit.measure()["test"]["accuracy"] <= 1
