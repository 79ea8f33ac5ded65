"""Do other machines make the same bits of the same speech?

    python workflow/machines.py

What a machine is, is feigned by capping the instruction sets of NumPy and OpenBLAS, and those of
PyTorch, oneDNN and MKL, by which models around Lyra's latent are heard. Each one
encodes validation and test speech, and decodes what the first encoded. reports/machines.csv counts
the clips of which the file, and the samples of 16 bits, are those that the first has.
"""

import hashlib
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from unittest.mock import patch

import pandas as pd
import typer
from tqdm import tqdm

from ecc.audio import to_int16
from ecc.codecs.base import from_int16
from ecc.codecs.ecc import EccCodec
from ecc.model.files import ModelError, find_model
from ecc.speech import read_clip
from ecc.tables import read_table, write_table

# The environment of each; of the threads of PyTorch too.
MACHINES = {
    "own": {"OMP_NUM_THREADS": "1"},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "avx2": {
        "OMP_NUM_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "sse": {
        "OMP_NUM_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL "
        "AVX2 FMA3 F16C AVX",
        "OPENBLAS_CORETYPE": "Nehalem",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
    },
}
TABLE = Path("reports/machines.csv")
MIN_SECONDS, MAX_SECONDS = 2.0, 6.0


class Coded(NamedTuple):
    """What a machine made of a clip with one model."""

    stream: bytes
    decode: str  # SHA-256 of the samples, in 16 bits, of the first machine's stream


def main(
    models: Annotated[list[str] | None, typer.Argument(help="ecc, rvq, lyra-ecc-tuned")] = None,
    clips: Annotated[int, typer.Option(min=1, help="Clips of validation and test speech.")] = 200,
) -> None:
    """Compare the machines, with the MODELS at all of their levels in turn."""
    names = models or ["ecc", "rvq", "lyra-ecc-tuned"]
    try:
        paths = {name: str(find_model(name).resolve()) for name in names}
        table = read_table(Path("data/corpus/manifest.csv"))
    except (ModelError, OSError) as error:
        sys.exit(f"machines: {error}")
    heard = table["split"].isin(["valid", "test"])
    rows = table[heard & table["seconds"].between(MIN_SECONDS, MAX_SECONDS)]
    jobs: list[Any] = rows.sample(min(clips, len(rows)), random_state=0).to_dict("records")
    counts: list[dict[str, Any]] = []
    with tqdm(total=len(MACHINES) * len(jobs), unit="clip", disable=None) as progress:
        own = _code(jobs, paths, "own", None, progress)
        for machine in MACHINES:
            if machine == "own":
                continue
            both = list(zip(own, _code(jobs, paths, machine, own, progress), strict=True))
            counts += [
                {
                    "machine": machine,
                    "model": name,
                    "clips": len(jobs),
                    "same_streams": sum(a[name].stream == b[name].stream for a, b in both),
                    "same_decodes": sum(a[name].decode == b[name].decode for a, b in both),
                }
                for name in names
            ]
            write_table(TABLE, pd.DataFrame(counts))  # a killed run leaves the machines that it had


def _code(
    jobs: list[Any],
    paths: Mapping[str, str],
    machine: str,
    own: list[dict[str, Coded]] | None,
    progress: tqdm,
) -> list[dict[str, Coded]]:
    """What a machine makes of each clip; `own` is what the first did, None for the first itself."""
    progress.set_description(machine)
    found = []
    # The libraries read their caps as they load: each machine is a process of its own.
    with (
        patch.dict(os.environ, MACHINES[machine]),
        ProcessPoolExecutor(1, get_context("spawn"), _load, (paths,)) as pool,
    ):
        for coded in pool.map(_code_clip, count(), jobs, own or [None] * len(jobs)):
            found.append(coded)
            progress.update()
    return found


_codecs: dict[str, EccCodec] = {}


def _load(paths: Mapping[str, str]) -> None:
    _codecs.update({name: EccCodec(path) for name, path in paths.items()})


def _code_clip(number: int, job: dict[str, Any], own: dict[str, Coded] | None) -> dict[str, Coded]:
    samples = from_int16(read_clip(Path("data/speech", job["source"], "speech.s16"), job))
    found = {}
    for name, codec in _codecs.items():
        level = number % codec.codec.config.levels
        stream = b"".join(codec.encode_chunks(samples, level))
        heard = to_int16(codec.decode(stream if own is None else own[name].stream))
        found[name] = Coded(stream, hashlib.sha256(heard.astype("<i2").tobytes()).hexdigest())
    return found


if __name__ == "__main__":
    typer.run(main)
