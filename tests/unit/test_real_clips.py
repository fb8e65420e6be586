"""Clips as they are downloaded, through PyAV: frames and sound of an encoded clip, and of a broken one."""

from __future__ import annotations

import av
import numpy as np
import pytest

from mmtheory.errors import DataError
from real.data import DATASETS
from real.data._media import frames, spread, wave_of


def write_clip(path, tone=440.0, shade=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        video, audio = out.add_stream("mpeg4", rate=10), out.add_stream("aac", rate=16000)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        for i in range(20):
            picture = np.full((64, 64, 3), shade + 5 * i, dtype=np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode())
        wave = (0.3 * np.sin(2 * np.pi * tone * np.arange(32000) / 16000)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate = 16000
        out.mux(audio.encode(frame))
        out.mux(audio.encode())
    return path


def test_frames_and_sound_of_a_clip(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4")
    found = frames(clip, 3, 32)
    assert found.shape == (9, 32, 32)
    wanted = [100 + 5 * i for i in spread(3, 20)]
    assert np.allclose(found.reshape(3, -1).mean(1), wanted, atol=6)
    wave = wave_of(clip, 8000)
    assert abs(len(wave) - 16000) < 2000
    spectrum = np.abs(np.fft.rfft(wave[2000:10000]))
    assert abs(spectrum.argmax() - 440) <= 2


def test_a_broken_clip_is_told(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4")
    clip.write_bytes(clip.read_bytes()[:500])
    for read in (lambda: frames(clip, 1, 32), lambda: wave_of(clip, 8000)):
        with pytest.raises(DataError, match=r"clip.mp4: expected a clip with"):
            read()


def test_a_data_set_of_clips_is_read(tmp_path):
    root = DATASETS["ave"].write_double(tmp_path)
    for images in sorted((root / "Image-01-FPS").iterdir()):
        write_clip(root / "AVE" / f"{images.name}.mp4")
        for file in (*images.iterdir(), root / "Audio" / f"{images.name}.wav"):
            file.unlink()
        images.rmdir()
    data = DATASETS["ave"](root)
    assert data.check()["coverage"] == 1
    assert data.whole["audio"].shape == (24, 1, 1024, 128)
