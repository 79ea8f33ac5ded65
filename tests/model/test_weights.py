import pytest
import torch
from model.conftest import tiny_codec

from ecc.model.weights import (
    ModelError,
    find_model,
    find_model_by_id,
    list_models,
    load_model,
    save_model,
)


def test_a_loaded_model_codes_as_the_saved_one(tmp_path):
    codec = tiny_codec()
    save_model(codec, tmp_path / "m.safetensors", "m", 2.5, {"steps": 3})
    trained = load_model(tmp_path / "m.safetensors")
    assert (trained.name, trained.lmbda, trained.info) == ("m", 2.5, {"steps": 3})
    x = torch.sin(torch.arange(5000) / 7)
    streams = list(codec.compress_chunks(x, 5))
    assert list(trained.codec.compress_chunks(x, 5)) == streams


def test_equal_models_make_equal_files(tmp_path):
    for name in ("a", "b"):
        save_model(tiny_codec(), tmp_path / name, "m", 1.0, {"steps": 1, "processes": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_weights_take_two_bytes_each(tmp_path):
    codec = tiny_codec()
    save_model(codec, tmp_path / "m.safetensors", "m", 1.0, {})
    tables = sum(4 * b.numel() for b in codec.buffers())
    weights = sum(2 * p.numel() for p in codec.parameters())
    assert (tmp_path / "m.safetensors").stat().st_size < weights + tables + 20_000


@pytest.mark.parametrize("content", [None, b"", b"not a model at all", b"\x08" + b"\0" * 40])
def test_bad_files_are_named(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.safetensors"):
        load_model(path)


def test_models_are_found_by_name_and_by_id(tmp_path):
    for name in ("one", "two"):
        save_model(tiny_codec(), tmp_path / "ecc" / f"{name}.safetensors", name, 1.0, {})
    assert [path.stem for path in list_models(tmp_path)] == ["one", "two"]
    two = find_model("two", tmp_path)
    assert find_model_by_id(load_model(two).digest[:4], tmp_path) == two
    with pytest.raises(ModelError, match="there are: one, two"):
        find_model("three", tmp_path)
    with pytest.raises(ModelError, match="00000000"):
        find_model_by_id(b"\0\0\0\0", tmp_path)
