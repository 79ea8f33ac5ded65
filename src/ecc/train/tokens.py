"""Post-hoc entropy coding: a model of the tokens of a codec that is trained already.

The codec stays as it is. Only the probabilities of its tokens are learnt, which is what a codec
with residual vector quantization can still do about its rate once it is trained.
"""

import torch
from torch import Tensor

from ecc.model.codec import ECC
from ecc.model.rvq import ResidualVectorQuantizer
from ecc.model.weights import load_model
from ecc.train.trainer import Run, Trainer


def train_tokens(run: Run) -> None:
    """Train the token model of `run.codec` in one process, to the fewest bits, and write it into a
    model file that stands on `run.base`, whose tokens they are; without one its code books are
    given and not learned.

    Raises:
        ModelError: the base is not a model.
        TrainingDivergedError: the loss became NaN or infinite; the last checkpoint stands.
        ValueError: the manifest has no training or validation speech.
    """
    TokenTrainer(run, torch.device("cpu"), world=1, rank=0).fit()


class TokenTrainer(Trainer):
    """Trains the token model alone."""

    def _build(self) -> ECC:
        codec = ECC(self.run.codec)
        if self.run.base is not None:
            base = load_model(self.run.base).codec
            codec.load_state_dict(base.float().state_dict(), strict=False)
        codec.requires_grad_(False)
        self.quantizer = codec.entropy
        assert isinstance(self.quantizer, ResidualVectorQuantizer)
        assert self.quantizer.tokens is not None
        self.quantizer.tokens.requires_grad_(True)
        return codec

    def _loss(self, x: Tensor) -> tuple[Tensor, Tensor]:
        level = int(torch.randint(self.codec.config.levels, ()))
        kbps = self._kbps(self.codec, x, level)
        return kbps, kbps.detach()

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        codec = self._averaged().eval()
        levels = range(self.codec.config.levels)
        kbps = [self._kbps(codec, self.valid, level).item() for level in levels]
        codec.train()
        metrics = {
            f"valid/tokens/{stages}": value
            for stages, value in zip(self.run.codec.rvq.stages, kbps, strict=True)
        }
        return metrics | {"valid/loss": sum(kbps) / len(kbps)}

    def _kbps(self, codec: ECC, x: Tensor, level: int) -> Tensor:
        """Mean rate of the crops x [B, T] by the probabilities of their tokens, in kbit/s."""
        quantizer = codec.entropy
        assert isinstance(quantizer, ResidualVectorQuantizer)
        levels = torch.full((len(x),), level)
        with torch.no_grad():
            y = codec.transform.analyse(x, levels)
            tokens = quantizer.quantize(y, level)
        bits = quantizer.token_bits(tokens, levels)
        return codec.kbps({"z": torch.zeros(1), "slices": bits[:, None]}, self.samples).mean()
