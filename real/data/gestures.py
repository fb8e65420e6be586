"""Moving bodies: NTU-60 skeletons (joints, bones, motion) and NVGesture (colour and depth of hand gestures)."""

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
from ._files import numbers_of, text
from ._media import clip_in, first_of, frames, spread, write_picture
from ._samples import Sample, SampleDataset
from ._splits import TEST, TRAIN

NTU = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
SUBJECTS = {1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}
TRUNK = (1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 1, 7, 7, 11, 11)
"""The joint that each of the 25 hangs on (counted from 0), which makes a bone of it."""
STEPS, BODIES, JOINTS = 64, 2, 25
FIELD = re.compile(r"(\w+):(\w+):(\d+):(\d+)")


@final
class Ntu60(SampleDataset):
    """Positions of 25 joints of the two most moving bodies at 64 moments, centred on the first one's spine; bones; differences in time.

    Bodies are not turned to face the camera, which UmURL's preparation does.
    """

    name: ClassVar[str] = "ntu-60"
    title: ClassVar[str] = "NTU RGB+D 60: actions as skeletons: joints, bones, motion"
    licence: ClassVar[str] = "research use, by registration"
    source: ClassVar[str] = "rose1.ntu.edu.sg/dataset/actionRecognition, nturgbd_skeletons_s001_to_s017.zip"
    layout: ClassVar[tuple[str, ...]] = (
        "nturgb+d_skeletons/S001C001P001R001A001.skeleton",
        "[NTU_RGBD_samples_with_missing_skeletons.txt]",
    )
    classes: tuple[str, ...] = tuple(f"A{k:03d}" for k in range(1, 61))
    modalities: Mapping[str, Part] = MappingProxyType(
        {m: Part((STEPS, 3 * 25 * BODIES), "sequence") for m in ("joint", "bone", "motion")}
    )
    splits: ClassVar[tuple[str, ...]] = ("xsub", "xview", "subject", "random")
    recalled: ClassVar[Mapping[str, int]] = MappingProxyType(
        {"xsub train": 40091, "xsub test": 16487, "xview train": 37646, "xview test": 18932}
    )

    _last: tuple[str, np.ndarray] = ("", np.empty(0))

    def list_samples(self) -> list[Sample]:
        listed = self.root / "NTU_RGBD_samples_with_missing_skeletons.txt"
        missing = (
            {row.strip() for row in text(listed).splitlines() if NTU.match(row)} if listed.exists() else set[str]()
        )
        found: list[Sample] = []
        for file in sorted((self.root / "nturgb+d_skeletons").glob("*.skeleton")):
            match = NTU.fullmatch(file.stem)
            if match is None or not 1 <= int(match[5]) <= 60:
                raise DataError(
                    f"{file}: expected a name like S001C001P001R001A001.skeleton with an action up to 60, found {file.name}"
                )
            if file.stem in missing:
                continue
            parts = {
                "xsub": TRAIN if int(match[3]) in SUBJECTS else TEST,
                "xview": TRAIN if int(match[2]) in {2, 3} else TEST,
            }
            found.append(
                Sample(file.stem, int(match[5]) - 1, dict.fromkeys(self.modalities, file), parts, {"subject": match[3]})
            )
        return found

    def decode(self, modality: str, sample: Sample) -> np.ndarray:
        if self._last[0] != sample.name:  # the three modalities of a sample are one file
            self._last = (sample.name, skeletons(self.path(sample, modality)))
        joints = self._last[1]
        if modality == "bone":
            joints = joints - joints[:, :, list(TRUNK)]
        elif modality == "motion":
            joints = np.diff(joints, axis=0, append=joints[-1:])
        return joints.reshape(STEPS, -1)

    @classmethod
    def write_double(cls, root: Path) -> Path:
        generator = Stream(0, ("ntu double",)).numpy()
        folder = root / "nturgb+d_skeletons"
        folder.mkdir(parents=True, exist_ok=True)
        for subject in (1, 2, 3, 6):
            for camera in (1, 2, 3):
                for action in (1, 2):
                    rows = ["3"]
                    for _ in range(3):
                        rows += ["1", "72057594037931101 0 1 1 1 1 0 0.02 -0.2 2", "25"]
                        places = generator.standard_normal((25, 3)) * 0.1 + action
                        rows += [" ".join(f"{v:.5f}" for v in (*p, 0, 0, 0, 0, 0, 0, 0, 0)) + " 2" for p in places]
                    (folder / f"S001C{camera:03d}P{subject:03d}R001A{action:03d}.skeleton").write_text(
                        "\n".join(rows) + "\n"
                    )
        return mark_double(root, samples=24, xsub_train=12, xview_train=16)


def skeletons(path: Path) -> np.ndarray:
    """Joints [64, 2, 25, 3] of the two bodies that move most, resampled in time, relative to the first spine.

    :raises DataError: naming the line that cannot be read.
    """
    lines = text(path).splitlines()
    at = 0

    def numbers(count: int, used: int = 1) -> list[float]:
        nonlocal at
        row = lines[at].split() if at < len(lines) else []
        at += 1
        if len(row) != count:
            raise DataError(f"{path}, line {at}: expected {count} numbers, found {len(row)}")
        # What is not used of a joint, its place in the pictures, may be lost there.
        return numbers_of(path, at, row[:used])

    def joints() -> list[list[float]]:
        if (told := numbers(1)[0]) != JOINTS:
            raise DataError(f"{path}, line {at}: expected {JOINTS} joints, found {told:g}")
        return [numbers(12, used=3) for _ in range(JOINTS)]

    bodies: dict[float, dict[int, list[list[float]]]] = {}
    count = int(numbers(1)[0])
    for frame in range(count):
        for _ in range(int(numbers(1)[0])):
            body = numbers(10)[0]
            bodies.setdefault(body, {})[frame] = joints()
    if not bodies:
        raise DataError(f"{path}: expected a body, found none in {count} frames")
    whole = np.zeros((len(bodies), count, 25, 3))
    for b, seen in enumerate(bodies.values()):
        known = sorted(seen)
        for frame in range(count):
            # A body that is not seen stays where it was seen last, or will be first.
            whole[b, frame] = seen[max((k for k in known if k <= frame), default=known[0])]
    order = np.argsort(-whole.std((1, 2)).sum(-1), kind="stable")[:BODIES]
    centre = whole[order[0], 0, 1]
    chosen = np.zeros((BODIES, count, 25, 3))
    chosen[: len(order)] = whole[order] - centre
    return chosen[:, spread(STEPS, count)].transpose(1, 0, 2, 3)


@final
class NvGesture(SampleDataset):
    """Four frames of colour and of depth, spread over the 80 that hold the gesture."""

    name: ClassVar[str] = "nvgesture"
    title: ClassVar[str] = "NVGesture: hand gestures in colour and depth"
    licence: ClassVar[str] = "NVIDIA, non-commercial, by form"
    source: ClassVar[str] = "research.nvidia.com, Online Detection and Classification of Dynamic Hand Gestures"
    layout: ClassVar[tuple[str, ...]] = (
        "nvgesture_{train,test}_correct_cvpr2016_v2.lst", "Video_data/class_01/subject1_r0/{sk_color,sk_depth}.avi or folders of frames",
    )  # fmt: skip
    classes: tuple[str, ...] = tuple(f"gesture {k}" for k in range(1, 26))
    modalities: Mapping[str, Part] = MappingProxyType({
        "colour": Part((12, 224, 224), "image", "uint8"), "depth": Part((4, 224, 224), "image", "uint8"),
    })  # fmt: skip
    splits: ClassVar[tuple[str, ...]] = ("official", "subject", "random")
    recalled: ClassVar[Mapping[str, int]] = MappingProxyType({"official train": 1050, "official test": 482})

    def list_samples(self) -> list[Sample]:
        self._spans: dict[str, slice] = {}
        found: list[Sample] = []
        for part, code in (("train", TRAIN), ("test", TEST)):
            path = self.root / f"nvgesture_{part}_correct_cvpr2016_v2.lst"
            for line, row in enumerate(text(path).splitlines(), 1):
                if not row.strip():
                    continue
                place, label = re.search(r"path:(\S+)", row), re.search(r"label:(\d+)", row)
                spans = {m[1]: m for m in FIELD.finditer(row)}
                if place is None or label is None or not {"color", "depth"} <= set(spans):
                    raise DataError(f"{path}, line {line}: expected path:, depth:, color: and label:, found {row!r}")
                if not 1 <= int(label[1]) <= 25:
                    raise DataError(f"{path}, line {line}: expected a label 1 to 25, found {label[1]}")
                folder = self.root / place[1]
                name = f"{folder.parent.name}/{folder.name}"
                files: dict[str, Path | str] = {}
                for m, key in (("colour", "color"), ("depth", "depth")):
                    held = clip_in(folder, spans[key][2]) or first_of([folder / spans[key][2]])
                    files[m] = self.need(held, f"{folder / spans[key][2]}.avi, which {path.name}, line {line} names")
                    self._spans[f"{name} {m}"] = slice(int(spans[key][3]), int(spans[key][4]))
                found.append(
                    Sample(
                        name,
                        int(label[1]) - 1,
                        files,
                        {"official": code},
                        {"subject": folder.name.split("_")[0]},
                        f"{path}, line {line}",
                    )
                )
        return found

    def decode(self, modality: str, sample: Sample) -> np.ndarray:
        found = frames(self.path(sample, modality), 4, 224, self._spans[f"{sample.name} {modality}"])
        return found if modality == "colour" else found[::3]

    @classmethod
    def write_double(cls, root: Path) -> Path:
        for part, subjects in (("train", (1, 2, 3)), ("test", (4, 5))):
            rows: list[str] = []
            for subject in subjects:
                for k in range(1, 6):
                    place = f"./Video_data/class_{k:02d}/subject{subject}_r0"
                    for kind in ("sk_color", "sk_depth"):
                        for i in range(6):
                            write_picture(root / place / kind / f"{i:03d}.jpg", 10 * subject + i, tint=35 * k)
                    rows.append(f"path:{place} depth:sk_depth:1:5 color:sk_color:1:5 duo_left:duo_left:1:5 label:{k}")
            (root / f"nvgesture_{part}_correct_cvpr2016_v2.lst").write_text("\n".join(rows) + "\n")
        return mark_double(root, samples=25, official_train=15, official_test=10)
