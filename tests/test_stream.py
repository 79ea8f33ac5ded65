import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ecc.stream import (
    MAX_CHUNK_BYTES,
    MAX_SAMPLES,
    SAMPLE_RATES,
    Header,
    StreamError,
    pack_chunk,
    unpack_chunks,
)

headers = st.builds(
    Header,
    model_id=st.binary(min_size=3, max_size=3),
    samples=st.integers(0, MAX_SAMPLES),
    level=st.integers(0, 255),
    skip=st.integers(0, 15),
    sample_rate=st.sampled_from(SAMPLE_RATES),
)
payloads = st.lists(st.binary(min_size=1, max_size=300), max_size=4)
HEADER = Header(b"\1\2\3", 160000, 2, 5).pack()
CHUNKS = [b"speech" * 50, b"more", b"end"]


def whole(header: bytes, chunks: list[bytes]) -> bytes:
    return header + b"".join(pack_chunk(header, n, chunk) for n, chunk in enumerate(chunks))


@given(headers, payloads)
def test_round_trip(header, chunks):
    data = whole(header.pack(), chunks)
    unpacked, at = Header.unpack(data)
    assert unpacked == header
    assert unpack_chunks(data, at, len(chunks)) == chunks


@given(st.binary(max_size=100))
def test_junk_is_refused(data):
    assume(not data.startswith(b"\xec\xc1"))
    with pytest.raises(StreamError):
        Header.unpack(data)


@given(st.binary(max_size=60), st.integers(0, 5))
def test_junk_behind_the_magic_is_refused_or_one_spelling(data, count):
    data = b"\xec\xc1" + data
    try:
        header, at = Header.unpack(data)
        chunks = unpack_chunks(data, at, count)
    except StreamError as error:
        assert "\n" not in str(error)
    else:
        assert whole(header.pack(), chunks) == data


@pytest.mark.parametrize("at", range(len(HEADER)))
def test_a_header_that_is_cut_is_refused(at):
    with pytest.raises(StreamError, match=r"cut short in the header|not an .ecc stream"):
        Header.unpack(HEADER[:at])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"RIFF", "not an .ecc stream"),
        (b"\xec\xc2" + HEADER[2:], "format version 2; this decoder reads 1"),
        (HEADER[:2] + b"\x45" + HEADER[3:], "unknown sample rate (code 4)"),
        (HEADER[:7] + b"\x81\x80\x80\x80\x80\x20", "impossible length of 1099511627777 samples"),
        (HEADER[:7] + b"\xff" * 9, "impossible length in the header"),
        (HEADER[:7] + b"\x81\x00", "impossible length in the header"),
    ],
)
def test_impossible_headers_are_refused(data, message):
    with pytest.raises(StreamError) as error:
        Header.unpack(data)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (HEADER, "cut short in chunk 1 of 3"),
        (whole(HEADER, CHUNKS)[:-1], "cut short in chunk 3 of 3"),
        (whole(HEADER, CHUNKS)[:-5], "cut short in chunk 3 of 3"),
        (whole(HEADER, CHUNKS) + b"x", "1 bytes too many behind the last chunk"),
        (HEADER + b"\x81\x80\x80\x08", f"impossible length of {MAX_CHUNK_BYTES + 1} bytes in "),
        (whole(HEADER, CHUNKS[::-1])[:-1] + b"?", "chunk 3 of 3 is damaged"),
    ],
)
def test_damaged_chunks_are_refused(data, message):
    with pytest.raises(StreamError) as error:
        unpack_chunks(data, len(HEADER), 3)
    assert str(error.value).startswith(message)


def test_a_length_spelt_at_length_is_refused():
    data = whole(HEADER, CHUNKS)
    last = len(whole(HEADER, CHUNKS[:2]))
    assert data[last] == len(CHUNKS[2])
    spelt = data[:last] + bytes([data[last] | 0x80, 0]) + data[last + 1 :]
    with pytest.raises(StreamError, match="impossible length in chunk 3 of 3"):
        unpack_chunks(spelt, len(HEADER), 3)


def test_problems_are_listed_where_they_may_be():
    data = bytearray(whole(HEADER, CHUNKS))
    data[len(HEADER) + 10] ^= 1
    damaged: list[str] = []
    assert unpack_chunks(bytes(data), len(HEADER), 3, damaged) == [None, *CHUNKS[1:]]
    assert damaged == ["chunk 1 of 3 is damaged"]
    damaged = []
    assert unpack_chunks(bytes(data[:-1]), len(HEADER), 3, damaged) == [None, CHUNKS[1]]
    assert damaged == ["chunk 1 of 3 is damaged", "cut short in chunk 3 of 3"]


def test_the_checksum_lets_one_in_256_pass():
    # The check in the payload, of 23 bits, is for those: see tests/codecs/test_ecc.py.
    rng, data = np.random.default_rng(0), whole(HEADER, CHUNKS[:1])
    passed = 0
    for _ in range(20000):
        bent = bytearray(data)
        bent[rng.integers(len(HEADER) + 3, len(data))] ^= rng.integers(1, 256)
        passed += unpack_chunks(bytes(bent), len(HEADER), 1, []) != [None]
    assert 20 < passed < 160
