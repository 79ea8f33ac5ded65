import numpy as np
import pytest

from ecc.codecs.lpc10 import DELAY, FRAME, SILENT_FRAMES, Lpc10
from ecc.errors import CodecUnavailable
from ecc.evaluate.alignment import estimate_delay


def make_codec():
    return Lpc10()


def test_round_trip_keeps_the_level_over_time(codec, voice):
    samples = voice(3)
    decoded = codec.decode(codec.encode(samples))
    remaining = 2 * (DELAY - SILENT_FRAMES * FRAME)
    assert estimate_delay([(samples, decoded)]) == pytest.approx(remaining, abs=80)
    assert 0.5 < np.std(decoded) / np.std(samples) < 2


def test_bits_are_54_for_each_frame_with_those_that_flush(codec, voice):
    frames = -(-(8000 + DELAY) // FRAME)
    assert codec.bits(codec.encode(voice(1))) == 54 * frames


def test_a_missing_program_makes_it_unavailable(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CodecUnavailable, match=r"sox not found; install SoX"):
        Lpc10()
