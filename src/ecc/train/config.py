"""What shapes a training. Kept apart from the trainer so that reading `params.yaml` imports no
PyTorch."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ecc.config import Config
from ecc.model.config import TokenConfig


class CropConfig(Config):
    """How training crops are drawn."""

    frames: Annotated[int, Field(ge=4)] = 64  # latent frames in a crop
    speaker_power: Annotated[float, Field(ge=0, le=1)] = 0.5
    level_low: float = -32.0  # dBFS (RMS) that crops are scaled to, drawn uniformly
    level_high: float = -18.0

    @model_validator(mode="after")
    def _levels_in_order(self) -> Self:
        if self.level_high < self.level_low:
            raise ValueError("level_high is below level_low")
        return self


class LossConfig(Config):
    """Weights and resolutions of the distortion."""

    n_fft: tuple[int, ...] = (256, 512, 1024)
    mels: tuple[int, ...] = (40, 64, 96)
    log_mel: Annotated[float, Field(ge=0)] = 1.0
    power_mel: Annotated[float, Field(ge=0)] = 2.0
    spectrum: Annotated[float, Field(ge=0)] = 0.5
    power: Annotated[float, Field(gt=0, le=1)] = 0.3
    loudness: Annotated[float, Field(ge=0)] = 0.0  # disturbance as PESQ hears it
    structure: Annotated[float, Field(ge=0)] = 0.0  # dissimilarity as ViSQOL hears it
    naturalness: Annotated[float, Field(ge=0)] = 0.0  # distance of what DNSMOS responds

    @model_validator(mode="after")
    def _as_many_mels_as_resolutions(self) -> Self:
        if not self.n_fft or len(self.n_fft) != len(self.mels):
            raise ValueError("n_fft and mels: one of each for every resolution")
        return self


# What trainings are told that no weight follows from.
UNBOUND = frozenset({"checkpoint_seconds", "valid_crops", "valid_steps"})


class TrainConfig(Config):
    """How a model is trained."""

    steps: Annotated[int, Field(ge=1)]  # of a cycle
    cycles: Annotated[int, Field(ge=1)] = 1
    processes: Annotated[int, Field(ge=1)] = 1  # one for each device, or each core
    batch: Annotated[int, Field(ge=1)] = 8  # crops of each process
    optimizer: Literal["adam", "muon"] = "muon"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    final_learning_rate: Annotated[float, Field(ge=0)] = 2e-5
    rate_ramp: Annotated[float, Field(ge=0, le=1)] = 0.2  # share of the steps
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    bf16: bool = True  # where the hardware has it
    seed: int = 0
    valid_crops: Annotated[int, Field(ge=1)] = 32
    valid_steps: Annotated[int, Field(ge=1)] = 1000  # steps from one validation to the next
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 60
    crop: CropConfig = CropConfig()
    loss: LossConfig = LossConfig()

    @property
    def all_steps(self) -> int:
        """The steps of all cycles."""
        return self.steps * self.cycles

    def relevant(self, tokens: bool) -> dict[str, Any]:
        """What the weights follow from; `tokens`: a model of tokens is what is trained, which has
        a loss of its own."""
        absent = {*UNBOUND, "loss", "rate_ramp", "processes"} if tokens else UNBOUND
        return self.model_dump(mode="json", exclude=set(absent))


class Recipe(Config):
    """Quality levels of a model, and its codec and its training.

    With `lmbda` it has the entropy model, with `stages` residual vector quantization.
    `codec` and `train` hold what differs from the sections of these names, as merge patches.
    """

    # kbit/s that one unit of distortion is worth, for each quality level, ascending.
    lmbda: list[Annotated[float, Field(gt=0)]] = Field(default_factory=list)
    # Stages of residual vector quantization, for each quality level, ascending.
    stages: list[Annotated[int, Field(gt=0)]] = Field(default_factory=list)
    codec: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)

    @property
    def levels(self) -> Sequence[float]:
        """The lambda or the stages of each quality level."""
        return self.lmbda or self.stages

    @model_validator(mode="after")
    def _levels_ascend(self) -> Self:
        if bool(self.lmbda) == bool(self.stages):
            raise ValueError("give either lmbda or stages")
        if sorted(set(self.levels)) != self.levels:
            raise ValueError(f"{'lmbda' if self.lmbda else 'stages'}: the values must ascend")
        return self


class ModelConfig(Recipe):
    """A model of the study: a variant of the codec, trained for one quality level or for several.

    `sources` are those that it is trained on; None is all of the study. `begins_as` are smaller
    models that are trained before it, one after another, each of which begins as the one before
    (`ecc.train.grow`).
    """

    variant: str = "ecc"
    sources: list[str] | None = Field(default=None, min_length=1)
    begins_as: list[Recipe] = Field(default_factory=list)


class TokenModelConfig(Config):
    """A model of the tokens of a trained model, for post-hoc entropy coding."""

    variant: str
    # VARIANT/MODEL, a model with stages; all that differs from it is the model of its tokens.
    base: Annotated[str, Field(pattern=r"^[\w-]+/[\w-]+$")]
    tokens: TokenConfig = TokenConfig()
    train: dict[str, Any] = Field(default_factory=dict)  # differs from the section of this name
