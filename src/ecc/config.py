"""The base class of everything that `params.yaml` may hold."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """An immutable section of `params.yaml`: typed, and without unknown keys.

    Each module declares the section that it reads as a subclass beside its code, so that
    a stage depends on its own section only; `ecc.params` puts the sections together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


def merge_patch(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the changes of `patch`: a JSON merge patch (RFC 7396), null deletes a key."""
    merged = dict(base)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            inner = merged.get(key)
            merged[key] = merge_patch(inner if isinstance(inner, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged
