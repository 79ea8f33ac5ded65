"""Trained models as files: half-precision weights and the coding tables, in safetensors."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ecc.errors import CodecUnavailable
from ecc.files import atomic_path
from ecc.folders import data_folder
from ecc.model import exact
from ecc.model.codec import ECC
from ecc.model.config import CodecConfig

FORMAT = 3
DEFAULT = "ecc"  # the model that is meant where none is named


class ModelError(Exception):
    """A model file that is missing, damaged, or not one of ours."""


class ModelUnavailableError(ModelError, CodecUnavailable):
    """A model that stands on weights of others, which are missing here."""


@dataclass(frozen=True)
class TrainedModel:
    """A model ready to code, and what its file says of it."""

    codec: ECC
    name: str
    lmbda: list[float]  # of each quality level, ascending; none where `codec` has stages instead
    digest: bytes  # SHA-256 of the file
    info: dict[str, Any]  # how it was trained

    @property
    def levels(self) -> list[str]:
        """What sets each quality level apart."""
        stages = self.codec.config.rvq.stages
        return [f"λ = {value:g}" for value in self.lmbda] or [f"{n} stages" for n in stages]


def save_model(
    codec: ECC, path: Path, name: str, lmbda: Sequence[float], info: dict[str, Any]
) -> None:
    """Round the weights of `codec` to half precision, build its tables and write both.

    The tables are built from the rounded weights, so that encoder and decoder, which only ever
    see the file, agree with them. `codec` itself is left rounded.
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
    path = Path(path)
    try:
        digest = hashlib.sha256(path.read_bytes()).digest()
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("ecc", "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ModelError(f"{path}: no such model file") from None
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise ModelError(f"{path}: not a model file ({error})") from None
    if header.get("format") not in (2, FORMAT):
        raise ModelError(f"{path}: not a model of format {FORMAT}")
    if header["format"] == 2:  # knew two groups of frames at most
        entropy = header["config"]["entropy"]
        entropy["taps"] = [3, 3] if entropy.pop("checkerboard") else [3]
    try:
        codec = ECC(CodecConfig.model_validate(header["config"]))
    except CodecUnavailable as error:
        raise ModelUnavailableError(f"{path}: {error}") from None
    # CompressAI's tables have the size that training gave them, not that of a new model.
    for key, value in tensors.items():
        module, _, name = key.rpartition(".")
        if name in ("_offset", "_quantized_cdf", "_cdf_length"):
            setattr(codec.get_submodule(module), name, torch.zeros_like(value))
    codec.load_state_dict(
        {k: v.float() if v.dtype == torch.half else v for k, v in tensors.items()}
    )
    # In float64 the entropy model is exact, and machines differ in the transform by less than is
    # left of it in samples of 16 bits.
    codec.eval().requires_grad_(False).double()
    try:
        exact.check(codec)
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from None
    return TrainedModel(codec, header["name"], header["lmbda"], digest, header["info"])


def models_folder() -> Path:
    """Where models are looked for unless a folder is given: $ECC_MODELS, or data/models, here or
    in the checkout that this package is part of."""
    return data_folder("ECC_MODELS", "models")


def list_models(folder: Path | None = None) -> list[Path]:
    """The model files of a folder and the folders in it, by name."""
    folder = models_folder() if folder is None else folder
    return sorted(folder.rglob("*.safetensors"), key=lambda path: (path.stem, str(path)))


def find_model(name: str | None, folder: Path | None = None) -> Path:
    """The file of the model `name`, which may itself be a path; if None, that of `DEFAULT`, or of
    the only model there is.

    Raises:
        ModelError: no such model; the message lists those there are.
    """
    if name is not None and name.endswith(".safetensors"):
        return Path(name)
    folder = models_folder() if folder is None else folder
    paths = {path.stem: path for path in list_models(folder)}
    if name is None:
        name = next(iter(paths)) if len(paths) == 1 else DEFAULT
    if name not in paths:
        known = f"there are: {', '.join(paths)}" if paths else "`dvc pull` fetches the trained ones"
        raise ModelError(f"no model {name!r} in {folder}; {known}")
    return paths[name]


def find_model_by_id(model_id: bytes, folder: Path | None = None) -> Path:
    """The model file whose SHA-256 starts with `model_id`, as a stream names it.

    Raises:
        ModelError: there is none in the folder.
    """
    folder = models_folder() if folder is None else folder
    for path in list_models(folder):
        if hashlib.sha256(path.read_bytes()).digest().startswith(model_id):
            return path
    raise ModelError(f"no model in {folder} has the id {model_id.hex()} that the stream names")
