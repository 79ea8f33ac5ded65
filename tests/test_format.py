"""docs/format.md is complete: its example decodes by the library, and by integers alone."""

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from golden.conftest import CASES, FOLDER, golden_model
from numpy.typing import NDArray

from ecc.codecs.ecc import EccCodec
from ecc.model.fixed_point import STEP
from ecc.runtime.entropy import Latent
from ecc.stream import Header

PAGE = (Path(__file__).parents[1] / "docs" / "format.md").read_text()
EXAMPLE = bytes.fromhex(re.search(r"```hex\n(.*?)```", PAGE, re.DOTALL)[1])
UNIFORM = [256 * i for i in range(2**16 + 1)]


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> EccCodec:
    return EccCodec(golden_model(tmp_path_factory.mktemp("model")))


class Reference:
    """The ANS coder of the page."""

    def __init__(self, payload: bytes) -> None:
        padded = payload + bytes(-len(payload) % 4)
        self.words = [int.from_bytes(padded[i : i + 4], "little") for i in range(0, len(padded), 4)]
        self.state = 0
        self.refill()

    def refill(self) -> None:
        while self.words and self.state < 2**32:
            self.state = self.state * 2**32 + self.words.pop()

    def symbol(self, c: list[int]) -> int:
        q = self.state % 2**24
        e = next(i for i in range(len(c)) if c[i + 1] > q)
        self.state = self.state // 2**24 * (c[e + 1] - c[e]) + q - c[e]
        self.refill()
        return e

    def group(self, tables: list[tuple[list[int], int]], indexes: list[int]) -> list[int]:
        symbols, escaped = [0] * len(indexes), []
        for at in sorted(range(len(indexes)), key=lambda at: indexes[at]):
            cdf, offset = tables[indexes[at]]
            n = len(cdf) - 1
            e = self.symbol([f * (2**24 - n) // 2**16 + i for i, f in enumerate(cdf)])
            symbols[at] = e + offset
            if e == n - 1:
                escaped.append(at)
        for at in sorted(escaped):
            symbols[at] = self.symbol(UNIFORM) - 2**15
        return symbols


def tables(codec: EccCodec, kind: str) -> list[tuple[list[int], int]]:
    """Cumulative frequencies and first symbol of each table, as the model file holds them."""
    held = codec.trained.arrays
    cdfs, lengths, offsets = (
        held[f"entropy.{kind}.{name}"].tolist()
        for name in ("_quantized_cdf", "_cdf_length", "_offset")
    )
    if kind == "bottleneck":
        medians = held["entropy.bottleneck.quantiles"][:, 0, 1].astype(int).tolist()
        offsets = [offset + median for offset, median in zip(offsets, medians, strict=True)]
    return [(cdf[:n], o) for cdf, n, o in zip(cdfs, lengths, offsets, strict=True)]


def halves(codec: EccCodec, of_y: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """The slices of values [T, C], of each the even frames and then the odd ones."""
    slices = np.split(of_y, codec.codec.config.entropy.slices, axis=1)
    return [part[phase::2] for part in slices for phase in (0, 1)]


def reference(
    codec: EccCodec, payload: bytes, header: Header, latent: Latent
) -> tuple[list[int], list[list[int]], int]:
    """z, the halves of the slices of y, and the end of the stack; only the scale indexes are the
    library's."""
    ans, channels = Reference(payload), codec.codec.config.entropy.z_channels
    rows = [header.level * channels + c for c in range(channels)] * len(latent.z)
    z = ans.group(tables(codec, "bottleneck"), rows)
    slices = []
    for part in halves(codec, latent.indexes):
        indexes = part.ravel().tolist()
        coded = [at for at, index in enumerate(indexes) if index >= header.skip]
        symbols = [0] * len(indexes)
        decoded = ans.group(tables(codec, "gaussian"), [indexes[at] for at in coded])
        for at, symbol in zip(coded, decoded, strict=True):
            symbols[at] = symbol
        slices.append(symbols)
    assert not ans.words
    return z, slices, ans.state


@pytest.mark.parametrize("name", ["one", "noise", "voice-0", "clipping"])
def test_integers_decode_what_the_library_decodes(codec, name):
    stream = (FOLDER / f"{name}.ecc").read_bytes()
    header, at = Header.unpack(stream)
    (latent,) = codec.latents(stream)
    start = at + (2 if stream[at] >= 0x80 else 1)  # length
    z, slices, state = reference(codec, stream[start + 1 :], header, latent)
    assert z == latent.z.ravel().tolist()
    assert slices == [part.ravel().tolist() for part in halves(codec, latent.symbols)]
    prefix = stream[:at] + bytes(4)
    steps = (latent.y_hat / STEP).astype("<i4").tobytes()
    assert state == 2**23 + zlib.crc32(prefix + steps) % 2**23
    assert stream[start] == zlib.crc32(prefix + stream[at:start] + stream[start + 1 :]) % 256


def test_the_example_says_what_the_page_says(codec):
    assert (FOLDER / "one.ecc").read_bytes() == EXAMPLE
    assert "one" in CASES
    header, at = Header.unpack(EXAMPLE)
    assert (header.level, header.skip, header.samples) == (1, 5, 1)
    assert header.model_id.hex() == "9a201b"
    (latent,) = codec.latents(EXAMPLE)
    z, slices, state = reference(codec, EXAMPLE[at + 2 :], header, latent)
    said = {
        name: values.split() for name, values in re.findall(r"^(z|y_\d|check) +(.+)$", PAGE, re.M)
    }
    assert [int(v) for v in said["z"]] == z
    frames = [[int(v) for v in said[f"y_{i}"]] for i in range(4)]  # two channels each
    steps = [f[at : at + 2] + f[at + 4 : at + 6] for f in frames for at in (0, 2)]
    assert steps == slices
    assert 2**23 + int(said["check"][0], 16) == state
