import numpy as np
import pytest

from ecc.codecs.amrwb import FRAME, MODE_BITS, AmrWb
from ecc.evaluate.alignment import estimate_delay, remove_delay


def make_codec():
    return AmrWb(2)


def test_round_trip_keeps_the_waveform(codec, voice):
    samples = voice(3)
    decoded = codec.decode(codec.encode(samples))
    delay = estimate_delay([(samples, decoded)])
    assert 85 < delay < 105  # 5.94 ms
    aligned = remove_delay(decoded, delay, len(samples))
    assert np.corrcoef(samples, aligned)[0, 1] > 0.85


@pytest.mark.parametrize(
    ("mode", "kbps"), list(enumerate([6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85]))
)
def test_bits_of_a_second_are_the_nominal_rate_and_one_frame(codec, voice, mode, kbps):
    codec = AmrWb(mode)
    assert codec.bits(codec.encode(voice(1))) == 1000 * kbps * 51 / 50
    assert MODE_BITS[mode] == kbps * 20


def test_one_sample_is_one_frame(codec):
    stream = codec.encode(np.zeros(1, np.float32))
    assert codec.bits(stream) == 253
    assert len(codec.decode(stream)) == FRAME


def test_a_damaged_stream_is_an_error(codec, voice):
    with pytest.raises(ValueError, match="truncated"):
        codec.decode(codec.encode(voice(1))[:-1])


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="0 to 8"):
        AmrWb(9)
