"""Speech of your own: a folder of WAV or FLAC files, with a folder inside for each speaker."""

import hashlib
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from ecc.data.sources.base import Recording, Source, SourceError
from ecc.files import sha256_of

SUFFIXES = (".wav", ".flac")


class Folder(Source):
    """All files of `folder`/SPEAKER/, at any depth below it.

    Nothing is pinned: the content of the files is part of the source's identity, so that what was
    made of them is made again when they change. Files whose name begins with a dot do not count.
    """

    kind: Literal["folder"]
    folder: str
    language: str
    # Whole names of speakers, as a pattern; one whom none matches is left out.
    splits: dict[Literal["train", "valid", "test"], str] = Field({"test": ".+"}, min_length=1)

    @field_validator("splits")
    @classmethod
    def _are_patterns(cls, splits: dict[str, str]) -> dict[str, str]:
        for split, pattern in splits.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{split}: not a regular expression: {error}") from None
        return splits

    @property
    def origin(self) -> str:
        """That there is no address."""
        return "own recordings"

    @property
    def version(self) -> str:
        """SHA-256 of names and content."""
        return self._digest

    @property
    def trains(self) -> bool:
        """Whether somebody may be for train or valid."""
        return set(self.splits) != {"test"}

    def identity(self) -> dict[str, Any]:
        """See `Source.identity`; with the content in place of the folder, wherever it lies."""
        declared = super().identity()
        del declared["folder"]
        return {**declared, "content_sha256": self._digest}

    def recordings(self, name: str, downloads: Path) -> Iterator[Recording]:
        """See `Source.recordings`; nothing is copied to `downloads`.

        Raises `SourceError` when the folder is missing or holds nothing, or something that is not
        a WAV or FLAC file of a speaker with a split.
        """
        if not Path(self.folder).is_dir():
            raise SourceError(f"no folder {self.folder}; set sources.{name}.folder in params.yaml")
        files = self._files()
        if not files:
            raise SourceError(f"{self.folder}: no WAV or FLAC file in it")
        for path in files:
            relative = path.relative_to(self.folder)
            if path.suffix.lower() not in SUFFIXES:
                raise SourceError(f"{path}: not a WAV or FLAC file; take it out of the folder")
            if len(relative.parts) == 1:
                raise SourceError(f"{path}: in no speaker's folder; put it into one")
            speaker = relative.parts[0]
            splits = [split for split, names in self.splits.items() if re.fullmatch(names, speaker)]
            if len(splits) > 1:
                raise SourceError(f"speaker {speaker} is in {' and '.join(splits)}")
            if not splits:
                continue
            if not (data := path.read_bytes()):
                raise SourceError(f"{path}: empty file")
            yield Recording(
                relative.as_posix(), data, f"{name}/{speaker}", self.language, splits[0]
            )

    def _files(self) -> list[Path]:
        folder = Path(self.folder)
        return sorted(
            path
            for path in folder.rglob("*")
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        )

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256()
        for path in self._files():
            name = path.relative_to(self.folder).as_posix()
            digest.update(f"{sha256_of(path)}  {name}\n".encode())
        return digest.hexdigest()
