import numpy as np
import pytest

from ecc.codecs.base import split_packets
from ecc.codecs.opus import Opus
from ecc.evaluate.alignment import estimate_delay, remove_delay


def make_codec():
    return Opus(12000)


def test_round_trip_keeps_the_waveform(codec, voice):
    samples = voice(3)
    decoded = codec.decode(codec.encode(samples))
    delay = estimate_delay([(samples, decoded)])
    assert 90 < delay < 120  # 6.5 ms at 16 kHz
    aligned = remove_delay(decoded, delay, len(samples))
    assert np.corrcoef(samples, aligned)[0, 1] > 0.9


def test_every_packet_counts_with_its_toc_byte_but_not_its_framing(codec, voice):
    stream = codec.encode(voice(1))
    packets = split_packets(stream)
    assert len(packets) == 51  # 50 frames, and one that flushes the look-ahead
    assert codec.bits(stream) == 8 * (len(stream) - 2 * len(packets))
    assert all(packet[0] & 0b111 == 0 for packet in packets)  # TOC: mono, one frame a packet


def test_more_bits_for_a_higher_target(codec, voice):
    samples = voice(3)
    rates = [Opus(rate).bits(Opus(rate).encode(samples)) / 3 for rate in (6000, 9000, 12000)]
    assert rates == sorted(rates)
    assert rates[2] > 1.4 * rates[0]


def test_one_sample(codec):
    assert len(codec.decode(codec.encode(np.zeros(1, np.float32)))) == 320


def test_same_speech_same_stream(codec, voice):
    assert codec.encode(voice(1)) == codec.encode(voice(1))


def test_a_damaged_stream_is_an_error(codec, voice):
    stream = codec.encode(voice(1))
    with pytest.raises(ValueError, match="truncated"):
        codec.decode(stream[:-1])
    with pytest.raises(RuntimeError, match="libopus"):
        codec.decode(b"\x03\x00\xff\xff\xff")


def test_version_is_of_the_library(codec):
    assert codec.version.startswith("libopus ")


def test_60_ms_packets_and_a_forced_bandwidth(voice):
    codec = Opus(6000, frame_ms=60)
    packets = split_packets(codec.encode(voice(1)))
    assert len(packets) == 17
    assert len(codec.decode(codec.encode(voice(1)))) == 17 * 960
    # TOC (RFC 6716, section 3.1): configurations 0 to 3 are SILK narrowband, 8 to 11 wideband.
    assert {packet[0] >> 3 for packet in packets} == {3}
    wide = Opus(6000, wideband=True)
    assert {packet[0] >> 3 for packet in split_packets(wide.encode(voice(1)))} == {9}


def test_an_unknown_frame_is_refused():
    with pytest.raises(ValueError, match="not 30"):
        Opus(6000, frame_ms=30)
