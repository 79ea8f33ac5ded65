"""What shapes a training. Kept apart from the trainer so that reading `params.yaml` imports no
PyTorch."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

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
    processes: Annotated[int, Field(ge=1)] = 1  # one for each device, or each core
    batch: Annotated[int, Field(ge=1)] = 8  # crops of each process
    optimizer: Literal["adam", "muon"] = "muon"
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
    """A model of the study: a variant of the codec, trained for one lambda or for several.

    `codec` and `train` hold what differs from the sections of these names, as merge patches.
    """

    variant: str = "ecc"
    # kbit/s that one unit of distortion is worth, for each quality level, ascending.
    lmbda: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    codec: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _lmbda_ascends(self) -> Self:
        if sorted(set(self.lmbda)) != self.lmbda:
            raise ValueError("lmbda: the values must ascend")
        return self
