"""Sound as numbers: power spectra, mel bands, cepstra; plain numpy, so that a data set is prepared the same on every machine."""

from __future__ import annotations

import numpy as np
from scipy.fft import dct


def frames_of(wave: np.ndarray, size: int, hop: int) -> np.ndarray:
    """Windows of ``size`` samples every ``hop``, [frames, size]; a shorter wave is padded with zeros to one window."""
    padded = np.pad(wave, (0, max(0, size - len(wave))))
    return np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]


def mel_bank(bands: int, size: int, rate: int) -> np.ndarray:
    """Triangles equally wide on the mel scale 2595 log10(1 + f/700), [bands, size//2 + 1]."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(size, 1 / rate)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.clip(np.minimum(rise, fall), 0, None)


def log_mel(wave: np.ndarray, rate: int, *, bands: int = 26, window: float = 0.025, hop: float = 0.010) -> np.ndarray:
    """Natural logarithm of the power in each mel band under a Hamming window, [frames, bands]."""
    size, step = round(window * rate), round(hop * rate)
    power = np.abs(np.fft.rfft(frames_of(wave, size, step) * np.hamming(size))) ** 2
    return np.log(power @ mel_bank(bands, size, rate).T + 1e-10)


def mfcc(wave: np.ndarray, rate: int, *, coefficients: int = 13) -> np.ndarray:
    """Cepstra: the first cosine coefficients of the log mel bands, [frames, coefficients]."""
    return np.asarray(dct(log_mel(wave, rate), axis=-1, norm="ortho"))[:, :coefficients]


def resampled(table: np.ndarray, count: int) -> np.ndarray:
    """``count`` rows, linearly interpolated over the table's rows."""
    at = np.linspace(0, len(table) - 1, count)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(table) - 1)
    return table[low] + (at - low)[:, None] * (table[high] - table[low])


def tiled(wave: np.ndarray, length: int) -> np.ndarray:
    """The wave repeated until it is that long, and cut there, within [−1, 1]."""
    return np.clip(np.tile(wave, -(-length // len(wave)))[:length], -1, 1)


def log_stft(wave: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """ln(|STFT| + 1e-7) of centred Hann windows, zeros beyond the ends: [n_fft/2 + 1, 1 + ⌊n/hop⌋].

    66,150 samples at n_fft 512 and hop 353 give the field's 257 × 188, 80,000 at 256 and 128 its 129 × 626.
    """
    window = np.hanning(n_fft + 1)[:-1]
    framed = frames_of(np.pad(wave, n_fft // 2), n_fft, hop)
    return np.log(np.abs(np.fft.rfft(framed * window)).T + 1e-7)


def mel_grid(wave: np.ndarray, rate: int, *, frames: int = 1024, bands: int = 128) -> np.ndarray:
    """Log mel bands of the wave without its mean, cut or padded with the quietest value: [frames, bands].

    The imbalance literature takes Kaldi's filter bank here, which emphasises high frequencies first; the levels differ by a constant.
    """
    found = log_mel(wave - wave.mean(), rate, bands=bands)[:frames]
    return np.pad(found, ((0, frames - len(found)), (0, 0)), constant_values=float(np.log(1e-10)))
