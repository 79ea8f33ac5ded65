import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ecc.codecs.base import CodecEntry, load_codec
from ecc.codecs.command import Command, _run, _words
from ecc.errors import CodecUnavailable

# µ-law with one byte a sample, as a program; it refuses what is silent.
PROGRAM = """
import sys
import numpy as np
import soundfile
step, source, target = sys.argv[2], sys.argv[3], sys.argv[4]
if sys.argv[1] == "encode":
    samples, rate = soundfile.read(source, dtype="float32")
    assert (rate, samples.ndim) == (16000, 1)
    if not samples.any():
        sys.exit("Traceback, perhaps\\n\\ntoy: this is silence\\n")
    levels = np.sign(samples) * np.log1p(255 * np.abs(samples)) / np.log1p(255)
    np.rint(127 * levels).astype(np.int8).tofile(target)
else:
    levels = np.fromfile(source, np.int8) / 127
    soundfile.write(target, np.sign(levels) * np.expm1(np.abs(levels) * np.log1p(255)) / 255, 16000)
"""

WAYS = ("encode", "decode")


@pytest.fixture
def program(tmp_path) -> str:
    """A program whose path needs quotes."""
    path = tmp_path / "my codecs" / "toy's.py"
    path.parent.mkdir()
    path.write_text(PROGRAM)
    return f'{sys.executable} "{path}"'


def toy(program: str, **changes: str) -> Command:
    commands = {way: f"{program} {way} 255 {{input}} {{output}}" for way in WAYS}
    return Command(**(commands | changes))


def test_there_and_back(program, voice):
    samples = voice(1.2)
    codec = toy(program)
    stream = codec.encode(samples)
    assert codec.bits(stream) == 8 * len(samples)
    np.testing.assert_allclose(codec.decode(stream), samples, atol=0.03)


def test_it_is_an_entry_of_the_params(program, voice):
    points = {"only": {way: f"{program} {way} 255 {{input}} {{output}}" for way in WAYS}}
    entry = {"class": "ecc.codecs.command:Command", "label": "Toy", "points": points}
    config = CodecEntry(**entry)
    codec = load_codec(config.class_, config.resolve_points({})["only"])
    assert len(codec.encode(voice(0.5))) == 8000


def test_a_failing_command_gives_its_last_line(program):
    with pytest.raises(RuntimeError, match=r"failed \(1\): toy: this is silence$") as error:
        toy(program).encode(np.zeros(1600, np.float32))
    assert len(str(error.value).splitlines()) == 1


def test_a_command_that_writes_nothing(program):
    codec = toy(program, encode="true {input} {output}", decode="touch {output} {input}")
    with pytest.raises(RuntimeError, match=r"the encode command wrote no {output}"):
        codec.encode(np.ones(1600, np.float32))
    with pytest.raises(RuntimeError, match=r"the decode command wrote no {output}"):
        codec.decode(b"stream")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("prog {input}", "encode command 'prog {input}' has no {output}"),
        ("", "has no {input}"),
        ("prog '{input} {output}", "No closing quotation"),
    ],
)
def test_a_wrong_command_is_named(program, command, message):
    with pytest.raises(ValueError, match=message) as error:
        toy(program, encode=command)
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_program_is_a_reason(program):
    with pytest.raises(CodecUnavailable, match="program no-such-codec not found"):
        toy(program, decode="no-such-codec {input} {output}")


def test_another_program_of_the_same_name_is_another_version(program):
    before = toy(program).version
    assert toy(program).version == before
    path = Path(program.split('"')[1])
    path.write_text(PROGRAM + "# changed\n")
    assert toy(program).version != before


def test_any_rate_comes_back_at_16_khz(program, tmp_path):
    soundfile.write(tmp_path / "other.wav", np.full(2400, 0.5), 24000)
    codec = toy(program, decode=f'sh -c \'cp "$0" "$2"\' {tmp_path}/other.wav {{input}} {{output}}')
    assert len(codec.decode(b"stream")) == 1600


def test_suffixes_are_what_programs_see(program):
    echo = "sh -c 'echo $1 $2 > \"$2\"' - {input} {output}"
    stream = toy(program, encode=echo, suffix=".toy").encode(np.ones(1600, np.float32))
    source, target = stream.decode().split()
    assert source.endswith(".wav") and target.endswith(".toy")


FILE_NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=20
).filter(lambda name: name not in (".", "..", "{output}"))


@settings(max_examples=20)
@given(FILE_NAMES)
def test_names_come_through_whatever_they_hold(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("names")
    source, target = folder / "{output}", folder / name
    source.write_bytes(b"content")
    _run("encode", _words("encode", "cp -- {input} {output}"), source, target)
    assert target.read_bytes() == b"content"
