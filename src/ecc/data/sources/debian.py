"""Speech out of Debian packages, without dpkg and without root."""

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal
from urllib.parse import quote

from ecc.config import Config
from ecc.data.download import Unreachable, cached, download, mirror
from ecc.data.sources.base import Recording, Source, Split
from ecc.files import verify


class Rule(Config):
    """Who speaks in the files whose path below `root` matches `pattern` from end to end.

    Named groups of the pattern fill `{...}` in `speaker` and `language`.
    """

    pattern: str
    speaker: str
    language: str
    split: Split


class Debian(Source):
    """One Debian package, pinned by version and SHA-256."""

    kind: Literal["debian"]
    package: str
    package_version: str
    sha256: str
    pool_path: str  # on any Debian mirror
    root: str  # the folder inside the package that the rules speak of
    exclude: str | None = None  # a pattern of files that are no clean speech
    rules: list[Rule]  # the first that matches decides; a file that none matches is left out

    @property
    def origin(self) -> str:
        """The package's page."""
        return f"https://packages.debian.org/{self.package}"

    @property
    def version(self) -> str:
        """Debian's version of the package."""
        return self.package_version

    @property
    def trains(self) -> bool:
        """Whether some rule says train or valid."""
        return any(rule.split != "test" for rule in self.rules)

    def recordings(self, name: str, downloads: Path) -> Iterator[Recording]:
        """See `Source.recordings`; the order is that of the archive."""
        with self._deb(downloads).open("rb") as deb:
            for path, data in read_deb(deb):
                if not path.startswith(self.root):
                    continue
                path = path.removeprefix(self.root)
                if self.exclude and re.fullmatch(self.exclude, path):
                    continue
                for rule in self.rules:
                    if match := re.fullmatch(rule.pattern, path):
                        groups = match.groupdict()
                        yield Recording(
                            path,
                            data.read(),
                            rule.speaker.format(**groups),
                            rule.language.format(**groups),
                            rule.split,
                        )
                        break

    def _deb(self, downloads: Path) -> Path:
        path = downloads / Path(self.pool_path).name
        if cached(path, self.sha256):
            return path
        if (folder := mirror("debian")) and (local := folder / self.pool_path).exists():
            return verify(local, self.sha256)
        if server := os.environ.get("ECC_DEBIAN_MIRROR"):
            if "://" in server:
                url = f"{server.rstrip('/')}/{quote(self.pool_path)}"
                return download(url, path, self.sha256)
            if not (local := Path(server, self.pool_path)).exists():
                raise Unreachable(f"ECC_DEBIAN_MIRROR has no {self.pool_path}")
            return verify(local, self.sha256)
        return self._apt_get(path)

    def _apt_get(self, path: Path) -> Path:
        """Download with the machine's own apt, by its lists or, if they lack the version, ours."""
        if not shutil.which("apt-get"):
            raise Unreachable(
                "no apt-get on this machine; set ECC_DEBIAN_MIRROR to a Debian mirror's address"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".apt-") as folder:
            wanted = f"{self.package}={self.package_version}"
            options = ["-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30"]
            failure = _run(["apt-get", *options, "download", wanted], folder)
            if failure:
                # State and cache of our own: the machine's lists are root's to update.
                state = Path(folder, "state")
                (state / "lists" / "partial").mkdir(parents=True)
                (state / "cache" / "archives" / "partial").mkdir(parents=True)
                options += ["-o", f"Dir::State::lists={state}/lists"]
                options += ["-o", f"Dir::Cache={state}/cache", "-o", "APT::Sandbox::User="]
                failure = _run(["apt-get", *options, "update"], folder) or _run(
                    ["apt-get", *options, "download", wanted], folder
                )
            debs = list(Path(folder).glob("*.deb"))
            if len(debs) != 1:
                raise Unreachable(
                    f"apt-get download {wanted}: {failure}; "
                    "or set ECC_DEBIAN_MIRROR to a Debian mirror's address"
                )
            return verify(debs[0], self.sha256).replace(path)


def _run(command: list[str], folder: str) -> str | None:
    """None, or the first error that apt prints."""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return None
    errors = [line for line in done.stderr.splitlines() if line.startswith(("E:", "Err:"))]
    return errors[0] if errors else f"exit status {done.returncode}"


def read_deb(deb: BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    """Path and content of each regular file that a package installs, in archive order.

    A .deb is an `ar` archive (deb(5)): a magic line, then members with a header of 60 bytes,
    padded to even sizes. The files are in the tar archive `data.tar.*`. Raises `ValueError`
    when `deb` is no such archive or is compressed with something other than xz, gzip or bzip2.
    """
    if deb.read(8) != b"!<arch>\n":
        raise ValueError("not a Debian package")
    while len(header := deb.read(60)) == 60 and header[58:] == b"`\n":
        member = header[:16].decode("ascii").strip().rstrip("/")
        size = int(header[48:58])
        if member.startswith("data.tar"):
            if member.endswith(".zst"):
                raise ValueError(f"{member}: zstd is not supported")
            with tarfile.open(fileobj=deb, mode="r|*") as tar:
                for entry in tar:
                    if entry.isfile() and (content := tar.extractfile(entry)):
                        yield entry.name.removeprefix("./"), content  # type: ignore[misc]
            return
        deb.seek(size + size % 2, os.SEEK_CUR)
    raise ValueError("not a Debian package: no data.tar in it")
