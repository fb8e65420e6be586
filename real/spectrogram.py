"""Waves to log mel spectrograms where the encoder is: on the device, by torch.stft."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from mmtheory.models import Encoder
from real.data import Part
from real.data._sound import mel_bank

WINDOW, HOP, BANDS = 0.025, 0.010, 128
"""Seconds of a window and between two, and mel bands: what the audio spectrogram transformer was made for."""


def heard(part: Part) -> Part:
    """The spectrogram [1, frames, bands] that a wave [samples] becomes."""
    frames = 1 + part.shape[0] // round(HOP * part.rate)
    return Part((1, frames, BANDS), "spectrogram")


def log_mel(x: Tensor, rate: int, bank: Tensor | None = None) -> Tensor:
    """Natural logarithm of the power in each mel band under centred Hann windows.

    Shape: [*, samples] to [*, 1, 1 + ⌊samples/hop⌋, bands]. The logarithm is cut at 1e-10.
    """
    size, hop = round(WINDOW * rate), round(HOP * rate)
    if bank is None:
        bank = torch.from_numpy(mel_bank(BANDS, size, rate)).to(x)
    window = torch.hann_window(size, dtype=x.dtype, device=x.device)
    found = torch.stft(
        x.reshape(-1, x.shape[-1]),
        size,
        hop_length=hop,
        window=window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    power = found.real**2 + found.imag**2
    levels = (bank @ power).mT.clamp(min=1e-10).log()
    return levels.reshape(*x.shape[:-1], 1, *levels.shape[-2:])


@final
class Heard(Encoder):
    """Another encoder of spectrograms, given waves.

    Shape: [*batch, n, samples] to [*batch, n, width].
    """

    def __init__(self, inner: Encoder, part: Part) -> None:
        super().__init__()
        self.inner, self.rate = inner, part.rate
        self.width, self.shape = inner.width, part.shape
        bank = torch.from_numpy(mel_bank(BANDS, round(WINDOW * part.rate), part.rate))
        self.register_buffer("bank", bank.to(next(inner.parameters()).dtype))

    def forward(self, x: Tensor) -> Tensor:
        bank = self.get_buffer("bank")
        with torch.autocast(x.device.type, enabled=False):  # powers of ten that half precision does not hold
            found = log_mel(x.to(bank.dtype), self.rate, bank)
        return self.inner(found)
