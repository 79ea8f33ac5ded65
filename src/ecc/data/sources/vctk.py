"""VCTK 0.92 (Yamagishi, Veaux, MacDonald, 2019), split by held-out speakers."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ecc.data.download import download, mirror
from ecc.data.sources.base import Recording, Source, Split
from ecc.files import verify

FIRST_MICROPHONE = re.compile(r"(?:.*/)?wav48_silence_trimmed/([^/]+)/([^/]+)_mic1\.flac")


class VCTK(Source):
    """The first microphone of VCTK; speakers that are not held out are for training."""

    kind: Literal["vctk"]
    url: str  # of the zip archive
    sha256: str
    valid: list[str]  # speakers
    test: list[str]  # speakers

    @property
    def origin(self) -> str:
        """The corpus's permanent address."""
        return "https://doi.org/10.7488/ds/2645"

    @property
    def version(self) -> str:
        """The published version."""
        return "0.92"

    def recordings(self, name: str, downloads: Path) -> Iterator[Recording]:
        """See `Source.recordings`; read out of the archive, nothing is unpacked to disk."""
        file = self.url.rsplit("/", 1)[-1]
        copies = mirror(name)
        if copies and (copies / file).exists():
            path = verify(copies / file, self.sha256)
        else:
            path = download(self.url, downloads / name / file, self.sha256)
        with zipfile.ZipFile(path) as archive:
            for entry in sorted(archive.namelist()):
                if match := FIRST_MICROPHONE.fullmatch(entry):
                    speaker, utterance = match.groups()
                    yield Recording(
                        f"{speaker}/{utterance}.flac",
                        archive.read(entry),
                        f"{name}/{speaker}",
                        "en",
                        self._split(speaker),
                    )

    def _split(self, speaker: str) -> Split:
        if speaker in self.test:
            return "test"
        return "valid" if speaker in self.valid else "train"
