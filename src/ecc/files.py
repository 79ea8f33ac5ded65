"""Files that are either whole or not there, and are the ones that were asked for."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ChecksumError(Exception):
    """A file that was had, but is not the one that was asked for."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends without an error.

    The suffix of `path` is kept, since audio and table writers choose their format by it.
    A block that raises leaves whatever stood at `path` before and no temporary file. An error of a
    full disk, which names no file, names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; the result gets what the user's umask asks for.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            error.filename = os.fspath(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def verify(path: Path, sha256: str) -> Path:
    """`path` itself when its SHA-256 is the given one; raises `ChecksumError` when not."""
    if (actual := sha256_of(path)) != sha256:
        raise ChecksumError(f"{path.name}: SHA-256 is {actual}, expected {sha256}")
    return path
