import numpy as np
import pytest

from ecc.codecs import g729
from ecc.codecs.g729 import G729A
from ecc.errors import CodecUnavailable
from ecc.evaluate.alignment import estimate_delay, remove_delay


def make_codec():
    return G729A()


def test_round_trip_keeps_the_waveform(codec, voice):
    samples = voice(3)
    decoded = codec.decode(codec.encode(samples))
    delay = estimate_delay([(samples, decoded)])
    assert delay == pytest.approx(80, abs=3)  # 5 ms of look-ahead
    aligned = remove_delay(decoded, delay, len(samples))
    assert np.corrcoef(samples, aligned)[0, 1] > 0.8


def test_bits_of_a_second_are_the_nominal_rate_and_one_frame(codec, voice):
    assert codec.bits(codec.encode(voice(1))) == 8000 * 101 / 100


def test_a_missing_library_makes_it_unavailable(monkeypatch):
    monkeypatch.setattr(g729.ctypes, "CDLL", lambda path: (_ for _ in ()).throw(OSError(path)))
    with pytest.raises(CodecUnavailable, match="install libbcg729"):
        G729A()
