"""Neural codecs of others, on tiny networks of random weights: the published ones are not here."""

import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.numpy import load_file, save_file

from ecc.codecs import peers
from ecc.codecs.base import CodecEntry, load_codec
from ecc.errors import CodecUnavailable
from ecc.files import sha256_of

ROOT = Path(__file__).parents[2]
PINS = {"repository": "somebody/codec", "revision": "0123456789" * 4}
# Hz, samples of a frame, bits of a token, and the numbers of code books of the tiny networks.
TINY = {
    "EnCodec": (24000, 320, 4, [2, 4]),
    "Dac": (16000, 320, 4, [1, 2, 3]),
    "Mimi": (24000, 1920, 5, [1, 2, 3]),
    "XCodec": (16000, 320, 4, [1, 2]),
}
PUBLISHED = {
    f"{name} {point}": (entry["class"], arguments)
    for name, entry in YAML(typ="safe").load(ROOT / "params.yaml")["codecs"].items()
    if entry["class"].startswith("ecc.codecs.peers:")
    for point, arguments in entry["points"].items()
}


def networks():
    """A tiny network for each of `TINY`, as its authors' configuration would make a large one."""
    import transformers as t

    yield t.EncodecModel(
        t.EncodecConfig(
            num_filters=2,
            hidden_size=8,
            num_lstm_layers=1,
            codebook_size=16,
            target_bandwidths=[0.6, 1.2],
        )
    )
    yield t.DacModel(
        t.DacConfig(
            encoder_hidden_size=2,
            decoder_hidden_size=32,
            downsampling_ratios=[2, 4, 5, 8],
            n_codebooks=3,
            codebook_size=16,
            codebook_dim=4,
        )
    )
    yield t.MimiModel(
        t.MimiConfig(
            num_filters=2,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=16,
            sliding_window=8,
            upsample_groups=16,
            num_quantizers=3,
            codebook_size=32,
            codebook_dim=8,
            vector_quantization_hidden_dimension=8,
        )
    )
    acoustic = t.DacConfig(
        encoder_hidden_size=2, decoder_hidden_size=32, downsampling_ratios=[8, 5, 4, 2]
    )
    acoustic.upsampling_ratios = [8, 5, 4, 2]
    semantic = t.HubertConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        conv_dim=[4] * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    yield t.XcodecModel(
        t.XcodecConfig(
            acoustic_model_config=acoustic,
            semantic_model_config=semantic,
            codebook_size=16,
            target_bandwidths=[0.2, 0.4],
        )
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The arguments of each class but `codebooks`, with weights as a hub has them."""
    pytest.importorskip("transformers", reason="transformers is in ecc-speech[peers]")
    torch.manual_seed(0)
    found = {}
    for name, network in zip(TINY, networks(), strict=True):
        with torch.no_grad():  # large enough for tokens to differ from frame to frame
            for parameter in network.parameters():
                parameter.mul_(1.5 if name == "EnCodec" else 1)
            for module in network.modules():
                for entries in ("embed", "embed_sum"):
                    if torch.is_tensor(codebook := getattr(module, entries, None)):
                        codebook.normal_(std=0.2)
        folder = tmp_path_factory.mktemp(name)
        network.save_pretrained(folder)
        weights = {"weights": str(folder), "sha256": sha256_of(folder / peers.WEIGHTS)}
        found[name] = PINS | weights
    return found


@pytest.fixture
def make(saved):
    """make(name, codebooks): the codec of that class, constructed."""
    return lambda name, codebooks: getattr(peers, name)(codebooks=codebooks, **saved[name])


@pytest.mark.parametrize("name", TINY)
def test_its_own_rate_comes_out_and_the_length_is_kept(make, voice, name):
    rate, hop, bits, numbers = TINY[name]
    samples = voice(1.3)
    frames = math.ceil(1.3 * rate / hop)
    for codebooks in numbers:
        codec = make(name, codebooks)
        assert (codec.sample_rate, codec.hop, codec.token_bits) == (rate, hop, bits)
        stream = codec.encode(samples)
        assert codec.bits(stream) == 8 * (4 + math.ceil(frames * codebooks * bits / 8))
        decoded = codec.decode(stream)
        assert decoded.dtype == np.float32
        assert decoded.shape == samples.shape
        assert np.isfinite(decoded).all()
        assert decoded.std() > 0


@pytest.mark.parametrize("name", TINY)
def test_fewer_code_books_are_the_first_of_more(make, voice, name):
    _, hop, _, (fewest, *_, most) = TINY[name]
    heard = np.resize(voice(1), 10 * hop)
    tokens = make(name, most).tokens(heard)
    assert tokens.shape == (most, 10)
    assert len(np.unique(tokens)) > 2
    np.testing.assert_array_equal(make(name, fewest).tokens(heard), tokens[:fewest])


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("count", [1, 319, 321])
def test_short_signals(make, name, count):
    codec = make(name, TINY[name][3][0])
    decoded = codec.decode(codec.encode(np.full(count, 0.1, np.float32)))
    assert decoded.shape == (count,)
    assert np.isfinite(decoded).all()


@pytest.mark.parametrize("name", TINY)
def test_what_is_decoded_is_what_the_package_decodes(make, voice, name):
    """Of all samples at once, as its own `forward` does it."""
    _, hop, _, numbers = TINY[name]
    codec = make(name, numbers[-1])
    heard = np.resize(voice(1), 10 * hop)
    rates = getattr(codec.model.config, "target_bandwidths", None)
    most = {"bandwidth": rates[-1]} if rates else {}  # the others use all code books by default
    with torch.inference_mode():
        x = torch.from_numpy(heard)[None, None]
        expected = codec.model(x, **most).audio_values.flatten()
    np.testing.assert_allclose(codec.samples(codec.tokens(heard)), expected, atol=1e-5)


def test_a_fresh_process_decodes_the_same(saved, make, voice, tmp_path):
    jobs, expected = [], {}
    for name in TINY:
        codec = make(name, TINY[name][3][-1])
        stream = codec.encode(voice(1))
        expected[name] = codec.decode(stream)
        (tmp_path / name).write_bytes(stream)
        jobs.append([name, {"codebooks": codec.codebooks, **saved[name]}])
    code = (
        "import json, sys, numpy\n"
        "from pathlib import Path\n"
        "from ecc.codecs.base import CodecEntry, load_codec\n"
        "for name, arguments in json.load(sys.stdin):\n"
        "    codec = load_codec(f'ecc.codecs.peers:{name}', arguments)\n"
        "    numpy.save(name, codec.decode(Path(name).read_bytes()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(jobs),
        text=True,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr  # no progress bar and no advice
    for name in TINY:
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), expected[name])


@pytest.mark.parametrize("name", TINY)
def test_a_truncated_stream_is_one_line(make, voice, name):
    codec = make(name, TINY[name][3][0])
    with pytest.raises(ValueError, match=r"^truncated stream: .*$"):
        codec.decode(codec.encode(voice(1))[:-1])


@pytest.mark.parametrize("name", TINY)
def test_a_number_of_code_books_that_there_is_not_is_one_line(make, name):
    numbers = TINY[name][3]
    known = ", ".join(map(str, numbers))
    with pytest.raises(ValueError, match=f"^somebody/codec has {known} code books, not 5$"):
        make(name, 5)


def test_weights_that_are_not_there_are_not_made_up(saved, tmp_path):
    shutil.copytree(saved["Dac"]["weights"], tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / peers.WEIGHTS)
    del weights["decoder.conv2.bias"]
    save_file(weights, tmp_path / peers.WEIGHTS, metadata={"format": "pt"})
    pins = PINS | {"sha256": sha256_of(tmp_path / peers.WEIGHTS)}
    missing = r"^somebody/codec: transformers \S+ misses 1 of its weights, such as decoder.conv2"
    with pytest.raises(CodecUnavailable, match=missing):
        peers.Dac(codebooks=1, weights=str(tmp_path), **pins)


def test_other_weights_are_one_line_that_brings_the_right_ones(saved):
    arguments = saved["Dac"] | {"sha256": "0" * 64}
    with pytest.raises(CodecUnavailable) as error:
        peers.Dac(codebooks=1, **arguments)
    folder, (line,) = arguments["weights"], str(error.value).splitlines()
    assert line == (
        f"{folder}/model.safetensors is another file, SHA-256 {saved['Dac']['sha256']}, not "
        f"{'0' * 64}; run hf download somebody/codec config.json model.safetensors --revision "
        f"{PINS['revision']} --local-dir {folder}"
    )


@pytest.mark.parametrize("there", [[], ["model.safetensors"], ["config.json"]])
def test_missing_weights_are_one_line(tmp_path, there):
    for name in there:
        (tmp_path / name).touch()
    missing = "model.safetensors" if "config.json" in there else "config.json"
    command = "run hf download somebody/codec config.json model.safetensors --revision 0123456789"
    with pytest.raises(CodecUnavailable, match=f"{missing} is missing; {command}.*$"):
        peers.find_weights(tmp_path, sha256="0" * 64, **PINS)


def test_a_missing_package_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(CodecUnavailable, match=r"; pip install 'ecc-speech\[peers\]' has it$"):
        peers.Mimi(codebooks=8, weights=str(tmp_path), sha256="0" * 64, **PINS)


@pytest.mark.parametrize("pin", ["revision", "sha256"])
def test_a_pin_that_is_not_given_is_one_line_that_says_where_it_stands(tmp_path, pin):
    arguments = {**PINS, "sha256": "0" * 64, "weights": str(tmp_path), "codebooks": 1} | {pin: None}
    page = r"https://huggingface\.co/somebody/codec/blob/(main|01\d+)/model\.safetensors"
    with pytest.raises(ValueError, match=f"^somebody/codec needs .* sha256, which {page} shows$"):
        load_codec("ecc.codecs.peers:Dac", arguments)


def test_the_entry_of_the_docs_lacks_its_hash_alone():
    text = (ROOT / "docs/codecs.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(codecs:\n  dac:.*?)```", text, re.DOTALL)
    entry = YAML(typ="safe").load(example)["codecs"]["dac"]
    ((point, arguments),) = CodecEntry(**entry).points.items()
    assert arguments.pop("sha256") is None
    with pytest.raises(ValueError, match=r"^descript/dac_16khz needs a revision and a sha256"):
        load_codec(entry["class"], {**arguments, "sha256": None})
    assert float(point.removesuffix("k")) == arguments["codebooks"] * 0.5
    assert re.fullmatch("[0-9a-f]{40}", arguments["revision"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_ones_are_pinned(name):
    _, arguments = PUBLISHED[name]
    assert re.fullmatch("[0-9a-f]{40}", arguments["revision"])
    assert re.fullmatch("[0-9a-f]{64}", arguments["sha256"])
    assert arguments["weights"].startswith("weights/")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_ones_where_their_weights_are(name, voice, monkeypatch):
    monkeypatch.chdir(ROOT)
    spec, arguments = PUBLISHED[name]
    try:
        codec = load_codec(spec, arguments)
    except CodecUnavailable as error:
        pytest.skip(str(error))
    samples = voice(3)
    stream = codec.encode(samples)
    nominal = float(name.split()[1].removesuffix("k"))
    assert nominal <= codec.bits(stream) / 3000 < 1.1 * nominal
    decoded = codec.decode(stream)
    assert decoded.shape == samples.shape
    assert np.abs(decoded).max() > 0.01
