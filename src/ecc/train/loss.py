"""Distortion D of the rate-distortion loss: spectral distances at several resolutions."""

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn

from ecc.data.speech import SAMPLE_RATE
from ecc.train.config import LossConfig


class Distortion(nn.Module):
    """Weighted sum of three distances, each averaged over the resolutions and the batch:

    - L1 of log-mel spectra,
    - L1 of mel magnitudes to the power 0.3, close to loudness (Stevens' law),
    - L1 of complex spectra with magnitudes to the power 0.3, at the middle resolution: phase.
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

    def forward(self, x: Tensor, x_hat: Tensor) -> dict[str, Tensor]:
        """Samples x, x_hat [B, T] -> the scalar `distortion` and its parts, for the log."""
        config = self.config
        log_mel, power_mel, spectrum = x.new_zeros(()), x.new_zeros(()), x.new_zeros(())
        both = torch.cat([x, x_hat])
        for i, n_fft in enumerate(config.n_fft):
            window = getattr(self, f"window{i}") / (n_fft**0.5)
            stft = torch.stft(both, n_fft, n_fft // 2, window=window, return_complex=True)
            magnitude = torch.sqrt(stft.real**2 + stft.imag**2 + 1e-9)
            mel = magnitude.transpose(1, 2) @ getattr(self, f"mel{i}")
            log_mel = log_mel + _l1(torch.log(mel + 2e-4))
            power_mel = power_mel + _l1(mel**config.power)
            if i == len(config.n_fft) // 2:
                compressed = stft * magnitude ** (config.power - 1)
                spectrum = _l1(compressed.real) + _l1(compressed.imag)
        parts = {
            "log_mel": log_mel / len(config.n_fft),
            "power_mel": power_mel / len(config.n_fft),
            "spectrum": spectrum,
        }
        distortion = (
            config.log_mel * parts["log_mel"]
            + config.power_mel * parts["power_mel"]
            + config.spectrum * parts["spectrum"]
        )
        return {"distortion": distortion, **parts}


def _l1(both: Tensor) -> Tensor:
    """Mean distance of the first half of the batch, the reference, to the second."""
    x, x_hat = both.chunk(2)
    return F.l1_loss(x_hat, x)
