"""How fast a model of params.yaml trains, part by part.

    python workflow/throughput.py ecc

takes a few steps of its training from the start, with one thread, and writes nothing. Seconds are
those of the processor: other work on the machine does not count.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from ecc import params
from ecc.bench import Place, median_times
from ecc.speech import SAMPLE_RATE
from ecc.train.trainer import Run, Trainer


def main(
    model: str,
    steps: Annotated[int, typer.Option(min=1, help="Steps of which the median counts.")] = 9,
) -> None:
    """Print what a step of training MODEL takes."""
    torch.set_num_threads(1)
    study = params.load()
    config, codec, training = study.model(model)
    with TemporaryDirectory() as folder:
        run = Run(
            name=model,
            codec=codec,
            train=training,
            lmbda=config.lmbda,
            manifest=Path("data/corpus/manifest.csv"),
            speech=Path("data/speech"),
            checkpoints=Path(folder),
            logs=Path(folder),
            weights=Path(folder) / "model.safetensors",
            identity="",
        )
        try:
            trainer = Trainer(run, torch.device("cpu"), world=1, rank=0)
        except (OSError, ValueError) as error:
            sys.exit(f"throughput: {error}")
    places: list[Place] = [
        ("crops", trainer.crops, ("batch",)),
        ("analysis", trainer.codec.transform, ("analyse",)),
        ("entropy model" if config.lmbda else "quantizer", trainer.codec.entropy, ("forward",)),
        ("synthesis", trainer.codec.transform, ("synthesise",)),
        ("distortion", trainer.distortion, ("forward",)),
        ("backward", torch.Tensor, ("backward",)),
        *(
            (f"optimizer: {type(optimizer).__name__}", optimizer, ("step",))
            for optimizer in trainer.optimizers
        ),
    ]
    times = median_times(trainer._train_step, places, "the rest", steps)
    seconds, total = training.batch * trainer.samples / SAMPLE_RATE, sum(times.values())
    table = Table("part of a step", "seconds", "share", "seconds for one of speech", box=None)
    for part, value in {**times, "all": total}.items():
        table.add_row(part, f"{value:.4f}", f"{value / total:.0%}", f"{value / seconds:.5f}")
    console = Console()
    console.print(table)
    console.print(f"{seconds / total:.1f} seconds of speech in a second of one core")


if __name__ == "__main__":
    typer.run(main)
