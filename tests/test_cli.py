import doctest
import io
import shlex
import signal
import struct
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from model.conftest import LEVELS, raw_codec
from model.test_rvq import TOKENS
from model.test_rvq import raw_codec as rvq_codec
from typer.testing import CliRunner, Result

import ecc
from ecc import audio, cli
from ecc.cli import app
from ecc.model.files import read_model
from ecc.model.weights import save_model

ECC = [sys.executable, "-c", "from ecc.cli import run; run()"]


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with one tiny model of several levels."""
    folder, lmbda = tmp_path_factory.mktemp("models"), [1.0, 10.0, 100.0]
    codec = raw_codec()
    codec.spread_levels(lmbda)  # the higher, the more bytes
    save_model(codec, folder / "tiny.safetensors", "tiny", lmbda, {})
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch, models):
    """A working folder with a stereo recording at 44.1 kHz and a longer one, of three chunks."""
    t = np.arange(44100) / 44100
    wave = 0.2 * np.stack([np.sin(900 * t), np.sin(1300 * t)], axis=1)
    soundfile.write(tmp_path / "in.wav", wave, 44100)
    noise = 0.1 * np.random.default_rng(0).standard_normal(300_000)
    soundfile.write(tmp_path / "long.flac", noise, 16000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECC_MODELS", str(models))
    return tmp_path


def invoke(*arguments: str, code: int = 0, stdin: bytes = b"") -> Result:
    result = CliRunner().invoke(app, list(arguments), input=stdin)
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result


def run(*arguments: str, code: int = 0) -> str:
    return invoke(*arguments, code=code).output


def names(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# ---------------------------------------------------------------------- there and back


def test_encode_inspect_decode(folder):
    output = run("encode", "in.wav", "out.ecc")
    assert "in.wav: 2 channels are averaged" in output
    assert "1.00 s" in output and "kbps" in output
    run("decode", "out.ecc", "out.wav")
    samples, rate = soundfile.read(folder / "out.wav")
    assert (samples.shape, rate) == ((16000,), 16000)


def test_pipes_hold_the_same_bytes(folder):
    run("encode", "in.wav", "out.ecc")
    run("decode", "out.ecc", "out.wav")
    stream = invoke("encode", "-", "-", stdin=(folder / "in.wav").read_bytes()).stdout_bytes
    assert stream == (folder / "out.ecc").read_bytes()
    wave = invoke("decode", "-", "-", stdin=stream).stdout_bytes
    assert wave == (folder / "out.wav").read_bytes()
    assert "tiny" in invoke("inspect", "-", stdin=stream).stdout


def test_decoding_into_a_pipe_does_not_wait_for_the_end(folder):
    run("encode", "long.flac", "out.ecc")
    run("decode", "out.ecc", "out.wav")
    whole = (folder / "out.wav").read_bytes()
    assert invoke("decode", "out.ecc", "-").stdout_bytes == whole
    data = (folder / "out.ecc").read_bytes()
    command = [*ECC, "decode", "-", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdin.write(data[:-10])  # a part of its last chunk is yet to come
        process.stdin.flush()
        assert process.stdout.read(40_000) == whole[:40_000]
        process.stdin.write(data[-10:])
        process.stdin.close()
        assert process.stdout.read() == whole[40_000:]
    assert process.returncode == 0


def test_damage_on_the_way_into_a_pipe_is_an_error_behind_what_is_whole(folder):
    encode_and_damage(folder)
    run("decode", "out.ecc", "out.wav")
    result = invoke("decode", "cut.ecc", "-", code=1)
    assert result.stderr == "ecc: cut.ecc: cut short in chunk 3 of 3\n"
    heard = result.stdout_bytes
    assert len(heard) > 10_000 and (folder / "out.wav").read_bytes().startswith(heard)


@pytest.mark.parametrize("samples", [0, 5])
def test_the_header_of_a_wave_into_a_pipe(folder, samples):
    data = ecc.load("tiny").encode(np.zeros(samples, np.float32))
    (folder / "out.ecc").write_bytes(data)
    run("decode", "out.ecc", "out.wav")
    assert invoke("decode", "out.ecc", "-").stdout_bytes == (folder / "out.wav").read_bytes()


def test_a_wave_that_is_too_long_for_its_header_has_no_end():
    (length,) = struct.unpack("<I", cli._wave_header(2**31)[-4:])
    assert length >= audio.UNKNOWN_LENGTH


def test_python_says_the_same(folder):
    run("encode", "long.flac", "out.ecc", "--model", "tiny", "--level", "1", "--skip", "7")
    codec = ecc.load("tiny", level=1, skip=7)
    samples = audio.read("long.flac")
    stream = codec.encode(samples)
    assert stream == (folder / "out.ecc").read_bytes()
    run("decode", "out.ecc", "out.wav")
    np.testing.assert_array_equal(
        audio.to_int16(audio.read("out.wav")), audio.to_int16(codec.decode(stream))
    )
    assert codec.bits(stream) == 8 * len(stream)
    with pytest.raises(ValueError, match="NaN"):
        codec.encode(np.full(10, np.nan, np.float32))
    with pytest.raises(ValueError, match="shape"):
        codec.encode(np.zeros((2, 10), np.float32))


def test_examples_of_the_package(folder, voice):
    audio.write("speech.flac", voice(1.0))
    result = doctest.testmod(ecc, extraglobs={"samples": voice(1.0)})
    assert result.attempted > 5
    assert result.failed == 0


# ---------------------------------------------------------------------- several files


def test_a_bad_file_does_not_stop_the_others(folder):
    (folder / "text.mp3").write_text("words")
    output = run("encode", "none.wav", "in.wav", "text.mp3", "long.flac", "--out", "coded", code=1)
    assert "ecc: none.wav: No such file" in output
    assert "ecc: text.mp3: no audio" in output
    assert names(folder / "coded") == ["in.ecc", "long.ecc"]
    (folder / "coded" / "bad.ecc").write_bytes(b"no stream")
    output = run("decode", "coded/in.ecc", "coded/bad.ecc", "coded/long.ecc", "-o", "d", code=1)
    assert "ecc: coded/bad.ecc: not an .ecc stream" in output
    assert names(folder / "d") == ["in.wav", "long.wav"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("encode", "in.wav", "long.flac", "--out", "old"), "old/in.ecc: exists; --overwrite"),
        (("encode", "long.flac", "x/long.wav", "--out", "new"), "as would long.flac"),
        (("encode", "in.wav", "in.wav", "--overwrite"), "in.wav: is an input"),
        (("encode", "a.ecc", "long.flac", "--out", ".", "--overwrite"), "a.ecc: is an input"),
        (("encode", "in.wav", "long.wav"), "long.wav: the name of an encoded file ends in .ecc"),
        (("encode", "in.wav", "old"), "old: is a folder"),
        (("encode", "in.wav", "/dev/null", "--overwrite"), "/dev/null: is no regular file"),
        (("encode", "in.wav"), "give one input and its output"),
        (("encode", "in.wav", "long.flac", "x.ecc"), "give one input and its output"),
        (("encode", "-", "--out", "new"), "standard input has no name"),
        (("encode", "in.wav", "--out", "in.wav"), "in.wav: is no folder"),
        (("encode", "in.wav", "x.ecc", "--level", "1", "--kbps", "2"), "exclude each other"),
        (("decode", "old/in.ecc", "x.txt"), "x.txt: cannot write .txt"),
        (("decode", "old/in.ecc", "in.wav"), "in.wav: exists; --overwrite"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_nothing_is_done_where_an_output_is_not_to_be_written(folder, arguments, message):
    (folder / "old").mkdir()
    (folder / "old/in.ecc").write_bytes(b"")
    (folder / "a.ecc").write_bytes(b"")
    before = names(folder)
    output = run(*arguments, code=1)
    assert message in output
    assert output.startswith("ecc: ") and output.count("\n") == 1
    assert names(folder) == before
    assert not (folder / "old/in.ecc").read_bytes()


def test_overwrite(folder):
    (folder / "out.ecc").write_bytes(b"old")
    run("encode", "in.wav", "out.ecc", "--overwrite")
    assert (folder / "out.ecc").read_bytes() != b"old"


# ---------------------------------------------------------------------- rates and models


def test_kbps_is_not_exceeded(folder):
    rates = []
    for level in range(LEVELS):
        output = run("encode", "long.flac", f"{level}.ecc", "--level", str(level))
        rates.append(float(output.split(" kbps")[0].split()[-1]))
    # The levels of an untrained model are in no order: what counts is that its rate fits.
    output = run("encode", "long.flac", "out.ecc", "--kbps", f"{max(rates) + 0.001}")
    assert f"level {LEVELS - 1}" in output
    message = run("encode", "long.flac", "no.ecc", "--kbps", "0.001", code=1)
    assert "long.flac: even level 0 takes" in message
    assert not (folder / "no.ecc").exists()


def test_the_highest_level_within_a_rate(models, monkeypatch):
    codec = ecc.load("tiny", models=models)
    sizes = [100, 200, 300]
    monkeypatch.setattr(codec, "encode_chunks", lambda samples, level: [b"x" * sizes[level]])
    second = np.zeros(16000, np.float32)
    for kbps, size in [(0.8, 100), (1.5, 100), (1.6, 200), (2.3, 200), (2.4, 300), (9.0, 300)]:
        assert len(codec.encode_within(second, kbps)) == size
    with pytest.raises(ValueError, match=r"level 0 takes 0\.800 kbps, more than 0\.79"):
        codec.encode_within(second, 0.79)


def test_models_are_listed_and_one_is_the_default(folder, models, monkeypatch):
    (folder / "m").mkdir()
    content = (models / "tiny.safetensors").read_bytes()
    for name in ("a", "b"):
        (folder / f"m/{name}.safetensors").write_bytes(content)
    output = run("models")
    assert read_model(models / "tiny.safetensors").digest[:3].hex() in output
    assert "1 10 100" in output
    message = run("encode", "in.wav", "x.ecc", "--models", "m", code=1)
    assert "no model 'ecc' in m; there are: a, b" in message
    run("encode", "in.wav", "x.ecc", "--models", "m", "--model", "b")
    (folder / "m/a.safetensors").rename(folder / "m/ecc.safetensors")
    run("encode", "in.wav", "y.ecc", "--models", "m")
    (folder / "m/c.safetensors").write_bytes(b"no model")
    assert "c.safetensors: not a model file" in run("models", "--models", "m", code=1)


# ---------------------------------------------------------------------- damage and other errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("encode", "none.wav", "x.ecc"), "none.wav: No such file"),
        (("encode", "text.txt", "x.ecc"), "text.txt: no audio"),
        (("encode", "empty.wav", "x.ecc"), "empty.wav: empty file"),
        (("encode", "nan.wav", "x.ecc"), "nan.wav: samples that are not finite"),
        (("encode", ".", "x.ecc"), ".: Is a directory"),
        (("encode", "in.wav", "text.txt/x.ecc"), "text.txt/x.ecc: "),
        (("encode", "in.wav", "x.ecc", "--model", "huge"), "no model 'huge'"),
        (("encode", "in.wav", "x.ecc", "--model", "none.safetensors"), "no such model file"),
        (("encode", "in.wav", "x.ecc", "--level", "3"), "tiny has the levels 0 to 2, not 3"),
        (("decode", "none.ecc", "x.wav"), "none.ecc: No such file"),
        (("decode", "in.wav", "x.wav"), "in.wav: not an .ecc stream"),
        (("decode", "cut.ecc", "x.wav"), "cut.ecc: cut short in chunk 3 of 3"),
        (("decode", "bent.ecc", "x.wav"), "bent.ecc: chunk 1 of 3 is damaged"),
        (("decode", "out.ecc", "x.wav", "--models", "nowhere"), "has the id"),
        (("decode", "out.ecc", "x.wav", "--model", "other.safetensors"), "out.ecc: made by model"),
        (("inspect", "none.ecc"), "none.ecc: No such file"),
        (("inspect", "text.txt"), "text.txt: not an .ecc stream"),
        (("models", "--models", "nowhere"), "no models in nowhere"),
        (("bench", "none.wav"), "none.wav: No such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_errors_are_one_line_and_lose_nothing(folder, arguments, message):
    encode_and_damage(folder)
    if "other.safetensors" in arguments:
        save_model(raw_codec(slices=2), folder / "other.safetensors", "other", [1.0] * LEVELS, {})
    (folder / "text.txt").write_text("words")
    (folder / "empty.wav").write_bytes(b"")
    soundfile.write(folder / "nan.wav", np.array([0, np.nan]), 16000, subtype="FLOAT")
    before = names(folder)
    result = invoke(*arguments, code=1)
    lines = [line for line in result.stderr.splitlines() if "channels are" not in line]
    assert len(lines) == 1 and not result.stdout
    assert lines[0].startswith("ecc: ") and message in lines[0]
    assert names(folder) == before


def encode_and_damage(folder) -> None:
    data = ecc.load("tiny").encode(audio.read("long.flac"))
    (folder / "out.ecc").write_bytes(data)
    (folder / "cut.ecc").write_bytes(data[:-20])
    (folder / "bent.ecc").write_bytes(data[:30] + b"????" + data[34:])


def test_conceal(folder):
    encode_and_damage(folder)
    run("decode", "out.ecc", "out.wav")
    assert "bent.ecc: chunk 1 of 3" in run("decode", "bent.ecc", "bent.wav", "--conceal")
    assert "cut.ecc: cut short" in run("decode", "cut.ecc", "cut.wav", "--conceal")
    whole, bent, cut = (audio.read(f"{name}.wav") for name in ("out", "bent", "cut"))
    assert len(bent) == len(whole) and len(cut) < len(whole)
    third = len(whole) - 20_000
    np.testing.assert_array_equal(bent[third:], whole[third:])
    assert not bent[:10_000].any()
    (folder / "bad.ecc").write_bytes((folder / "out.ecc").read_bytes()[:40])
    assert "no chunk" in run("decode", "bad.ecc", "bad.wav", "--conceal", code=1)
    assert not (folder / "bad.wav").exists()


def test_inspect_accounts_for_every_byte(folder):
    encode_and_damage(folder)
    output = run("inspect", "out.ecc")
    size = (folder / "out.ecc").stat().st_size
    assert "300000 (18.750 s)" in output and "3, all whole" in output
    parts = output[output.index("header") :].splitlines()
    assert sum(float(line.split()[-2]) for line in parts) == pytest.approx(size, abs=0.5)
    slices = [line for line in parts if line.split()[0] == "slice"]
    assert len(slices) == 4
    assert "of " in output and "saved by skipping" in output
    assert "bent.ecc: chunk 1 of 3 is damaged" in run("inspect", "bent.ecc", code=1)
    # Without the model, the header alone.
    output = run("inspect", "out.ecc", "--models", "nowhere", code=1)
    assert "300000 (18.750 s)" in output and "has the id" in output


def test_inspect_of_a_model_without_skip_and_hyperprior(folder):
    plain = raw_codec(hyperprior=False, skip=0)
    save_model(plain, folder / "plain.safetensors", "plain", [1.0] * LEVELS, {})
    run("encode", "in.wav", "out.ecc", "--model", "plain.safetensors")
    output = run("inspect", "out.ecc", "--model", "plain.safetensors")
    assert "0.0% of" in output


def test_bench(folder):
    output = run("bench", "--seconds", "0.5", "--runs", "1")
    assert "encode" in output and "decode" in output and "level 2" in output


# ---------------------------------------------------------------------- as a process


def test_what_is_odd_is_noted_and_coded(folder):
    soundfile.write(folder / "loud.wav", np.full(8000, 1.5), 16000, subtype="FLOAT")
    data = (folder / "loud.wav").read_bytes()
    (folder / "loud.wav").write_bytes(data[:-16000])
    result = invoke("encode", "loud.wav", "-")
    assert "loud.wav: 4000 samples beyond full scale are clipped\n" in result.stderr
    assert "loud.wav: cut short: 0.25 s of 0.50 s are there\n" in result.stderr
    (folder / "a.ecc").write_bytes(result.stdout_bytes)  # and nothing else
    run("decode", "a.ecc", "a.wav")
    assert soundfile.info(folder / "a.wav").frames == 4000


def test_a_flac_from_a_pipe_that_broke_off_is_noted_and_coded(folder):
    data = (folder / "long.flac").read_bytes()
    result = invoke("encode", "-", "-", stdin=data[: len(data) // 2])
    notes = result.stderr.splitlines()
    assert len(notes) == 2 and notes[0].startswith("ecc: standard input: cut short: 9.")
    assert notes[0].endswith(" s of 18.75 s are there")
    assert 9 < len(ecc.load("tiny").decode(result.stdout_bytes)) / 16000 < 9.75


def test_the_version_is_that_of_the_package():
    assert run("--version") == f"ecc {metadata.version('ecc-speech')}\n"


def test_help_and_bad_arguments_need_no_pytorch(folder):
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from ecc.cli import app\n"
        "def run(*arguments):\n"
        "    return CliRunner().invoke(app, arguments).exit_code\n"
        "codes = run('--help'), run('encode', '--help'), run('decode', 'in.wav', 'x.wav')\n"
        "codes += run('encode', 'none.wav', 'x.ecc'), run('encode', 'none.wav')\n"
        "assert codes == (0, 0, 1, 1, 1), codes\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_broken_pipe_is_no_error_of_ours(folder):
    run("encode", "long.flac", "out.ecc")
    log = [sys.executable, "-X", "importtime", *ECC[1:], "decode", "out.ecc", "-"]
    process = subprocess.Popen(log, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stderr
    process.stdout.close()
    messages = process.stderr.read()
    assert process.wait() == 1
    assert "Traceback" not in messages and "Exception" not in messages


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", ["--version", "--help", "models", "inspect out.ecc"])
def test_a_full_disk_behind_standard_output_is_one_line(folder, command):
    (folder / "out.ecc").write_bytes(ecc.load("tiny").encode(np.zeros(9, np.float32)))
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*ECC, *command.split()], stdout=full, stderr=subprocess.PIPE)
    assert done.stderr.decode().splitlines() == ["ecc: standard output: No space left on device"]
    assert done.returncode == 1


@pytest.mark.parametrize("asked", [None, "3"])
def test_one_thread_unless_more_are_asked_for(folder, monkeypatch, asked):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    code = "import atexit, os; atexit.register(lambda: print(os.environ['OMP_NUM_THREADS']));"
    command = [*ECC[:2], code + ECC[2], "models"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == (asked or "1")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_what_is_closed_is_not_missed(folder, closed):
    command = f"{shlex.join(ECC)} encode in.wav out.ecc {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout
    assert (folder / "out.ecc").exists()


@pytest.fixture
def interruptible():
    """What runs in the background ignores Ctrl-C, and so does what it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_stopped_leaves_nothing(folder, number):
    soundfile.write(folder / "minutes.wav", np.zeros(16000 * 1200, np.int16), 16000)
    before = names(folder)
    with subprocess.Popen(
        [*ECC, "encode", "minutes.wav", "minutes.ecc"], stderr=subprocess.PIPE
    ) as one:
        while names(folder) == before:
            time.sleep(0.05)
        time.sleep(0.2)  # it is there a moment before it is sure to be removed
        one.send_signal(number)
        assert one.stderr and b"Traceback" not in one.stderr.read()
    assert one.returncode == 128 + number
    assert names(folder) == before


@pytest.mark.slow
def test_an_hour_of_stereo_fits_into_memory(folder):
    with soundfile.SoundFile(folder / "hour.wav", "w", 48000, 2, "PCM_16") as file:
        second = np.random.default_rng(0).integers(-3000, 3000, (48000, 2), np.int16)
        for _ in range(3600):
            file.write(second)
    measure = "import resource; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    for arguments in (["encode", "hour.wav", "hour.ecc"], ["decode", "hour.ecc", "back.wav"]):
        code = f"import subprocess; subprocess.run({[*ECC, *arguments]}, check=True); {measure}"
        out = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
        assert int(out.stdout) < 1.5 * 2**20  # KiB
    assert soundfile.info(folder / "back.wav").frames == 3600 * 16000


def test_wave_from_a_pipe_of_unknown_length(folder):
    # FFmpeg cannot go back to fill in the length of a wave file that it writes into a pipe.
    data = bytearray((folder / "in.wav").read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff" * 4
    stream = invoke("encode", "-", "-", stdin=bytes(data)).stdout_bytes
    assert ecc.load("tiny").decode(stream).shape == (16000,)
    file = io.BytesIO(invoke("decode", "-", "-", stdin=stream).stdout_bytes)
    assert soundfile.info(file).frames == 16000


def test_a_model_with_stages_is_coded_listed_and_inspected(folder):
    codec = rvq_codec(TOKENS)
    save_model(codec, folder / "rvq.safetensors", "rvq", [], {})
    run("encode", "in.wav", "out.ecc", "--model", "rvq.safetensors", "--level", "1")
    run("decode", "out.ecc", "out.wav", "--model", "rvq.safetensors")
    output = run("inspect", "out.ecc", "--model", "rvq.safetensors")
    assert "rvq (2 stages)" in output
    parts = [line.split()[:2] for line in output.splitlines() if line.strip().startswith("stage")]
    assert parts == [["stage", "1"], ["stage", "2"]]
    assert "stages: 1 2 4" in run("models", "--models", ".")
