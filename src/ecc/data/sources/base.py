"""What every source of speech has in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ecc.config import Config

Split = Literal["train", "valid", "test", "decoded"]
"""`decoded`: no speech of the corpus, but what a codec made of test speech elsewhere."""


class SourceError(ValueError):
    """A source that cannot be used as it is declared or lies here; the message is one line."""


class Recording(NamedTuple):
    """One audio file of a source, still encoded."""

    path: str  # within the source
    data: bytes
    speaker: str  # unique across sources: a voice that two sources share has one name
    language: str
    split: Split
    pcm16_sha256: str | None = None  # of the int16 samples at the file's rate, where pinned


class Source(Config, ABC):
    """A pinned corpus: where it comes from, and who speaks in which file."""

    licence: str

    @property
    @abstractmethod
    def origin(self) -> str:
        """Where the source can be found by a reader: a public address, no machine's path."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The pinned version."""

    @property
    def trains(self) -> bool:
        """Whether training or validation hears any of it."""
        return True

    @abstractmethod
    def recordings(self, name: str, downloads: Path) -> Iterator[Recording]:
        """The recordings, in an order that the pins fix, fetched into `downloads` at need.

        `name` is the source's name in `params.yaml` and its folder in $ECC_MIRROR.
        Raises `Unreachable` when it cannot be had here and `ChecksumError` when what came is
        not what was pinned.
        """

    def identity(self) -> dict[str, Any]:
        """All that decides which samples come out of this source, and under which split."""
        return self.model_dump(mode="json", exclude={"licence"})
