"""The transform of `ecc.model.transform` in NumPy: samples <-> latent of one signal."""

from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ecc.model.config import MOMENTUM, TransformConfig
from ecc.runtime.layers import Floats, LayerNorm, Linear, State, Trunk

Spectra = NDArray[np.complex128]


class Spectrum:
    """STFT with a Hann window, and its inverse; frame t is centred on sample t * hop."""

    def __init__(self, n_fft: int, hop: int) -> None:
        self.n_fft, self.hop = n_fft, hop
        self.window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
        self._weight = np.zeros(0)

    def __call__(self, x: Floats) -> Spectra:
        """Samples [T] with T a multiple of hop -> [T / hop, n_fft / 2 + 1]."""
        seen = sliding_window_view(np.pad(x, self.n_fft // 2), self.n_fft)[: len(x) : self.hop]
        return np.fft.rfft(seen * self.window)

    def inverse(self, spectrum: Spectra) -> Floats:
        """[T / hop, n_fft / 2 + 1] -> samples [T], by overlap-add."""
        frames = np.fft.irfft(spectrum, self.n_fft)
        frames *= self.window
        samples, start = len(spectrum) * self.hop, self.n_fft // 2
        if len(self._weight) != samples:  # of the windows that overlap in each sample
            windows = np.broadcast_to(np.square(self.window), frames.shape)
            self._weight = self._overlap_add(windows)[start : start + samples]
        return self._overlap_add(frames)[start : start + samples] / self._weight

    def _overlap_add(self, frames: Floats) -> Floats:
        """The sum of frames [F, n_fft], each `hop` samples behind the one before."""
        hops = -(-self.n_fft // self.hop)
        summed = np.zeros((len(frames) + hops, self.hop))
        for i in range(hops):
            part = frames[:, i * self.hop : (i + 1) * self.hop]
            summed[i : i + len(frames), : part.shape[1]] += part
        return summed.reshape(-1)

    def project(self, spectrum: Spectra, steps: int) -> Spectra:
        """The same magnitudes, with phases of a signal that has them as nearly as may be: `steps`
        of the algorithm of Griffin and Lim, fast as Perraudin et al. made it."""
        magnitude = np.abs(spectrum)
        before = None
        for _ in range(steps):
            fitting = self(self.inverse(spectrum))
            ahead = fitting
            if before is not None:
                ahead = fitting - before
                ahead *= MOMENTUM
                ahead += fitting
            before = fitting
            scale = np.abs(ahead)
            scale *= scale
            scale += 1e-9
            np.sqrt(scale, out=scale)
            np.divide(magnitude, scale, out=scale)
            spectrum = ahead * scale
        return spectrum


class Analysis:
    """g_a: spectrum -> latent y, one latent frame for `stack` spectrum frames."""

    def __init__(self, config: TransformConfig, state: State) -> None:
        self.stack, self.power = config.stack, config.power
        self.embed, self.trunk = Linear(state.part("embed")), Trunk(state.part("trunk"))
        self.norm, self.head = LayerNorm(state.part("norm")), Linear(state.part("head"))
        self.shift, self.gain = state["shift.weight"], state["gain.weight"]

    def __call__(self, spectrum: Spectra, level: int) -> Floats:
        """[stack * T, bins] -> y [T, channels]."""
        magnitude = np.maximum(np.abs(spectrum), 1e-5)
        compressed = magnitude**self.power
        direction = spectrum * (compressed / magnitude)
        features = np.concatenate([compressed, direction.real, direction.imag], axis=1)
        hidden = self.embed(features.reshape(len(features) // self.stack, -1)) + self.shift[level]
        return self.head(self.norm(self.trunk(hidden))) * np.exp(self.gain[level])


class Synthesis:
    """g_s: y_hat -> spectrum, as a compressed magnitude and a unit phase vector."""

    def __init__(self, config: TransformConfig, state: State) -> None:
        self.power, self.bins = config.power, config.n_fft // 2 + 1
        self.embed, self.trunk = Linear(state.part("embed")), Trunk(state.part("trunk"))
        self.norm, self.head = LayerNorm(state.part("norm")), Linear(state.part("head"))
        self.shift, self.gain = state["shift.weight"], state["gain.weight"]

    def __call__(self, y_hat: Floats, level: int) -> Spectra:
        """y_hat [T, channels] -> [stack * T, bins]."""
        hidden = self.embed(y_hat * np.exp(-self.gain[level])) + self.shift[level]
        head = self.head(self.norm(self.trunk(hidden))).reshape(-1, 3, self.bins)
        loudness, real, imag = head[:, 0], head[:, 1], head[:, 2]
        # softplus, which is the identity for what is large
        magnitude = np.log1p(np.exp(np.minimum(loudness, 20.0)))
        magnitude = np.where(loudness > 20, loudness, magnitude) ** (1 / self.power)
        magnitude /= np.sqrt(np.square(real) + np.square(imag) + 1e-6)
        spectrum = np.empty(real.shape, np.complex128)
        spectrum.real, spectrum.imag = magnitude * real, magnitude * imag
        return spectrum


class Transform:
    """Both directions of the transform. An encoder has no use for g_s, a decoder none for g_a:
    each is made when it is first needed."""

    def __init__(self, config: TransformConfig, state: State) -> None:
        self.config, self._state = config, state
        self.samples_per_frame = config.hop * config.stack
        self.spectrum = Spectrum(config.n_fft, config.hop)

    @cached_property
    def g_a(self) -> Analysis:
        """Spectrum -> y."""
        return Analysis(self.config, self._state.part("g_a"))

    @cached_property
    def g_s(self) -> Synthesis:
        """y_hat -> spectrum."""
        return Synthesis(self.config, self._state.part("g_s"))

    def analyse(self, x: Floats, level: int) -> Floats:
        """Samples [T * samples_per_frame] -> y [T, channels]."""
        return self.g_a(self.spectrum(x), level)

    def synthesise(self, y_hat: Floats, level: int) -> Floats:
        """y_hat [T, channels] -> samples [T * samples_per_frame]."""
        spectrum = self.g_s(y_hat, level)
        spectrum = self.spectrum.project(spectrum, self.config.decoder_projections)
        return self.spectrum.inverse(spectrum)
