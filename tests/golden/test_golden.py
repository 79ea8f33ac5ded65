"""Streams of this version decode as ever, and latents make the streams that they always made.

The entropy model is exact on every machine. The transform is not, but for what 16 bits show of it.
"""

import hashlib

import numpy as np
import pytest
import torch
from golden.conftest import CASES, FOLDER, LATENTS, golden_model, hashes, heard
from matrix_worker import replay

from ecc.codecs.ecc import EccCodec
from ecc.model.weights import load_networks
from ecc.stream import VERSION, Header, StreamError, covered, pack_chunk

CHANGED = (
    "the golden {} changed: streams that exist would no longer decode as they did. If that is "
    "meant, it is a new version of the format: raise ecc.stream.VERSION, say so in "
    "docs/format.md, and run `pytest tests/golden --regenerate`"
)


@pytest.fixture(scope="module")
def codec(golden, tmp_path_factory) -> EccCodec:
    return EccCodec(golden_model(tmp_path_factory.mktemp("model")))


def test_version_is_that_of_the_streams(golden):
    assert golden["version"] == VERSION, "run `pytest tests/golden --regenerate`"


@pytest.mark.parametrize("name", sorted(CASES))
def test_decodes_to_the_same_symbols(golden, codec, name):
    stream, said = (FOLDER / f"{name}.ecc").read_bytes(), golden["streams"][name]
    assert hashlib.sha256(stream).hexdigest() == said["stream"], f"{name}.ecc is another file"
    header, _ = Header.unpack(stream)
    assert (header.samples, header.level) == (said["samples"], said["level"])
    try:
        got = hashes(codec.latents(stream))
    except StreamError as error:
        pytest.fail(f"{CHANGED.format('symbols')} ({error})")
    assert got["symbols"] == said["symbols"], CHANGED.format("symbols")
    assert got["y_hat"] == said["y_hat"], CHANGED.format("y_hat")
    x_hat = codec.decode(stream)
    assert x_hat.shape == (said["samples"],)
    assert heard(x_hat) == said["heard"], (
        "the same symbols are heard otherwise than where the golden streams were made. If the "
        "transform was changed, run `pytest tests/golden --regenerate`"
    )


@pytest.mark.parametrize("name", sorted(CASES))
def test_samples_make_the_same_stream(golden, codec, voice, name):
    make, level = CASES[name]
    samples = make(voice).astype(np.float32).clip(-1, 1)
    stream = b"".join(codec.encode_chunks(samples, level))
    assert stream == (FOLDER / f"{name}.ecc").read_bytes()


@pytest.mark.parametrize("name", sorted(CASES))
def test_latents_make_the_same_stream(golden, codec, name):
    said, skip = golden["streams"][name], codec.codec.config.entropy.skip
    header = Header(codec.model_id, said["samples"], said["level"], skip).pack()
    stream, latents = header, np.load(LATENTS)
    for number in range(codec.codec.count_chunks(said["samples"])):
        y = latents[f"{name}.{number}"].astype(np.float64)
        place = covered(header, number)
        payload, _ = codec.codec.entropy.compress(y, said["level"], skip, place)
        stream += pack_chunk(header, number, payload)
    assert stream == (FOLDER / f"{name}.ecc").read_bytes(), CHANGED.format("streams")


@pytest.mark.parametrize("name", sorted(CASES))
def test_pytorch_says_the_same_of_the_same_symbols(golden, codec, name):
    stream, level = (FOLDER / f"{name}.ecc").read_bytes(), golden["streams"][name]["level"]
    trained = load_networks(codec.trained)
    replayed = [replay(trained.entropy, [latent], [level])[0] for latent in codec.latents(stream)]
    assert hashes(replayed) == {key: golden["streams"][name][key] for key in ("symbols", "y_hat")}


@pytest.mark.parametrize("name", sorted(CASES))
def test_pytorch_says_the_same_of_the_same_latent(golden, codec, name):
    """What its estimate passes on is what the decoder makes of the stream."""
    said, latents = golden["streams"][name], np.load(LATENTS)
    entropy = load_networks(codec.trained).entropy
    for number, latent in enumerate(codec.latents((FOLDER / f"{name}.ecc").read_bytes())):
        y = torch.from_numpy(latents[f"{name}.{number}"])[None].double()
        with torch.inference_mode():
            y_hat, _ = entropy(y, torch.tensor([said["level"]]))
        np.testing.assert_array_equal(y_hat[0], latent.y_hat)
