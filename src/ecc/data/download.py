"""Files from elsewhere: downloaded once, resumed when cut off, checked at every use."""

import os
import re
import time
from pathlib import Path
from typing import BinaryIO

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from ecc.files import ChecksumError, sha256_of, verify

TIMEOUT = (10, 60)  # seconds to connect, seconds without a byte
ATTEMPTS = 4
PARALLEL = 8  # connections to one server
# What a server answers that is busy or down for a moment. It is asked again after the time that it
# names (Retry-After), or after 0, 2, 4, 8 and 16 s and up to a second by chance.
BUSY = Retry(
    total=None, connect=0, read=0, other=0, status=5, status_forcelist=(429, 500, 502, 503, 504),
    backoff_factor=1, backoff_jitter=1, retry_after_max=600, raise_on_status=False,
)  # fmt: skip
CHUNK = 1 << 16  # bytes; what is lost when a connection breaks off


class Unreachable(Exception):
    """A source that cannot be had here; the message is one line that says why."""


class _Refused(Exception):
    """An answer of the server that trying again does not change, or has not."""


def mirror(name: str) -> Path | None:
    """The folder of local copies of a source, if $ECC_MIRROR has one."""
    root = os.environ.get("ECC_MIRROR")
    folder = Path(root, name) if root else None
    return folder if folder and folder.is_dir() else None


def cached(path: Path, sha256: str) -> bool:
    """Whether `path` is there and whole; a copy that has gone bad is removed."""
    if not path.exists():
        return False
    if sha256_of(path) == sha256:
        return True
    path.unlink()
    return False


def open_session() -> requests.Session:
    """A session for `PARALLEL` downloads at once that waits for servers that are `BUSY`."""
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=PARALLEL, max_retries=BUSY))
    return session


def download(url: str, path: Path, sha256: str, session: requests.Session | None = None) -> Path:
    """The file behind `url`, kept at `path` and checked by SHA-256.

    What a broken-off attempt left (`path` + ".part") is resumed. Raises `Unreachable` at once
    when no connection can be made or the file is refused, after some attempts when the connection
    keeps breaking off or the server stays `BUSY`, and `ChecksumError` when the bytes are not the
    ones that were asked for.
    """
    if cached(path, sha256):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    session = session or open_session()
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(2**attempt)
        try:
            _receive(session, url, part)
            break
        except _Refused as error:
            raise Unreachable(f"{path.name}: {error}") from None
        except requests.RequestException as error:
            reason = _reason(error)
            if not part.exists():  # nothing has ever come: there is nothing to resume
                raise Unreachable(f"{path.name}: {reason}") from None
    else:
        raise Unreachable(f"{path.name}: {reason}, {ATTEMPTS} times")
    try:
        verify(part, sha256)
    except ChecksumError as error:
        part.unlink()  # a resume of wrong bytes would never come right
        raise ChecksumError(f"{url}: {error}") from None
    return part.replace(path)


def _receive(session: requests.Session, url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # all of it is there; the checksum decides
        if not response.ok:
            raise _Refused(f"the server says {response.status_code} {response.reason}")
        resumed = response.status_code == requests.codes.partial_content
        total = int(response.headers.get("Content-Length", 0)) or None
        with (
            part.open("ab" if resumed else "wb") as file,
            # Of a small file there is nothing to be seen, and hundreds of them have their own bar.
            tqdm(
                total=total, unit="B", unit_scale=True, desc=part.stem, delay=1, disable=None
            ) as bar,
        ):
            received = _copy(response, file, bar)
        if total is not None and received < total:
            raise requests.ConnectionError("the connection broke off")


def _copy(response: requests.Response, file: BinaryIO, bar: tqdm) -> int:
    received = 0
    for chunk in response.iter_content(CHUNK):
        file.write(chunk)
        received += len(chunk)
        bar.update(len(chunk))
    return received


def _reason(error: Exception) -> str:
    """The innermost cause, which requests wraps three times, without the connection's repr."""
    while isinstance(
        cause := getattr(error, "reason", None) or next(iter(error.args), None), Exception
    ):
        error = cause
    text = " ".join(str(error).split())
    return re.sub(r"^\w+\(host=[^)]*\): ", "", text)
