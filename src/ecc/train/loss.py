"""Distortion D of the rate-distortion loss: spectral distances at several resolutions."""

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn

from ecc.speech import SAMPLE_RATE
from ecc.train.config import LossConfig
from ecc.train.hearing import Loudness, Naturalness, Structure


class Distortion(nn.Module):
    """Weighted sum of six distances, each averaged over the batch, and the first two over the
    resolutions:

    - L1 of log-mel spectra,
    - L1 of mel magnitudes to the power 0.3, close to loudness (Stevens' law),
    - L1 of complex spectra with magnitudes to the power 0.3, at the middle resolution: phase,
    - what PESQ, ViSQOL and DNSMOS hear (`ecc.train.hearing`), unless their weights are 0.
    """

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.config = config
        for i, (n_fft, mels) in enumerate(zip(config.n_fft, config.mels, strict=True)):
            self.register_buffer(f"window{i}", torch.hann_window(n_fft), persistent=False)
            filters = torchaudio.functional.melscale_fbanks(
                n_fft // 2 + 1, 0.0, SAMPLE_RATE / 2, mels, SAMPLE_RATE, norm=None
            )
            self.register_buffer(f"mel{i}", filters, persistent=False)
        self.hearing = nn.ModuleDict()
        if config.loudness:
            self.hearing["loudness"] = Loudness()
        if config.structure:
            self.hearing["structure"] = Structure()
        if config.naturalness:
            self.hearing["naturalness"] = Naturalness()

    def forward(self, x: Tensor, x_hat: Tensor) -> dict[str, Tensor]:
        """Samples x, x_hat [B, T] -> the scalar `distortion` and its parts, for the log."""
        config = self.config
        log_mel, power_mel, spectrum = x.new_zeros(()), x.new_zeros(()), x.new_zeros(())
        for i in range(len(config.n_fft)):
            with torch.no_grad():
                target = self._features(x, i)
            log_mel_hat, power_mel_hat, spectrum_hat = self._features(x_hat, i)
            log_mel = log_mel + F.l1_loss(log_mel_hat, target[0])
            power_mel = power_mel + F.l1_loss(power_mel_hat, target[1])
            # Both parts of the complex spectrum count.
            spectrum = spectrum + 2 * F.l1_loss(spectrum_hat, target[2])
        parts = {
            "log_mel": log_mel / len(config.n_fft),
            "power_mel": power_mel / len(config.n_fft),
            "spectrum": spectrum,
        }
        parts |= {name: model(x, x_hat).mean() for name, model in self.hearing.items()}
        distortion = sum(getattr(config, name) * part for name, part in parts.items())
        return {"distortion": distortion, **parts}

    def _features(self, x: Tensor, i: int) -> tuple[Tensor, Tensor, Tensor]:
        """What is compared at resolution i; the spectrum is empty but at the middle one."""
        n_fft, power = self.config.n_fft[i], self.config.power
        window = getattr(self, f"window{i}") / (n_fft**0.5)
        stft = torch.stft(x, n_fft, n_fft // 2, window=window, return_complex=True)
        magnitude = torch.sqrt(stft.real**2 + stft.imag**2 + 1e-9)
        mel = magnitude.transpose(1, 2) @ getattr(self, f"mel{i}")
        spectrum = x.new_zeros(1)
        if i == len(self.config.n_fft) // 2:
            spectrum = torch.view_as_real(stft * magnitude ** (power - 1))
        return torch.log(mel + 2e-4), mel**power, spectrum
