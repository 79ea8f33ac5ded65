import sys

import numpy as np
import pytest

from ecc.codecs.base import split_packets
from ecc.codecs.silk import Silk
from ecc.errors import CodecUnavailable
from ecc.evaluate.alignment import estimate_delay, remove_delay


def make_codec():
    return Silk(12000)


def test_round_trip_keeps_the_waveform(codec, voice):
    samples = voice(3)
    decoded = codec.decode(codec.encode(samples))
    delay = estimate_delay([(samples, decoded)])
    assert delay == pytest.approx(90, abs=5)
    aligned = remove_delay(decoded, delay, len(samples))
    assert np.corrcoef(samples, aligned)[0, 1] > 0.85


def test_every_packet_counts_but_not_its_framing(codec, voice):
    stream = codec.encode(voice(1))
    packets = split_packets(stream)
    assert len(packets) == 51  # 50 frames, and one that flushes the delay
    assert codec.bits(stream) == 8 * (len(stream) - 2 * len(packets))


def test_a_missing_package_makes_it_unavailable(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysilk", None)
    with pytest.raises(CodecUnavailable, match="install the PyPI package silk-python"):
        Silk(6000)
