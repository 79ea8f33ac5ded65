"""ECC's latent around that of Lyra V2: its encoder and decoder stay, all between them is ECC's.

x --encoder--> features --g_a--> y                    y_hat --g_s--> features_hat --decoder--> x_hat

Lyra quantizes the 64 features of each 20 ms by residual vector quantization, without a model of
how likely its symbols are.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from ecc.folders import data_folder
from ecc.lyra.models import FEATURES, FRAME, LyraModels
from ecc.model.config import TransformConfig
from ecc.model.layers import LevelTable, trunk, wide
from ecc.model.transform import Analysis, Spectrum

# Features in one unit of y as training starts, before the gains of the levels, whose mean is 1: the
# error that Lyra's quantizer leaves is that of a step of 8 at 3.2 kbit/s.
UNIT = 6.0


def lyra_folder() -> Path:
    """Where Lyra's weights are looked for: $ECC_LYRA, or data/lyra, here or in the checkout that
    this package is part of."""
    return data_folder("ECC_LYRA", "lyra")


class LyraAnalysis(nn.Module):
    """g_a: features -> latent y, by a linear map; with analysis blocks, the network of the STFT
    codec adds what it hears in the spectrum, nothing at first."""

    def __init__(self, config: TransformConfig, levels: int) -> None:
        super().__init__()
        self.linear = _identity(FEATURES, config.channels)
        self.gain = LevelTable(levels, config.channels)
        self.heard = None
        if config.analysis_blocks:
            self.spectrum = Spectrum(config.n_fft, config.hop)
            self.heard = Analysis(config, levels)
            _silence(self.heard.head)

    def forward(self, features: Tensor, x: Tensor, level: Tensor) -> Tensor:
        """Features [B, T, 64], the samples x [B, T * 320] that they are of, and levels [B] ->
        y [B, T, channels]."""
        y = wide(self.linear(features / UNIT))
        if self.heard is not None:
            y = y + self.heard(self.spectrum(x), level)
        return y * torch.exp(self.gain(level))


class LyraSynthesis(nn.Module):
    """g_s: y_hat -> features, by a linear map; a network, if it has blocks, adds what follows from
    the frames around, nothing at first."""

    def __init__(self, config: TransformConfig, levels: int) -> None:
        super().__init__()
        self.linear = _identity(config.channels, FEATURES)
        self.gain = LevelTable(levels, config.channels)
        self.refine = None
        if config.synthesis_blocks:
            self.embed = nn.Linear(config.channels, config.width)
            self.shift = LevelTable(levels, config.width)
            head = nn.Linear(config.width, FEATURES)
            _silence(head)
            self.refine = nn.Sequential(
                trunk(config.width, config.hidden, config.synthesis_blocks, config.attention),
                nn.LayerNorm(config.width),
                head,
            )

    def forward(self, y_hat: Tensor, level: Tensor) -> Tensor:
        """y_hat [B, T, channels] and levels [B] -> features [B, T, 64]."""
        scaled = y_hat * torch.exp(-self.gain(level))
        features = wide(self.linear(scaled))
        if self.refine is not None:
            features = features + self.refine(self.embed(scaled) + self.shift(level))
        return UNIT * features


class LyraTransform(nn.Module):
    """Both directions: samples <-> latent, with what `Transform` has.

    Lyra's encoder and decoder are those of its authors, ported to PyTorch: the gradient passes
    through them, and they are the same everywhere. Their weights are no part of the state of this
    module; with `tune_decoder` training goes on with those of the decoder, which then are.

    Raises:
        CodecUnavailable: Lyra's weights, or the package that runs them, are missing.
        ValueError: the frames of the STFT do not fit those of Lyra.
    """

    level_spread = 0.3  # as of `Transform`: by steps and slopes of short trainings

    def __init__(self, config: TransformConfig, levels: int) -> None:
        super().__init__()
        if config.hop * config.stack != FRAME:
            raise ValueError(f"hop * stack must be {FRAME}, the samples of one frame of Lyra")
        self.samples_per_frame = FRAME
        from ecc.lyra.port import LyraEncoder, LyraGan  # imports a package that few need

        self.folder = lyra_folder()
        self.encoder, self.decoder = LyraEncoder(self.folder), LyraGan(self.folder)
        if config.tune_decoder:
            self.decoder.make_trainable()
        self.g_a = LyraAnalysis(config, levels)
        self.g_s = LyraSynthesis(config, levels)

    def codebooks(self) -> Tensor:
        """Those of Lyra's quantizer [46, 16, 64], for y as it is before training."""
        return torch.from_numpy(LyraModels(self.folder).codebooks()) / UNIT

    def analyse(self, x: Tensor, level: Tensor) -> Tensor:
        """Samples [B, T * samples_per_frame] and quality levels [B] -> y [B, T, channels]."""
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            features = self.encoder(x)
        y: Tensor = self.g_a(features, x, level)
        return y

    def synthesise(self, y_hat: Tensor, level: Tensor) -> Tensor:
        """y_hat [B, T, channels] and levels [B] -> samples [B, T * samples_per_frame]."""
        x_hat: Tensor = self.decoder(self.g_s(y_hat, level))
        return wide(x_hat)


def _identity(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that passes on what it is given, as far as there is room for it."""
    layer = nn.Linear(inputs, outputs)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _silence(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
