import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile


class FileServer(ThreadingHTTPServer):
    """Serves `files`, after as many replies as `broken` says that stop half-way, and after the
    refusals in `busy`: a status, and the seconds of Retry-After or None."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.broken = 0
        self.busy: list[tuple[int, int | None]] = []
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if self.server.busy:
            status, seconds = self.server.busy.pop(0)
            self.send_response(status)
            if seconds is not None:
                self.send_header("Retry-After", str(seconds))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = self.server.files.get(self.path.lstrip("/"))
        if data is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.server.broken:
            self.server.broken -= 1
            self.wfile.write(data[start : (start + len(data)) // 2])
            self.close_connection = True
        else:
            self.wfile.write(data[start:])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def no_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ECC_MIRROR", "ECC_DEBIAN_MIRROR"):
        monkeypatch.delenv(name, raising=False)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tone(seconds: float, seed: int, rate: int = 16000, format: str = "WAV") -> bytes:
    """Noise in a file of its own."""
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, int(seconds * rate))
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=None)
    return file.getvalue()


def tar(files: dict[str, bytes], compression: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{compression}") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def deb(files: dict[str, bytes], compression: str = "xz") -> bytes:
    """A Debian package written by hand (deb(5), ar(5))."""
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": b"odd",
        f"data.tar.{compression}": tar({f"./{path}": x for path, x in files.items()}, compression),
    }
    out = b"!<arch>\n"
    for name, data in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return out


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
