import io
import zipfile

from ecc.data.sources.vctk import VCTK

from ..conftest import sha256


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        for speaker in ("p225", "p226", "p232", "s5"):
            for microphone in (1, 2):
                name = f"wav48_silence_trimmed/{speaker}/{speaker}_001_mic{microphone}.flac"
                out.writestr(name, f"{speaker} {microphone}")
            out.writestr(f"txt/{speaker}/{speaker}_001.txt", "Please call Stella.")
    return file.getvalue()


def test_first_microphone_split_by_held_out_speakers(server, tmp_path):
    data = archive()
    server.files["VCTK.zip"] = data
    source = VCTK.model_validate(
        {
            "kind": "vctk",
            "licence": "CC-BY-4.0",
            "url": f"{server.url}/VCTK.zip",
            "sha256": sha256(data),
            "valid": ["p226"],
            "test": ["p232"],
        }
    )
    assert [r[:5] for r in source.recordings("vctk", tmp_path)] == [
        ("p225/p225_001.flac", b"p225 1", "vctk/p225", "en", "train"),
        ("p226/p226_001.flac", b"p226 1", "vctk/p226", "en", "valid"),
        ("p232/p232_001.flac", b"p232 1", "vctk/p232", "en", "test"),
        ("s5/s5_001.flac", b"s5 1", "vctk/s5", "en", "train"),
    ]
