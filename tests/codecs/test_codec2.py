import numpy as np
import pytest

from ecc.codecs.codec2 import MODES, Codec2
from ecc.errors import CodecUnavailable
from ecc.evaluate.alignment import estimate_delay


def make_codec():
    return Codec2("3200")


def test_round_trip_keeps_the_level_over_time(codec, voice):
    samples = voice(3)
    decoded = codec.decode(codec.encode(samples))
    assert 160 < estimate_delay([(samples, decoded)]) < 400  # 10 to 25 ms
    assert 0.5 < np.std(decoded) / np.std(samples) < 2


@pytest.mark.parametrize("mode", MODES)
def test_bits_of_a_second_are_the_nominal_rate_and_one_frame(codec, voice, mode):
    codec = Codec2(mode)
    rate = int(mode.removesuffix("C"))
    frame = MODES[mode]
    stream = codec.encode(voice(1))
    assert codec.bits(stream) == rate + frame.bits
    assert len(codec.decode(stream)) == 16000 + 2 * frame.samples


def test_one_sample_is_two_frames(codec):
    stream = codec.encode(np.zeros(1, np.float32))
    assert codec.bits(stream) == 2 * 64
    assert len(codec.decode(stream)) == 2 * 320


def test_a_damaged_stream_is_an_error(codec, voice):
    with pytest.raises(ValueError, match="truncated"):
        codec.decode(codec.encode(voice(1))[:-1])


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="450, 700C"):
        Codec2("500")


def test_missing_programs_make_it_unavailable(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CodecUnavailable, match=r"c2enc not found; install Codec2"):
        Codec2("1200")
