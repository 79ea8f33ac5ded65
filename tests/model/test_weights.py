import json
from pathlib import Path

import numpy as np
import pytest
import torch
from model.conftest import LEVELS, coder, raw_codec
from safetensors import safe_open
from safetensors.torch import save_file

from ecc.model import exact
from ecc.model.files import (
    FORMAT,
    ModelError,
    find_model,
    find_model_by_id,
    list_models,
    read_model,
)
from ecc.model.weights import load_model, save_model
from ecc.runtime.codec import Coder

LMBDA = [1.0, 2.5, 8.0]


def save_tiny(path, name="m", **entropy):
    codec = raw_codec(**entropy)
    save_model(codec, path, name, LMBDA, {"steps": 3})
    return codec


def rewrite(path, change):
    """Apply `change` to the header and the tensors of a model file."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["ecc"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    change(header, tensors)
    save_file(tensors, path, metadata={"ecc": json.dumps(header)})


@pytest.mark.parametrize("entropy", [{}, {"hyperprior": False}, {"lrp": False, "attention": 0}])
def test_a_loaded_model_codes_as_the_saved_one(tmp_path, entropy):
    codec = save_tiny(tmp_path / "m.safetensors", **entropy)
    trained = load_model(tmp_path / "m.safetensors")
    assert (trained.name, trained.lmbda, trained.info) == ("m", LMBDA, {"steps": 3})
    assert trained.codec.config == codec.config
    loaded, saved = Coder(read_model(tmp_path / "m.safetensors")), coder(codec)
    x = np.sin(np.arange(5000) / 7).astype(np.float32)
    for level in range(LEVELS):
        ((stream, encoded),) = saved.compress_chunks(x, level, 5)
        ((again, _),) = loaded.compress_chunks(x, level, 5)
        assert again == stream
        (frames,) = loaded.chunks(5000)
        decoded = loaded.decompress(stream, frames, level, 5)
        np.testing.assert_array_equal(decoded.y_hat, encoded.y_hat)


def test_a_loaded_model_is_exact(tmp_path):
    save_tiny(tmp_path / "m.safetensors")
    codec = load_model(tmp_path / "m.safetensors").codec
    exact.check(codec)
    assert all(p.dtype == torch.float64 for p in codec.parameters())


def test_half_precision_keeps_the_grid():
    # Every multiple of the step that rounding to half precision could meet.
    steps = torch.from_numpy(np.unique(np.geomspace(1, 2**29, 100_000).round()))
    weights = steps * exact.WEIGHT_STEP
    halves = weights.half().double()
    assert torch.equal(halves, torch.round(halves / exact.WEIGHT_STEP) * exact.WEIGHT_STEP)
    assert torch.equal(halves[steps < 2**11], weights[steps < 2**11])


def test_saving_again_changes_nothing(tmp_path):
    save_tiny(tmp_path / "a.safetensors")
    trained = load_model(tmp_path / "a.safetensors")
    trained.codec.entropy.float()
    weights = {key: p.clone() for key, p in trained.codec.named_parameters()}
    save_model(trained.codec, tmp_path / "b.safetensors", "m", LMBDA, {"steps": 3})
    for key, parameter in trained.codec.named_parameters():
        if not key.endswith("quantiles"):  # which `update` searches for anew
            assert torch.equal(parameter, weights[key]), key


def test_equal_models_make_equal_files(tmp_path):
    for name in ("a", "b"):
        save_tiny(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_weights_take_two_bytes_each(tmp_path):
    codec = save_tiny(tmp_path / "m.safetensors")
    tables = sum(b.element_size() * b.numel() for b in codec.buffers())
    weights = sum(2 * p.numel() for p in codec.parameters())
    names = 150 * len(codec.state_dict())
    assert (tmp_path / "m.safetensors").stat().st_size < weights + tables + names


@pytest.mark.parametrize("content", [None, b"", b"not a model at all", b"\x08" + b"\0" * 40])
def test_bad_files_are_named(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.safetensors") as error:
        load_model(path)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("version", [FORMAT - 2, FORMAT + 1, None])
def test_another_format_is_refused(tmp_path, version):
    path = tmp_path / "m.safetensors"
    save_tiny(path)
    rewrite(path, lambda header, _: header.update(format=version))
    with pytest.raises(ModelError, match=rf"m\.safetensors: not a model of format {FORMAT}"):
        load_model(path)


@pytest.mark.parametrize("checkerboard", [True, False])
def test_a_model_of_the_format_before_loads(tmp_path, checkerboard):
    path = tmp_path / "m.safetensors"
    taps = [3, 3] if checkerboard else [3]
    save_model(raw_codec(taps=taps), path, "m", [1.0, 2.0, 3.0], {})

    def age(header, _):
        header["format"] = 2
        del header["config"]["entropy"]["taps"]
        header["config"]["entropy"]["checkerboard"] = checkerboard

    rewrite(path, age)
    assert load_model(path).codec.config.entropy.taps == taps


@pytest.mark.parametrize(
    ("value", "message"), [(1e-5, "not fixed-point"), (float("nan"), "not fixed"), (6e4, "large")]
)
def test_weights_that_are_not_exact_are_refused(tmp_path, value, message):
    path = tmp_path / "m.safetensors"
    save_tiny(path)

    def spoil(_, tensors):
        tensors["entropy.h_s_in.weight"][0, 0] = value

    rewrite(path, spoil)
    for load in (load_model, lambda path: Coder(read_model(path))):
        with pytest.raises(ModelError, match=rf"m\.safetensors: weights.*{message}"):
            load(path)


def test_an_array_that_is_missing_is_named(tmp_path):
    path = tmp_path / "m.safetensors"
    save_tiny(path)
    rewrite(path, lambda _, tensors: tensors.pop("entropy.h_s_in.bias"))
    with pytest.raises(ModelError, match=r"m\.safetensors: holds no .*entropy\.h_s_in\.bias"):
        Coder(read_model(path))


def test_models_are_found_by_name_and_by_id(tmp_path):
    for name in ("one", "two"):
        save_tiny(tmp_path / "ecc" / f"{name}.safetensors", name)
    assert [path.stem for path in list_models(tmp_path)] == ["one", "two"]
    two = find_model("two", tmp_path)
    assert find_model_by_id(load_model(two).digest[:3], tmp_path) == two
    with pytest.raises(ModelError, match="there are: one, two"):
        find_model("three", tmp_path)
    with pytest.raises(ModelError, match="000000"):
        find_model_by_id(b"\0\0\0", tmp_path)


def test_without_a_name_the_default_or_the_only_model_is_meant(tmp_path, monkeypatch):
    only = tmp_path / "one.safetensors"
    save_tiny(only, "one")
    assert find_model(None, tmp_path) == only
    save_tiny(tmp_path / "two.safetensors", "two")
    with pytest.raises(ModelError, match=r"no model 'ecc' in .*; there are: one, two"):
        find_model(None, tmp_path)
    save_tiny(tmp_path / "ecc.safetensors", "ecc")
    assert find_model(None, tmp_path).stem == "ecc"
    monkeypatch.setenv("ECC_MODELS", str(tmp_path))
    assert find_model("two") == tmp_path / "two.safetensors"
    assert len(list_models()) == 3
    assert find_model_by_id(load_model(only).digest[:3]) == only
    with pytest.raises(ModelError, match="dvc pull"):
        find_model(None, tmp_path / "nowhere")
    assert find_model("some/where.safetensors") == Path("some/where.safetensors")
