"""LibriTTS (Zen et al., 2019; OpenSLR 60), split as published."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ecc.config import Config
from ecc.data.download import download, mirror
from ecc.data.sources.base import Recording, Source, Split
from ecc.files import verify


class Archive(Config):
    """One published part of the corpus."""

    sha256: str
    split: Split


class LibriTTS(Source):
    """Parts of LibriTTS: archives `PART.tar.gz` with LibriTTS/PART/SPEAKER/CHAPTER/*.wav."""

    kind: Literal["libritts"]
    url: str  # the folder of the archives
    archives: dict[str, Archive]

    @property
    def origin(self) -> str:
        """The folder of the archives."""
        return self.url

    @property
    def version(self) -> str:
        """The parts that are taken."""
        return " ".join(self.archives)

    @property
    def trains(self) -> bool:
        """Whether some part is for train or valid."""
        return any(archive.split != "test" for archive in self.archives.values())

    def recordings(self, name: str, downloads: Path) -> Iterator[Recording]:
        """See `Source.recordings`; read out of the archives, nothing is unpacked to disk."""
        paths = {}
        copies = mirror(name)
        for part, archive in self.archives.items():
            file = f"{part}.tar.gz"
            if copies and (copies / file).exists():
                paths[part] = verify(copies / file, archive.sha256)
            else:
                paths[part] = download(
                    f"{self.url}/{file}", downloads / name / file, archive.sha256
                )
        for part, path in paths.items():
            split = self.archives[part].split
            with tarfile.open(path, mode="r|gz") as tar:
                for entry in tar:
                    if not (entry.isfile() and entry.name.endswith(".wav")):
                        continue
                    content = tar.extractfile(entry)
                    assert content is not None  # it is a file
                    path_in_part = entry.name.removeprefix("./").removeprefix("LibriTTS/")
                    speaker = path_in_part.split("/")[1]
                    yield Recording(path_in_part, content.read(), f"{name}/{speaker}", "en", split)
