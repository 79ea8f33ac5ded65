"""ECC around Lyra's encoder and decoder; skipped where their weights are not to be had."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from ecc.codecs.base import load_codec
from ecc.codecs.ecc import EccCodec
from ecc.errors import CodecUnavailable
from ecc.lyra.models import FEATURES, FRAME
from ecc.model.codec import ECC
from ecc.model.config import (
    CONTEXT_FRAMES,
    CodecConfig,
    EntropyConfig,
    RvqConfig,
    TokenConfig,
    TransformConfig,
)
from ecc.model.files import ModelError, read_model
from ecc.model.lyra_transform import UNIT, lyra_folder
from ecc.model.weights import load_model, load_networks, save_model
from ecc.runtime.codec import load_coder
from ecc.train.config import TrainConfig
from ecc.train.trainer import FINE_TUNING, Run, _optimizers, train

LMBDA = [2.0, 8.0, 32.0]
SPEC = "ecc.codecs.ecc:EccCodec"


@pytest.fixture(autouse=True)
def weights(lyra_models, lyra_folder, monkeypatch):
    monkeypatch.setenv("ECC_LYRA", str(lyra_folder))


def make_codec(analysis: int = 1, synthesis: int = 1, tuned: bool = False) -> ECC:
    """A small untrained codec."""
    torch.manual_seed(0)
    transform = TransformConfig(
        kind="lyra",
        n_fft=320,
        width=16,
        hidden=16,
        analysis_blocks=analysis,
        synthesis_blocks=synthesis,
        attention=0,
        tune_decoder=tuned,
    )
    entropy = EntropyConfig(width=16, z_channels=4)
    codec = ECC(CodecConfig(transform=transform, entropy=entropy, levels=len(LMBDA)))
    codec.spread_levels(LMBDA)
    return codec


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(make_codec(), path, "m", LMBDA, {})
    return path


def make_tokens(stages: list[int]) -> ECC:
    """Lyra itself, with an untrained model of its tokens."""
    transform = TransformConfig(kind="lyra", analysis_blocks=0, synthesis_blocks=0)
    tokens = TokenConfig(width=16, taps=3)
    rvq = RvqConfig(stages=stages, bits=4, codebooks="lyra", tokens=tokens)
    return ECC(CodecConfig(transform=transform, rvq=rvq, levels=len(stages)))


def test_tokens_of_lyra_are_lyras_and_so_is_what_they_decode_to(lyra_models, voice, tmp_path):
    save_model(make_tokens([4, 16]), tmp_path / "m.safetensors", "m", [], {})
    with safe_open(tmp_path / "m.safetensors", "np") as file:
        assert not any("codebooks" in key or "decoder" in key for key in file.keys())  # noqa: SIM118
    x = voice(1)
    codec = EccCodec(tmp_path / "m.safetensors", level=1)
    with torch.inference_mode():
        encoder = load_networks(codec.trained).transform.encoder
        features = encoder(torch.from_numpy(x).double()[None])[0]
    symbols = lyra_models.quantize(features.float().numpy(), 16)
    stream = codec.encode(x)
    (latent,) = codec.latents(stream)
    assert (latent.symbols == symbols).mean() > 0.95  # entries are rounded to fixed point
    expected = lyra_models.dequantize(latent.symbols)
    np.testing.assert_allclose(UNIT * latent.y_hat, expected, atol=UNIT * 16 * 2**-11)
    heard = lyra_models.synthesize(expected)
    # The decoder of Lyra's authors rounds its activations to 8 bits.
    assert np.square(codec.decode(stream) - heard).mean() < 0.01 * np.square(heard).mean()


def test_before_training_a_fine_latent_is_that_of_lyra(voice):
    codec, x = make_codec().eval().double(), torch.from_numpy(voice(1)).double()[None]
    transform, level = codec.transform, torch.tensor([2])
    features = transform.encoder(x)
    y = transform.analyse(x, level)
    assert y.shape == (1, 50, FEATURES)
    gain = transform.g_a.gain.weight[2, 0].exp()
    torch.testing.assert_close(y, features / UNIT * gain)
    x_hat = transform.synthesise(y, level)
    assert x_hat.shape == (1, 50 * FRAME)
    torch.testing.assert_close(x_hat, transform.decoder(features))


@pytest.mark.parametrize(("analysis", "synthesis"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gradients_reach_all_weights_but_lyras(analysis, synthesis, voice):
    codec = make_codec(analysis, synthesis)
    names = dict(codec.transform.named_parameters())
    assert any("heard" in name for name in names) == bool(analysis)
    assert any("refine" in name for name in names) == bool(synthesis)
    assert not any("decoder" in name for name in names)
    with torch.no_grad():  # what adds nothing at first passes no gradient on
        for parameter in names.values():
            parameter.add_(0.01 * torch.randn_like(parameter))
    x = torch.from_numpy(np.stack([voice(0.64, seed) for seed in range(3)]))
    x_hat, bits = codec(x, torch.arange(3))
    (x_hat.square().mean() + codec.kbps(bits, x.shape[1]).mean()).backward()
    assert x_hat.shape == x.shape
    assert all(parameter.grad.abs().max() > 0 for parameter in names.values())


def test_a_tuned_decoder_is_trained_stored_and_heard(voice, tmp_path):
    codec, x = make_codec(tuned=True), torch.from_numpy(voice(0.64))[None]
    given = make_codec().transform.decoder(torch.ones(1, 4, FEATURES))
    assert torch.equal(codec.transform.decoder(torch.ones(1, 4, FEATURES)), given)
    tuned = dict(codec.transform.decoder.named_parameters())
    codec(x, torch.tensor([0]))[0].square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in tuned.values())
    with torch.no_grad():
        for parameter in tuned.values():
            parameter.mul_(0.9)
    path = tmp_path / "m.safetensors"
    save_model(codec, path, "m", LMBDA, {})
    loaded = load_model(path).codec
    for name, parameter in loaded.transform.decoder.named_parameters():
        assert torch.equal(parameter, tuned[name])
    y_hat, level = torch.randn(1, 4, FEATURES).round(), torch.tensor([1])
    expected = codec.transform.synthesise(y_hat, level)
    x_hat = loaded.transform.synthesise(y_hat.double(), level)
    torch.testing.assert_close(x_hat.float(), expected, rtol=1e-4, atol=1e-5)


def test_a_tuned_decoder_takes_smaller_steps_than_the_rest():
    codec = make_codec(tuned=True)
    optimizers = _optimizers(codec, TrainConfig(steps=1), torch.float32)
    groups = [group for one in optimizers for group in one.param_groups]
    shares = {id(p): group.get("share", 1.0) for group in groups for p in group["params"]}
    for name, parameter in codec.named_parameters():
        if parameter.requires_grad:
            assert shares[id(parameter)] == (FINE_TUNING if ".decoder." in name else 1.0)


def test_a_copy_codes_alike(voice):
    codec = make_codec().eval()
    x, level = torch.from_numpy(voice(0.64))[None], torch.tensor([1])
    x_hat, bits = codec(x, level)
    other, other_bits = copy.deepcopy(codec)(x, level)
    assert torch.equal(other, x_hat)
    assert all(torch.equal(other_bits[part], bits[part]) for part in bits)


def test_a_file_holds_nothing_of_lyra(saved, lyra_folder):
    with safe_open(saved, framework="pt") as file:
        sizes = {key: file.get_tensor(key).numel() for key in file.keys()}  # noqa: SIM118
        assert str(lyra_folder) not in file.metadata()["ecc"]
    assert not any("decoder" in key for key in sizes)
    transform = make_codec().transform
    own = sum(parameter.numel() for parameter in transform.parameters())
    assert sum(size for key, size in sizes.items() if key.startswith("transform.")) == own


@pytest.mark.slow
def test_it_trains_like_any_other(tmp_path, voice):
    clips = [voice(1.5, seed) for seed in range(4)]
    (tmp_path / "toy").mkdir()
    (np.concatenate(clips) * 32767).astype("<i2").tofile(tmp_path / "toy/speech.s16")
    rows = [
        {"clip": f"c{i}", "source": "toy", "speaker": split, "split": split}
        | {"start": i * 24000, "samples": 24000}
        for i, split in enumerate(["train", "train", "train", "valid"])
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    settings = {"steps": 30, "batch": 4, "warmup_steps": 2, "valid_crops": 2, "valid_steps": 10}
    settings |= {"learning_rate": 4e-3, "crop": {"frames": 32}, "ema": 0.5}
    run = Run(
        name="m",
        codec=make_codec().config,
        train=TrainConfig.model_validate(settings),
        lmbda=LMBDA,
        manifest=tmp_path / "manifest.csv",
        speech=tmp_path,
        checkpoints=tmp_path / "checkpoints",
        logs=tmp_path / "logs",
        weights=tmp_path / "m.safetensors",
        identity="one",
    )
    train(run)
    loss = pd.read_csv(run.logs / "plots/metrics/valid/loss.tsv", sep="\t")["loss"]
    assert loss.iloc[-1] < loss.iloc[0]
    codec = EccCodec(run.weights)
    assert codec.decode(codec.encode(clips[3])).shape == clips[3].shape


@pytest.mark.parametrize("samples", [0, 1, 9999])
def test_files_decode_to_the_length_that_was_encoded(saved, voice, samples):
    for level in range(len(LMBDA)):
        codec = EccCodec(saved, level)
        x = voice(1)[:samples]
        decoded = codec.decode(codec.encode(x))
        assert decoded.shape == x.shape
        assert decoded.dtype == np.float32
        assert np.abs(decoded).max(initial=0) <= 1


def test_extreme_signals_stay_finite(saved):
    codec = EccCodec(saved, 0)
    noise = np.random.default_rng(0).uniform(-1, 1, 3000).astype(np.float32)
    for x in (np.zeros(3000, np.float32), np.ones(3000, np.float32), noise):
        assert np.isfinite(codec.decode(codec.encode(x))).all()


def test_chunks_join_as_if_coded_at_once(saved, voice, monkeypatch):
    codec = load_coder(read_model(saved))
    x = voice(2.56)
    (whole,) = codec.analyse_chunks(x, 2)
    at_once = np.concatenate(list(codec.synthesise_chunks([whole], len(x), 2)))
    monkeypatch.setattr("ecc.runtime.codec.CHUNK_FRAMES", 64)
    parts = list(codec.analyse_chunks(x, 2))
    assert [len(part) for part in parts] == [64, 64]
    # The memory of Lyra's models is longer than the context, by what fades: below their own noise.
    error = np.sqrt(np.square(np.concatenate(parts) - whole).mean())
    assert error < 0.05 * whole.std()
    joined = np.concatenate(list(codec.synthesise_chunks(np.split(whole, 2), len(x), 2)))
    difference = (joined - at_once)[64 * FRAME :]
    assert np.square(difference).mean() < 0.01 * np.square(at_once).mean()
    seam = difference[:FRAME]
    assert np.abs(seam).max() < 0.05
    assert CONTEXT_FRAMES < 64


def test_without_lyras_weights_one_line_says_so(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("ECC_LYRA", str(tmp_path / "nowhere"))
    for error in (ModelError, CodecUnavailable):
        with pytest.raises(error, match=r"m\.safetensors: .*is missing.*fetch_lyra") as raised:
            load_model(saved)
        assert "\n" not in str(raised.value)
    with pytest.raises(CodecUnavailable):
        load_codec(SPEC, {"model": str(saved), "level": 0})
    with pytest.raises(CodecUnavailable):
        make_codec()


def test_the_folder_is_named_or_in_data(monkeypatch, tmp_path):
    monkeypatch.setenv("ECC_LYRA", "elsewhere")
    assert str(lyra_folder()) == "elsewhere"
    monkeypatch.delenv("ECC_LYRA")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/lyra").mkdir(parents=True)
    assert str(lyra_folder()) == "data/lyra"


def test_frames_that_are_not_lyras_are_refused():
    with pytest.raises(ValueError, match="hop \\* stack must be 320"):
        ECC(CodecConfig(transform=TransformConfig(kind="lyra", hop=64)))
