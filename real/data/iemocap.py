"""IEMOCAP: emotions in dialogues, spoken and transcribed; the usual four classes, excited counted as happy.

Random splits have the speakers on both sides; ``session`` keeps the five pairs of speakers apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np

from mmtheory.errors import DataError
from mmtheory.rng import Stream

from ._dataset import Part, mark_double
from ._files import present, text, write_wav
from ._media import wave_of
from ._samples import Sample, SampleDataset, words
from ._sound import mel_grid
from ._words import WIDTH, hashed

SUMMARY = re.compile(r"\[(\d+\.\d+) - (\d+\.\d+)\]\t(\S+)\t(\w{3})\t\[.*\]")
SAID = re.compile(r"(\S+) \[[\d.]+-[\d.]+\]: (.*)")
LABELS = {"ang": 0, "hap": 1, "exc": 1, "neu": 2, "sad": 3}
OTHERS = {"fru", "fea", "sur", "dis", "oth", "xxx"}
RATE = 16000


@final
class Iemocap(SampleDataset):
    """Log mel bands of an utterance, and its words hashed; the video is cut from dialogues, and left out."""

    name: ClassVar[str] = "iemocap"
    title: ClassVar[str] = "IEMOCAP: four emotions in dialogues, voice and words"
    licence: ClassVar[str] = "USC, signed release"
    source: ClassVar[str] = "sail.usc.edu/iemocap, IEMOCAP_full_release"
    layout: ClassVar[tuple[str, ...]] = (
        "Session{1..5}/dialog/EmoEvaluation/*.txt", "Session{1..5}/dialog/transcriptions/*.txt", "Session{1..5}/sentences/wav/<dialogue>/<utterance>.wav",
    )  # fmt: skip
    classes: tuple[str, ...] = ("angry", "happy", "neutral", "sad")
    modalities: Mapping[str, Part] = MappingProxyType({
        "audio": Part((1, 1024, 128), "spectrogram", "float16"), "text": Part((WIDTH,)),
    })  # fmt: skip
    spoken: ClassVar[tuple[str, ...]] = ("text",)
    splits: ClassVar[tuple[str, ...]] = ("session", "random")
    recalled: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 5531})

    def list_samples(self) -> list[Sample]:
        top = self.root / "IEMOCAP_full_release"
        top = top if top.is_dir() else self.root
        return [s for session in sorted(top.glob("Session[1-5]")) for s in self._session(session)]

    def _session(self, session: Path) -> Iterator[Sample]:
        told = session / "dialog" / "transcriptions"
        # By their first letters: macOS left hidden twins of some files in the release.
        for transcript in sorted(told.glob("Ses*.txt")):
            present(session / "dialog" / "EmoEvaluation" / transcript.name)
        for file in sorted((session / "dialog" / "EmoEvaluation").glob("Ses*.txt")):
            said: dict[str, str] | None = None
            for line, row in enumerate(text(present(file), errors="replace").splitlines(), 1):
                if not row.startswith("["):
                    continue
                match = SUMMARY.fullmatch(row.strip())
                if match is None:
                    if line == 1:
                        continue
                    raise DataError(
                        f"{file}, line {line}: expected [start - end], utterance, emotion, [v, a, d], found {row!r}"
                    )
                name, emotion = match[3], match[4]
                if emotion not in LABELS and emotion not in OTHERS:
                    raise DataError(
                        f"{file}, line {line}: expected an emotion among {', '.join([*LABELS, *sorted(OTHERS)])}, found {emotion!r}"
                    )
                if emotion in LABELS:
                    said = said if said is not None else _transcript(told / file.name)
                    if name not in said:
                        raise DataError(f"{told / file.name}: expected the words of {name}, found none")
                    wav = session / "sentences" / "wav" / file.stem / f"{name}.wav"
                    files: dict[str, Path | str] = {"audio": wav, "text": said[name]}
                    place = f"{file}, line {line}"
                    yield Sample(name, LABELS[emotion], files, {}, {"session": session.name}, place)

    def decode(self, modality: str, sample: Sample) -> np.ndarray:
        if modality == "text":
            return hashed(words(sample, modality))
        return mel_grid(wave_of(self.path(sample, "audio"), RATE), RATE)[None]

    @classmethod
    def write_double(cls, root: Path) -> Path:
        generator = Stream(0, ("iemocap double",)).numpy()
        for session in range(1, 6):
            folder, dialogue = root / f"Session{session}", f"Ses0{session}F_impro01"
            rows, spoken = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""], [""]
            for i, emotion in enumerate((*LABELS, "xxx")):
                name = f"{dialogue}_F{i:03d}"
                rows += [f"[{i}.0000 - {i}.5000]\t{name}\t{emotion}\t[2.5, 2.5, 2.5]", "C-E1:\tAnger;\t()", ""]
                spoken.append(f"{name} [{i}.0000-{i}.5000]: I feel {emotion} today.")
                wave = 0.3 * np.sin(np.arange(RATE // 2) * (0.1 + 0.1 * i)) + 0.02 * generator.standard_normal(
                    RATE // 2
                )
                write_wav(folder / "sentences" / "wav" / dialogue / f"{name}.wav", wave, RATE)
            for kind, content in (("EmoEvaluation", rows), ("transcriptions", spoken[1:])):
                (folder / "dialog" / kind).mkdir(parents=True, exist_ok=True)
                (folder / "dialog" / kind / f"{dialogue}.txt").write_text("\n".join(content) + "\n")
        return mark_double(root, samples=25)


def _transcript(path: Path) -> dict[str, str]:
    """Utterance → words."""
    found = (SAID.fullmatch(row.strip()) for row in text(path, errors="replace").splitlines())
    return {match[1]: match[2] for match in found if match}
