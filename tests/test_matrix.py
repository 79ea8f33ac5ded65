"""A stream decodes to the same symbols and the same y_hat whatever machine, library or company
encodes and decodes it; and every machine makes the same stream, and the same samples of 16 bits.

The former is proven and holds for any weights. The latter is overwhelmingly likely: here it is seen
in a few clips, and in 200 by `workflow/machines.py`.

What a machine is, is feigned by capping the instruction sets of NumPy, OpenBLAS, PyTorch, oneDNN
and MKL. NumPy codes; PyTorch is given the same symbols, and its threads, oneDNN on or off, batches
and autocast vary within each process (`matrix_worker.py`).
"""

import json
import os
import platform
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from golden.conftest import golden_model
from matrix_worker import SETTINGS

import machines
from ecc.model.files import ModelError, list_models, read_model
from ecc.speech import read_clip

DATA = Path(__file__).parents[1] / "data"
WORKER = Path(__file__).parent / "matrix_worker.py"
MACHINES = {name: machines.MACHINES[name] for name in ("own", "avx2", "sse")}


def trained_model() -> Path:
    for path in list_models(DATA / "models"):
        try:
            trained = read_model(path)
        except ModelError:
            continue
        if not trained.config.rvq.stages and trained.config.transform.kind == "stft":
            return path
    pytest.skip("data/models holds no trained model")


def speech(clips: int, seconds: float) -> list[np.ndarray]:
    """Speech of the test speakers, as much of each clip."""
    samples = round(16000 * seconds)
    table = DATA / "corpus" / "manifest.csv"
    if not table.exists():
        pytest.skip("data/corpus holds no speech")
    rows = pd.read_csv(table)
    rows = rows[(rows.samples >= samples) & (rows.split == "test")].sample(clips, random_state=0)
    speech = [
        read_clip(DATA / "speech" / row["source"] / "speech.s16", row)[:samples]
        for row in rows.to_dict("records")
    ]
    return [clip.astype(np.float32) / 32768 for clip in speech]


@pytest.fixture(scope="module", params=["golden", "trained"])
def matrix(request, tmp_path_factory, voice) -> Path:
    """A folder with what each machine said of the streams of all."""
    folder = tmp_path_factory.mktemp("matrix")
    if request.param == "golden":
        model, clips = (
            golden_model(tmp_path_factory.mktemp("model")),
            [voice(1.0, s) for s in (0, 1)],
        )
        clips.append(voice(4.5))
    else:
        model, clips = trained_model(), speech(2, 2.0)
        clips.append(np.concatenate(speech(11, 2.0)))  # more than a chunk
    for number, clip in enumerate(clips):
        np.save(folder / f"{number}.npy", clip)
    workers = {
        name: subprocess.Popen(
            [sys.executable, "-W", "ignore", str(WORKER), str(model), str(folder), name],
            env=os.environ | caps,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, caps in MACHINES.items()
    }
    for worker in workers.values():
        assert worker.stdout.readline() == "encoded\n"
    for worker in workers.values():
        worker.communicate("decode\n")
        assert worker.returncode == 0
    return folder


def results(matrix: Path, name: str) -> dict:
    return json.loads((matrix / f"{name}.json").read_text())


def test_every_machine_decodes_what_every_machine_encodes(matrix):
    said = {name: results(matrix, name)["said"] for name in MACHINES}
    streams = said["own"].keys()
    assert len(streams) >= 2 * 3 * len(MACHINES)
    for stream in streams:
        hashes = {
            (name, setting): value
            for name in MACHINES
            for setting, value in said[name][stream].items()
        }
        assert len(hashes) == len(MACHINES) * (len(SETTINGS) + 2)
        assert len(set(hashes.values())) == 1, (stream, hashes)
    chunked = [stream for stream in streams if (matrix / stream).stat().st_size > 1000]
    assert chunked


def test_every_machine_makes_the_same_stream_and_the_same_samples(matrix):
    heard = {name: results(matrix, name)["heard"] for name in MACHINES}
    assert len(heard["own"]) >= 2 * 3
    for stream in heard["own"]:
        assert len({(matrix / name / stream).read_bytes() for name in MACHINES}) == 1, stream
        hashes = {heard[name][stream]["NumPy"] for name in MACHINES}
        assert len(hashes) == 1, stream


@pytest.mark.skipif(platform.machine() != "x86_64", reason="no instruction sets to cap")
def test_in_float32_they_do_not(matrix):
    # The control: the settings above do change what ordinary arithmetic makes of the same symbols.
    said = {name: np.load(matrix / f"{name}.npz") for name in MACHINES}
    kinds = [(name, company) for name in MACHINES for company in ("alone", "batch")]
    chunks = {key.removesuffix(" alone y_hat") for key in said["own"] if "alone y_hat" in key}
    total, differ = 0, {"y_hat": 0, "index": 0}
    for chunk in chunks:
        for one, other in combinations(kinds, 2):
            for part in differ:
                a, b = (said[name][f"{chunk} {company} {part}"] for name, company in (one, other))
                differ[part] += (a != b).sum()
            total += a.size
    heard = {name: results(matrix, name)["heard"] for name in MACHINES}
    decodes = [{heard[name][s]["float32"] for name in MACHINES} for s in heard["own"]]
    differ["decodes"] = sum(len(hashes) > 1 for hashes in decodes)
    print(f"\nin float32, of {total} comparisons and {len(decodes)} decodes {differ} differ")
    assert differ["y_hat"] and differ["decodes"]
