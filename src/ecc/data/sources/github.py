"""Speech out of a GitHub repository at one commit, file by file."""

import csv
import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import quote

from ecc.config import Config
from ecc.data.download import PARALLEL, download, mirror, open_session
from ecc.data.sources.base import Recording, Source, Split


class File(Config):
    """One recording: a row of the table."""

    file: str
    speaker: str  # within the source; with a slash, one that another source has as well
    language: str = ""  # where it is not that of the source
    split: Split
    sha256: str  # of the file upstream
    pcm16_sha256: str  # of its samples as int16: proof of a FLAC copy


class GitHub(Source):
    """Files of a repository; a CSV beside this module lists their speakers and checksums."""

    kind: Literal["github"]
    repository: str
    commit: str
    folder: str = ""  # in the repository, that the paths of the table start from
    table: str  # name of the CSV
    language: str

    @property
    def origin(self) -> str:
        """The repository's page at the commit."""
        return f"https://github.com/{self.repository}/tree/{self.commit}"

    @property
    def version(self) -> str:
        """The commit."""
        return self.commit

    @property
    def trains(self) -> bool:
        """Whether some file is for train or valid."""
        return any(row.split in ("train", "valid") for row in self.files())

    def files(self) -> list[File]:
        """The rows of the table."""
        return [File.model_validate(row) for row in csv.DictReader(self._table_text().splitlines())]

    def _table_text(self) -> str:
        return resources.files(__package__).joinpath(self.table).read_text(encoding="utf-8")

    def identity(self) -> dict[str, Any]:
        """See `Source.identity`; with the content of the table."""
        digest = hashlib.sha256(self._table_text().encode()).hexdigest()
        return {**super().identity(), "table_sha256": digest}

    def recordings(self, name: str, downloads: Path) -> Iterator[Recording]:
        """See `Source.recordings`; a mirror may hold the files themselves or FLAC copies."""
        copies = mirror(name)
        session = open_session()
        rows = self.files()

        def locate(row: File) -> Path:
            copy = copies / Path(row.file).with_suffix(".flac") if copies else None
            if copy and copy.exists():
                return copy
            upstream = PurePosixPath(self.repository, self.commit, self.folder, row.file)
            url = f"https://raw.githubusercontent.com/{quote(str(upstream))}"
            return download(url, downloads / name / row.file, row.sha256, session)

        with ThreadPoolExecutor(PARALLEL) as pool:
            try:
                # One alone: where it cannot be reached, no other is tried.
                paths = itertools.chain([locate(rows[0])], pool.map(locate, rows[1:]))
                for row, path in zip(rows, paths, strict=True):
                    yield Recording(
                        row.file,
                        path.read_bytes(),
                        row.speaker if "/" in row.speaker else f"{name}/{row.speaker}",
                        row.language or self.language,
                        row.split,
                        row.pcm16_sha256,
                    )
            finally:
                pool.shutdown(cancel_futures=True)
