"""Recordings that lie in two sources, found by their samples: a test set counts each once."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.fft

from ecc.speech import SAMPLE_RATE, read_clip

SHARED = SAMPLE_RATE  # samples that two clips must have in common to be the same recording
# Of the waveforms where they overlap. Measured on test speakers of LibriSpeech, LibriTTS and VCTK:
# 1.00 for a recording out of two repositories, at 22 and at 24 kHz, and at most 0.22 for the other
# 958 pairs of clips of one speaker.
CORRELATION = 0.5
# What is common to two clips must have a thousandth of the power of each: hum and noise between
# the words of a speaker are alike.
POWER = 1e-3


def find(clips: pd.DataFrame, speech: Path) -> dict[str, tuple[str, float]]:
    """Clips that repeat a longer one of the same speaker out of another source.

    Returns for each of them the one that is kept and the seconds that both hold. The longer one is
    kept, of two equally long ones the first by name. `clips` are rows of the manifest.
    """
    found: dict[str, tuple[str, float]] = {}
    for _, of_speaker in clips.groupby("speaker"):
        if of_speaker["source"].nunique() == 1:
            continue
        rows = cast(
            list[dict[str, Any]],
            of_speaker.sort_values(["samples", "clip"], ascending=[False, True]).to_dict("records"),
        )
        size = scipy.fft.next_fast_len(2 * int(rows[0]["samples"]), real=True)
        kept: list[tuple[dict[str, Any], _Waveform]] = []
        for row in rows:
            waveform = _Waveform(read_clip(speech / row["source"] / "speech.s16", row), size)
            for other, of_other in kept:
                if row["source"] != other["source"] and (common := shared(of_other, waveform)):
                    found[row["clip"]] = (other["clip"], common / SAMPLE_RATE)
                    break
            else:
                kept.append((row, waveform))
    return found


class _Waveform:
    """A clip ready to be correlated: differentiated, which leaves out offsets and most hum."""

    def __init__(self, samples: npt.NDArray[np.int16], size: int) -> None:
        values = np.diff(samples.astype(np.float32), prepend=np.float32(0)) / 32768
        self.size = size
        self.spectrum = scipy.fft.rfft(values, size)
        self.energy = np.concatenate([[0.0], np.cumsum(values.astype(np.float64) ** 2)])

    def __len__(self) -> int:
        return len(self.energy) - 1


def shared(one: _Waveform, two: _Waveform) -> int:
    """How many samples of the same recording both hold; 0 if that is less than `SHARED`.

    The normalized cross-correlation, by FFT, is taken of what overlaps at each lag.
    """
    if min(len(one), len(two)) < SHARED:
        return 0
    lags = np.arange(SHARED - len(one), len(two) - SHARED + 1)
    correlation = scipy.fft.irfft(one.spectrum.conj() * two.spectrum, one.size)[lags]
    starts, ends = np.maximum(0, -lags), np.minimum(len(one), len(two) - lags)
    energies = [
        waveform.energy[ends + shift] - waveform.energy[starts + shift]
        for waveform, shift in ((one, 0), (two, lags))
    ]
    loud = np.ones(len(lags), bool)
    for waveform, energy in zip((one, two), energies, strict=True):
        loud &= energy > POWER * waveform.energy[-1] / len(waveform) * (ends - starts)
    scale = np.sqrt(energies[0] * energies[1])
    values = np.divide(correlation, scale, out=np.zeros(len(lags)), where=loud & (scale > 0))
    peak = int(np.argmax(values))
    return int(ends[peak] - starts[peak]) if values[peak] >= CORRELATION else 0
