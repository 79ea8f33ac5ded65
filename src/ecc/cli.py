"""The command `ecc`: pack speech into `.ecc` files and back."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(
    help="ECC: an entropy-constrained neural speech codec.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
MODELS = Path("data/models")

ModelOption = Annotated[str | None, typer.Option(help="Name of a trained model, or its file.")]
ModelsOption = Annotated[Path, typer.Option(help="Folder of trained models.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]


def _fail(message: str) -> NoReturn:
    typer.echo(f"ecc: {message}", err=True)
    raise typer.Exit(1)


def _check_output(target: Path, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        _fail(f"{target}: exists; --overwrite replaces it")


# PyTorch takes seconds to import: only the commands that need a model do.


@app.command()
def encode(
    source: Path,
    target: Path,
    model: ModelOption = None,
    models: ModelsOption = MODELS,
    overwrite: Overwrite = False,
) -> None:
    """Encode the audio file SOURCE (any rate; downmixed to mono) into TARGET."""
    from ecc import audio
    from ecc.codecs.ecc import EccCodec
    from ecc.files import atomic_path
    from ecc.model.weights import ModelError, find_model, list_models

    _check_output(target, overwrite)
    try:
        if model is None:
            names = [path.stem for path in list_models(models)]
            _fail(f"--model is needed, one of: {', '.join(names) or f'none in {models}'}")
        samples = audio.read(source)
        stream = EccCodec(find_model(model, models)).encode(samples)
    except (audio.AudioError, ModelError, ValueError) as error:
        _fail(str(error))
    with atomic_path(target) as temporary:
        temporary.write_bytes(stream)
    seconds = max(len(samples), 1) / audio.SAMPLE_RATE
    typer.echo(
        f"{target}: {len(stream)} bytes, {seconds:.2f} s, "
        f"{8 * len(stream) / seconds / 1000:.3f} kbps",
        err=True,
    )


@app.command()
def decode(
    source: Path,
    target: Path,
    model: ModelOption = None,
    models: ModelsOption = MODELS,
    overwrite: Overwrite = False,
) -> None:
    """Decode the `.ecc` file SOURCE into the audio file TARGET (its suffix says the format).

    Without --model, the model that made the stream is looked for by its id.
    """
    from ecc import audio
    from ecc.codecs.ecc import EccCodec
    from ecc.model.weights import ModelError, find_model, find_model_by_id
    from ecc.stream import Stream, StreamError

    _check_output(target, overwrite)
    try:
        data = source.read_bytes()
        wanted = Stream.unpack(data).model_id
        path = find_model(model, models) if model else find_model_by_id(wanted, models)
        audio.write(target, EccCodec(path).decode(data))
    except OSError as error:
        _fail(f"{source}: {error.strerror}")
    except StreamError as error:
        _fail(f"{source}: {error}")
    except (audio.AudioError, ModelError) as error:
        _fail(str(error))


@app.command()
def inspect(source: Path) -> None:
    """Print what the header of the `.ecc` file SOURCE says, and where its bytes went."""
    from ecc.audio import SAMPLE_RATE
    from ecc.stream import Stream, StreamError

    try:
        data = source.read_bytes()
        stream = Stream.unpack(data)
    except OSError as error:
        _fail(f"{source}: {error.strerror}")
    except StreamError as error:
        _fail(f"{source}: {error}")
    seconds = stream.samples / SAMPLE_RATE
    payload = sum(len(chunk) for chunk in stream.chunks)
    table = Table(show_header=False, box=None)
    table.add_row("model", stream.model_id.hex())
    table.add_row("samples", f"{stream.samples} ({seconds:.3f} s at {SAMPLE_RATE} Hz)")
    table.add_row("skip threshold", str(stream.skip))
    table.add_row("chunks", str(len(stream.chunks)))
    table.add_row("bytes", f"{len(data)}: payload {payload}, overhead {len(data) - payload}")
    if seconds:
        table.add_row("rate", f"{8 * len(data) / seconds / 1000:.3f} kbps")
    Console().print(table)


@app.command("models")
def show_models(models: ModelsOption = MODELS) -> None:
    """List the trained models."""
    from ecc.model.weights import list_models, load_model

    table = Table("name", "id", "lambda", "parameters", box=None)
    paths = list_models(models)
    if not paths:
        _fail(f"no models in {models}; `dvc pull` fetches the trained ones")
    for path in paths:
        trained = load_model(path)
        parameters = sum(p.numel() for p in trained.codec.parameters())
        table.add_row(
            trained.name, trained.digest[:4].hex(), f"{trained.lmbda:g}", f"{parameters:,}"
        )
    Console().print(table)
