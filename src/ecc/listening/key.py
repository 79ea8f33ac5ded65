"""The key of a listening test: what each of its sounds is. Whoever listens does not see it."""

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from ecc.config import Config

Method = Literal["mushra", "abx"]
T = TypeVar("T", bound=Config)

REFERENCE, LOW, MID = "reference", "anchor35", "anchor70"
"""The hidden reference, and the anchors of ITU-R BS.1534-3: low-passed at 3.5 and at 7 kHz."""
OPEN = "open reference"
"""The reference that is called so: no condition, since nobody rates it."""


class Condition(Config):
    """What is compared: an operating point of a codec, the hidden reference or an anchor."""

    label: str
    codec: str = ""
    point: str = ""
    kbps: float | None = None
    """Of the point over the whole test set; None of what is no codec."""


class Item(Config):
    """An utterance that is heard under all conditions."""

    utterance: str
    speaker: str
    training: bool
    """It is for practice, and nothing that is said of it counts."""


class Sound(Config):
    """What one file of audio holds."""

    item: str
    condition: str


class Key(Config):
    """All of a test. Sounds are known to the page, and to results, by names that say nothing."""

    kit: str
    """Name of the test, which results bear."""
    method: Method
    test_set: str
    seed: int
    conditions: dict[str, Condition]
    items: dict[str, Item]
    sounds: dict[str, Sound]
    trials: tuple[str, ...]
    """What is asked, but for practice, by the names that answers have."""


class ResultError(ValueError):
    """A key or a result that cannot be used; the message is one line that names the file."""


def read_key(path: Path) -> Key:
    """The key at `path`. Raises `ResultError`."""
    return read_json(path, Key)


def read_json(path: Path, kind: type[T]) -> T:
    """What the JSON file `path` holds, checked. Raises `ResultError`."""
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ResultError(f"{path}: not a text in UTF-8") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ResultError(f"{path}: {where + ': ' if where else ''}{first['msg']}") from None
