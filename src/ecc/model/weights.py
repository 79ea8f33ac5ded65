"""Trained models between PyTorch and their files (`ecc.model.files`)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ecc.errors import CodecUnavailable
from ecc.files import atomic_path
from ecc.model import exact
from ecc.model.codec import ECC
from ecc.model.files import FORMAT, ModelError, ModelFile, ModelUnavailableError, read_model


@dataclass(frozen=True)
class TrainedModel:
    """The networks of a trained model, and what its file says of them."""

    codec: ECC
    name: str
    lmbda: list[float]  # of each quality level, ascending; none where `codec` has stages instead
    digest: bytes  # SHA-256 of the file
    info: dict[str, Any]  # how it was trained


def save_model(
    codec: ECC,
    path: Path,
    name: str,
    lmbda: Sequence[float],
    info: dict[str, Any],
    base: Path | None = None,
) -> None:
    """Round the weights of `codec` to half precision, build its tables and write both.

    The tables are built from the rounded weights, so that encoder and decoder, which only ever
    see the file, agree with them. `codec` itself is left rounded. What the model file `base` holds
    already is left out, and looked for there.
    """
    exact.round_weights(codec)  # first: half precision keeps multiples of the step
    rounded = {key: p.detach().half() for key, p in codec.named_parameters()}
    codec.load_state_dict({k: v.float() for k, v in rounded.items()}, strict=False)
    codec.update()
    tensors: dict[str, Tensor] = {}
    for key, value in codec.state_dict().items():
        tensors[key] = value.detach().cpu().contiguous()
        if key in rounded:
            tensors[key] = tensors[key].half()
    header = {
        "format": FORMAT,
        "name": name,
        "lmbda": list(lmbda),
        "config": codec.config.model_dump(mode="json"),
        "info": info,
    }
    if base is not None:
        known = read_model(base)
        header["base"] = known.digest.hex()
        tensors = {key: value for key, value in tensors.items() if key not in known.arrays}
    # One metadata key: the order of several would differ from run to run.
    content = save(tensors, metadata={"ecc": json.dumps(header, sort_keys=True)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def load_model(path: str | Path) -> TrainedModel:
    """Read a model file.

    Raises:
        ModelError: one line that says what is wrong with the file.
        ModelUnavailableError: one line that says what else it takes.
    """
    file = read_model(path)
    return TrainedModel(load_networks(file), file.name, file.lmbda, file.digest, file.info)


def load_networks(file: ModelFile) -> ECC:
    """The networks of a model file, in float64, in which the entropy model is exact.

    Raises:
        ModelError: one line that says what is wrong with the file.
        ModelUnavailableError: one line that says what else it takes.
    """
    try:
        codec = ECC(file.config)
    except CodecUnavailable as error:
        raise ModelUnavailableError(f"{file.path}: {error}") from None
    tensors = {key: torch.from_numpy(value) for key, value in file.arrays.items()}
    # CompressAI's tables have the size that training gave them, not that of a new model.
    for key, value in tensors.items():
        module, _, name = key.rpartition(".")
        if name in ("_offset", "_quantized_cdf", "_cdf_length"):
            setattr(codec.get_submodule(module), name, torch.zeros_like(value))
    codec.load_state_dict(
        {k: v.float() if v.dtype == torch.half else v for k, v in tensors.items()}
    )
    codec.eval().requires_grad_(False).double()
    try:
        exact.check(codec)
    except ValueError as error:
        raise ModelError(f"{file.path}: {error}") from None
    return codec
