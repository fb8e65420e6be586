"""Encoders of maintained libraries: transformers' ResNet, ViT, AST, BERT and CLIP, from a configuration or from a local folder, never downloaded."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError, DataError
from mmtheory.models import Dense, Encoder
from mmtheory.rng import Draws
from real.data import Part
from real.data._files import sound

KINDS = ("resnet", "vit", "ast", "bert", "clip")
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SMALL = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536}
PLAIN: Mapping[str, Any] = MappingProxyType({"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
RESNETS = {
    "tiny": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "18": {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"},
    "34": {"hidden_sizes": [64, 128, 256, 512], "depths": [3, 4, 6, 3], "layer_type": "basic"},
    "50": {"hidden_sizes": [256, 512, 1024, 2048], "depths": [3, 4, 6, 3], "layer_type": "bottleneck"},
}
TRANSFORMERS: Mapping[str, Mapping[str, Any]] = {"tiny": TINY, "small": SMALL, "base": {}}
SIZES: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType({
    "resnet": RESNETS, "vit": TRANSFORMERS, "ast": TRANSFORMERS, "bert": TRANSFORMERS, "clip": TRANSFORMERS,
})  # fmt: skip
USUAL = {"resnet": "18"} | dict.fromkeys(("vit", "ast", "bert", "clip"), "base")
"""The size that a kind alone means; transformers' own defaults are ``base``."""


def named(text: str) -> tuple[str, str]:
    """Kind and size or folder of ``KIND[:SIZE|:FOLDER]``; the kinds of ``KINDS`` alone.

    :raises ArgumentError: neither a size that the kind has nor a folder that is there.

    >>> named("vit:tiny"), named("resnet")
    (('vit', 'tiny'), ('resnet', '18'))
    """
    kind, _, what = text.partition(":")
    what = what or USUAL[kind]
    if what not in SIZES[kind] and not Path(what).is_dir():
        raise ArgumentError(
            f"encoder {text}: expected {kind} with a size among {', '.join(SIZES[kind])} or a local folder, found no folder {what!r}"
        )
    return kind, what


@final
class Maintained(Encoder):
    """A network of transformers behind the library's interface: one model, no replicate axis.

    Batch norms take and move their statistics where their ``training`` is on, which the trainer decides; nothing is ever dropped at random,
    so that every random number comes from the stream. Frames that lie side by side in the channels are encoded one by one, and their
    features averaged.

    :param width: of the features, by a dense layer behind the network; 0 takes the network's own.
    :param adapters: rank of low-rank adapters (peft) that are trained in the network's place; 0 trains the network.
    :raises ArgumentError: a replicate axis, or inputs that this kind cannot read.
    :raises DataError: a folder without whole weights of this kind.
    """

    def __init__(
        self, name: str, part: Part, width: int, *, draws: Draws, modality: str, adapters: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        super().__init__()
        if draws.batch_shape:
            raise ArgumentError(
                f"encoder {name}: expected one model, found replicates {draws.batch_shape}: its layers carry no replicate axis; train seeds one by one, or take cnn, mlp or transformer"
            )
        self.kind, what = named(name)
        self.shape, self.adapters = part.shape, adapters
        self.folds = frames_in(part) if self.kind in {"resnet", "vit", "clip"} else 1
        with _drawn(draws, f"{modality} {self.kind}"):
            self.network, own = _network(self.kind, what, part, self.folds)
            if adapters:
                _adapt(self.network, adapters, name)
        self.network.to(dtype).eval()
        self.lift: Dense | None = None
        if self.kind in {"bert", "clip"} and _vectors(part):
            self.lift = Dense(part.shape[-1], own, draws=draws, name=f"{modality} lift", dtype=dtype)
        self.width = width or own
        self.out = Dense(own, width, draws=draws, name=f"{modality} out", dtype=dtype) if width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(READERS[self.kind](self, x))


def frames_in(part: Part) -> int:
    """How many pictures of three colours lie side by side in the channels.

    >>> frames_in(Part((9, 32, 32), "image")), frames_in(Part((1, 32, 32), "spectrogram"))
    (3, 1)
    """
    several = part.kind == "image" and part.shape[0] > 3 and part.shape[0] % 3 == 0
    return part.shape[0] // 3 if several else 1


def scaling(name: str, part: Part) -> tuple[Tensor, Tensor] | None:
    """Shift and scale that the weights of a folder were made with, as its ``preprocessor_config.json`` has them; None where it has not.

    :raises DataError: a file that is no JSON.
    """
    kind, what = named(name)
    path = Path(what) / "preprocessor_config.json"
    if what in SIZES[kind] or not path.exists():
        return None
    try:
        told: Mapping[str, Any] = json.loads(sound(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: expected JSON, found a damaged file ({error})") from error
    if kind == "ast" and {"mean", "std"} <= told.keys():
        return torch.tensor(told["mean"]), torch.tensor(2.0 * told["std"])
    if kind == "ast" or not {"image_mean", "image_std"} <= told.keys():
        return None
    white = 255 if part.dtype == "uint8" else 1
    shift, scale = (white * torch.tensor(told[k]) for k in ("image_mean", "image_std"))
    if part.shape[0] % len(shift):
        return None  # the weights' own check of the channels says why they do not suit
    count = part.shape[0] // len(shift)
    return shift.repeat(count).view(-1, 1, 1), scale.repeat(count).view(-1, 1, 1)


def _pictures(encoder: Maintained, x: Tensor) -> Tensor:
    """Frames folded into the samples; their features' mean."""
    count = encoder.folds
    if count > 1:
        x = x.unflatten(-3, (count, 3)).flatten(0, 1)
    if encoder.kind != "resnet":
        edge = encoder.network.config.image_size
        size = (edge, edge) if isinstance(edge, int) else tuple(edge)
        if tuple(x.shape[-2:]) != size:
            x = nn.functional.interpolate(x, size, mode="bilinear", antialias=True)
    found = encoder.network(pixel_values=x)
    z: Tensor = found.last_hidden_state[:, 0] if encoder.kind == "vit" else found.pooler_output.flatten(1)
    return z.unflatten(0, (-1, count)).mean(1) if count > 1 else z


def _sound(encoder: Maintained, x: Tensor) -> Tensor:
    return encoder.network(input_values=x.squeeze(-3)).pooler_output


def _words(encoder: Maintained, x: Tensor) -> Tensor:
    """Tokens by number (0 is no token) or as vectors (zero is none); the mean over those there."""
    if encoder.lift is None:
        here = x != 0
        given = {"input_ids": x.long()}
    else:
        here = (x != 0).any(-1)
        given = {"inputs_embeds": encoder.lift(x.flatten(0, 1)).unflatten(0, x.shape[:2])}
    here[:, 0] = True  # somebody has to be looked at
    states: Tensor = encoder.network(**given, attention_mask=here.long()).last_hidden_state
    mask = here.unsqueeze(-1).to(states.dtype)
    return (states * mask).sum(-2) / mask.sum(-2)


def _clip(encoder: Maintained, x: Tensor) -> Tensor:
    return _pictures(encoder, x) if len(encoder.shape) == 3 else _words(encoder, x)


READERS: Mapping[str, Callable[[Maintained, Tensor], Tensor]] = MappingProxyType(
    {"resnet": _pictures, "vit": _pictures, "ast": _sound, "bert": _words, "clip": _clip}
)


def _vectors(part: Part) -> bool:
    return part.kind == "sequence" and not part.dtype.startswith("int")


def _network(kind: str, what: str, part: Part, folds: int) -> tuple[Any, int]:
    """The network and the width of its features."""
    try:
        import transformers
    except ImportError as error:
        raise ArgumentError(
            f"encoder {kind}: expected transformers, found none; pip install 'mmtheory[encoders]'"
        ) from error
    maker, configured = _classes(transformers, kind, part)
    more = {"add_pooling_layer": False} if kind in {"vit", "bert"} else {}
    if what in SIZES[kind]:
        settings = {**SIZES[kind][what], **_fitting(kind, part, folds), **(PLAIN if kind == "bert" else {})}
        network: Any = maker(configured(**settings), **more)
    else:
        network = loaded(maker, kind, Path(what), more)
        _suits(network.config, kind, part, folds, what)
    config = network.config
    return network, config.hidden_sizes[-1] if kind == "resnet" else config.hidden_size


def _classes(transformers: Any, kind: str, part: Part) -> tuple[Any, Any]:  # noqa: ANN401 (a library imported late)
    """The model and configuration classes that read this part.

    :raises ArgumentError: none of this kind does.
    """
    rank = len(part.shape)
    names = {
        ("resnet", 3): "ResNet", ("vit", 3): "ViT", ("ast", 3): "AST", ("bert", 2): "Bert", ("bert", 1): "Bert",
        ("clip", 3): "CLIPVision", ("clip", 1): "CLIPText",
    }  # fmt: skip
    words = rank < 3 and not (_vectors(part) or part.dtype.startswith("int"))
    if (kind, rank) not in names or words or (kind == "ast" and part.shape[0] != 1):
        reads = {
            "resnet": "pictures or spectrograms [channels, h, w]",
            "vit": "pictures or spectrograms [channels, h, w]",
            "ast": "spectrograms [1, time, bands] or waves",
            "bert": "tokens, as numbers [tokens] of an integer type or as vectors [tokens, d]",
            "clip": "pictures [channels, h, w] or tokens as numbers [tokens] of an integer type",
        }[kind]
        raise ArgumentError(f"encoder {kind}: expected {reads}, found {part.kind} of shape {part.shape}; take auto")
    stem = names[kind, rank]
    return getattr(transformers, f"{stem}Model"), getattr(transformers, f"{stem}Config")


def _fitting(kind: str, part: Part, folds: int) -> dict[str, Any]:
    """What a configuration has to be told about the inputs."""
    if len(part.shape) < 3:
        tokens = next(iter(part.shape))
        return {"max_position_embeddings": max(tokens, 512) if kind == "bert" else tokens}
    c, h, w = part.shape
    patch = max(1, min(16, min(h, w) // 4))
    if kind == "resnet":
        return {"num_channels": c // folds}
    if kind == "ast":
        stride = max(1, round(patch * 10 / 16))
        return {
            "num_mel_bins": w, "max_length": h, "patch_size": patch, "frequency_stride": stride, "time_stride": stride,
        }  # fmt: skip
    if kind == "clip":  # square by its making: the device scales
        edge = max(h, w)
        return {"num_channels": c // folds, "image_size": edge, "patch_size": max(1, min(32, edge // 4))}
    return {"num_channels": c // folds, "image_size": (h, w), "patch_size": patch}


def _suits(config: Any, kind: str, part: Part, folds: int, folder: str) -> None:  # noqa: ANN401
    """:raises ArgumentError: inputs of another shape than the weights in the folder were made for."""
    wanted: Any = None
    if kind == "ast":
        wanted, found = (1, config.max_length, config.num_mel_bins), part.shape
    elif len(part.shape) == 3:
        wanted, found = f"{config.num_channels} channels", f"{part.shape[0] // folds} channels"
    else:
        wanted, found = f"at most {config.max_position_embeddings} tokens", f"{part.shape[0]} tokens"
        if part.shape[0] <= config.max_position_embeddings:
            found = wanted
    if wanted != found:
        raise ArgumentError(f"encoder {kind}: expected inputs of {wanted}, as the weights in {folder} are for, found {found}")  # fmt: skip


def loaded(maker: Any, kind: str, folder: Path, more: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """The network with the weights of a folder, all of them there.

    :raises DataError: a missing, stubbed, damaged or foreign file.
    """
    described = sound(folder / "config.json")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise DataError(f"{folder / 'model.safetensors'}: expected weights as safetensors, found none")
    for path in weights:
        sound(path)
    try:
        model = str(json.loads(described.read_text(encoding="utf-8"))["model_type"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{described}: expected a model's description with its model_type, found another file"
        ) from error
    owner = {"ast": "audio-spectrogram-transformer"}.get(kind, kind)
    if not model.startswith(owner):
        raise DataError(f"{described}: expected weights of {owner}, found those of {model}")
    try:
        with _quiet():
            network, told = maker.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True,
                dtype=torch.float32, **more,
            )  # fmt: skip
    except Exception as error:
        # transformers, safetensors and torch each have their own kinds of complaint, and none of them is stable.
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{folder}: expected whole weights of {kind}, found: {reason}") from error
    if missing := sorted(told["missing_keys"]):
        raise DataError(f"{folder}: expected whole weights of {kind}, found none for {missing[0]} and {len(missing) - 1} more")  # fmt: skip
    return network


def _adapt(network: nn.Module, rank: int, name: str) -> None:
    """Low-rank adapters in every linear layer; what is frozen becomes buffers, which no optimiser and no gradient sees."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ArgumentError(f"encoder {name}: expected peft for adapters, found none; pip install 'mmtheory[encoders]'") from error  # fmt: skip
    linear = [n for n, m in network.named_modules() if isinstance(m, nn.Linear)]
    if not linear:
        raise ArgumentError(f"encoder {name}: expected linear layers for adapters, found none; take adapters = 0")
    # Typed for models of the library alone; any module goes.
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=linear), network)
    for module in network.modules():
        for own, p in list(module.named_parameters(recurse=False)):
            if not p.requires_grad:
                delattr(module, own)
                module.register_buffer(own, p.detach())


@contextmanager
def _drawn(draws: Draws, name: str) -> Generator[None, None, None]:
    """Makes what a library draws by itself follow from the stream; its generator is as before afterwards."""
    generator = torch.Generator().manual_seed(int(draws.integers(name, 2**62)))
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.set_rng_state(generator.get_state())
        yield


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Without the library's remarks and bars: what matters is raised."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        from transformers.utils import logging as own

        bars = own.is_progress_bar_enabled()
        own.disable_progress_bar()
    except ImportError:
        own, bars = None, False
    try:
        yield
    finally:
        logger.setLevel(level)
        if own is not None and bars:
            own.enable_progress_bar()
