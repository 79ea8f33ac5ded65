import hashlib

import pytest

from ecc.data import lyra
from ecc.data.lyra import fetch_weights
from ecc.files import ChecksumError


def test_weights_come_from_the_mirror_and_are_checked(monkeypatch, tmp_path):
    copies = tmp_path / "mirror" / "google-lyra"
    copies.mkdir(parents=True)
    for name in lyra.SHA256:
        (copies / name).write_bytes(name.encode())
    monkeypatch.setenv("ECC_MIRROR", str(tmp_path / "mirror"))
    folder = tmp_path / "lyra"
    with pytest.raises(ChecksumError, match=r"\.tflite"):
        fetch_weights(folder)
    assert not list(folder.iterdir())
    pins = {name: hashlib.sha256(name.encode()).hexdigest() for name in lyra.SHA256}
    monkeypatch.setattr(lyra, "SHA256", pins)
    fetch_weights(folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {n: n for n in pins}
