import pytest

from ecc.data.sources.libritts import LibriTTS
from ecc.files import ChecksumError

from ..conftest import sha256, tar, write

TRAIN = tar(
    {
        "LibriTTS/train-clean-100/103/1240/103_1240_000000_000001.wav": b"1",
        "LibriTTS/train-clean-100/103/1240/103_1240_000000_000001.original.txt": b"text",
        "LibriTTS/train-clean-100/1034/121119/1034_121119_000001_000001.wav": b"2",
        "LibriTTS/SPEAKERS.txt": b"text",
    },
    "gz",
)
TEST = tar({"LibriTTS/test-clean/61/70968/61_70968_000000_000000.wav": b"3"}, "gz")


def source(url: str) -> LibriTTS:
    return LibriTTS.model_validate(
        {
            "kind": "libritts",
            "licence": "CC-BY-4.0",
            "url": url,
            "archives": {
                "train-clean-100": {"sha256": sha256(TRAIN), "split": "train"},
                "test-clean": {"sha256": sha256(TEST), "split": "test"},
            },
        }
    )


EXPECTED = [
    ("train-clean-100/103/1240/103_1240_000000_000001.wav", b"1", "libritts/103", "en", "train"),
    (
        "train-clean-100/1034/121119/1034_121119_000001_000001.wav",
        b"2",
        "libritts/1034",
        "en",
        "train",
    ),
    ("test-clean/61/70968/61_70968_000000_000000.wav", b"3", "libritts/61", "en", "test"),
]


def test_downloads_and_splits_as_published(server, tmp_path):
    server.files |= {"train-clean-100.tar.gz": TRAIN, "test-clean.tar.gz": TEST}
    recordings = list(source(server.url).recordings("libritts", tmp_path))
    assert [r[:5] for r in recordings] == EXPECTED


def test_from_the_mirror(tmp_path, monkeypatch):
    write(tmp_path / "libritts" / "train-clean-100.tar.gz", TRAIN)
    write(tmp_path / "libritts" / "test-clean.tar.gz", TEST)
    monkeypatch.setenv("ECC_MIRROR", str(tmp_path))
    recordings = list(source("http://127.0.0.1:1").recordings("libritts", tmp_path / "none"))
    assert [r[:5] for r in recordings] == EXPECTED
    write(tmp_path / "libritts" / "test-clean.tar.gz", TRAIN)
    with pytest.raises(ChecksumError, match="test-clean"):
        list(source("http://127.0.0.1:1").recordings("libritts", tmp_path / "none"))
