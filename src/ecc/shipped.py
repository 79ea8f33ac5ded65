"""The trained models that come with this project, and fetching them without a clone."""

import csv
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple, TypeVar

from ecc.files import ChecksumError, atomic_path, sha256_of
from ecc.model.files import (
    DEFAULT,
    ModelError,
    find_model,
    find_model_by_id,
    list_models,
    models_folder,
)

What = TypeVar("What")
BROUGHT = Path(__file__).parent / "models"  # by a wheel


class Shipped(NamedTuple):
    """One row of shipped.csv, which `workflow/shipped.py` writes."""

    name: str
    bytes: int
    sha256: str
    md5: str
    base: str  # the model that its file stands on; "" if none

    @property
    def places(self) -> tuple[str, str]:
        """Where its file lies below a source: by its name, or as DVC's remotes have it."""
        return f"{self.name}.safetensors", f"files/md5/{self.md5[:2]}/{self.md5[2:]}"


@cache
def shipped() -> dict[str, Shipped]:
    """The models by name."""
    lines = resources.files("ecc").joinpath("shipped.csv").read_text("utf-8").splitlines()
    rows = (Shipped(name, int(size), *rest) for name, size, *rest in csv.reader(lines[1:]))
    return {row.name: row for row in rows}


def fetched_folder() -> Path:
    """Where models are fetched to: $ECC_MODELS, or else ecc/models among the user's data
    ($XDG_DATA_HOME, ~/.local/share)."""
    if folder := os.environ.get("ECC_MODELS"):
        return Path(folder)
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(os.path.expanduser(home), "ecc/models")  # noqa: PTH111  (may be without a home)


def folders(folder: Path | None = None) -> list[Path]:
    """Where models are looked for, in this order: `folder` alone if it is given."""
    return [folder] if folder else list(dict.fromkeys([models_folder(), BROUGHT, fetched_folder()]))


def find(search: Callable[[What, Path], Path], what: What, folder: Path | None = None) -> Path:
    """What `ecc.model.files.find_model` or `find_model_by_id` finds in the first of `folders`.

    Raises:
        ModelError: none of them has it; the message says how it is fetched, if it is one of ours.
    """
    problems = []
    places = folders(folder)
    for place in [place for place in places if place.is_dir()] or places[:1]:
        try:
            return search(what, place)
        except ModelError as error:
            problems.append(str(error))
    if name := _named(what):
        problems.append(f"`ecc models fetch {name}` brings it")
    raise ModelError("; ".join(problems))


def find_for(model: str | None, model_id: bytes, folder: Path | None = None) -> Path:
    """The file of the model that is named, or else of the one that a stream names by its id.

    Raises:
        ModelError: as of `find`.
    """
    if model:
        return find(find_model, model, folder)
    return find(find_model_by_id, model_id, folder)


def _named(what: object) -> str | None:
    """The shipped model of a name (None: the default one) or of a model id."""
    if isinstance(what, bytes):
        ids = (m.name for m in shipped().values() if bytes.fromhex(m.sha256).startswith(what))
        return next(ids, None)
    name = DEFAULT if what is None else str(what)
    return name if name in shipped() else None


def with_bases(names: Sequence[str]) -> Iterator[Shipped]:
    """The models of these names, each behind the one that its file stands on, and none twice.

    Raises:
        ModelError: there is no such model; the message lists those there are.
    """
    given: set[str] = set()
    for name in names:
        if name not in shipped():
            raise ModelError(f"no model {name!r} can be fetched; there are: {', '.join(shipped())}")
        model = shipped()[name]
        for each in (*with_bases([model.base] if model.base else []), model):
            if each.name not in given:
                given.add(each.name)
                yield each


def fetch(model: Shipped, source: str, folder: Path) -> Path:
    """Put the file of a model into `folder`, and return its path. The file is whole or not there;
    a download that was cut off goes on where it ended.

    Args:
        model: one of `shipped`.
        source: http(s) address, below which the file lies at one of `model.places`; or folder, in
            which its name may be in another folder too, as in data/models.
        folder: made if it is not there. What is there and whole is not fetched again.

    Raises:
        FileExistsError: another file of this name is there.
        ecc.data.download.Unreachable: the source has no such file, or is not to be had.
        ChecksumError: the source has another file under this name.
    """
    path = folder / model.places[0]
    if path.exists():
        if sha256_of(path) != model.sha256:
            raise FileExistsError(f"{path}: is another model; remove it to fetch the shipped one")
        return path
    from ecc.data.download import Unreachable, download

    if not source.startswith(("http://", "https://")):
        by_name = [file for file in list_models(Path(source)) if file.stem == model.name]
        for file in (*by_name, Path(source, model.places[1])):
            if file.is_file():
                return _copy(file, path, model.sha256)
        raise Unreachable(f"{source}: holds neither {' nor '.join(model.places)}")
    problems = []
    for place in model.places:
        url = f"{source.rstrip('/')}/{place}"
        try:
            return download(url, path, model.sha256)
        except Unreachable as error:
            problems.append(f"{url}: {str(error).removeprefix(f'{path.name}: ')}")
    raise Unreachable("; ".join(problems))


def _copy(file: Path, path: Path, sha256: str) -> Path:
    with atomic_path(path) as temporary:
        shutil.copyfile(file, temporary)
        if (actual := sha256_of(temporary)) != sha256:
            raise ChecksumError(f"{file}: SHA-256 is {actual}, expected {sha256}")
    return path
