"""The base class of everything that `params.yaml` may hold."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """An immutable section of `params.yaml`: typed, and without unknown keys.

    Each module declares the section that it reads as a subclass beside its code, so that
    a stage depends on its own section only; `ecc.params` puts the sections together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
