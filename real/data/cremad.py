"""CREMA-D: six acted emotions, heard and seen.

7,442 clips of 91 actors saying 12 sentences. The literature's split (OGM-GE's lists) has all 91 actors on both sides; ``actor`` has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np

from mmtheory.errors import DataError
from mmtheory.rng import Stream

from ._dataset import Part, mark_double
from ._files import fields_of, label_of, rows, write_wav
from ._media import clip_in, first_of, frames, wave_of, write_picture
from ._samples import Sample, SampleDataset
from ._sound import log_stft, tiled
from ._splits import TEST, TRAIN, VALIDATION

NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})")
"""Actor, sentence, emotion, level; one file of the release, 1040_ITH_SAD_X.wav, has lost a letter of its level."""
RATE, SECONDS = 22050, 3
LISTS = {"train.csv": TRAIN, "val.csv": VALIDATION, "test.csv": TEST}


@final
class CremaD(SampleDataset):
    """Log spectrogram 257 × 188 of three seconds, and the middle frame."""

    name: ClassVar[str] = "crema-d"
    title: ClassVar[str] = "CREMA-D: acted emotions, sound and face"
    licence: ClassVar[str] = "Open Database License"
    source: ClassVar[str] = (
        "github.com/CheyneyComputerScience/CREMA-D by git lfs; the split ogm needs OGM-GE's train.csv and test.csv beside it"
    )
    layout: ClassVar[tuple[str, ...]] = (
        "AudioWAV/1001_DFA_ANG_XX.wav", "VideoFlash/1001_DFA_ANG_XX.flv or Image-01-FPS/1001_DFA_ANG_XX/*.jpg", "train.csv and test.csv",
    )  # fmt: skip
    classes: tuple[str, ...] = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
    modalities: Mapping[str, Part] = MappingProxyType({
        "audio": Part((1, 257, 188), "spectrogram", "float16"),
        "image": Part((3, 224, 224), "image", "uint8"),
    })  # fmt: skip
    splits: ClassVar[tuple[str, ...]] = ("actor", "ogm", "random")
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 7442})

    def list_samples(self) -> list[Sample]:
        listed = self._lists()
        found: list[Sample] = []
        for wav in sorted((self.root / "AudioWAV").glob("*.wav")):
            match = NAME.fullmatch(wav.stem)
            if match is None or match[3] not in self.classes:
                raise DataError(f"{wav}: expected a name like 1001_DFA_ANG_XX.wav, found {wav.name}")
            seen = first_of([self.root / "Image-01-FPS" / wav.stem]) or clip_in(self.root / "VideoFlash", wav.stem)
            image = self.need(seen, f"{self.root / 'VideoFlash' / wav.stem}.flv or Image-01-FPS/{wav.stem}")
            parts = {"ogm": listed[wav.stem]} if wav.stem in listed else {}
            found.append(
                Sample(
                    wav.stem, self.classes.index(match[3]), {"audio": wav, "image": image}, parts, {"actor": match[1]}
                )
            )
        if missing := set(listed) - {s.name for s in found}:
            raise DataError(f"{self.root / 'AudioWAV'}: expected {min(missing)}.wav, which the lists name, found none")
        return found

    def _lists(self) -> dict[str, int]:
        """Clip → part of the literature's split, as far as its lists are there."""
        listed: dict[str, int] = {}
        for file, part in LISTS.items():
            path = self.root / file
            for line, fields in rows(path) if path.exists() else ():
                name, label = fields_of(path, line, fields, 2)
                if (name, label) == ("name", "label"):
                    continue
                if label_of(path, line, label, self.classes) != self.classes.index(name[9:12]):
                    raise DataError(f"{path}, line {line}: expected the label in the name, {name[9:12]}, found {label}")
                if name in listed:
                    raise DataError(f"{path}, line {line}: expected every clip once, found {name} twice")
                listed[name] = part
        return listed

    def decode(self, modality: str, sample: Sample) -> np.ndarray:
        if modality == "image":
            return frames(self.path(sample, "image"), 1, 224)
        wave = tiled(wave_of(self.path(sample, "audio"), RATE), RATE * SECONDS)
        return log_stft(wave, 512, 353)[None]

    @classmethod
    def write_double(cls, root: Path) -> Path:
        generator = Stream(0, ("crema-d double",)).numpy()
        names: list[str] = []
        for actor in range(1001, 1006):
            for k, emotion in enumerate(cls.classes):
                names.append(f"{actor}_DFA_{emotion}_{'X' if (actor, emotion) == (1004, 'SAD') else 'XX'}")
                time = np.arange(8000) / 16000
                wave = 0.3 * np.sin(2 * np.pi * (200 + 200 * k) * time) + 0.02 * generator.standard_normal(8000)
                write_wav(root / "AudioWAV" / f"{names[-1]}.wav", wave, 16000)
                write_picture(root / "Image-01-FPS" / names[-1] / "00001.jpg", len(names), tint=30 * k)
        lists = {"train.csv": names[:18], "test.csv": names[18:]}
        for file, part in lists.items():
            (root / file).write_bytes("".join(f"{n},{n[9:12]}\r\n" for n in part).encode())
        return mark_double(root, samples=30, ogm_train=18, ogm_test=12)
