import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecc.stream import Stream, StreamError

streams = st.builds(
    Stream,
    model_id=st.binary(min_size=4, max_size=4),
    samples=st.integers(0, 2**40),
    skip=st.integers(0, 255),
    chunks=st.lists(st.binary(max_size=300), max_size=4),
)
EXAMPLE = Stream(b"\1\2\3\4", 160000, 5, [b"speech" * 50])


@given(streams)
def test_round_trip(stream):
    assert Stream.unpack(stream.pack()) == stream


@given(st.binary(max_size=100))
def test_junk_is_refused(data):
    with pytest.raises(StreamError):
        Stream.unpack(data)


@pytest.mark.parametrize("at", range(len(EXAMPLE.pack())))
def test_every_cut_and_every_flipped_byte_is_noticed(at):
    data = EXAMPLE.pack()
    try:
        cut = Stream.unpack(data[:at])
    except StreamError:
        pass
    else:  # A cut between chunks parses; the decoder counts the chunks.
        assert len(cut.chunks) < len(EXAMPLE.chunks)
    flipped = bytearray(data)
    flipped[at] ^= 0x10
    with pytest.raises(StreamError):
        Stream.unpack(bytes(flipped))


def test_overhead_of_ten_seconds_is_at_most_16_bytes():
    assert len(EXAMPLE.pack()) - 300 <= 16
