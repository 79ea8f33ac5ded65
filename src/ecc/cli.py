"""The command `ecc`: pack speech into `.ecc` files and back.

Imports take time: NumPy and what else codes is imported once a model is needed, not for help and
not for what is wrong with arguments and files.
"""

import atexit
import functools
import gc
import os
import shutil
import signal
import struct
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, BinaryIO, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from typing import Self  # not before Python 3.11

    from rich.progress import Progress

    from ecc.codecs.ecc import EccCodec

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(invoke_without_command=True, pretty_exceptions_enable=False)
app.add_typer(models_app, name="models")

Piece = TypeVar("Piece")

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="IN... [OUT]",
        help="One input and its output, - for a pipe; or any number of inputs, with --out.",
        show_default=False,
    ),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Write into DIR.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", metavar="NAME|FILE", help="Trained model.")
]
Models = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of trained models, in place of $ECC_MODELS, data/models and fetched ones.",
        show_default=False,
    ),
]
Level = Annotated[
    int | None, typer.Option("--level", "-l", min=0, help="Quality level, 0 the lowest rate.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]


def run() -> None:
    """The program `ecc`."""
    # A command ends before it makes garbage worth the search, which would be done at the end too.
    gc.disable()
    # Products are small: threads that wait for each other took twice the time of the processor.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    atexit.register(gc.freeze)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by who started this
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    for name in ("SIGTERM", "SIGHUP"):  # not every system has both, and nohup ignores one
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)
    try:
        app()
    except KeyboardInterrupt:  # before the command began
        sys.exit(128 + signal.SIGINT)
    except OSError as error:  # one of a file is told of where it comes up
        sys.exit(f"ecc: {error.filename or 'standard output'}: {error.strerror}")


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """End as after an error, so that no unfinished file is left."""
    sys.exit(128 + number)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"ecc {version('ecc-speech')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """ECC: an entropy-constrained neural speech codec."""


@app.command()
def encode(
    paths: Paths,
    out: Out = None,
    model: ModelOption = None,
    level: Level = None,
    kbps: Annotated[
        float | None,
        typer.Option(
            min=0, help="Highest level whose rate, of each file as a whole, is not above."
        ),
    ] = None,
    skip: Annotated[
        int | None,
        typer.Option(min=0, max=15, help="Entropy-skip threshold, if not that of the training."),
    ] = None,
    models: Models = None,
    overwrite: Overwrite = False,
) -> None:
    """Encode audio files of any rate, downmixed to mono, into .ecc files.

    Without --level and --kbps the highest level is used.
    """
    if level is not None and kbps is not None:
        _fail("--level and --kbps exclude each other")
    jobs = _jobs(paths, out, ".ecc", overwrite)
    for _, target in jobs:
        if target != "-" and Path(target).suffix != ".ecc":
            _fail(f"{target}: the name of an encoded file ends in .ecc")

    from ecc import audio
    from ecc.stream import Header

    @functools.cache
    def load() -> "EccCodec":
        from ecc.codecs.ecc import EccCodec
        from ecc.model.files import ModelError, find_model
        from ecc.shipped import find

        try:
            return EccCodec(find(find_model, model, models), level, skip)
        except (ModelError, ValueError) as error:
            _fail(str(error))  # not of one file: none can be encoded

    def work(source: str, target: str, progress: "Progress | _Unseen") -> None:
        with _open(source) as file:
            recording = audio.open_audio(file, _name(source, "input"))
            if recording.channels > 1:
                _say(f"{recording.name}: {recording.channels} channels are averaged")
            samples = recording.speech()
            for note in recording.notes:
                _say(f"{recording.name}: {note}")
        codec = load()
        with _output(target, ".ecc") as path:
            if kbps is None:
                total = codec.codec.count_chunks(len(samples)) + 1
                pieces = progress.track(codec.encode_chunks(samples), total, description=source)
                stream = b"".join(pieces)
            else:
                progress.add_task(f"{source}: looking for a level", total=None)
                stream = codec.encode_within(samples, kbps)
            path.write_bytes(stream)
        seconds = len(samples) / audio.SAMPLE_RATE
        _say(
            f"{_name(target, 'output')}: {len(stream)} bytes, {seconds:.2f} s, "
            f"{8 * len(stream) / seconds / 1000:.3f} kbps, level {Header.unpack(stream)[0].level}"
        )

    _work_through(jobs, work)


@app.command()
def decode(
    paths: Paths,
    out: Out = None,
    model: ModelOption = None,
    conceal: Annotated[
        bool, typer.Option("--conceal", help="Decode what is whole; damaged chunks are silent.")
    ] = False,
    models: Models = None,
    overwrite: Overwrite = False,
) -> None:
    """Decode .ecc files into audio files: .wav, or what the suffix of OUT says.

    The model is found by its id in the stream, unless --model is given.
    """
    from ecc import audio
    from ecc.stream import Header

    jobs = _jobs(paths, out, ".wav", overwrite)
    for _, target in jobs:
        if target != "-":
            try:
                audio.check_suffix(target)
            except audio.AudioError as error:
                _fail(str(error))

    @functools.cache
    def load(model_id: bytes) -> "EccCodec":
        from ecc.codecs.ecc import EccCodec
        from ecc.model.files import ModelError
        from ecc.shipped import find_for

        try:
            return EccCodec(find_for(model, model_id, models))
        except ModelError as error:
            raise ValueError(error) from None

    def work(source: str, target: str, progress: "Progress | _Unseen") -> None:
        if target == "-" and not conceal:
            _play(source, model, models, progress)
            return
        with _open(source) as file:
            data = file.read()
        header, _ = Header.unpack(data)
        codec = load(header.model_id)
        damaged: list[str] | None = [] if conceal else None
        with _output(target, ".wav") as path:
            total = codec.codec.count_chunks(header.samples)
            chunks = codec.decode_chunks(data, damaged)
            samples = audio.write_blocks(path, progress.track(chunks, total, description=source))
        for problem in damaged or []:
            _say(f"{_name(source, 'input')}: {problem}")
        _say(f"{_name(target, 'output')}: {samples / audio.SAMPLE_RATE:.2f} s")

    _work_through(jobs, work)


@app.command()
def inspect(
    source: Annotated[str, typer.Argument(metavar="FILE", help="An .ecc file; - for a pipe.")],
    model: ModelOption = None,
    models: Models = None,
) -> None:
    """Print what an .ecc file says and where its bytes went.

    With the model at hand all of it is decoded, so that damage is found.
    """
    from rich.console import Console
    from rich.table import Table

    from ecc.stream import VERSION, Header, StreamError, unpack_chunks

    name = _name(source, "input")
    try:
        with _open(source) as file:
            data = file.read()
        header, at = Header.unpack(data)
    except OSError as error:
        _fail(f"{name}: {error.strerror}")
    except StreamError as error:
        _fail(f"{name}: {error}")
    seconds = header.samples / header.sample_rate
    facts = Table(show_header=False, box=None)
    facts.add_row("format version", str(VERSION))
    facts.add_row("model", header.model_id.hex())
    facts.add_row("level", str(header.level))
    facts.add_row("skip threshold", str(header.skip))
    facts.add_row("sample rate", f"{header.sample_rate} Hz")
    facts.add_row("samples", f"{header.samples} ({seconds:.3f} s)")
    facts.add_row("bytes", str(len(data)))
    if seconds:
        facts.add_row("rate", f"{8 * len(data) / seconds / 1000:.3f} kbps")

    console = Console()
    console.print(facts)

    from ecc.codecs.ecc import EccCodec
    from ecc.model.files import ModelError
    from ecc.shipped import find_for

    try:
        codec = EccCodec(find_for(model, header.model_id, models))
    except ModelError as error:
        _fail(f"{name}: {error}; it is needed to tell where the bytes went")
    entropy, bits = codec.codec.entropy, {"z": 0.0}
    saved_bits, skipped, symbols = 0.0, 0, 0
    try:
        chunks = codec.codec.count_chunks(header.samples)
        payloads = unpack_chunks(data, at, chunks)
        with _progress() as progress:
            for latent in progress.track(codec.latents(data), chunks, description=name):
                assert latent is not None  # a damaged chunk is an error
                z, y = entropy.costs(latent, header.level)
                skip = latent.indexes < header.skip
                bits["z"] += z.sum()
                names = entropy.part_names(header.level)
                spent = (y * ~skip).reshape(len(y), len(names), -1).sum(axis=(0, 2))
                for part, of_part in zip(names, spent, strict=True):
                    bits[part] = bits.get(part, 0.0) + of_part
                saved_bits += (y * skip).sum()
                skipped += skip.sum()
                symbols += skip.size
    except StreamError as error:
        _fail(f"{name}: {error}")
    payload = sum(len(chunk or b"") for chunk in payloads)
    parts = {"header": float(at), "lengths and checksums": float(len(data) - at - payload)}
    parts |= {part: spent / 8 for part, spent in bits.items() if spent}
    parts["checks and rounding"] = len(data) - sum(parts.values())
    table = Table("part", box=None)
    table.add_column("bytes", justify="right")
    table.add_column("share", justify="right")
    for part, size in parts.items():
        table.add_row(part, f"{size:.1f}", f"{size / len(data):.1%}")
    facts = Table(show_header=False, box=None)
    facts.add_row("model", f"{codec.trained.name} ({codec.trained.levels[header.level]})")
    facts.add_row("chunks", f"{chunks}, all whole")
    if symbols:
        facts.add_row("skipped", f"{skipped / symbols:.1%} of {symbols} symbols of y")
        facts.add_row("saved by skipping", f"about {saved_bits / 8:.1f} bytes")
    console.print(facts, table)


@models_app.callback()
def show_models(context: typer.Context, models: Models = None) -> None:
    """List the trained models; `fetch` brings them."""
    if context.invoked_subcommand:
        context.obj = models
        return
    from rich.console import Console
    from rich.table import Table

    from ecc.model.files import ModelError, list_models, read_model
    from ecc.shipped import folders
    from ecc.stream import ID_BYTES

    table = Table("name", "id", "levels", "parameters", box=None)
    failed, places = False, folders(models)
    for path in (path for place in places for path in list_models(place)):
        try:
            trained = read_model(path)
        except ModelError as error:
            failed = True
            _say(str(error))
            continue
        parameters = sum(a.size for a in trained.arrays.values() if a.dtype == "float16")
        stages = trained.config.rvq.stages
        values = " ".join(f"{value:g}" for value in trained.lmbda or stages)
        levels = f"{'stages' if stages else 'λ'}: {values}"
        model_id = trained.digest[:ID_BYTES].hex()
        table.add_row(trained.name, model_id, levels, f"{parameters:,}")
    if not table.rows and not failed:
        _fail(
            f"no models in {' or '.join(map(str, places))}; `ecc models fetch`, or `dvc pull` in a "
            "clone, brings the trained ones"
        )
    Console().print(table)
    raise typer.Exit(int(failed))


@models_app.command("fetch")
def fetch_models(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Models; `ecc` if none.", show_default=False),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            envvar="ECC_MODELS_FROM",
            metavar="DIR|URL",
            help="Where NAME.safetensors lies, or a DVC remote, such as .dvc/store of a clone.",
            show_default=False,
        ),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to put them into.", show_default=False),
    ] = None,
) -> None:
    """Fetch trained models, each checked by the SHA-256 that this version knows.

    They go to $ECC_MODELS, or else among the user's data, where all commands look for them.
    """
    from ecc.data.download import Unreachable
    from ecc.files import ChecksumError
    from ecc.model.files import DEFAULT, ModelError
    from ecc.shipped import fetch, fetched_folder, with_bases

    if source is None:
        _fail("give --from DIR|URL, or set $ECC_MODELS_FROM")
    try:
        for model in with_bases(names or [DEFAULT]):
            path = fetch(model, source, models or context.obj or fetched_folder())
            _say(f"{path}: {model.bytes / 1e6:.1f} MB, SHA-256 as it should be")
    except (ModelError, Unreachable, ChecksumError, FileExistsError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}")


@app.command()
def bench(
    source: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="Audio; something like speech if none.")
    ] = None,
    model: ModelOption = None,
    level: Level = None,
    models: Models = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length that is coded.")] = 10.0,
    runs: Annotated[int, typer.Option(min=1, help="Runs of which the median counts.")] = 5,
) -> None:
    """Measure how long encoding and decoding take on one core, part by part."""
    # NumPy asks how many threads it may have when it is imported.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

    from rich.console import Console
    from rich.table import Table

    from ecc import audio
    from ecc.bench import PARTS, measure, speechlike
    from ecc.codecs.ecc import EccCodec
    from ecc.model.files import ModelError, find_model
    from ecc.shipped import find

    try:
        codec = EccCodec(find(find_model, model, models), level)
        samples = audio.read(source) if source else speechlike(seconds)
    except (audio.AudioError, ModelError, ValueError) as error:
        _fail(str(error))
    samples = samples[: round(seconds * audio.SAMPLE_RATE)]
    length = len(samples) / audio.SAMPLE_RATE
    table = Table("", *PARTS, "all", "real-time factor", box=None)
    for direction, parts in measure(codec, samples, runs).items():
        all_parts = sum(parts)
        cells = [f"{1000 * part:.0f} ms ({part / all_parts:.0%})" for part in parts]
        table.add_row(direction, *cells, f"{1000 * all_parts:.0f} ms", f"{all_parts / length:.4f}")
    console = Console()
    console.print(f"{codec.version}, level {codec.level}: {length:.2f} s of speech, one core")
    console.print(table)


# ---------------------------------------------------------------------- what the commands share


class _Failure(Exception):
    """What is wrong with one file, in one line that names it."""


def _fail(message: str) -> NoReturn:
    _say(message)
    raise typer.Exit(1)


def _say(message: str) -> None:
    print(f"ecc: {message}", file=sys.stderr)


def _name(path: str, direction: str) -> str:
    return f"standard {direction}" if path == "-" else path


def _jobs(
    paths: list[str], out: Path | None, suffix: str, overwrite: bool
) -> list[tuple[str, str]]:
    """Each input with its output. Nothing is done where any output is not to be written."""
    if out is not None:
        if out.exists() and not out.is_dir():
            _fail(f"{out}: is no folder")
        if "-" in paths:
            _fail("-: standard input has no name that its output in a folder could have")
        jobs = [(source, str(out / f"{Path(source).stem}{suffix}")) for source in paths]
    elif len(paths) == 2:
        jobs = [(paths[0], paths[1])]
    else:
        _fail("give one input and its output, or any number of inputs and --out DIR")
    inputs = {Path(source).resolve() for source, _ in jobs if source != "-"}
    outputs: dict[Path, str] = {}
    problems = []
    for source, target in jobs:
        if target == "-":
            continue
        path = Path(target).resolve()
        if path in inputs:
            problems.append(f"{target}: is an input")
        elif path in outputs:
            problems.append(f"{source}: would become {target}, as would {outputs[path]}")
        elif path.is_dir():
            problems.append(f"{target}: is a folder; --out writes into it")
        elif path.exists() and not path.is_file():
            problems.append(f"{target}: is no regular file; - writes into a pipe")
        elif path.exists() and not overwrite:
            problems.append(f"{target}: exists; --overwrite replaces it")
        outputs[path] = source
    for problem in problems:
        _say(problem)
    if problems:
        raise typer.Exit(1)
    return jobs


def _work_through(
    jobs: list[tuple[str, str]], work: Callable[[str, str, "Progress | _Unseen"], None]
) -> None:
    """Do the work of every job; one that fails does not keep the others from being done."""
    failed = False
    for number, (source, target) in enumerate(jobs, start=1):
        try:
            with _progress(f"{number}/{len(jobs)}" if len(jobs) > 1 else "") as progress:
                work(source, target, progress)
        except BrokenPipeError:  # nobody reads on
            raise
        except (_Failure, ValueError, OSError) as error:
            failed = True
            _say(_reason(source, error))
    raise typer.Exit(int(failed))


def _reason(source: str, error: Exception) -> str:
    from ecc.audio import AudioError

    if isinstance(error, (_Failure, AudioError)):
        return str(error)
    reason = error.strerror if isinstance(error, OSError) else error
    return f"{_name(source, 'input')}: {reason}"


class _Unseen:
    """In the place of a bar that nobody would see move, and for which nothing is imported."""

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def add_task(self, description: str, total: float | None = None) -> None:
        """Nothing to show."""

    def track(
        self, pieces: Iterable[Piece], total: float | None = None, description: str = ""
    ) -> Iterable[Piece]:
        """The pieces as they come."""
        return pieces


def _progress(prefix: str = "") -> "Progress | _Unseen":
    """A bar on stderr while something is worked on; none where nobody would see it move."""
    if not sys.stderr.isatty():
        return _Unseen()
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn(prefix), TextColumn("{task.description}", markup=False)
    return Progress(
        *columns,
        BarColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
        transient=True,
    )


def _play(
    source: str, model: str | None, models: Path | None, progress: "Progress | _Unseen"
) -> None:
    """Decode to standard output piece by piece, so that what follows need not wait for the end."""
    from ecc import audio, streaming
    from ecc.model.files import ModelError

    output = sys.stdout.buffer
    with nullcontext(sys.stdin.buffer) if source == "-" else Path(source).open("rb") as file:
        try:
            reader = streaming.open(file, model=model, models=models)
        except ModelError as error:
            raise ValueError(error) from None
        start = reader.read(1)  # nothing comes out of what is damaged from its start
        output.write(_wave_header(reader.samples))
        total = reader.codec.codec.count_chunks(reader.samples)
        for block in progress.track(chain([start], reader), total, description=source):
            output.write(audio.to_int16(block).astype("<i2").tobytes())
            output.flush()
    _say(f"standard output: {reader.samples / audio.SAMPLE_RATE:.2f} s")


def _wave_header(samples: int) -> bytes:
    """Of a WAV with so many samples, 16 kHz, mono, 16 bit; if it cannot say that many, without an
    end."""
    size = min(2 * samples, 2**32 - 37)
    form = 1, 1, 16000, 32000, 2, 16  # PCM, channels, samples and bytes a second, ...
    return struct.pack(
        "<4sI8sI2H2I2H4sI", b"RIFF", 36 + size, b"WAVEfmt ", 16, *form, b"data", size
    )


@contextmanager
def _open(source: str) -> Iterator[BinaryIO]:
    """A file, or all of standard input; seekable."""
    if source != "-":
        with Path(source).open("rb") as file:
            yield file
    else:
        with tempfile.TemporaryFile() as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
            file.seek(0)
            yield file


@contextmanager
def _output(target: str, suffix: str) -> Iterator[Path]:
    """A path whose file becomes `target`, or goes to standard output, once it is whole."""
    from ecc.files import atomic_path

    if target == "-":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"output{suffix}"
            yield path
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return
    try:
        with atomic_path(target) as path:
            yield path
    except OSError as error:
        raise _Failure(f"{target}: {error.strerror}") from None
