"""What shapes a training. Kept apart from the trainer so that reading `params.yaml` imports no
PyTorch."""

from typing import Annotated, Any

from pydantic import Field

from ecc.config import Config


class CropConfig(Config):
    """How training crops are drawn."""

    frames: Annotated[int, Field(ge=4)] = 64  # latent frames in a crop
    speaker_power: Annotated[float, Field(ge=0, le=1)] = 0.5
    level_low: float = -32.0  # dBFS (RMS) that crops are scaled to, drawn uniformly
    level_high: float = -18.0


class LossConfig(Config):
    """Weights and resolutions of the distortion."""

    n_fft: tuple[int, ...] = (256, 512, 1024)
    mels: tuple[int, ...] = (40, 64, 96)
    log_mel: Annotated[float, Field(ge=0)] = 1.0
    power_mel: Annotated[float, Field(ge=0)] = 2.0
    spectrum: Annotated[float, Field(ge=0)] = 0.5
    power: Annotated[float, Field(gt=0, le=1)] = 0.3


class TrainConfig(Config):
    """How a model is trained."""

    steps: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)] = 8  # crops of each process
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    final_learning_rate: Annotated[float, Field(ge=0)] = 2e-5
    rate_ramp: Annotated[float, Field(ge=0, le=1)] = 0.2  # share of the steps
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    bf16: bool = True
    seed: int = 0
    valid_crops: Annotated[int, Field(ge=1)] = 32
    valid_steps: Annotated[int, Field(ge=1)] = 1000  # steps from one validation to the next
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 60
    crop: CropConfig = CropConfig()
    loss: LossConfig = LossConfig()


class ModelConfig(Config):
    """A model of the study: a variant of the codec, trained for one lambda.

    `codec` and `train` hold what differs from the sections of these names, as merge patches.
    """

    variant: str = "ecc"
    lmbda: Annotated[float, Field(gt=0)]  # kbit/s that one unit of distortion is worth
    codec: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
