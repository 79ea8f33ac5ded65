"""The delay of a codec: estimated once for an operating point and a test set, then removed."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.signal import correlate, correlation_lags, oaconvolve, windows

from ecc.speech import SAMPLE_RATE

MAX_DELAY = SAMPLE_RATE // 10
"""Delays are looked for within ±100 ms (samples)."""

_HOP = SAMPLE_RATE // 1000
_WINDOW = windows.hann(SAMPLE_RATE // 50)
# Decibels below the loudest moment of an utterance that an envelope reaches down to.
_RANGE = 40.0
# The waveform peak is looked for this near to the envelope's (samples).
_NEAR = SAMPLE_RATE // 100
# Pooled correlation from which a codec is taken to keep the waveform. Measured: vocoders below
# 0.2, waveform and neural codecs from 0.5 on.
_WAVEFORM = 0.3


def estimate_delay(
    pairs: Iterable[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
) -> int:
    """By how many samples at 16 kHz the decoded signals lag behind their references.

    `pairs` are (reference [T], decoded [T']) of one operating point; they are read once, one at a
    time. Cross-correlations (by FFT) are summed over the pairs before any peak is taken, first of
    the envelopes (level in dB on a grid of 1 ms, mean removed), which vocoders keep as well,
    then, within ±10 ms of the envelopes' peak, of the waveforms. A codec that keeps the waveform
    (normalized correlation of at least 0.3 there) gets the waveforms' peak, exact to the sample;
    another one the envelopes' peak, interpolated. 0 when there is nothing to correlate.
    """
    envelopes, waveforms = _Correlation(MAX_DELAY // _HOP), _Correlation(MAX_DELAY)
    for reference, decoded in pairs:
        if reference.any() and decoded.any():
            envelopes.add(_envelope(reference), _envelope(decoded))
            waveforms.add(reference, decoded)
    values = envelopes.normalized()
    if not values.any():
        return 0
    peak = int(np.argmax(values))
    delay = round(_HOP * (peak + _vertex(values, peak) - envelopes.reach))
    values = waveforms.normalized()
    start = max(0, delay - _NEAR + MAX_DELAY)
    near = values[start : delay + _NEAR + MAX_DELAY + 1]
    return start + int(np.argmax(near)) - MAX_DELAY if near.max() >= _WAVEFORM else delay


def remove_delay(
    decoded: npt.NDArray[np.float32], delay: int, length: int
) -> npt.NDArray[np.float32]:
    """`decoded` [T'] without its first `delay` samples, cropped or zero-padded to `length`.

    A negative delay puts zeros in front.
    """
    aligned = np.zeros(length, dtype=decoded.dtype)
    source = decoded[max(0, delay) :][: max(0, length + min(0, delay))]
    start = max(0, -delay)
    aligned[start : start + len(source)] = source
    return aligned


@dataclass
class _Correlation:
    """Cross-correlation summed over pairs, for lags from -reach to +reach."""

    reach: int
    energies: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def __post_init__(self) -> None:
        self.sum = np.zeros(2 * self.reach + 1)

    def add(self, reference: npt.NDArray[np.floating], decoded: npt.NDArray[np.floating]) -> None:
        reference, decoded = reference.astype(np.float64), decoded.astype(np.float64)
        values = correlate(decoded, reference, method="fft")
        lags = correlation_lags(len(decoded), len(reference))
        inside = np.abs(lags) <= self.reach
        self.sum[lags[inside] + self.reach] += values[inside]
        self.energies[0] += float(reference @ reference)
        self.energies[1] += float(decoded @ decoded)

    def normalized(self) -> npt.NDArray[np.float64]:
        scale = np.sqrt(self.energies[0] * self.energies[1])
        return self.sum / scale if scale > 0 else self.sum


def _envelope(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    power = oaconvolve(samples.astype(np.float64) ** 2, _WINDOW, mode="same")[::_HOP]
    floor = power.max() * 10 ** (-_RANGE / 10)
    level = 10 * np.log10(np.maximum(power, floor))
    return level - level.mean()


def _vertex(values: npt.NDArray[np.float64], peak: int) -> float:
    """Where between its neighbours the parabola through a peak is highest, in [-0.5, 0.5]."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    left, middle, right = values[peak - 1 : peak + 2]
    curvature = left - 2 * middle + right
    return 0.5 * (left - right) / curvature if curvature < 0 else 0.0
