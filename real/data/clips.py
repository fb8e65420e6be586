"""Audio-visual clips of everyday sounds: Kinetics-Sounds, AVE and VGGSound, each a list of clips, many of which are gone from the web.

Clips are read as they were downloaded (mp4, through PyAV), or extracted: ``Image-01-FPS/<clip>/*.jpg`` and ``Audio/<clip>.wav``. Where a
clip is on the list but not on the disk it is left out, and ``check`` tells how many there are; fewer than one in a hundred is an error.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, final

import numpy as np

from mmtheory.errors import DataError
from mmtheory.rng import Stream

from ._dataset import Part, mark_double
from ._files import fields_of, label_of, rows, write_wav
from ._media import clip_in, first_of, frames, wave_of, write_picture
from ._samples import Sample, SampleDataset
from ._sound import mel_grid
from ._splits import TEST, TRAIN, VALIDATION

RATE = 16000
FRAMES = 3
DOUBLED = 6
"""Classes of a double."""
KINETICS = (
    "blowing_nose blowing_out_candles bowling chopping_wood dribbling_basketball laughing mowing_lawn playing_accordion "
    "playing_bagpipes playing_bass_guitar playing_clarinet playing_drums playing_guitar playing_harmonica playing_keyboard "
    "playing_organ playing_piano playing_saxophone playing_trombone playing_trumpet playing_violin playing_xylophone "
    "ripping_paper shoveling_snow shuffling_cards singing stomping_grapes tap_dancing tapping_guitar tapping_pen tickling "
)
NAMED = {"train": ("train",), "val": ("val", "validate"), "test": ("test",)}
"""What Kinetics' files call their part."""


@dataclass(frozen=True)
class Listed:
    """A clip on a list: its id, the names its file may have, its class, its part."""

    name: str
    stems: tuple[str, ...]
    label: int
    part: int
    place: str


class Clips(SampleDataset):
    """Log mel bands 1024 × 128 of ten seconds, and three frames spread over the clip."""

    modalities: Mapping[str, Part] = MappingProxyType({
        "audio": Part((1, 1024, 128), "spectrogram", "float16"),
        "video": Part((3 * FRAMES, 224, 224), "image", "uint8"),
    })  # fmt: skip
    splits: ClassVar[tuple[str, ...]] = ("official", "random")
    folders: ClassVar[tuple[str, ...]] = (".",)
    """Where clips may lie below the root."""

    @abstractmethod
    def listed(self) -> Iterator[Listed]:
        """Every clip on the lists, whether it is on the disk or not."""

    def list_samples(self) -> list[Sample]:
        every = list(self.listed())
        self.named = len(every)
        found = [s for s in map(self._sample, every) if s is not None]
        if 100 * len(found) < len(every):
            raise DataError(
                f"{self.root}: expected the clips that the lists name, for one {every[0].stems[0]}.mp4, found {len(found)} of {len(every)}"
            )
        return found

    def _sample(self, clip: Listed) -> Sample | None:
        for stem in clip.stems:
            images, wav = self.root / "Image-01-FPS" / stem, self.root / "Audio" / f"{stem}.wav"
            if images.is_dir() and wav.exists():
                return Sample(
                    clip.name, clip.label, {"audio": wav, "video": images}, {"official": clip.part}, place=clip.place
                )
            whole = first_of([p for folder in self.folders if (p := clip_in(self.root / folder, stem))])
            if whole is not None:
                return Sample(
                    clip.name, clip.label, {"audio": whole, "video": whole}, {"official": clip.part}, place=clip.place
                )
        return None

    def check(self) -> dict[str, Any]:
        found = super().check()
        return {**found, "listed": self.named, "coverage": len(self.samples) / self.named}

    def decode(self, modality: str, sample: Sample) -> np.ndarray:
        if modality == "video":
            return frames(self.path(sample, "video"), FRAMES, 224)
        return mel_grid(wave_of(self.path(sample, "audio"), RATE), RATE)[None]


@final
class KineticsSounds(Clips):
    """31 classes of Kinetics-400 that can be both heard and seen; from Kinetics' own annotation files."""

    name: ClassVar[str] = "kinetics-sounds"
    title: ClassVar[str] = "Kinetics-Sounds: 31 classes of Kinetics-400 that can be heard and seen"
    licence: ClassVar[str] = "annotations CC BY 4.0; clips under YouTube's terms"
    source: ClassVar[str] = "github.com/cvdfoundation/kinetics-dataset, the classes of Kinetics-Sounds"
    layout: ClassVar[tuple[str, ...]] = (
        "annotations/{train,val,test}.csv", "{train,val,test}/[<label>/]<id>_000012_000022.mp4, or Image-01-FPS/ and Audio/",
    )  # fmt: skip
    classes: tuple[str, ...] = tuple(KINETICS.split())
    folders: ClassVar[tuple[str, ...]] = (".", "train", "val", "test")
    header: ClassVar[list[str]] = ["label", "youtube_id", "time_start", "time_end", "split"]

    def listed(self) -> Iterator[Listed]:
        for file, part in (("train", TRAIN), ("val", VALIDATION), ("test", TEST)):
            path = self.root / "annotations" / f"{file}.csv"
            width = len(self.header)
            for line, fields in rows(path):
                if line == 1:
                    width = len(fields)
                    # Some copies say behind the rest whether a clip is under a Creative Commons licence.
                    if fields not in (self.header, [*self.header, "is_cc"]):
                        raise DataError(
                            f"{path}, line 1: expected columns {','.join(self.header)}, found {','.join(fields)}"
                        )
                    continue
                label, video, start, end, told, *_ = fields_of(path, line, fields, width)
                if told not in NAMED[file]:
                    raise DataError(f"{path}, line {line}: expected {NAMED[file][0]}, the file's part, found {told!r}")
                word = label.strip().replace(" ", "_")
                if word in self.classes:
                    stem = f"{video}_{whole(path, line, start):06d}_{whole(path, line, end):06d}"
                    stems = (stem, f"{label}/{stem}", f"{word}/{stem}")
                    yield Listed(stem, stems, self.classes.index(word), part, f"{path}, line {line}")

    @classmethod
    def write_double(cls, root: Path) -> Path:
        (root / "annotations").mkdir(parents=True, exist_ok=True)
        for file, count in (("train", 2), ("val", 1), ("test", 1)):
            lines = [",".join(cls.header), f"archery,zz{file},0,10,{file}"]
            for k, label in enumerate(cls.classes[:DOUBLED]):
                for i in range(count):
                    write_clip(root, f"{file}{k:02d}{i}_000001_000011", k)
                    lines.append(f"{label.replace('_', ' ')},{file}{k:02d}{i},1,11,{file}")
            (root / "annotations" / f"{file}.csv").write_text("\n".join(lines) + "\n")
        return mark_double(root, samples=24, official_train=12, official_validation=6, official_test=6)


@final
class Ave(Clips):
    """Audio-visual events of 28 classes; videos on the lists twice (several events) count once, by their first."""

    name: ClassVar[str] = "ave"
    title: ClassVar[str] = "AVE: audio-visual events of 28 classes"
    licence: ClassVar[str] = "research use; clips under YouTube's terms"
    source: ClassVar[str] = "github.com/YapengTian/AVE-ECCV18, AVE_Dataset"
    layout: ClassVar[tuple[str, ...]] = (
        "trainSet.txt, valSet.txt, testSet.txt",
        "AVE/<id>.mp4, or Image-01-FPS/ and Audio/",
    )
    classes: tuple[str, ...] = (
        "Accordion", "Acoustic guitar", "Baby cry, infant cry", "Banjo", "Bark", "Bus", "Cat", "Chainsaw", "Church bell", "Clock",
        "Female speech, woman speaking", "Fixed-wing aircraft, airplane", "Flute", "Frying (food)", "Goat", "Helicopter", "Horse",
        "Male speech, man speaking", "Mandolin", "Motorcycle", "Race car, auto racing", "Rodents, rats, mice", "Shofar", "Toilet flush",
        "Train horn", "Truck", "Ukulele", "Violin, fiddle",
    )  # fmt: skip
    folders: ClassVar[tuple[str, ...]] = ("AVE", ".")

    def listed(self) -> Iterator[Listed]:
        seen: set[str] = set()
        for file, part in (("trainSet", TRAIN), ("valSet", VALIDATION), ("testSet", TEST)):
            path = self.root / f"{file}.txt"
            for line, fields in rows(path, delimiter="&", quoted=False):
                label, video, *_ = fields_of(path, line, fields, 5)
                if line == 1 and label == "Category":
                    continue
                number = label_of(path, line, label, self.classes)
                if video not in seen:
                    seen.add(video)
                    yield Listed(video, (video,), number, part, f"{path}, line {line}")

    @classmethod
    def write_double(cls, root: Path) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        for file, count in (("trainSet", 2), ("valSet", 1), ("testSet", 1)):
            lines: list[str] = []
            for k, label in enumerate(cls.classes[:DOUBLED]):
                for i in range(count):
                    write_clip(root, f"{file}{k:02d}{i}", k)
                    lines.append(f"{label}&{file}{k:02d}{i}&good&0&10")
            (root / f"{file}.txt").write_text("\n".join([*lines, lines[0]]) + "\n")
        return mark_double(root, samples=24, official_train=12, official_validation=6, official_test=6)


def whole(path: Path, line: int, field: str) -> int:
    """A whole number.

    :raises DataError: naming file and line.
    """
    try:
        return int(float(field))
    except ValueError as error:
        raise DataError(f"{path}, line {line}: expected a number of seconds, found {field!r}") from error


def write_clip(root: Path, stem: str, k: int) -> None:
    """An extracted clip of a double: half a second whose pitch and tint tell the class, two frames."""
    generator = Stream(0, ("clip double", stem)).numpy()
    time = np.arange(RATE // 2) / RATE
    wave = 0.3 * np.sin(2 * np.pi * (150 + 120 * k) * time) + 0.02 * generator.standard_normal(len(time))
    write_wav(root / "Audio" / f"{stem}.wav", wave, RATE)
    for i in (1, 2):
        write_picture(root / "Image-01-FPS" / stem / f"{i:05d}.jpg", 2 * k + i, tint=6 * k)
