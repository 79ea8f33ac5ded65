import sys

import numpy as np
import pytest

from ecc.codecs.lyra import Lyra
from ecc.errors import CodecUnavailable
from ecc.evaluate.alignment import estimate_delay, remove_delay
from ecc.lyra.models import FEATURES, FRAME, MAX_STAGES, SHA256, LyraModels


@pytest.fixture
def models(lyra_weights):
    try:
        return LyraModels(lyra_weights["data/lyra"])
    except CodecUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def codec(models, lyra_weights):
    return Lyra(46, lyra_weights["data/lyra"])


def test_round_trip_keeps_the_waveform_without_delay(codec, voice):
    samples = voice(3)
    decoded = codec.decode(codec.encode(samples))
    assert estimate_delay([(samples, decoded)]) == pytest.approx(0, abs=2)
    assert np.corrcoef(samples, remove_delay(decoded, 0, len(samples)))[0, 1] > 0.85


def test_bits_are_4_for_each_stage_of_each_frame(codec, voice, lyra_weights):
    assert codec.bits(codec.encode(voice(1))) == 9200
    codec = Lyra(16, lyra_weights["data/lyra"])
    assert codec.bits(codec.encode(voice(1)[:-1])) == 3200
    assert codec.bits(codec.encode(np.zeros(1, np.float32))) == 64


def test_its_parts_are_the_codec(codec, models, voice):
    samples = voice(1)
    features = models.features(samples)
    assert features.shape == (50, FEATURES)
    symbols = models.quantize(features, 46)
    assert symbols.shape == (50, 46)
    assert symbols.min() >= 0
    assert symbols.max() < 16
    decoded = models.synthesize(models.dequantize(symbols))
    assert decoded.shape == (50 * FRAME,)
    np.testing.assert_array_equal(codec.decode(codec.encode(samples)), decoded)


def test_each_stage_refines_those_before_it(models, voice):
    features = models.features(voice(1))
    symbols = models.quantize(features)
    assert symbols.shape == (50, MAX_STAGES)
    np.testing.assert_array_equal(models.quantize(features, 16), symbols[:, :16])
    errors = [
        np.square(models.dequantize(symbols[:, :stages]) - features).mean()
        for stages in (1, 4, 16, 46)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.3 * errors[0]


def test_a_signal_does_not_depend_on_the_one_before(models, voice):
    first, second = voice(1, 1), voice(1, 2)
    features = models.features(first)
    models.synthesize(models.features(second))
    np.testing.assert_array_equal(models.features(first), features)


@pytest.mark.parametrize("stages", [0, 15, 48])
def test_a_wrong_number_of_stages_is_refused(stages):
    with pytest.raises(ValueError, match="2 to 46"):
        Lyra(stages, "data/lyra")


def test_missing_weights_make_it_unavailable(tmp_path):
    with pytest.raises(
        CodecUnavailable, match=r"soundstream_encoder.tflite is missing.*fetch_lyra"
    ):
        Lyra(16, str(tmp_path))


def test_other_weights_make_it_unavailable(tmp_path):
    for name in SHA256:
        (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(CodecUnavailable, match="another file"):
        Lyra(16, str(tmp_path))
    assert (tmp_path / "quantizer.tflite").exists()


def test_a_missing_package_makes_it_unavailable(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(CodecUnavailable, match="install the PyPI package ai-edge-litert"):
        Lyra(16, str(tmp_path))
