import io
import os

import pytest

from ecc.data.download import Unreachable
from ecc.data.sources.debian import Debian, read_deb
from ecc.files import ChecksumError

from ..conftest import deb, sha256, write

FILES = {
    "usr/share/doc/copyright": b"free",
    "usr/share/voices/ru/one.ogg": b"1",
    "usr/share/voices/bg/two.ogg": b"22",
    "usr/share/voices/bg/bad.ogg": b"333",
    "usr/share/voices/xx/three.ogg": b"4444",
}
POOL = "pool/main/v/voices/voices_1+2_all.deb"


def source(package: bytes) -> Debian:
    return Debian.model_validate(
        {
            "kind": "debian",
            "licence": "GPL-2",
            "package": "voices",
            "package_version": "1+2",
            "sha256": sha256(package),
            "pool_path": POOL,
            "root": "usr/share/voices/",
            "exclude": r"bg/bad\.ogg",
            "rules": [
                {
                    "pattern": r"(?P<language>ru)/.+\.ogg",
                    "speaker": "voices/{language}",
                    "language": "{language}",
                    "split": "train",
                },
                {"pattern": r"(bg|ru)/.+", "speaker": "bo", "language": "bg", "split": "valid"},
            ],
        }
    )


@pytest.fixture
def no_apt(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


@pytest.mark.parametrize("compression", ["xz", "gz"])
def test_reads_a_package(compression):
    read = {path: data.read() for path, data in read_deb(io.BytesIO(deb(FILES, compression)))}
    assert read == FILES


@pytest.mark.parametrize("data", [b"", b"no package", b"!<arch>\n"])
def test_no_package(data):
    with pytest.raises(ValueError, match="not a Debian package"):
        list(read_deb(io.BytesIO(data)))


def test_zstd_is_refused_by_name():
    package = deb(FILES).replace(b"data.tar.xz ", b"data.tar.zst")
    with pytest.raises(ValueError, match="zstd"):
        list(read_deb(io.BytesIO(package)))


def test_rules_decide_speaker_and_split(tmp_path, monkeypatch):
    package = deb(FILES)
    write(tmp_path / "mirror" / POOL, package)
    monkeypatch.setenv("ECC_DEBIAN_MIRROR", str(tmp_path / "mirror"))
    assert [r[:5] for r in source(package).recordings("voices", tmp_path / "downloads")] == [
        ("ru/one.ogg", b"1", "voices/ru", "ru", "train"),
        ("bg/two.ogg", b"22", "bo", "bg", "valid"),
    ]


def test_from_a_mirror_on_the_net(tmp_path, monkeypatch, server):
    package = deb(FILES)
    server.files[POOL.replace("+", "%2B")] = package
    monkeypatch.setenv("ECC_DEBIAN_MIRROR", server.url + "/")
    assert len(list(source(package).recordings("voices", tmp_path))) == 2
    # Kept: neither net nor apt is asked again.
    monkeypatch.setenv("ECC_DEBIAN_MIRROR", "http://127.0.0.1:1")
    assert len(list(source(package).recordings("voices", tmp_path))) == 2


def test_from_the_folder_of_mirrors(tmp_path, monkeypatch, no_apt):
    package = deb(FILES)
    write(tmp_path / "mirror" / "debian" / POOL, package)
    monkeypatch.setenv("ECC_MIRROR", str(tmp_path / "mirror"))
    assert len(list(source(package).recordings("voices", tmp_path / "downloads"))) == 2


def test_a_mirror_with_another_package(tmp_path, monkeypatch):
    write(tmp_path / "mirror" / POOL, deb({"usr/share/voices/ru/one.ogg": b"?"}))
    monkeypatch.setenv("ECC_DEBIAN_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(ChecksumError, match="voices_1"):
        list(source(deb(FILES)).recordings("voices", tmp_path / "downloads"))


def test_a_mirror_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("ECC_DEBIAN_MIRROR", str(tmp_path))
    with pytest.raises(Unreachable, match="has no pool/main"):
        list(source(deb(FILES)).recordings("voices", tmp_path / "downloads"))


def test_no_apt_and_no_mirror(tmp_path, no_apt):
    with pytest.raises(Unreachable, match="ECC_DEBIAN_MIRROR"):
        list(source(deb(FILES)).recordings("voices", tmp_path / "downloads"))


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """An apt-get that knows the package after an update with lists of its own."""

    def install(package: bytes, *, offers: bool = True) -> None:
        (tmp_path / "package").write_bytes(package)
        script = f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
case "$*" in
  *Dir::State::lists=*update) exit 0 ;;
  *Dir::State::lists=*download\\ voices=1+2)
    {"cp " + str(tmp_path / "package") + " voices_1%2b2_all.deb; exit 0" if offers else ""} ;;
esac
echo "E: Version '1+2' for 'voices' was not found" >&2
exit 100
"""
        binary = write(tmp_path / "bin" / "apt-get", script.encode())
        binary.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    return install


def test_apt_with_lists_of_our_own(tmp_path, apt):
    package = deb(FILES)
    apt(package)
    assert len(list(source(package).recordings("voices", tmp_path / "downloads"))) == 2
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[-2:] for call in calls] == [
        ["download", "voices=1+2"],
        [*calls[1].split()[-2:-1], "update"],
        ["download", "voices=1+2"],
    ]
    assert [p.name for p in (tmp_path / "downloads").iterdir()] == ["voices_1+2_all.deb"]


def test_apt_without_the_version(tmp_path, apt):
    apt(b"", offers=False)
    with pytest.raises(Unreachable, match="was not found; or set ECC_DEBIAN_MIRROR") as error:
        list(source(deb(FILES)).recordings("voices", tmp_path / "downloads"))
    assert "\n" not in str(error.value)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_apt_with_another_package(tmp_path, apt):
    apt(deb({}))
    with pytest.raises(ChecksumError):
        list(source(deb(FILES)).recordings("voices", tmp_path / "downloads"))
    assert list((tmp_path / "downloads").iterdir()) == []
