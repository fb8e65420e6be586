"""Encoders of transformers: what they read, that they follow the stream, weights from a folder, adapters, batch norms over a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pytest
import torch

from mmtheory.errors import ArgumentError, DataError, MmtheoryError
from mmtheory.rng import Stream
from real.cli import train as command
from real.cli._train import encoders_of
from real.data import DATASETS, Dataset, Index, Part
from real.encoders import Maintained, scaling
from real.recipe import Recipe, read_recipe
from real.spectrogram import BANDS, Heard, heard, log_mel
from real.trainer import Fit

PICTURE, FRAMES, SOUND = Part((3, 32, 32), "image"), Part((9, 32, 24), "image"), Part((1, 40, 24), "spectrogram")
IDS, VECTORS = Part((6,), "sequence", "int64"), Part((6, 5), "sequence")
READS = [
    ("resnet:tiny", PICTURE), ("resnet:tiny", FRAMES), ("resnet:tiny", SOUND), ("vit:tiny", PICTURE), ("vit:tiny", FRAMES),
    ("vit:tiny", SOUND), ("ast:tiny", SOUND), ("bert:tiny", IDS), ("bert:tiny", VECTORS), ("clip:tiny", FRAMES), ("clip:tiny", IDS),
]  # fmt: skip


def made(name, part, width=7, seed=0, **more):
    return Maintained(name, part, width, draws=Stream(seed).draws(), modality="m", **more)


def inputs(part, n=3, seed=5):
    draws = Stream(seed).draws()
    return draws.integers("x", 90, n, *part.shape) if part is IDS else draws.normal("x", n, *part.shape).float()


def state(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


@pytest.mark.parametrize(("name", "part"), READS)
def test_it_reads_and_follows_the_stream(name, part):
    encoder, same, other = made(name, part), made(name, part), made(name, part, seed=1)
    x = inputs(part)
    z = encoder(x)
    assert z.shape == (3, 7)
    assert z.requires_grad
    mine = state(encoder)
    assert all(torch.equal(v, mine[k]) for k, v in state(same).items())
    assert any(not torch.equal(v, mine[k]) for k, v in state(other).items())
    with torch.no_grad():
        assert torch.allclose(encoder(x[1:2]), z[1:2], atol=1e-5), "a sample's features depend on no other sample"
        assert torch.equal(encoder(x), encoder(x)), "nothing is dropped at random"


def test_frames_are_encoded_one_by_one_and_averaged():
    several = made("vit:tiny", FRAMES)
    one = made("vit:tiny", Part((3, 32, 24), "image"))
    x = inputs(FRAMES)
    parts = torch.stack([one(x[:, 3 * k : 3 * k + 3]) for k in range(3)])
    assert torch.allclose(several(x), parts.mean(0), atol=1e-6)


def test_padding_is_not_read():
    short, long = made("bert:tiny", IDS), made("bert:tiny", Part((9,), "sequence", "int64"))
    x = inputs(IDS).clamp(min=1)
    assert torch.allclose(short(x), long(torch.nn.functional.pad(x, (0, 3))), atol=1e-6)
    assert made("bert:tiny", VECTORS)(torch.zeros(2, 6, 5)).isfinite().all()


def test_sizes_are_those_of_the_literature():
    for channels, wanted in ((3, 11_176_512), (1, 11_170_240), (2, 11_173_376)):
        encoder = made("resnet", Part((channels, 32, 32), "image"), width=0)
        assert (sum(p.numel() for p in encoder.parameters()), encoder.width) == (wanted, 512)


def test_the_pair_of_the_imbalance_literature_has_its_size(crema):
    fit = Fit(DATASETS["crema-d"](crema), Recipe(encoder="resnet", width=0, epochs=1))
    assert sum(p.numel() for p in fit.trainer.model.parameters()) == 22_352_902


@pytest.mark.parametrize(
    ("name", "part", "sentence"),
    [
        ("vit:tiny", VECTORS, "expected pictures or spectrograms"),
        ("resnet:tiny", Part((20,)), "expected pictures or spectrograms"),
        ("ast:tiny", PICTURE, r"expected spectrograms \[1, time, bands\]"),
        ("bert:tiny", Part((20,)), "expected tokens, as numbers"),
        ("clip:tiny", VECTORS, "expected pictures"),
        ("vit:nowhere", PICTURE, "found no folder 'nowhere'"),
    ],
)
def test_inputs_that_it_cannot_read_are_refused(name, part, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        made(name, part)


def test_a_replicate_axis_is_refused_with_the_reason():
    with pytest.raises(ArgumentError, match="its layers carry no replicate axis"):
        Maintained("vit:tiny", PICTURE, 4, draws=Stream(0).draws(range(2)), modality="m")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder of weights, as the library writes it."""
    folder = tmp_path_factory.mktemp("vit")
    made("vit:tiny", PICTURE, seed=9).network.save_pretrained(folder)
    return folder


def test_weights_come_from_a_folder(weights):
    read, drawn = made(f"vit:{weights}", PICTURE, seed=3), made("vit:tiny", PICTURE, seed=9)
    theirs = state(drawn.network)
    assert all(torch.equal(v, theirs[k]) for k, v in state(read.network).items())
    assert not torch.equal(read.out.weight, drawn.out.weight), "the layer behind them is the run's own"
    assert made(f"vit:{weights}", Part((3, 48, 40), "image"))(torch.zeros(1, 3, 48, 40)).shape == (1, 7)
    with pytest.raises(ArgumentError, match="expected inputs of 3 channels, as the weights in"):
        made(f"vit:{weights}", SOUND)


def test_pictures_are_scaled_as_the_weights_want_them(weights, tmp_path, crema):
    folder = tmp_path / "w"
    shutil.copytree(weights, folder)
    recipe = Recipe(encoder={"image": f"vit:{folder}"}, width=6, epochs=1, batch_size=16)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.25, 0.2]}))  # fmt: skip
    scaled = dict(Fit(DATASETS["crema-d"](crema), recipe).trainer.model.named_buffers())
    assert scaled["encoders.image.inner.shift"].flatten().tolist() == pytest.approx([127.5, 102, 76.5])
    assert scaled["encoders.image.inner.scale"].flatten().tolist() == pytest.approx([127.5, 63.75, 51])
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(DataError, match=r"preprocessor_config.json: expected JSON"):
        Fit(DATASETS["crema-d"](crema), recipe)
    frames = Part((6, 8, 8), "image")
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.1, 0.2, 0.3]}))  # fmt: skip
    assert scaling(f"vit:{folder}", frames)[1].flatten().tolist() == pytest.approx([0.1, 0.2, 0.3] * 2)
    assert scaling("vit:tiny", frames) is None


def stub(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")


def cut(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def foreign(folder):
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(described | {"model_type": "bert"}))


def incomplete(folder):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors.pop(min(tensors))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (stub, r"model.safetensors: expected the file itself, found a Git-LFS stub"),
        (cut, "expected whole weights of vit, found:"),
        (foreign, r"config.json: expected weights of vit, found those of bert"),
        (incomplete, "expected whole weights of vit, found none for"),
        (lambda f: (f / "model.safetensors").unlink(), r"model.safetensors: expected weights as safetensors, found none"),
        (lambda f: (f / "config.json").unlink(), r"config.json: expected a file, found: No such file"),
        (lambda f: (f / "config.json").write_text("{"), r"config.json: expected a model's description"),
    ],
)  # fmt: skip
def test_a_folder_without_whole_weights_is_refused_by_name(weights, tmp_path, harm, sentence, capfd):
    folder = tmp_path / "w"
    shutil.copytree(weights, folder)
    harm(folder)
    with pytest.raises(DataError, match=sentence) as refused:
        made(f"vit:{folder}", PICTURE)
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", ""), "the sentence is all that is said"


def test_adapters_are_trained_in_the_networks_place(weights):
    plain, adapted = made(f"vit:{weights}", PICTURE), made(f"vit:{weights}", PICTURE, adapters=2)
    x = inputs(PICTURE)
    with torch.no_grad():
        assert torch.allclose(plain(x), adapted(x), atol=1e-6), "adapters begin at nothing"
    trained = {n for n, _ in adapted.named_parameters() if not n.startswith("out.")}
    assert trained
    assert all("lora_" in n for n in trained)
    assert sum(p.numel() for p in adapted.parameters()) < sum(p.numel() for p in plain.parameters()) / 3
    frozen = {n for n, _ in adapted.named_buffers()}
    assert any(n.endswith("base_layer.weight") for n in frozen), "what is frozen is in the checkpoint"
    with pytest.raises(ArgumentError, match="expected linear layers for adapters"):
        made("resnet:tiny", PICTURE, adapters=2)


def test_waves_become_spectrograms_on_the_device():
    part = Part((800,), "wave", rate=8000)
    wave = Stream(0).draws().normal("wave", 2, 800)
    found = log_mel(wave, part.rate)
    assert found.shape == (2, *heard(part).shape) == (2, 1, 11, BANDS)
    padded = np.pad(wave[1].numpy(), 100)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 200)
    from real.data._sound import mel_bank

    power = np.abs(np.fft.rfft(np.stack([padded[80 * k : 80 * k + 200] for k in range(11)]) * hann)) ** 2
    by_hand = np.log(np.maximum(power @ mel_bank(BANDS, 200, 8000).T, 1e-10))
    assert np.allclose(found[1, 0].numpy(), by_hand, atol=1e-8)
    encoder = Heard(made("ast:tiny", heard(part)), part)
    assert encoder(wave.float()).shape == (2, 7)


class Talk(Dataset):
    """Waves of a pitch that tells the class, and token numbers that tell it too."""

    name, title, licence, source, needs_root = "talk", "talk", "none", "generated", False
    classes = ("low", "high")
    modalities: Mapping[str, Part] = MappingProxyType(
        {"sound": Part((1600,), "wave", rate=8000), "text": Part((5,), "sequence", "int64")}
    )

    def read_index(self):
        return Index(tuple(map(str, range(60))), torch.arange(60) % 2)

    def read(self, rows):
        draws, y = Stream(0).draws(), np.arange(60) % 2
        pitch = np.sin(2 * np.pi * (300 + 500 * y[:, None]) * np.arange(1600) / 8000)
        words = 1 + y[:, None] * 7 + draws.integers("w", 5, 60, 5).numpy()
        return {"sound": pitch + draws.normal("n", 60, 1600).numpy(), "text": words}

    @classmethod
    def write_double(cls, root):
        return root


@pytest.mark.parametrize("sound", ["auto", "ast:tiny", "resnet:tiny", "mlp"])
def test_waves_and_token_numbers_are_learnt_from(sound):
    fit = Fit(Talk(), Recipe(encoder={"sound": sound, "text": "bert:tiny"}, width=8, epochs=3, batch_size=8)).run()
    assert fit.measure()["test"]["accuracy"] > 0.9
    assert fit.parts.train.x["text"].dtype == torch.int64


@pytest.fixture(scope="module")
def crema(tmp_path_factory):
    return DATASETS["crema-d"].write_double(tmp_path_factory.mktemp("crema"))


def test_batch_norms_learn_in_training_alone_and_resume_to_the_same_bytes(crema, tmp_path):
    recipe = Recipe(encoder={"image": "resnet:tiny"}, width=6, epochs=3, batch_size=8)

    class StopError(Exception):
        pass

    def stop(line):
        if line["epoch"] == 2:
            raise StopError

    whole, part, rest = (Fit(DATASETS["crema-d"](crema), recipe, folder=tmp_path / f) for f in ("a", "b", "b"))
    whole.run()
    with pytest.raises(StopError):
        part.run(stop)
    rest.resume().run()
    assert rest.trainer.epoch == 3
    assert (tmp_path / "a/checkpoint.safetensors").read_bytes() == (tmp_path / "b/checkpoint.safetensors").read_bytes()
    norms = {k: v for k, v in whole.trainer.state_dict().items() if "running" in k or "tracked" in k}
    assert any("running_mean" in k for k in norms)
    assert {int(v) for k, v in norms.items() if "tracked" in k} == {3 * -(-whole.parts.train.n // 8)}
    test = whole.parts.test
    logits = whole.trainer.predict(test)
    assert torch.allclose(whole.trainer.predict(test, size=1), logits, atol=1e-5)
    after = whole.trainer.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in norms.items())


def test_a_recipe_names_an_encoder_for_each_modality(tmp_path, crema, capsys):
    file = tmp_path / "r.toml"
    file.write_text('epochs = 1\nwidth = 6\nbatch_size = 16\n[encoder]\naudio = "ast:tiny"\nimage = "vit:tiny"\n')
    assert read_recipe(file).encoder_of("audio") == "ast:tiny"
    words = ["crema-d", "--root", str(crema), "--recipe", str(file), "--json"]
    assert command([*words, "--out", str(tmp_path / "a")]) == 0
    by_file = json.loads(capsys.readouterr().out)
    assert by_file["recipe"]["encoder"] == {"audio": "ast:tiny", "image": "vit:tiny"}
    assert command([*words, "--encoder", "image=vit:tiny,audio=ast:tiny", "--out", str(tmp_path / "b")]) == 0
    by_words = json.loads(capsys.readouterr().out)
    assert by_words["test"] == by_file["test"]
    assert command([*words, "--encoder", "audio=cnn", "--out", str(tmp_path / "c")]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] != by_file["parameters"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--encoder", "sound=cnn"], "expected modalities among audio, accelerometer, found 'sound'"),
        (["--encoder", "audio=cmn"], "did you mean cnn"),
        (["--encoder", "audio=mlp,audio=linear"], "every modality once"),
        (["--encoder", "resnet"], "expected pictures or spectrograms"),
        (["--encoder", "vit:/nowhere"], "found no folder '/nowhere'"),
        (["--encoder", "mlp:3"], "expected a name alone"),
        (["--adapters", "2"], "expected adapters with an encoder among resnet"),
        (["--accumulate", "0"], "accumulate >= 1"),
        (["--precision", "fp8"], "precision"),
    ],
)
def test_what_cannot_be_had_is_refused(words, sentence, tmp_path):
    root = DATASETS["htad"].write_double(tmp_path / "d")
    with pytest.raises(MmtheoryError, match=sentence):
        command(["htad", "--root", str(root), "--out", str(tmp_path / "r"), *words])
    assert encoders_of("cnn") == "cnn"
