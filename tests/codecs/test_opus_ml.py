from pathlib import Path

import numpy as np
import pytest

from ecc.codecs.base import join_packets
from ecc.codecs.opus import Opus
from ecc.codecs.opus_ml import OpusMl
from ecc.errors import CodecUnavailable
from ecc.evaluate.alignment import estimate_delay, remove_delay


@pytest.fixture(autouse=True)
def _at_the_top(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])


def make_codec():
    return OpusMl(8000, "lace")


def test_its_stream_is_that_of_forced_wideband_opus(codec, voice):
    assert codec.encode(voice(1)) == Opus(8000, wideband=True).encode(voice(1))


@pytest.mark.parametrize("enhancement", ["lace", "nolace"])
def test_the_decoder_changes_the_sound_and_keeps_the_waveform(codec, voice, enhancement):
    codec = OpusMl(8000, enhancement)
    samples = voice(2)
    stream = codec.encode(samples)
    decoded, plain = codec.decode(stream), Opus.decode(codec, stream)
    assert len(decoded) == len(plain)
    delay = estimate_delay([(samples, decoded)])
    assert 90 < delay < 120
    assert np.corrcoef(samples, remove_delay(decoded, delay, len(samples)))[0, 1] > 0.8
    assert np.abs(decoded - plain).max() > 0.01


def test_one_process_decodes_stream_after_stream_and_ends_with_the_codec(codec, voice):
    codec = make_codec()  # the fixture's lives on
    streams = [codec.encode(voice(1, seed)) for seed in range(2)]
    first = codec.decode(streams[0])
    process = codec._process
    codec.decode(streams[1])
    np.testing.assert_array_equal(codec.decode(streams[0]), first)
    assert codec._process is process
    del codec
    assert process.wait(timeout=10) == 0


def test_a_damaged_packet_is_an_error_and_the_next_stream_is_decoded(codec, voice):
    with pytest.raises(RuntimeError, match="cannot be decoded"):
        codec.decode(join_packets([b"\xff\xff\xff"]))
    assert len(codec.decode(codec.encode(voice(1)))) == 51 * 320


def test_a_killed_process_is_an_error_and_the_next_one_decodes(codec, voice):
    stream = codec.encode(voice(1))
    codec.decode(stream)
    codec._process.kill()
    codec._process.wait()
    assert len(codec.decode(stream)) == 51 * 320


def test_an_unknown_enhancement_is_refused():
    with pytest.raises(ValueError, match="lace, nolace"):
        OpusMl(8000, "none")


def test_a_missing_package_makes_it_unavailable(codec, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CodecUnavailable, match=r"opus-ml not in node_modules; install Node\.js"):
        OpusMl(8000, "lace")


def test_a_missing_program_makes_it_unavailable(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CodecUnavailable, match=r"node not found; install Node\.js"):
        OpusMl(8000, "lace")
