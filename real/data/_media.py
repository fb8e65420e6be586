"""Pictures, clips and their sound as arrays of fixed shape; Pillow for pictures, PyAV (optional) for clips that are not extracted yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from mmtheory.errors import DataError

from ._files import reading, samples, sound

PICTURES = (".jpg", ".jpeg", ".png")
CLIPS = (".mp4", ".flv", ".avi", ".mkv", ".webm")


def picture(path: Path, edge: int) -> np.ndarray:
    """An RGB picture, its short side scaled to ``edge`` and the middle cut out: uint8 [3, edge, edge].

    :raises DataError: missing, truncated, or no picture.
    """
    return _square(_converted(path, "RGB"), edge)


def rgba(path: Path, edge: int) -> np.ndarray:
    """A picture with its transparency, scaled to a square: uint8 [4, edge, edge].

    :raises DataError: missing, truncated, or no picture.
    """
    return np.asarray(_converted(path, "RGBA").resize((edge, edge), 2), dtype=np.uint8).transpose(2, 0, 1)


def _converted(path: Path, mode: str) -> Any:  # noqa: ANN401 (Pillow's picture, imported late)
    from PIL import Image

    with reading(sound(path), "a whole picture"), Image.open(path) as held:
        return held.convert(mode)


def _square(held: Any, edge: int) -> np.ndarray:  # noqa: ANN401 (Pillow's picture, imported late)
    w, h = held.size
    scale = edge / min(w, h)
    size = (max(edge, round(w * scale)), max(edge, round(h * scale)))
    left, top = (size[0] - edge) // 2, (size[1] - edge) // 2
    cut = held.resize(size, 2).crop((left, top, left + edge, top + edge))
    return np.asarray(cut, dtype=np.uint8).transpose(2, 0, 1)


def spread(count: int, total: int) -> list[int]:
    """The middles of ``count`` equal stretches of ``total`` places; places repeat where there are too few.

    :raises DataError: no places.

    >>> spread(3, 9)
    [1, 4, 7]
    """
    if not total:
        raise DataError(f"frames: expected at least one of {count}, found none")
    return [min(total - 1, int((i + 0.5) * total / count)) for i in range(count)]


def frames(source: Path, count: int, edge: int, span: slice = slice(None)) -> np.ndarray:
    """Frames spread over a clip, or over a folder of extracted frames in the order of their names: uint8 [3·count, edge, edge].

    :param span: the stretch of frames to take them from.

    :raises DataError: no frames, a broken one, or a clip without PyAV to open it.
    """
    if source.is_dir():
        found = extracted(source)[span]
        return np.concatenate([picture(found[i], edge) for i in spread(count, len(found))])
    shown = list(_decoded(source, "video"))[span]
    return np.concatenate([_square(shown[i].to_image(), edge) for i in spread(count, len(shown))])


def extracted(folder: Path) -> list[Path]:
    """The frames in a folder, by name.

    :raises DataError: there is none.
    """
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)
    if not found:
        raise DataError(f"{folder}: expected extracted frames, found none")
    return found


def wave_of(source: Path, rate: int) -> np.ndarray:
    """The sound of a wav file or a clip at that rate, in [−1, 1].

    :raises DataError: no sound, or a clip without PyAV to open it.
    """
    if source.suffix.lower() == ".wav":
        values, found = samples(source)
    else:
        blocks = [(b.to_ndarray(), b.sample_rate) for b in _decoded(source, "audio")]
        found = blocks[0][1]
        values = np.concatenate([np.atleast_2d(v).mean(0) / (32768 if v.dtype.kind == "i" else 1) for v, _ in blocks])
    if found == rate:
        return values
    shared = int(np.gcd(found, rate))
    return np.asarray(resample_poly(values, rate // shared, found // shared))


def _decoded(path: Path, kind: str) -> Iterator[Any]:
    """Every frame of the first stream of that kind; at least one."""
    sound(path)
    try:
        av = import_module("av")
    except ImportError as error:
        raise DataError(
            f"{path}: expected PyAV to open clips, found none; pip install av, or extract frames and wav files first"
        ) from error
    count = 0
    with reading(path, f"a clip with {kind}"), av.open(str(path)) as held:
        for frame in held.decode(**{kind: 0}):
            count += 1
            yield frame
    if not count:
        raise DataError(f"{path}: expected a clip with {kind}, found none in it")


def first_of(candidates: Sequence[Path]) -> Path | None:
    """The first that exists."""
    return next((p for p in candidates if p.exists()), None)


def clip_in(folder: Path, name: str) -> Path | None:
    """The clip of that name, with whichever ending."""
    return first_of([folder / f"{name}{end}" for end in CLIPS])


def write_picture(path: Path, seed: int, *, edge: int = 32, tint: int = 0) -> Path:
    """A small generated picture, for doubles: noise around a tint."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 60, (edge, edge, 3)) + np.array([tint % 190, (7 * tint) % 190, 90])
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path
