"""Streams whose every byte is settled: a small model, latents, their streams and hashes of what
they say. `pytest tests/golden --regenerate` writes them anew, for a new version of the format.
"""

import hashlib
import json
import lzma
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ecc.audio import to_int16
from ecc.codecs.ecc import EccCodec
from ecc.model.codec import ECC
from ecc.model.config import CodecConfig, EntropyConfig, TransformConfig
from ecc.model.fixed_point import STEP
from ecc.model.weights import save_model
from ecc.runtime.entropy import Latent
from ecc.stream import VERSION

FOLDER = Path(__file__).parent
MODEL = FOLDER / "model.safetensors.xz"
RECORD = FOLDER / "streams.json"
LATENTS = FOLDER / "latents.npz"

Voice = Callable[..., NDArray[np.float32]]
CASES: dict[str, tuple[Callable[[Voice], NDArray[np.floating]], int]] = {
    # Samples, made by the fixture `voice`, and quality level of each stream.
    "voice-0": (lambda voice: voice(0.5), 0),
    "voice-1": (lambda voice: voice(0.5), 1),
    "two-chunks": (lambda voice: voice(4.15), 0),
    "silence": (lambda _: np.zeros(3000), 1),
    "one": (lambda _: np.full(1, 0.5), 1),
    "none": (lambda _: np.zeros(0), 0),
    "noise": (lambda _: np.random.default_rng(0).uniform(-1, 1, 2000), 1),
    "dc": (lambda _: np.full(2000, 0.5), 0),
    "clipping": (lambda voice: 8 * voice(0.2, seed=1), 1),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden streams anew")


@pytest.fixture(scope="session")
def golden(pytestconfig, voice, tmp_path_factory) -> dict[str, Any]:
    """The record of the golden streams."""
    if pytestconfig.getoption("--regenerate", False):
        regenerate(voice, tmp_path_factory.mktemp("model"))
    return json.loads(RECORD.read_text())


def golden_model(folder: Path) -> Path:
    """The golden model as a file in `folder`."""
    path = folder / "golden.safetensors"
    path.write_bytes(lzma.decompress(MODEL.read_bytes()))
    return path


def hashes(latents: Iterable[Latent]) -> dict[str, str]:
    """SHA-256 of the symbols of all chunks, with the tables they use, and of y_hat."""
    symbols, y_hat = hashlib.sha256(), hashlib.sha256()
    for latent in latents:
        for part in (latent.z, latent.indexes, latent.symbols):
            symbols.update(part.astype("<i4").tobytes())
        y_hat.update((latent.y_hat / STEP).astype("<i4").tobytes())
    return {"symbols": symbols.hexdigest(), "y_hat": y_hat.hexdigest()}


def heard(samples: NDArray[np.float32]) -> str:
    """SHA-256 of samples in 16 bits."""
    return hashlib.sha256(to_int16(samples).astype("<i2").tobytes()).hexdigest()


def regenerate(voice: Voice, folder: Path) -> None:
    """Write streams, latents and hashes; the model too, if it is not there."""
    if not MODEL.exists():
        path = folder / "new.safetensors"
        save_model(_untrained(), path, "golden", [1.0, 4.0], {})
        MODEL.write_bytes(lzma.compress(path.read_bytes(), preset=9))
    path = golden_model(folder)
    record, latents = {}, {}
    for name, (make, level) in CASES.items():
        samples = make(voice).astype(np.float32).clip(-1, 1)
        codec = EccCodec(path, level)
        stream = codec.encode(samples)
        (FOLDER / f"{name}.ecc").write_bytes(stream)
        for number, y in enumerate(codec.codec.analyse_chunks(samples, level)):
            latents[f"{name}.{number}"] = y.astype(np.float32)
        record[name] = {
            "samples": len(samples),
            "level": level,
            "stream": hashlib.sha256(stream).hexdigest(),
            **hashes(latent for latent in codec.latents(stream) if latent is not None),
            "heard": heard(codec.decode(stream)),
        }
    np.savez_compressed(LATENTS, **latents)
    RECORD.write_text(json.dumps({"version": VERSION, "streams": record}, indent=2) + "\n")


def _untrained() -> ECC:
    """A codec with random weights that uses all there is: several scales, skip, escapes, z."""
    torch.manual_seed(0)
    config = CodecConfig(
        transform=TransformConfig(
            n_fft=64, hop=32, width=8, hidden=8, analysis_blocks=1, synthesis_blocks=1, channels=8
        ),
        entropy=EntropyConfig(slices=4, width=12, z_channels=3, taps=[3, 3]),
        levels=2,
    )
    codec = ECC(config).eval().requires_grad_(False)
    for name, parameter in codec.named_parameters():
        if "level" in name or "shift" in name or "gain" in name:
            parameter.normal_(std=0.3)
        if "parameter_nets" in name or "lrp_nets" in name:
            parameter.normal_(std=0.35 if name.endswith("weight") else 2.0)
        if name == "transform.g_a.head.weight":
            parameter.mul_(6)
        if name == "entropy.h_a.2.weight":
            parameter.mul_(30)
    return codec
