"""Spectrograms against scipy's short-time transform and the one that transformers' feature extractors compute."""

import numpy as np
import pytest
import torch
from scipy.signal import stft
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from mmtheory.rng import Stream
from real.data._sound import log_stft, mel_bank
from real.spectrogram import BANDS, HOP, WINDOW, log_mel

pytestmark = pytest.mark.peers


def wave(samples, rate):
    """Noise under a tone that rises."""
    time = np.arange(samples) / rate
    return 0.1 * Stream(3).numpy().normal(size=samples) + np.sin(2 * np.pi * (200 + 900 * time) * time)


def power(x, rate, size, hop):
    """Squared magnitudes of the unscaled transform, [bins, frames]."""
    _, _, found = stft(x, rate, window="hann", nperseg=size, noverlap=size - hop, boundary="zeros", padded=False)
    return np.abs(found * size / 2) ** 2  # scipy divides by the window's sum


@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_devices_spectrogram_is_scipys(rate):
    size, hop, x = round(WINDOW * rate), round(HOP * rate), wave(rate // 2, rate)
    wanted = np.log(np.maximum(mel_bank(BANDS, size, rate) @ power(x, rate, size, hop), 1e-10))
    found = log_mel(torch.from_numpy(x), rate)[0].numpy().T
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-10


def test_half_of_it_in_single_precision_is_the_same_to_its_digits():
    x = torch.from_numpy(wave(4000, 8000))
    # A band without any bin has the logarithm's floor, and one next to silence loses digits: compare powers.
    close, exact = (log_mel(v, 8000).double().exp() for v in (x.float(), x))
    assert ((close - exact).abs() / exact.max()).max() < 1e-6


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")
def test_the_mel_bands_are_those_of_transformers():
    rate = 16000
    size, hop, x = round(WINDOW * rate), round(HOP * rate), wave(rate // 2, rate)
    bank = mel_filter_bank(size // 2 + 1, BANDS, 0.0, rate / 2, rate, norm=None, mel_scale="htk")
    assert np.abs(bank.T - mel_bank(BANDS, size, rate)).max() < 1e-9
    wanted = spectrogram(
        x, window_function(size, "hann"), size, hop, fft_length=size, power=2.0, center=True, pad_mode="constant",
        mel_filters=bank, mel_floor=1e-10, log_mel="log",
    )  # fmt: skip
    found = log_mel(torch.from_numpy(x), rate)[0].numpy().T
    assert np.abs(found - wanted).max() < 1e-4, "theirs is computed in complex64"


@pytest.mark.parametrize(
    ("samples", "size", "hop", "shape"), [(66150, 512, 353, (257, 188)), (80000, 256, 128, (129, 626))]
)
def test_the_literatures_spectrograms_are_scipys_and_have_its_shapes(samples, size, hop, shape):
    x = wave(samples, 22050)
    found = log_stft(x, size, hop)
    assert found.shape == shape
    assert np.abs(found - np.log(np.sqrt(power(x, 22050, size, hop)) + 1e-7)).max() < 1e-9
