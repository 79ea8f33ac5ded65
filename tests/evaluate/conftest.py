import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecc.audio import to_int16
from ecc.codecs.base import CodecEntry
from ecc.evaluate.processes import _single_threaded

# Quantizes to 8 bits behind a delay of 25 samples; refuses what is very short.
TOY = """
import numpy as np
from ecc.codecs.base import Codec
from ecc.errors import CodecUnavailable

class Toy(Codec):
    def __init__(self, step, version="1", model=None):
        self.step, self.version = step, version
        if step == 0:
            raise CodecUnavailable("libtoy not found; install toys")
    def encode(self, samples):
        if len(samples) < 1000:
            raise RuntimeError("too\\nshort for me")
        levels = np.clip(np.rint(samples / self.step), -127, 127)
        return np.pad(levels, (25, 0)).astype(np.int8).tobytes()
    def decode(self, stream):
        return np.frombuffer(stream, np.int8).astype(np.float32) * self.step
    def encode_estimated(self, samples):
        return self.encode(samples), 7.0 * len(samples)
"""


@pytest.fixture(scope="session", autouse=True)
def workers():
    """Load what the processes of all tests need once, into the server that they are forked from."""
    context = multiprocessing.get_context("forkserver")
    libraries = ["scipy.signal", "pesq", "pystoi", "onnxruntime", "torchaudio.transforms"]
    context.set_forkserver_preload(["ecc.evaluate.scores", *libraries])
    with _single_threaded(), ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(int).result()


@dataclass
class Study:
    """A tiny study below a temporary folder: two test sets, five utterances, a toy codec."""

    root: Path
    module: str
    test_sets: dict[str, pd.DataFrame]

    @property
    def config(self):
        """The toy's entry of `codecs`."""
        points = {"fine": {"step": 1 / 127}, "coarse": {"step": 1 / 10}}
        return CodecEntry(**{"class": f"{self.module}:Toy", "label": "Toy", "points": points})


@pytest.fixture
def study(tmp_path, monkeypatch, voice):
    module = f"toy_{abs(hash(tmp_path)):x}"
    (tmp_path / f"{module}.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    seconds = {"a": [1.5, 2.0, 1.2], "b": [1.1, 0.01]}
    tables = {}
    (tmp_path / "speech").mkdir()
    for name, lengths in seconds.items():
        rows, start, samples = [], 0, []
        for number, length in enumerate(lengths):
            samples.append(to_int16(voice(length, seed=number)))
            rows.append(
                {
                    "clip": f"{number:03}",  # a name that looks like a number
                    "source": "synthetic",
                    "speaker": f"{number % 2}",
                    "language": "en",
                    "split": "test",
                    "licence": "",
                    "seconds": length,
                    "start": start,
                    "samples": len(samples[-1]),
                }
            )
            start += len(samples[-1])
        tables[name] = pd.DataFrame(rows)
        np.concatenate(samples).astype("<i2").tofile(tmp_path / "speech" / f"{name}.s16")
    yield Study(tmp_path, module, tables)
    sys.modules.pop(module, None)
