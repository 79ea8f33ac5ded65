import socket
import time
from types import SimpleNamespace

import pytest
from urllib3.util import retry

from ecc.data import download as module
from ecc.data.download import Unreachable, cached, download
from ecc.files import ChecksumError, verify

from .conftest import sha256

DATA = bytes(range(256)) * 5000


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Nobody waits; returns the seconds for which a busy server was left alone."""
    seconds = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=seconds.append, time=time.time))
    return seconds


def test_downloads_and_keeps(server, tmp_path):
    server.files["a.bin"] = DATA
    path = download(f"{server.url}/a.bin", tmp_path / "x" / "a.bin", sha256(DATA))
    assert path.read_bytes() == DATA
    server.files.clear()
    assert download(f"{server.url}/a.bin", path, sha256(DATA)) == path
    assert len(server.ranges) == 1


def test_resumes_after_breaking_off(server, tmp_path):
    server.files["a.bin"], server.broken = DATA, 2
    path = download(f"{server.url}/a.bin", tmp_path / "a.bin", sha256(DATA))
    assert path.read_bytes() == DATA
    assert server.ranges[0] is None
    starts = [int(x.removeprefix("bytes=").rstrip("-")) for x in server.ranges[1:] if x]
    assert starts == sorted(starts) and len(starts) == 2
    assert len(DATA) // 2 - module.CHUNK < starts[0] <= len(DATA) // 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_resumes_what_a_killed_download_left(server, tmp_path):
    server.files["a.bin"] = DATA
    (tmp_path / "a.bin.part").write_bytes(DATA[:1000])
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin", sha256(DATA)).read_bytes() == DATA
    assert server.ranges == ["bytes=1000-"]


def test_a_part_that_is_already_whole(server, tmp_path):
    server.files["a.bin"] = DATA
    (tmp_path / "a.bin.part").write_bytes(DATA)
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin", sha256(DATA)).read_bytes() == DATA


def test_gives_up_when_it_keeps_breaking_off(server, tmp_path):
    server.files["a.bin"], server.broken = DATA, 99
    with pytest.raises(Unreachable, match=f"{module.ATTEMPTS} times"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", sha256(DATA))
    assert not (tmp_path / "a.bin").exists()


def test_wrong_bytes_are_an_error_and_are_not_kept(server, tmp_path):
    server.files["a.bin"] = b"something else"
    with pytest.raises(ChecksumError, match=r"a\.bin"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", sha256(DATA))
    assert list(tmp_path.iterdir()) == []


def test_a_kept_file_that_went_bad_is_fetched_again(server, tmp_path):
    server.files["a.bin"] = DATA
    (tmp_path / "a.bin").write_bytes(DATA[:-1])
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin", sha256(DATA)).read_bytes() == DATA


def test_missing_at_the_server(server, tmp_path):
    with pytest.raises(Unreachable, match="404"):
        download(f"{server.url}/a.bin", tmp_path / "a.bin", sha256(DATA))
    assert len(server.ranges) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server, tmp_path, waits, status):
    server.files["a.bin"], server.busy = DATA, [(status, None)] * 3
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin", sha256(DATA)).read_bytes() == DATA
    assert len(server.ranges) == 4
    assert len(waits) == 2 and waits[0] < waits[1]  # the first time it is asked again at once


def test_a_server_that_says_when_is_asked_then(server, tmp_path, waits):
    server.files["a.bin"], server.busy = DATA, [(429, 7), (503, 90_000)]
    download(f"{server.url}/a.bin", tmp_path / "a.bin", sha256(DATA))
    assert waits == [7, module.BUSY.retry_after_max]


def test_a_server_that_stays_busy_is_given_up(server, tmp_path):
    server.files["a.bin"], server.busy = DATA, [(503, None)] * 99
    with pytest.raises(Unreachable, match="503") as error:
        download(f"{server.url}/a.bin", tmp_path / "a.bin", sha256(DATA))
    assert len(server.ranges) == 1 + module.BUSY.status
    assert "\n" not in str(error.value)


def test_a_busy_server_loses_nothing_of_what_has_come(server, tmp_path):
    server.files["a.bin"], server.busy = DATA, [(429, None)]
    (tmp_path / "a.bin.part").write_bytes(DATA[:1000])
    assert download(f"{server.url}/a.bin", tmp_path / "a.bin", sha256(DATA)).read_bytes() == DATA
    assert server.ranges == ["bytes=1000-"] * 2


def test_no_connection_gives_up_at_once(tmp_path, monkeypatch):
    with socket.socket() as taken:  # bound, but not listening: refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a.bin"
        again = SimpleNamespace(sleep=lambda seconds: pytest.fail("tried again"))
        monkeypatch.setattr(module, "time", again)
        with pytest.raises(Unreachable) as error:
            download(url, tmp_path / "a.bin", sha256(DATA))
    assert "\n" not in str(error.value)
    assert "refused" in str(error.value)


def test_verify_and_cached(tmp_path):
    path = tmp_path / "a.bin"
    assert not cached(path, sha256(DATA))
    path.write_bytes(DATA)
    assert cached(path, sha256(DATA))
    assert verify(path, sha256(DATA)) == path
    with pytest.raises(ChecksumError, match=r"a\.bin: SHA-256 is .* expected 00"):
        verify(path, "00")
