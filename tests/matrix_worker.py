"""A process of `tests/test_matrix.py`: encodes under its own settings, decodes under several.

    python matrix_worker.py MODEL FOLDER NAME

FOLDER holds clips as .npy. Streams go to FOLDER/NAME; then, when a line comes in, all streams of
FOLDER are decoded. Writes FOLDER/NAME.json, hashes of what each said, to NumPy and, given the same
symbols, to PyTorch under several settings, and of the 16-bit samples of the own ones; and
FOLDER/NAME.npz, what float32 makes of the same symbols.
"""

import hashlib
import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecc.audio import to_int16
from ecc.codecs.ecc import EccCodec
from ecc.model.entropy import EntropyModel
from ecc.model.fixed_point import STEP
from ecc.model.weights import load_networks
from ecc.runtime.entropy import Latent
from ecc.stream import Header

# Of PyTorch: threads, oneDNN, and whether bfloat16 is the order of the day.
SETTINGS = {
    "one thread": (1, True, False),
    "two threads": (2, True, False),
    "no oneDNN": (2, False, False),
    "autocast": (1, True, True),
}


class Replay:
    """Hands known symbols to the walk, for any number of sequences at once."""

    def __init__(self, symbols: Tensor, slices: int, groups: list[slice]) -> None:
        self.symbols = iter(
            part[:, frames] for part in symbols.chunk(slices, dim=-1) for frames in groups
        )
        self.indexes: list[Tensor] = []

    def __call__(self, residual: Tensor | None, index: Tensor) -> Tensor:
        self.indexes.append(index.round())
        return next(self.symbols)


@torch.inference_mode()
def replay(entropy: EntropyModel, latents: list[Latent], levels: list[int]) -> list[Latent]:
    """What PyTorch finds where latents of equal length, all in one batch, say the same symbols."""
    dtype = entropy.psi_level.weight.dtype
    symbols, z = (
        torch.from_numpy(np.stack([getattr(latent, part) for latent in latents])).to(dtype)
        for part in ("symbols", "z")
    )
    psi = entropy._psi(z if z.numel() else None, symbols.shape[1], torch.tensor(levels))
    code = Replay(symbols, entropy.config.slices, entropy.groups)
    y_hat = entropy.walk(psi, torch.zeros_like(symbols), None, code)
    found = []
    for i, latent in enumerate(latents):
        indexes = entropy.join_steps([step[i].numpy() for step in code.indexes])
        found.append(replace(latent, y_hat=y_hat[i].numpy(), indexes=indexes.astype(np.int32)))
    return found


def digest(latents: list[Latent]) -> str:
    """Of all that was decoded, and all that decided how."""
    whole = hashlib.sha256()
    for latent in latents:
        for part in (latent.z, latent.indexes, latent.symbols):
            whole.update(part.astype("<i4").tobytes())
        whole.update((latent.y_hat / STEP).astype("<i4").tobytes())
    return whole.hexdigest()


def heard(samples: NDArray[np.floating]) -> str:
    """Of the samples, in 16 bits."""
    return hashlib.sha256(to_int16(samples).astype("<i2").tobytes()).hexdigest()


def main(model: Path, folder: Path, name: str) -> None:
    codec = EccCodec(model)
    top = codec.codec.config.levels - 1
    clips = {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}
    (folder / name).mkdir()
    for clip, samples in clips.items():
        for level in {0, top}:
            stream = b"".join(codec.encode_chunks(samples, level))
            (folder / name / f"{clip}.{level}").write_bytes(stream)
    print("encoded", flush=True)
    sys.stdin.readline()

    streams = {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("*/*.*"))
    }
    own = {path.name: path.read_bytes() for path in sorted((folder / name).iterdir())}
    said = {stream: list(codec.latents(data)) for stream, data in streams.items()}
    levels = {stream: Header.unpack(data)[0].level for stream, data in streams.items()}
    hashes = {stream: {"NumPy": digest(latents)} for stream, latents in said.items()}
    samples = {stream: {"NumPy": heard(codec.decode(data))} for stream, data in own.items()}

    trained = load_networks(codec.trained)
    entropy = trained.entropy
    for setting, (threads, onednn, autocast) in SETTINGS.items():
        torch.set_num_threads(threads)
        torch.backends.mkldnn.enabled = onednn
        with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
            for stream, latents in said.items():
                level = [levels[stream]]
                found = [replay(entropy, [latent], level)[0] for latent in latents]
                hashes[stream][setting] = digest(found)

    # All chunks of equal length, of all clips and levels, in one batch.
    torch.set_num_threads(2)
    torch.backends.mkldnn.enabled = True
    chunks = [
        (stream, number, latent)
        for stream, latents in said.items()
        for number, latent in enumerate(latents)
    ]
    transform = load_networks(codec.trained).transform.float()
    for stream in own:
        (latent, *_), level = said[f"{name}/{stream}"], torch.tensor([levels[f"{name}/{stream}"]])
        y_hat = torch.from_numpy(latent.y_hat)[None].float()
        with torch.inference_mode():
            samples[stream]["float32"] = heard(transform.synthesise(y_hat, level)[0].numpy())
    rough = load_networks(codec.trained).entropy.float()
    floats, in_batch = {}, {}
    for frames in {len(latent.symbols) for *_, latent in chunks}:
        batch = [chunk for chunk in chunks if len(chunk[2].symbols) == frames]
        latents, of_each = [latent for *_, latent in batch], [levels[name] for name, *_ in batch]
        exact, together = replay(entropy, latents, of_each), replay(rough, latents, of_each)
        for i, (stream, number, latent) in enumerate(batch):
            in_batch[stream, number] = exact[i]
            (alone,) = replay(rough, [latent], [of_each[i]])
            for company, found in (("alone", alone), ("batch", together[i])):
                floats[f"{stream} {number} {company} y_hat"] = found.y_hat
                floats[f"{stream} {number} {company} index"] = found.indexes
    for stream, latents in said.items():
        hashes[stream]["batch"] = digest([in_batch[stream, i] for i in range(len(latents))])
    (folder / f"{name}.json").write_text(json.dumps({"said": hashes, "heard": samples}))
    np.savez(folder / f"{name}.npz", **floats)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
