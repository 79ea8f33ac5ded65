"""Any bytes decode to what was encoded, or to a `StreamError` of one line: nothing else.

`ECC_FUZZ=1000000 pytest tests/test_fuzz.py` tries as many mutations in place of 10,000.
"""

import os
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from golden.conftest import CASES, FOLDER, golden_model
from hypothesis import given, settings
from hypothesis import strategies as st

from ecc.codecs.ecc import EccCodec
from ecc.stream import Header, StreamError, pack_chunk, unpack_chunks

MUTATIONS = int(os.environ.get("ECC_FUZZ", "10000"))
STREAMS = {name: (FOLDER / f"{name}.ecc").read_bytes() for name in CASES}
NAMES = list(STREAMS)
LIMIT = 256 * 2**20  # bytes more than the test has at its start


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> EccCodec:
    return EccCodec(golden_model(tmp_path_factory.mktemp("model")))


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Whoever asks for `LIMIT` more than there is now gets a MemoryError."""
    if sys.platform != "linux":
        yield
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + LIMIT, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


def outcome(codec: EccCodec, stream: bytes) -> str:
    """What comes of a stream: "decoded", or the words of the message that refuses it."""
    try:
        for latent in codec.latents(stream):
            assert latent is not None
    except StreamError as error:
        message = str(error)
        assert message
        assert "\n" not in message
        return " ".join(word for word in message.split() if word.isalpha())
    return "decoded"


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """`data` with one to three things wrong."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        at, to = sorted(int(i) for i in rng.integers(0, len(data) + 1, 2))
        spot = int(rng.integers(0, min(12, len(data)) + 1))  # in the header, or near it
        junk = rng.bytes(int(rng.integers(1, 9)))
        ways = (
            bent(data, at, 1 << int(rng.integers(8))),
            bent(data, spot, 1 << int(rng.integers(8))),
            bent(data, at, int(rng.integers(1, 256))),
            data[:at],
            data[at:],
            data[:at] + data[to:],
            data[:at] + junk + data[at:],
            data + junk,
            data[:at] + data[at:to] + data[at:],
            data[:at] + data[at:to][::-1] + data[to:],
            data[:at] + bytes(to - at) + data[to:],
            data[:spot] + b"\xff" * int(rng.integers(1, 12)) + data[spot + 1 :],
            data[:spot] + b"\x80" + data[spot:],
            data[:7] + rng.bytes(3) + data[8:],  # another length
        )
        data = ways[rng.integers(len(ways))]
    return data


def bent(data: bytes, at: int, bits: int) -> bytes:
    if at >= len(data):
        return data
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def test_mutations_of_streams_are_refused(codec):
    rng, outcomes, unchanged = np.random.default_rng(0), Counter[str](), 0
    for _ in range(MUTATIONS):
        name = NAMES[rng.integers(len(NAMES))]
        stream = mutate(rng, STREAMS[name])
        result = outcome(codec, stream)
        outcomes[result] += 1
        if result != "decoded":
            continue
        unchanged += stream == STREAMS[name]
        if stream != STREAMS[name]:
            # Only what says nothing at all can be said in other bytes: see docs/format.md.
            assert Header.unpack(stream)[0].samples == 0, stream.hex()
    print(
        f"\n{unchanged} of {MUTATIONS} mutations changed nothing;",
        *outcomes.most_common(),
        sep="\n  ",
    )
    assert outcomes["decoded"] < MUTATIONS / 5
    assert len(outcomes) > 8


def test_mutations_do_not_stop_a_decoder_that_goes_on(codec):
    # Whatever is decoded behind damage is what was encoded.
    rng, went_on = np.random.default_rng(1), 0
    stream = STREAMS["two-chunks"]
    said = [latent.symbols for latent in codec.latents(stream)]
    for _ in range(MUTATIONS // 20):
        problems: list[str] = []
        mutated = mutate(rng, stream)
        try:
            latents = list(codec.latents(mutated, problems))
        except StreamError as error:
            assert "\n" not in str(error)
            continue
        assert problems or mutated == stream or not latents
        assert len(latents) <= 2
        for latent, symbols in zip(latents, said, strict=False):
            assert latent is None or np.array_equal(latent.symbols, symbols)
        went_on += bool(problems)
    assert went_on


def test_payloads_that_lie_with_a_right_checksum_are_refused(codec):
    rng = np.random.default_rng(2)
    outcomes = Counter[str]()
    for _ in range(MUTATIONS // 20):
        name = NAMES[rng.integers(len(NAMES))]
        header, at = Header.unpack(STREAMS[name])
        if header.samples == 0:
            continue
        count = codec.codec.count_chunks(header.samples)
        payloads = unpack_chunks(STREAMS[name], at, count)
        number = int(rng.integers(count))
        if rng.random() < 0.5:
            payloads[number] = mutate(rng, payloads[number])
        else:
            payloads[number] = rng.bytes(int(rng.integers(0, 2 * len(payloads[number]))))
        chunks = [pack_chunk(STREAMS[name][:at], n, part) for n, part in enumerate(payloads)]
        stream = STREAMS[name][:at] + b"".join(chunks)
        result = outcome(codec, stream)
        outcomes[result] += 1
        assert result != "decoded" or stream == STREAMS[name]
    assert len(outcomes) > 2


@settings(max_examples=100)
@given(
    header=st.builds(
        Header,
        model_id=st.just(bytes.fromhex("9a201b")),
        samples=st.integers(0, 2**40),
        level=st.integers(0, 1),
        skip=st.integers(0, 15),
    ),
    payload=st.binary(max_size=40),
    rest=st.binary(max_size=20),
)
def test_crafted_streams_are_refused(codec, header, payload, rest):
    start = header.pack()
    stream = start + pack_chunk(start, 0, payload) + rest
    assert outcome(codec, stream) != "decoded" or header.samples == 0


def long_header(samples: int) -> bytes:
    return Header(bytes.fromhex("9a201b"), samples, 1, 5).pack()


@pytest.mark.parametrize("damaged", [None, []], ids=["strict", "going on"])
@pytest.mark.parametrize(
    "stream",
    [
        long_header(2**40),
        long_header(2**40) + pack_chunk(long_header(2**40), 0, b"\1" * 100),
        long_header(2**40) + bytes(10**5),
        long_header(2**40) + b"\x80\x80\x80\x08",
        long_header(2**40) + b"\xff" * 1000,
        long_header(1) + pack_chunk(long_header(1), 0, b"\1" * 2**24),
        long_header(1) + pack_chunk(long_header(1), 0, b"\1" * (2**24 + 1)),
        long_header(2**16) + pack_chunk(long_header(2**16), 0, b"\xff" * 2**24),
    ],
    ids=["length", "a chunk", "zeros", "huge chunk", "ones", "16 MB", "more", "16 MB of escapes"],
)
def test_bombs_take_no_memory(codec, stream, damaged):
    codec.decode(STREAMS["one"])  # what is built once
    with bounded_memory(), pytest.raises(StreamError) as error:
        for _ in codec.decode_chunks(stream, damaged):
            pass
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200
