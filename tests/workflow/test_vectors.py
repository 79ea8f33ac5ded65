"""The archive of test vectors: the reference decoder in it finds all that it says."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import reference_decoder as reference
from golden.conftest import golden_model
from model.test_rvq import TOKENS, raw_codec
from safetensors.numpy import load

import vectors
from ecc import audio
from ecc.codecs.ecc import EccCodec
from ecc.model.weights import save_model
from ecc.stream import StreamError


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> list[Path]:
    """A small model of each kind: λ, stages, and tokens that stand on the stages."""
    folder = tmp_path_factory.mktemp("models")
    plain, coded = folder / "plain.safetensors", folder / "coded.safetensors"
    save_model(raw_codec(), plain, "plain", [], {})
    save_model(raw_codec(TOKENS), coded, "coded", [], {}, plain)
    return [golden_model(folder), plain, coded]


@pytest.fixture(scope="module")
def archive(models, tmp_path_factory, voice) -> Path:
    folder = tmp_path_factory.mktemp("vectors")
    audio.write(folder / "voice.wav", voice(0.1))
    vectors.main(folder / "vectors.zip", [str(path) for path in models], [folder / "voice.wav"])
    return folder / "vectors.zip"


def test_the_reference_decoder_finds_what_it_says(archive, models):
    with zipfile.ZipFile(archive) as files:
        index = json.loads(files.read("index.json"))
        known = [files.read(f"{name}.safetensors") for name in index["models"]]
        by_hash = {hashlib.sha256(data).hexdigest(): data for data in known}
        assert list(by_hash) == [said["sha256"] for said in index["models"].values()]
        for path, (name, said) in zip(models, index["models"].items(), strict=True):
            model, codec = reference.choose_model(by_hash, said["sha256"]), EccCodec(path)
            kinds = {case.rpartition("-")[0] or case for case in said["streams"]}
            assert kinds >= {
                "speech",
                "recording-voice",
                "none",
                "one",
                "silence",
                "noise",
                "chunks",
            }
            assert ("skip" in kinds) == (name == "golden")
            for case, hashes in said["streams"].items():
                stream = files.read(f"{name}/{case}.ecc")
                assert hashlib.sha256(stream).hexdigest() == hashes.pop("stream")
                arrays = load(files.read(f"{name}/{case}.safetensors"))
                assert arrays.keys() == hashes.keys()
                latents = reference.decode_latents(stream, model)
                found = {
                    part: np.concatenate([getattr(one, part) for one in latents]).astype("<i4")
                    for part in arrays.keys() - {"samples", "y_hat"}
                }
                found["samples"] = reference.decode(stream, model)
                if latents:
                    y_hat = np.concatenate([one.y_hat for one in latents])
                    found["y_hat"] = (y_hat * 1024).astype("<i4")
                for part, values in found.items():
                    np.testing.assert_array_equal(values, arrays[part])
                    assert hashlib.sha256(values.tobytes()).hexdigest() == hashes[part]
            assert len(said["refused"]) == len({files.read(f"{name}/refused/{case}.ecc")
                                                for case in said["refused"]})  # fmt: skip
            for case in said["refused"]:
                stream = files.read(f"{name}/refused/{case}.ecc")
                with pytest.raises(StreamError):
                    codec.decode(stream)
                with pytest.raises(reference.FormatError):
                    model_id = reference.read_header(stream)[2].hex()
                    reference.decode(stream, reference.choose_model(by_hash, model_id))


def test_the_same_models_make_the_same_archive(models, tmp_path):
    for name in ("a.zip", "b.zip"):
        vectors.main(tmp_path / name, [str(models[0])])
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_it_decodes_with_what_is_in_it(archive, tmp_path):
    with zipfile.ZipFile(archive) as files:
        files.extractall(tmp_path)
    command = [sys.executable, "-I", "reference_decoder.py", "golden/speech-1.ecc", "out.wav"]
    subprocess.run([*command, "golden.safetensors"], cwd=tmp_path, check=True)
    said = load((tmp_path / "golden/speech-1.safetensors").read_bytes())
    np.testing.assert_array_equal(audio.to_int16(audio.read(tmp_path / "out.wav")), said["samples"])
    assert (tmp_path / "format.md").is_file()


def test_what_is_missing_is_said_in_one_line(models, tmp_path):
    with pytest.raises(SystemExit, match=r"vectors: .*coded.*name that too, with --model"):
        vectors.main(tmp_path / "a.zip", [str(models[2])])
    with pytest.raises(SystemExit, match=r"vectors: .*no such model file"):
        vectors.main(tmp_path / "a.zip", [str(tmp_path / "none.safetensors")])
    with pytest.raises(SystemExit, match=r"vectors: .* have the same name"):
        vectors.main(tmp_path / "a.zip", [str(models[0]), str(models[0])])
    assert not list(tmp_path.iterdir())
