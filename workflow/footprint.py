"""What coding takes where only the wheel is installed, and where an earlier version runs in the
environment of the study.

    python workflow/footprint.py COMMIT

makes the wheel, installs it into an empty environment, and codes something like speech there and
with the sources of COMMIT in the environment that runs this. reports/footprint.csv has the sizes,
times and memory, which docs/cli.md shows. Times are those of the processor with one thread, start
and end of the process included, the fewest of several runs: other work on the machine does not
count.
"""

import os
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from tqdm import tqdm

from ecc import audio
from ecc.bench import speechlike
from ecc.model.files import models_folder
from ecc.tables import write_table

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path("reports/footprint.csv")
SECONDS = (10, 60)
# The program as an installed one begins; before there was a function for it, the commands.
ECC = "from ecc import cli; getattr(cli, 'run', cli.app)()"
# Runs a command and prints what it took. A process of its own: the most memory of a child counts
# that of its parent when it began.
TAKE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
took = resource.getrusage(resource.RUSAGE_CHILDREN)
print(took.ru_utime + took.ru_stime, took.ru_maxrss)
"""


def main(
    before: Annotated[str, typer.Argument(help="Commit that it is compared with.")],
    runs: Annotated[int, typer.Option(min=1, help="Runs of which the least counts.")] = 3,
) -> None:
    """Write the table."""
    here = os.environ | {"OMP_NUM_THREADS": "1", "ECC_MODELS": str(models_folder().resolve())}
    with TemporaryDirectory() as name:
        folder = Path(name)
        for seconds in SECONDS:
            audio.write(folder / f"{seconds}.wav", np.asarray(speechlike(seconds)))
        archive = subprocess.run(["git", "archive", before, "src"], stdout=subprocess.PIPE)
        if archive.returncode:
            sys.exit(f"footprint: there is no commit {before}")
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
            tar.extractall(folder / "before", filter="data")
        study = here | {"PYTHONPATH": str(folder / "before/src")}
        python = _install(folder)
        environments = {
            f"study, {before[:7]}": (sys.executable, study),
            "wheel": (python, {k: v for k, v in here.items() if k != "PYTHONPATH"}),
        }
        rows = []
        with tqdm(total=2 * len(SECONDS) * len(environments), disable=None) as progress:
            for label, (python, environment) in environments.items():
                size = _megabytes(python, environment)
                for what, seconds, took in _code(python, environment, folder, runs):
                    rows.append(
                        {"environment": label, "installed_mb": size, "command": what}
                        | {"seconds": seconds, "cpu_seconds": took[0], "memory_mb": took[1]}
                    )
                    progress.update()
        write_table(TABLE, pd.DataFrame(rows))


def _install(folder: Path) -> str:
    """Python of an empty environment with the wheel."""
    subprocess.run([sys.executable, ROOT / "workflow/package.py", folder], check=True)
    venv.create(folder / "empty", with_pip=True)
    python = str(folder / "empty/bin/python")
    (wheel,) = folder.glob("*.whl")
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    subprocess.run(
        [python, "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools", "pip"], check=True
    )
    return python


def _code(
    python: str, environment: Mapping[str, str], folder: Path, runs: int
) -> Iterator[tuple[str, int, tuple[float, float]]]:
    """Each command, the seconds that it codes, and what it took."""
    for seconds in SECONDS:
        for what, source, target in (("encode", "wav", "ecc"), ("decode", "ecc", "out.wav")):
            arguments = [what, f"{seconds}.{source}", f"{seconds}.{target}", "--overwrite"]
            command = [python, "-W", "ignore", "-c", ECC, *arguments]
            took = [_take(command, environment, folder) for _ in range(runs + 1)]
            yield what, seconds, (min(t for t, _ in took), max(m for _, m in took))


def _take(command: list[str], environment: Mapping[str, str], folder: Path) -> tuple[float, float]:
    """Seconds of the processor and the most memory in MB that a command took."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", TAKE, *command],
        env=environment, cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"footprint: {done.stderr}")
    cpu, kilobytes = map(float, done.stdout.split()[-2:])
    return cpu, 1.024 * kilobytes / 1000


def _megabytes(python: str, environment: Mapping[str, str]) -> float:
    """Of all that is installed."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    command = [python, "-c", code]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    files = (path for path in Path(done.stdout.strip()).rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files) / 1e6


if __name__ == "__main__":
    typer.run(main)
