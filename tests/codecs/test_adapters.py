"""What holds for every adapter of this repository, whatever its library. A contributor's own class
or command in params.yaml need not name its points by their rate, or see that a stream was cut; and
what the weights of others make of our test signals is theirs."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from ecc.evaluate.alignment import estimate_delay

ROOT = Path(__file__).parents[2]
NOT_OURS = ("ecc.codecs.published:Published", "ecc.codecs.command:Command", "ecc.codecs.peers:")


def adapters(params):
    """The entries of `codecs` whose class is an adapter of this repository."""
    return {
        name: entry
        for name, entry in YAML(typ="safe").load(params)["codecs"].items()
        if "points" in entry
        and entry["class"].startswith("ecc.codecs.")
        and not entry["class"].startswith(NOT_OURS)
    }


CODECS = adapters(ROOT / "params.yaml")
LOWEST = [(name, next(iter(entry["points"]))) for name, entry in CODECS.items()]
HIGHEST = [(name, list(entry["points"])[-1]) for name, entry in CODECS.items()]
# Between the ends of a ladder only a number differs.
ENDS = list(dict.fromkeys(LOWEST + HIGHEST))
# By how much the rate of three seconds may differ from the nominal one: flushed frames (LPC-10:
# six), and a target that VBR keeps over a long time only.
VBR = ("opus", "opus-60ms", "opus-lace", "opus-nolace", "silk")
NOMINAL = {
    **{("codec2", mode): int(mode.removesuffix("C")) / 1000 for mode in CODECS["codec2"]["points"]},
    **{("speex", f"q{q}"): kbps for q, kbps in enumerate((3.95, 5.75, 7.75, 9.8, 12.8))},
    ("speex-nb", "q0"): 2.15,
    ("speex-nb", "q5"): 11.0,
    ("narrowband", "pcm"): 128.0,
}
# Samples at the end that are not given back: at this rate Codec2 is later than by its last frame.
MISSING = {("codec2", "2400"): 128}


def nominal_kbps(name, point):
    """The rate that a point is named after; None where its name is of something else."""
    if (name, point) in NOMINAL:
        return NOMINAL[name, point]
    rate = re.fullmatch(r"(\d+(?:\.\d+)?)k", point)
    return float(rate[1]) if rate else None


@pytest.fixture
def pair(name, point, make_point):
    """The point constructed twice: to encode and to decode."""
    return make_point(name, point), make_point(name, point)


@pytest.mark.parametrize(("name", "point"), ENDS)
def test_round_trip(name, point, pair, voice):
    encoder, decoder = pair
    samples = voice(3)
    stream = encoder.encode(samples)
    assert encoder.encode(samples) == stream
    assert encoder.bits(stream) <= 8 * len(stream)

    kbps = encoder.bits(stream) / 3000
    assert kbps > 0
    if (nominal := nominal_kbps(name, point)) is not None:
        low, high = (0.7, 1.2) if name in VBR else (1.0, 1.13)
        assert low * nominal <= kbps <= high * nominal

    decoded = decoder.decode(stream)
    assert decoded.dtype == np.float32
    assert np.isfinite(decoded).all()
    np.testing.assert_array_equal(decoder.decode(stream), decoded)
    assert -6 < 20 * math.log10(np.std(decoded) / np.std(samples)) < 3
    # All of the signal is there, behind a delay within the range in which it is looked for.
    delay = estimate_delay([(samples, decoded)])
    assert -16 < delay < 640
    least = len(samples) + max(0, delay) - MISSING.get((name, point), 0)
    assert least <= len(decoded) <= len(samples) + delay + 3 * 960


def test_the_examples_of_the_docs_are_not_held_to_what_ours_do():
    text = (ROOT / "docs/codecs.md").read_text(encoding="utf-8")
    examples = [
        block for block in re.findall(r"```yaml\n(.*?)```", text, re.S) if "codecs:" in block
    ]
    assert len(examples) == 3  # weights, two commands, and a class
    for example in examples:
        assert not adapters(example)


def test_the_rate_of_a_point_is_known_by_its_name_if_it_is_one():
    assert nominal_kbps("opus", "6k") == 6
    assert nominal_kbps("codec2", "700C") == 0.7
    assert nominal_kbps("mulaw", "mu255") is None  # of the example in docs/codecs.md


@pytest.mark.parametrize("length", [1, 319, 321])
@pytest.mark.parametrize(("name", "point"), LOWEST)
def test_short_signals(name, point, pair, length):
    encoder, decoder = pair
    samples = np.full(length, 0.1, np.float32)
    decoded = decoder.decode(encoder.encode(samples))
    assert len(decoded) >= length
    assert np.isfinite(decoded).all()


@pytest.mark.parametrize(("name", "point"), LOWEST)
def test_silence_stays_quiet(name, point, pair):
    encoder, decoder = pair
    decoded = decoder.decode(encoder.encode(np.zeros(16000, np.float32)))
    assert np.abs(decoded).max() < 0.02


@pytest.mark.parametrize(("name", "point"), LOWEST)
def test_a_truncated_stream_is_an_error(name, point, pair, voice):
    encoder, decoder = pair
    with pytest.raises(ValueError):
        decoder.decode(encoder.encode(voice(1))[:-1])
