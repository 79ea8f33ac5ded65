"""docs/format.md is true: its example says what the page says, to both decoders."""

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_decoder as reference
from golden.conftest import CASES, FOLDER, golden_model
from model.test_rvq import TOKENS, raw_codec

from ecc.codecs.ecc import EccCodec
from ecc.model.weights import save_model
from ecc.stream import Header

PAGE = (Path(__file__).parents[1] / "docs" / "format.md").read_text()
EXAMPLE = bytes.fromhex(re.search(r"```hex\n(.*?)```", PAGE, re.DOTALL)[1])
PROGRAM = Path(reference.__file__).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> EccCodec:
    return EccCodec(golden_model(tmp_path_factory.mktemp("model")))


def test_the_example_says_what_the_page_says(codec):
    assert (FOLDER / "one.ecc").read_bytes() == EXAMPLE
    assert "one" in CASES
    header, at = Header.unpack(EXAMPLE)
    assert (header.level, header.skip, header.samples) == (1, 5, 1)
    assert header.model_id.hex() == "9a201b"
    said = {
        name: values.split() for name, values in re.findall(r"^(z|y_\d|check) +(.+)$", PAGE, re.M)
    }
    z = [int(value) for value in said["z"]]
    y = np.array([[int(value) for value in said[f"y_{i}"]] for i in range(4)])
    frames = y.reshape(4, 4, 2).swapaxes(0, 1).reshape(4, 8)  # slices of two channels
    model = reference.read_model(codec.trained.path.read_bytes())
    for (latent,) in (codec.latents(EXAMPLE), reference.decode_latents(EXAMPLE, model)):
        assert latent.z.ravel().tolist() == z
        assert latent.symbols.tolist() == frames.tolist()
        assert latent.indexes[::2, :2].tolist() == [[28, 33], [19, 47]]
        steps = (latent.y_hat * 1024).astype("<i4").tobytes()
        check = zlib.crc32(EXAMPLE[:at] + bytes(4) + steps) % 2**23
        assert check == int(said["check"][0], 16)


def test_the_reference_decoder_has_the_headings_of_the_page():
    headings = re.findall(r"^#{2,3} (.+)$", PAGE, re.MULTILINE)
    of_program = re.findall(r"^# --- (.+)$", PROGRAM, re.MULTILINE)
    assert of_program == [heading for heading in headings if heading in of_program]
    assert len(of_program) > 5


def test_what_the_reference_decoder_takes_of_a_model_is_on_the_page(codec, tmp_path, voice):
    path = tmp_path / "tokens.safetensors"
    save_model(raw_codec(TOKENS), path, "tokens", [], {})
    for own in (codec, EccCodec(path)):
        taken: set[str] = set()
        model = reference.read_model(own.trained.path.read_bytes())
        model = reference.Model(noted(model.config, taken), "", noted(model.arrays, taken))
        reference.decode(own.encode(voice(0.1)), model)
        words = {word for name in taken for word in name.split(".") if not word.isdigit()}
        assert {"hop", "head", "weight"} < words
        assert not {word for word in words if not re.search(rf"\b{word}\b", PAGE)}


def noted(values: dict[str, Any], taken: set[str]) -> dict[str, Any]:
    """The same values, where each name that is asked for is added to `taken`."""

    class Noted(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            taken.add(name)
            return super().__getitem__(name)

    return Noted(
        {
            name: noted(value, taken) if isinstance(value, dict) else value
            for name, value in values.items()
        }
    )
