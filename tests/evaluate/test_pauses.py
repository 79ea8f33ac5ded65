"""Bits of real streams in time."""

import json

import numpy as np
import pandas as pd
import pytest
from model.conftest import raw_codec
from model.test_rvq import raw_codec as raw_rvq

from ecc.audio import to_int16
from ecc.codecs.ceiling import Narrowband
from ecc.codecs.ecc import EccCodec
from ecc.codecs.opus import Opus
from ecc.evaluate.activity import SPEECH_FRAME
from ecc.evaluate.pauses import COLUMNS, bits_in_speech, frame_bits, pauses
from ecc.model.weights import save_model

SPEECH = np.array([True, False, True, False])
SAMPLES = 4 * SPEECH_FRAME


def test_frames_of_speech_have_their_bits_and_their_share_of_the_rest():
    frames = np.array([30.0, 2.0, 50.0, 2.0])
    assert bits_in_speech(frames, SPEECH_FRAME, 84, SPEECH, SAMPLES) == pytest.approx(80)
    # Sixteen bits of a header, half of the time is speech.
    assert bits_in_speech(frames, SPEECH_FRAME, 100, SPEECH, SAMPLES) == pytest.approx(88)


def test_longer_frames_are_spread_and_what_is_behind_the_end_is_rest():
    frames = np.array([40.0, 80.0, 16.0])  # the last is behind the end
    found = bits_in_speech(frames, 2 * SPEECH_FRAME, 136, SPEECH, SAMPLES)
    assert found == pytest.approx(20 + 40 + 8)


@pytest.fixture(scope="module")
def half_silent(voice):
    return np.concatenate([voice(1.0), np.zeros(16000, np.float32)])


@pytest.mark.parametrize("make", [raw_codec, raw_rvq])
def test_frames_of_our_codecs_hold_what_the_file_does(make, half_silent, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(make(), path, "m", [1.0, 2.0, 3.0] if make is raw_codec else [], {})
    codec = EccCodec(path)
    stream = codec.encode(half_silent)
    bits, frame = frame_bits(codec, stream)
    assert len(bits) * frame >= len(half_silent) > (len(bits) - 16) * frame
    # Header, framing, check and whole bytes take 17 bytes at most.
    assert 0 < 8 * len(stream) - bits.sum() < 8 * 17
    assert len(set(bits)) == 1 if make is raw_rvq else len(set(bits)) > 10


def test_packets_of_opus_are_small_in_silence(half_silent):
    codec = Opus(12000, frame_ms=40)
    stream = codec.encode(half_silent)
    bits, frame = frame_bits(codec, stream)
    assert frame == 640 and bits.sum() == codec.bits(stream)
    assert bits[:25].mean() > 1.5 * bits[30:].mean()


def test_a_codec_that_does_not_tell_is_an_error():
    with pytest.raises(ValueError, match="Narrowband does not say"):
        frame_bits(Narrowband(), b"")


def test_a_row_for_each_stream(half_silent, tmp_path):
    (tmp_path / "a.s16").write_bytes(to_int16(half_silent).astype("<i2").tobytes())
    clips = pd.DataFrame([{"clip": "001", "start": 0, "samples": len(half_silent)}])
    stream = Opus(9000).encode(half_silent)
    (tmp_path / "001.bin").write_bytes(stream)
    row = {"test_set": "a", "point": "9k", "utterance": "001", "file": "001.bin"}
    rows = [row | {"bits": Opus(9000).bits(stream), "reason": ""}]
    rows.append(row | {"utterance": "002", "bits": None, "reason": "it failed"})
    pd.DataFrame(rows).to_csv(tmp_path / "index.csv", index=False)
    about = {"codec": "opus", "class": "ecc.codecs.opus:Opus", "points": {"9k": {"bitrate": 9000}}}
    (tmp_path / "codec.json").write_text(json.dumps(about))
    table = pauses(tmp_path, {"a": clips}, tmp_path, workers=1)
    assert list(table.columns) == COLUMNS and len(table) == 1
    found = table.iloc[0]
    assert found["seconds"] == 2.0 and 0.5 < found["speech_seconds"] <= 1.02
    assert found["bits"] / 2 < found["speech_bits"] < found["bits"]
