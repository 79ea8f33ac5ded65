import numpy as np
import pytest

from ecc.codecs import speex
from ecc.codecs.speex import Speex
from ecc.evaluate.alignment import estimate_delay, remove_delay


def make_codec():
    return Speex(4)


@pytest.mark.parametrize("seconds", [2, 7])  # one and two Ogg pages
def test_round_trip_keeps_the_waveform_with_one_delay(codec, voice, seconds):
    samples = voice(seconds)
    decoded = codec.decode(codec.encode(samples))
    delay = estimate_delay([(samples, decoded)])
    assert delay == pytest.approx(222, abs=3)
    aligned = remove_delay(decoded, delay, len(samples))
    assert np.corrcoef(samples, aligned)[0, 1] > 0.8


@pytest.mark.parametrize(("quality", "bytes_per_frame"), [(0, 10), (1, 15), (2, 20), (3, 25)])
def test_bits_are_those_of_the_packets(codec, voice, quality, bytes_per_frame):
    codec = Speex(quality)
    stream = codec.encode(voice(1))
    assert codec.bits(stream) == 8 * bytes_per_frame * 51
    assert len(stream) > codec.bits(stream) / 8 + 150  # the Ogg file around them
    assert len(codec.decode(stream)) == 51 * 320


def test_one_sample(codec):
    assert len(codec.decode(codec.encode(np.zeros(1, np.float32)))) == 2 * 320


def test_same_speech_same_stream_at_any_time(codec, voice, monkeypatch):
    streams = []

    def other_clock(command, data):
        stream = bytearray(pipe(command, data))
        stream[14:18] = len(streams).to_bytes(4, "little")
        return bytes(stream)

    pipe = speex.pipe
    monkeypatch.setattr(speex, "pipe", other_clock)
    for _ in range(2):
        streams.append(codec.encode(voice(1)))
    assert streams[0] == streams[1]


def test_page_checksum_is_that_of_libogg(codec, voice):
    # speexenc writes its pages by libogg: the same sum must come out over its own fields.
    command = [codec._encoder, "--wideband", "--rate", "16000", "--le", "-", "-"]
    stream = speex.pipe(command, voice(1).tobytes())
    for page in speex._pages(stream):
        content = bytearray(stream[page.start : page.end])
        stored = int.from_bytes(content[22:26], "little")
        content[22:26] = bytes(4)
        assert speex._checksum(content) == stored


@pytest.mark.parametrize("damage", [lambda s: s[:-1], lambda s: s[:70], lambda s: b"x" + s])
def test_a_damaged_stream_is_an_error(codec, voice, damage):
    with pytest.raises(ValueError, match="Ogg"):
        codec.decode(damage(codec.encode(voice(1))))


def test_an_unknown_quality_is_refused():
    with pytest.raises(ValueError, match="0 to 10"):
        Speex(11)


@pytest.mark.parametrize(("quality", "bytes_per_frame"), [(0, 6), (1, 10), (2, 15), (3, 20)])
def test_narrowband_is_resampled_and_has_a_delay_of_its_own(codec, voice, quality, bytes_per_frame):
    codec = Speex(quality, narrowband=True)
    samples = voice(7)
    stream = codec.encode(samples)
    assert codec.bits(stream) == 8 * bytes_per_frame * 351
    decoded = codec.decode(stream)
    assert len(decoded) == 351 * 320
    if quality:  # quality 0 is a vocoder
        assert estimate_delay([(samples, decoded)]) == pytest.approx(158, abs=3)
