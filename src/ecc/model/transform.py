"""The transform: waveform -> STFT -> g_a -> y, and y_hat -> g_s -> magnitude, phase -> waveform.

x --STFT--> X --|.|^power--> stack 2 frames --g_a--> y
y_hat --g_s--> |X_hat|^power, phase --> X_hat --projections--> X_hat --iSTFT--> x_hat

Training is in float32, or bfloat16 where that is enough. What codes is `ecc.runtime.transform`, in
float64: machines differ in its last bits, but they are too small to be seen in samples of 16 bits.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecc.model.config import MOMENTUM, TransformConfig
from ecc.model.layers import LevelTable, trunk, wide


class Spectrum(nn.Module):
    """STFT with a Hann window, and its inverse; frame t is centred on sample t * hop."""

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop

    def forward(self, x: Tensor) -> Tensor:
        """Samples [B, T] with T a multiple of hop -> complex [B, T / hop, n_fft / 2 + 1]."""
        spectrum = torch.stft(
            x,
            self.n_fft,
            self.hop,
            window=_hann(self.n_fft, x.dtype, x.device),
            pad_mode="constant",
            return_complex=True,
        )
        return spectrum[..., :-1].transpose(1, 2)

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Complex [B, T / hop, n_fft / 2 + 1] -> samples [B, T], by overlap-add."""
        samples = spectrum.shape[1] * self.hop
        return torch.istft(
            spectrum.transpose(1, 2),
            self.n_fft,
            self.hop,
            window=_hann(self.n_fft, spectrum.real.dtype, spectrum.device),
            length=samples,
        )

    def project(self, spectrum: Tensor, steps: int) -> Tensor:
        """The same magnitudes, with phases of a signal that has them as nearly as may be.

        Phases that nobody sent do not fit where frames overlap, and what does not fit cancels. Each
        step takes the phases that overlap-add leaves (Griffin and Lim, "Signal estimation from
        modified short-time Fourier transform", 1984) and goes a little further the way that they
        went (Perraudin et al., "A fast Griffin-Lim algorithm", 2013).
        Complex [B, T / hop, n_fft / 2 + 1], and 0 steps leave it as it is.
        """
        magnitude = spectrum.abs()
        before = None
        for _ in range(steps):
            fitting = self(self.inverse(spectrum))
            ahead = fitting if before is None else torch.lerp(before, fitting, 1 + MOMENTUM)
            before = fitting
            square = ahead.real**2 + ahead.imag**2
            spectrum = ahead * (magnitude * torch.rsqrt(square + 1e-9))
        return spectrum


class Analysis(nn.Module):
    """g_a: complex spectrum -> latent y, one latent frame for `stack` spectrum frames.

    The quality level shifts the first layer and scales y, which sets the width of the
    quantization steps (Cui et al., "Asymmetric gained deep image compression", 2021).
    """

    def __init__(self, config: TransformConfig, levels: int) -> None:
        super().__init__()
        self.stack, self.power = config.stack, config.power
        bins = config.n_fft // 2 + 1
        self.embed = nn.Linear(3 * bins * config.stack, config.width)
        self.trunk = trunk(config.width, config.hidden, config.analysis_blocks, config.attention)
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.channels)
        self.shift = LevelTable(levels, config.width)
        self.gain = LevelTable(levels, config.channels)

    def forward(self, spectrum: Tensor, level: Tensor) -> Tensor:
        """Complex [B, stack * T, bins] and levels [B] -> y [B, T, channels]."""
        magnitude = spectrum.abs().clamp_min(1e-5)
        compressed = magnitude**self.power
        direction = spectrum * (compressed / magnitude)
        features = torch.cat([compressed, direction.real, direction.imag], dim=-1)
        features = features.reshape(features.shape[0], -1, self.stack * features.shape[-1])
        hidden = self.trunk(self.embed(features) + self.shift(level))
        y: Tensor = wide(self.head(self.norm(hidden))) * torch.exp(self.gain(level))
        return y


class Synthesis(nn.Module):
    """g_s: y_hat -> complex spectrum, as a compressed magnitude and a unit phase vector."""

    def __init__(self, config: TransformConfig, levels: int) -> None:
        super().__init__()
        self.stack, self.power = config.stack, config.power
        self.bins = config.n_fft // 2 + 1
        self.embed = nn.Linear(config.channels, config.width)
        self.trunk = trunk(config.width, config.hidden, config.synthesis_blocks, config.attention)
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, 3 * self.bins * config.stack)
        self.shift = LevelTable(levels, config.width)
        self.gain = LevelTable(levels, config.channels)

    def forward(self, y_hat: Tensor, level: Tensor) -> Tensor:
        """y_hat [B, T, channels] and levels [B] -> complex [B, stack * T, bins]."""
        embedded = self.embed(y_hat * torch.exp(-self.gain(level)))
        head = wide(self.head(self.norm(self.trunk(embedded + self.shift(level)))))
        head = head.view(head.shape[0], -1, 3, self.bins)
        loudness, real, imag = head.unbind(dim=2)
        magnitude = F.softplus(loudness) ** (1 / self.power)
        scale = magnitude * torch.rsqrt(real**2 + imag**2 + 1e-6)
        return torch.complex(scale * real, scale * imag)


class Transform(nn.Module):
    """Both directions of the transform: samples <-> latent."""

    level_spread = 0.45  # exponent of lambda in the gains that training starts from

    def __init__(self, config: TransformConfig, levels: int) -> None:
        super().__init__()
        self.samples_per_frame = config.hop * config.stack
        self.projections = config.projections
        self.decoder_projections = config.decoder_projections
        self.spectrum = Spectrum(config.n_fft, config.hop)
        self.g_a = Analysis(config, levels)
        self.g_s = Synthesis(config, levels)

    def analyse(self, x: Tensor, level: Tensor) -> Tensor:
        """Samples [B, T * samples_per_frame] and quality levels [B] -> y [B, T, channels]."""
        y: Tensor = self.g_a(self.spectrum(x), level)
        return y

    def synthesise(self, y_hat: Tensor, level: Tensor) -> Tensor:
        """y_hat [B, T, channels] and levels [B] -> samples [B, T * samples_per_frame]."""
        steps = self.projections if self.training else self.decoder_projections
        return self.spectrum.inverse(self.spectrum.project(self.g_s(y_hat, level), steps))


@cache
def _hann(n_fft: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """As `torch.hann_window`. No buffer, since one that is cast to float64 is still float32's."""
    with torch.inference_mode(False):  # whoever asks first, training may ask next
        return torch.hann_window(n_fft, dtype=dtype).to(device)
