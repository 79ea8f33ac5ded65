import av
import numpy as np
import pytest

from ecc.codecs.ffmpeg import AMR_NB_BITS, G7231, AmrNb
from ecc.errors import CodecUnavailable
from ecc.evaluate.alignment import estimate_delay, remove_delay


def make_codec():
    return AmrNb(7)


def test_round_trip_keeps_the_waveform(codec, voice):
    samples = voice(3)
    decoded = codec.decode(codec.encode(samples))
    delay = estimate_delay([(samples, decoded)])
    assert delay == pytest.approx(80, abs=3)  # 5 ms of look-ahead
    aligned = remove_delay(decoded, delay, len(samples))
    assert np.corrcoef(samples, aligned)[0, 1] > 0.8


@pytest.mark.parametrize(
    ("mode", "kbps"), list(enumerate([4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2]))
)
def test_bits_of_a_second_are_the_nominal_rate_and_one_frame(codec, voice, mode, kbps):
    codec = AmrNb(mode)
    stream = codec.encode(voice(1))
    assert codec.bits(stream) == round(1000 * kbps * 51 / 50)
    assert AMR_NB_BITS[mode] == kbps * 20
    # RFC 4867, section 5.3: frame type in bits 3 to 6 of the header, and a good frame.
    assert stream[0] == mode << 3 | 1 << 2


def test_g7231_is_189_bits_every_30_ms(voice):
    codec = G7231()
    samples = voice(3)
    stream = codec.encode(samples)
    assert codec.bits(stream) == 101 * 189
    decoded = codec.decode(stream)
    delay = estimate_delay([(samples, decoded)])
    assert delay == pytest.approx(120, abs=3)  # 7.5 ms of look-ahead
    assert np.corrcoef(samples, remove_delay(decoded, delay, len(samples)))[0, 1] > 0.9


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="0 to 7"):
        AmrNb(8)


def test_a_build_without_the_codec_makes_it_unavailable(monkeypatch):
    def without(name, mode):
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(av, "Codec", without)
    with pytest.raises(CodecUnavailable, match="without g723_1; install"):
        G7231()
