import numpy as np
import pytest

from ecc.codecs import lc3
from ecc.codecs.lc3 import Lc3
from ecc.errors import CodecUnavailable
from ecc.evaluate.alignment import estimate_delay, remove_delay


def make_codec():
    return Lc3(24000)


def test_round_trip_keeps_the_waveform(codec, voice):
    samples = voice(3)
    decoded = codec.decode(codec.encode(samples))
    delay = estimate_delay([(samples, decoded)])
    assert delay == 40  # 2.5 ms
    aligned = remove_delay(decoded, delay, len(samples))
    assert np.corrcoef(samples, aligned)[0, 1] > 0.95


def test_bits_of_a_second_are_the_rate_and_one_frame(codec, voice):
    assert codec.bits(codec.encode(voice(1))) == 24000 * 101 / 100


@pytest.mark.parametrize("bitrate", [12000, 16001, 400000])
def test_a_rate_that_it_does_not_have_is_refused(bitrate):
    with pytest.raises(ValueError, match="16000 to 320000"):
        Lc3(bitrate)


def test_a_missing_library_makes_it_unavailable(monkeypatch):
    monkeypatch.setattr(lc3.ctypes, "CDLL", lambda path: (_ for _ in ()).throw(OSError(path)))
    with pytest.raises(CodecUnavailable, match="install liblc3"):
        Lc3(16000)
