import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ecc.audio import to_int16
from ecc.codecs.base import (
    CodecEntry,
    find_program,
    from_int16,
    join_packets,
    load_codec,
    load_library,
    pad_to_frames,
    pipe,
    split_packets,
)
from ecc.errors import CodecUnavailable

TOY = """
import numpy as np
from ecc.codecs.base import Codec

class Toy(Codec):
    version = "1"
    def __init__(self, step):
        self.step = step
    def encode(self, samples):
        return np.rint(samples / self.step).astype(np.int8).tobytes()
    def decode(self, stream):
        return np.frombuffer(stream, np.int8).astype(np.float32) * self.step

class NoCodec:
    pass
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_of_test_base.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    yield "toy_of_test_base"
    sys.modules.pop("toy_of_test_base", None)


def test_a_codec_of_the_users_own_joins_by_its_name(toy):
    codec = load_codec(f"{toy}:Toy", {"step": 0.01})
    samples = np.linspace(-1, 1, 50, dtype=np.float32)
    stream = codec.encode(samples)
    np.testing.assert_allclose(codec.decode(stream), samples, atol=0.006)
    assert codec.bits(stream) == 8 * 50
    again, estimated = codec.encode_estimated(samples)
    assert again == stream and math.isnan(estimated)


@pytest.mark.parametrize(
    ("spec", "kwargs", "message"),
    [
        ("no_such_module_anywhere:Codec", {}, "cannot be imported"),
        ("{toy}:Missing", {}, "cannot be imported"),
        ("{toy}:NoCodec", {}, "not a subclass"),
        ("{toy}:Toy", {"stride": 1}, "stride"),
        ("{toy}", {}, "cannot be imported"),
    ],
)
def test_a_wrong_codec_is_named(toy, spec, kwargs, message):
    with pytest.raises(ValueError, match=message):
        load_codec(spec.format(toy=toy), kwargs)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_packets_come_back(packets):
    assert split_packets(join_packets(packets)) == packets


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5), st.data())
def test_a_stream_cut_inside_a_packet_is_an_error(packets, data):
    stream = join_packets(packets)
    ends = np.cumsum([0, *(len(packet) + 2 for packet in packets)]).tolist()
    cut = data.draw(st.integers(0, len(stream)))
    if cut in ends:
        assert split_packets(stream[:cut]) == packets[: ends.index(cut)]
    else:
        with pytest.raises(ValueError, match="truncated"):
            split_packets(stream[:cut])


@given(st.integers(1, 2000), st.integers(1, 400), st.integers(0, 500))
def test_frames_hold_the_signal_and_the_delay(length, frame, delay):
    samples = np.arange(1, length + 1)
    frames = pad_to_frames(samples, frame, delay)
    assert length + delay <= frames.size < length + delay + frame
    np.testing.assert_array_equal(frames.reshape(-1)[:length], samples)
    assert not frames.reshape(-1)[length:].any()


def test_int16_comes_back():
    pcm = np.arange(-32768, 32768, dtype=np.int16)
    assert from_int16(pcm).dtype == np.float32
    np.testing.assert_array_equal(to_int16(from_int16(pcm)), pcm)


def test_what_is_missing_says_what_to_install():
    with pytest.raises(CodecUnavailable, match=r"libmissing\.so\.7.*install some package"):
        load_library([None, "libmissing.so.7"], "some package")
    with pytest.raises(CodecUnavailable, match=r"no-such-program.*install some package"):
        find_program("no-such-program", "some package")


def test_a_failing_program_gives_its_last_words():
    command = [sys.executable, "-c", "import sys; print('ok'); sys.exit('\\nout of luck\\n')"]
    with pytest.raises(RuntimeError, match="out of luck"):
        pipe(command, b"")


def test_points_of_a_variant_are_the_levels_of_its_models():
    config = CodecEntry(**{"class": "a.b:C", "label": "C", "variant": "ecc"})
    models = {"one": ("ecc", 1), "rvq-1": ("rvq", 3), "many": ("ecc", 11)}
    one, many = (f"data/models/ecc/{name}.safetensors" for name in ("one", "many"))
    points = config.resolve_points(models)
    assert points == {"one": {"model": one, "level": 0}} | {
        f"many.{level}": {"model": many, "level": level} for level in range(11)
    }
    assert list(points) == ["one", *(f"many.{level}" for level in range(11))]
    for name in points:  # a point also names a folder
        CodecEntry(**{"class": "a.b:C", "label": "C", "points": {name: {}}})


def test_a_codec_is_conventional_unless_it_says_else():
    entry = {"class": "a.b:C", "label": "C", "points": {"6k": {}}}
    assert CodecEntry(**entry).kind == "conventional"
    assert CodecEntry(**entry, kind="neural").kind == "neural"
    with pytest.raises(ValidationError, match="kind"):
        CodecEntry(**entry, kind="own")


def test_points_of_others_stay_what_they_are():
    config = CodecEntry(**{"class": "a.b:C", "label": "C", "points": {"6k": {"bitrate": 6000}}})
    assert config.resolve_points({"ecc": ("ecc", 8)}) == {"6k": {"bitrate": 6000}}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"points": {"a": {}}, "variant": "ecc"},
        {"points": {"../a": {}}},
        {"points": {"": {}}},
        {"points": {"a": {}}, "class": "no class"},
    ],
)
def test_a_wrong_entry_is_refused(wrong):
    with pytest.raises(ValidationError):
        CodecEntry(**{"class": "a.b:C", "label": "C", **wrong})
