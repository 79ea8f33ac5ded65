"""What three models of hearing make of a difference, so that training can lessen it.

They are the metrics of the report with the parts left out that have no gradient or find delays
(there are none here): `Loudness` is PESQ's, `Structure` is ViSQOL's, and `Naturalness` compares
what the network of DNSMOS finds in both signals. A codec that is trained on them does better by
these metrics than by others; the report says which are of neither kind.
"""

import math
from importlib import resources

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from ecc.speech import SAMPLE_RATE


class Loudness(nn.Module):
    """Disturbance of the loudness in 49 critical bands, as PESQ has it (ITU-T P.862, 10.2).

    Both signals are brought to one level, weighted as by a headset (P.862.2) and split into
    Bark bands; the reference is shaped as the other on average, and the other as loud as the
    reference in each frame, as far as a listener forgives both. What differs in loudness (Zwicker)
    beyond a quarter of it counts, and once more where something was added (asymmetry). Frames join
    as an L6 norm over 0.3 s, and these as an RMS.
    """

    n_fft, hop = 512, 256
    bands: Tensor
    threshold: Tensor
    width: Tensor
    exponent: Tensor
    telephone: Tensor
    headset: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        with resources.files("ecc.train").joinpath("p862.csv").open(encoding="utf-8") as file:
            table = pd.read_csv(file)
        band = torch.arange(len(table)).repeat_interleave(torch.tensor(table["bins"].to_numpy()))
        bands = F.one_hot(band, len(table)).float() * torch.tensor(table["correction"]).float()
        # The highest bin of the spectrum is in no band.
        self._keep("bands", F.pad(6.910853e-6 * bands, (0, 0, 0, self.n_fft // 2 + 1 - len(bands))))
        self._keep("threshold", torch.tensor(table["threshold"]).float())
        self._keep("width", torch.tensor(table["width_bark"]).float())
        exponent = (6 / (torch.tensor(table["centre_bark"]) + 2)).clamp(1, 2) ** 0.15 * 0.23
        self._keep("exponent", exponent.float())
        frequency = torch.arange(self.n_fft // 2 + 1) * SAMPLE_RATE / self.n_fft
        self._keep("telephone", ((frequency > 325) & (frequency < 3250)).float())
        z = torch.exp(-2j * math.pi * frequency.double() / SAMPLE_RATE)
        headset = 2.740826 * (1 - z) ** 2 / (1 - 1.9444777 * z + 0.94597794 * z**2)
        self._keep("headset", (headset.abs() ** 2).float())
        self._keep("window", torch.hann_window(self.n_fft))

    def forward(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Samples x, x_hat [B, T] of at least 0.35 s -> [B]: what PESQ's raw score, of at most
        4.5, would be less."""
        reference, heard = self._excitation(x), self._excitation(x_hat)
        silent = self._audible(reference, 100.0) < 1e7
        shape = (self._mean(heard, silent) + 1e3) / (self._mean(reference, silent) + 1e3)
        reference = reference * shape.clamp(0.01, 100)[:, None]
        gain = (self._audible(reference, 1.0) + 5e3) / (self._audible(heard, 1.0) + 5e3)
        gain = torch.cat([gain[:, :1], 0.8 * gain[:, 1:] + 0.2 * gain[:, :-1]], dim=1)
        heard = heard * gain.clamp(3e-4, 5)[..., None]

        loud, loud_hat = self._loudness(reference), self._loudness(heard)
        excess = (loud_hat - loud).abs() - 0.25 * torch.minimum(loud, loud_hat)
        disturbance = excess.clamp_min(0) * self.width
        total = self.width.sum()
        symmetric = (total * disturbance.square().sum(dim=-1)).clamp_min(1e-20).sqrt()
        added = ((heard + 50) / (reference + 50)) ** 1.2
        added = added.clamp(max=12) * (added >= 3)
        asymmetric = (disturbance * added).sum(dim=-1)
        quiet = ((self._audible(reference, 1.0) + 1e5) / 1e7) ** 0.04
        return 0.1 * _joined(symmetric / quiet) + 0.0309 * _joined(asymmetric / quiet)

    def _excitation(self, x: Tensor) -> Tensor:
        """Samples [B, T] -> power in the bands at a standard level, [B, frames, bands]."""
        power = _power(x, self.n_fft, self.hop, self.window)
        level = 2 * (power @ self.telephone).mean(dim=1) / (self.n_fft * self.window.square().sum())
        at_level = power * (1e7 / level.clamp_min(1e-10))[:, None, None]
        return (at_level * self.headset) @ self.bands

    def _audible(self, power: Tensor, times: float) -> Tensor:
        """Of [B, frames, bands] the sum of the bands above the threshold, [B, frames]."""
        return (power * (power > times * self.threshold)).sum(dim=-1)

    def _mean(self, power: Tensor, silent: Tensor) -> Tensor:
        """Of each band over the frames where it is audible, silent ones apart, [B, bands]."""
        counts = (power > 100 * self.threshold) & ~silent[..., None]
        return (power * counts).mean(dim=1)

    def _loudness(self, power: Tensor) -> Tensor:
        """Sone in each band (P.862, eq. 3, after Zwicker)."""
        above = (0.5 + 0.5 * power / self.threshold) ** self.exponent - 1
        return 0.1866055 * (2 * self.threshold) ** self.exponent * above.clamp_min(0)

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)


class Structure(nn.Module):
    """One less the similarity of neighbouring levels in 21 gammatone bands, as ViSQOL has it
    (Hines and Harte, "Speech intelligibility prediction using a neurogram similarity index
    measure", 2012, eq. 4).

    Levels in dB of 80 ms every 20 ms, no more than 45 dB below the loudest band of a frame. Around
    each, in three frames of three bands, the means and how levels vary together are compared.
    """

    n_fft, hop = 1280, 320
    window: Tensor
    bands: Tensor
    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        low, high, bands = 50.0, SAMPLE_RATE / 2, 21
        # Glasberg and Moore's widths, and centres evenly spaced by them.
        quality, narrowest = 9.26449, 24.7
        offset = quality * narrowest
        steps = torch.arange(1, bands + 1) / bands
        ratio = math.log((low + offset) / (high + offset))
        centre = ((high + offset) * torch.exp(steps * ratio) - offset).flip(0)
        frequency = torch.arange(self.n_fft // 2 + 1) * SAMPLE_RATE / self.n_fft
        away = (frequency[:, None] - centre) / (1.019 * (narrowest + centre / quality))
        window = torch.hann_window(self.n_fft)
        scale = 2 / (self.n_fft * window.square().sum())
        near = torch.tensor([0.0838251475, 0.6193470105, 0.0838251475])
        kernel = torch.outer(near, near) / near[1]
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("bands", scale * (1 + away**2) ** -4, persistent=False)
        self.register_buffer("kernel", (kernel / kernel.sum())[None, None], persistent=False)

    def forward(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Samples x, x_hat [B, T] -> [B], from 0."""
        levels, levels_hat = self._levels(x), self._levels(x_hat)
        loudest = torch.maximum(levels, levels_hat.detach()).amax(dim=-1, keepdim=True)
        floor = (loudest - 45).clamp_min(-45)
        levels, levels_hat = torch.maximum(levels, floor), torch.maximum(levels_hat, floor)
        lowest = floor.amin(dim=1, keepdim=True)
        levels, levels_hat = levels - lowest, levels_hat - lowest
        mean, mean_hat = self._near(levels), self._near(levels_hat)
        spread = (self._near(levels**2) - mean**2).clamp_min(0)
        spread_hat = (self._near(levels_hat**2) - mean_hat**2).clamp_min(0)
        together = self._near(levels * levels_hat) - mean * mean_hat
        level = (2 * mean * mean_hat + 1e-4) / (mean**2 + mean_hat**2 + 1e-4)
        # What varies by less than a tenth of a dB varies alike; ViSQOL stops at a fiftieth, from
        # where on gradients are noise.
        apart = ((spread + 0.01) * (spread_hat + 0.01)).sqrt()
        return 1 - (level * (together + 0.01) / apart).mean(dim=(1, 2))

    def _levels(self, x: Tensor) -> Tensor:
        """dB in each band, by ViSQOL's half as many, [B, frames, bands]."""
        power = _power(x, self.n_fft, self.hop, self.window) @ self.bands
        return 5 * power.clamp_min(1e-10).log10()

    def _near(self, x: Tensor) -> Tensor:
        """Weighted means of three frames of three bands, [B, frames, bands]."""
        return F.conv2d(F.pad(x[:, None], (1, 1, 1, 1), mode="replicate"), self.kernel)[:, 0]


class Naturalness(nn.Module):
    """How differently the network of DNSMOS P.808 (Reddy et al., 2021) responds to two signals. It
    has learnt from what listeners said of speech that they heard without a reference.

    A deep feature loss (Germain, Chen and Koltun, "Speech denoising with deep feature losses",
    2019): the L1 distance of the outputs of each hidden layer, as a share of the reference's,
    averaged over the layers. The score that the network gives is no part of it.
    """

    n_fft, hop, mels = 321, 160, 120
    pooled = (0, 1, 3)  # convolutions behind which the largest of four neighbours remains
    window: Tensor
    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        # The bins of a transform of odd length are every other one of a grid up to 8 kHz.
        bands = melscale_fbanks(
            2 * (self.n_fft // 2) + 2,
            0.0,
            SAMPLE_RATE / 2,
            self.mels,
            SAMPLE_RATE,
            "slaney",
            "slaney",
        )
        self.register_buffer("bands", bands[::2], persistent=False)
        weights = _dnsmos_weights()
        kernels = sorted(name for name in weights if name.endswith("kernel:0"))
        matrices = sorted(name for name in weights if "/MatMul/" in name)
        self.convolutions, self.layers = len(kernels), len(kernels) + len(matrices)
        for number, name in enumerate([*kernels, *matrices]):
            bias = name.replace("kernel", "bias").replace("MatMul", "BiasAdd")
            self.register_buffer(f"weight{number}", weights[name], persistent=False)
            self.register_buffer(f"bias{number}", weights[bias], persistent=False)

    def forward(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Samples x, x_hat [B, T] -> [B], from 0."""
        with torch.no_grad():
            responses = self.responses(x)[:-1]
        distances = [
            (theirs - ours).abs().flatten(1).mean(dim=1)
            / ours.flatten(1).mean(dim=1).clamp_min(1e-6)
            for ours, theirs in zip(responses, self.responses(x_hat)[:-1], strict=True)
        ]
        return torch.stack(distances).mean(dim=0)

    def responses(self, x: Tensor) -> list[Tensor]:
        """Samples [B, T] -> the output of each layer, none below 0, and last the score [B, 1]."""
        spectrum = torch.stft(
            x, self.n_fft, self.hop, window=self.window, pad_mode="constant", return_complex=True
        )
        power = (spectrum.real**2 + spectrum.imag**2).transpose(1, 2) @ self.bands
        level = 10 * power.clamp_min(1e-10).log10()
        level = (level - level.amax((1, 2), keepdim=True)).clamp_min(-80)
        h, outputs = ((level + 40) / 40)[:, None], []
        for number in range(self.convolutions):
            h = F.relu(F.conv2d(h, *self._layer(number), padding=1))
            outputs.append(h)
            h = F.max_pool2d(h, 2) if number in self.pooled else h
        h = h.amax((2, 3))
        outputs.append(h)
        for number in range(self.convolutions, self.layers):
            weight, bias = self._layer(number)
            h = h @ weight + bias
            h = F.relu(h) if number < self.layers - 1 else h
            outputs.append(h)
        return outputs

    def _layer(self, number: int) -> tuple[Tensor, Tensor]:
        """The weight and the bias of a layer."""
        return getattr(self, f"weight{number}"), getattr(self, f"bias{number}")


def _dnsmos_weights() -> dict[str, Tensor]:
    """Of the network in PyPI `speechmos`, by their names there."""
    import onnx  # heavy, and for this alone

    file = resources.files("speechmos") / "dnsmos_models" / "model_v8.onnx"
    graph = onnx.load_from_string(file.read_bytes()).graph
    return {
        each.name: torch.from_numpy(onnx.numpy_helper.to_array(each).copy())
        for each in graph.initializer
    }


def _power(x: Tensor, n_fft: int, hop: int, window: Tensor) -> Tensor:
    """Samples [B, T] -> power spectra [B, frames, n_fft / 2 + 1] of whole windows."""
    spectrum = torch.stft(x, n_fft, hop, window=window, center=False, return_complex=True)
    return (spectrum.real**2 + spectrum.imag**2).transpose(1, 2)


def _joined(disturbance: Tensor) -> Tensor:
    """Of [B, frames] the RMS [B] of the L6 norms of 20 frames, which overlap by half."""
    pieces = disturbance.clamp(1e-3, 45).unfold(1, 20, 10)
    return (pieces**6).mean(dim=-1).pow(1 / 3).mean(dim=-1).sqrt()
