"""Model files: half-precision weights and the coding tables, in safetensors; and where they are."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ecc.errors import CodecUnavailable
from ecc.folders import data_folder
from ecc.model.config import CodecConfig

FORMAT = 3
DEFAULT = "ecc"  # the model that is meant where none is named


class ModelError(Exception):
    """A model file that is missing, damaged, or not one of ours."""


class ModelUnavailableError(ModelError, CodecUnavailable):
    """A model that stands on weights of others, which are missing here."""


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds."""

    path: Path
    name: str
    config: CodecConfig
    lmbda: list[float]  # of each quality level, ascending; none where there are stages instead
    digest: bytes  # SHA-256 of the file
    info: dict[str, Any]  # how it was trained
    arrays: Mapping[str, NDArray[Any]]  # weights in half precision, tables in integers

    @property
    def levels(self) -> list[str]:
        """What sets each quality level apart."""
        stages = self.config.rvq.stages
        return [f"λ = {value:g}" for value in self.lmbda] or [f"{n} stages" for n in stages]


def read_model(path: str | Path) -> ModelFile:
    """Read a model file, and the file of the model that it stands on, if it names one: beside it,
    or where models are.

    Raises:
        ModelError: one line that says what is wrong with the file.
    """
    path = Path(path)
    try:
        digest = hashlib.sha256(path.read_bytes()).digest()
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {}).get("ecc", "{}"))
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ModelError(f"{path}: no such model file") from None
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise ModelError(f"{path}: not a model file ({error})") from None
    if header.get("format") not in (2, FORMAT):
        raise ModelError(f"{path}: not a model of format {FORMAT}")
    if header["format"] == 2:  # knew two groups of frames at most
        entropy = header["config"]["entropy"]
        entropy["taps"] = [3, 3] if entropy.pop("checkerboard") else [3]
    config = CodecConfig.model_validate(header["config"])
    if "base" in header:
        arrays = {**_base(path, bytes.fromhex(header["base"])).arrays, **arrays}
    return ModelFile(path, header["name"], config, header["lmbda"], digest, header["info"], arrays)


def _base(path: Path, digest: bytes) -> ModelFile:
    """The model that the one in `path` stands on."""
    for folder in (path.parent, models_folder()):
        for candidate in list_models(folder):
            if hashlib.sha256(candidate.read_bytes()).digest() == digest:
                return read_model(candidate)
    raise ModelError(
        f"{path}: it stands on the model with the SHA-256 {digest.hex()}, which is neither beside "
        f"it nor in {models_folder()}"
    )


def models_folder() -> Path:
    """Where models are looked for unless a folder is given: $ECC_MODELS, or data/models, here or
    in the checkout that this package is part of, or what a wheel brought."""
    folder, brought = data_folder("ECC_MODELS", "models"), Path(__file__).parents[1] / "models"
    return brought if brought.is_dir() and not folder.is_dir() else folder


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
