"""A process of `tests/test_matrix.py`: encodes under its own settings, decodes under several.

    python matrix_worker.py MODEL FOLDER NAME

FOLDER holds clips as .npy. Streams go to FOLDER/NAME; then, when a line comes in, all streams of
FOLDER are decoded. Writes FOLDER/NAME.json, hashes of what each said under each setting and of the
16-bit samples of the own ones, and FOLDER/NAME.npz, what float32 makes of the same symbols.
"""

import hashlib
import json
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ecc.audio import to_int16
from ecc.codecs.ecc import EccCodec
from ecc.model.entropy import EntropyModel, Latent
from ecc.model.exact import STEP
from ecc.stream import Header

# Threads, oneDNN, and whether bfloat16 is the order of the day.
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


def replay(
    entropy: EntropyModel, latents: list[Latent], levels: list[int]
) -> tuple[Tensor, Tensor]:
    """y_hat and scale indexes of latents of equal length, all in one batch."""
    dtype = entropy.psi_level.weight.dtype
    symbols, z = (
        torch.from_numpy(np.stack([getattr(latent, part) for latent in latents])).to(dtype)
        for part in ("symbols", "z")
    )
    psi = entropy._psi(z if z.numel() else None, symbols.shape[1], torch.tensor(levels))
    code = Replay(symbols, entropy.config.slices, entropy.groups)
    y_hat = entropy.walk(psi, None, code)
    indexes = [
        entropy.join_steps([step[i].numpy() for step in code.indexes]) for i in range(len(levels))
    ]
    return y_hat, torch.from_numpy(np.stack(indexes))


def digest(latents: list[Latent]) -> str:
    """Of all that was decoded, and all that decided how."""
    whole = hashlib.sha256()
    for latent in latents:
        for part in (latent.z, latent.indexes, latent.symbols):
            whole.update(part.astype("<i4").tobytes())
        whole.update((latent.y_hat / STEP).numpy().astype("<i4").tobytes())
    return whole.hexdigest()


def heard(codec: EccCodec, stream: bytes) -> str:
    """Of the samples, in 16 bits."""
    return hashlib.sha256(to_int16(codec.decode(stream)).astype("<i2").tobytes()).hexdigest()


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
    hashes: dict[str, dict[str, str]] = {stream: {} for stream in streams}
    samples: dict[str, dict[str, str]] = {stream: {} for stream in own}
    for setting, (threads, onednn, autocast) in SETTINGS.items():
        torch.set_num_threads(threads)
        torch.backends.mkldnn.enabled = onednn
        context = torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext()
        with context:
            for stream, data in streams.items():
                hashes[stream][setting] = digest(list(codec.latents(data)))
            for stream, data in own.items():
                samples[stream][setting] = heard(codec, data)

    # All chunks of equal length, of all clips and levels, in one batch.
    torch.set_num_threads(2)
    torch.backends.mkldnn.enabled = True
    chunks = [
        (stream, number, Header.unpack(data)[0].level, latent)
        for stream, data in streams.items()
        for number, latent in enumerate(codec.latents(data))
    ]
    in_batch = {(stream, number): latent for stream, number, _, latent in chunks}
    entropy = codec.codec.entropy
    in_float32 = EccCodec(model)
    in_float32.codec.transform.float()
    for stream, data in own.items():
        samples[stream]["float32"] = heard(in_float32, data)
    rough = in_float32.codec.entropy.float()
    floats = {}
    with torch.inference_mode():
        for frames in {len(latent.symbols) for *_, latent in chunks}:
            batch = [chunk for chunk in chunks if len(chunk[3].symbols) == frames]
            latents, levels = [chunk[3] for chunk in batch], [chunk[2] for chunk in batch]
            y_hat, indexes = replay(entropy, latents, levels)
            for i, (stream, number, level, latent) in enumerate(batch):
                found = indexes[i].numpy().astype(np.int32)
                in_batch[stream, number] = Latent(y_hat[i][None], latent.z, latent.symbols, found)
                alone = replay(rough, [latent], [level])
                floats[f"{stream} {number} alone y_hat"] = alone[0][0]
                floats[f"{stream} {number} alone index"] = alone[1][0]
            together = replay(rough, latents, levels)
            for i, (stream, number, *_) in enumerate(batch):
                floats[f"{stream} {number} batch y_hat"] = together[0][i]
                floats[f"{stream} {number} batch index"] = together[1][i]
    for stream in streams:
        whole = [latent for (own, _), latent in in_batch.items() if own == stream]
        hashes[stream]["batch"] = digest(whole)
    (folder / f"{name}.json").write_text(json.dumps({"said": hashes, "heard": samples}))
    np.savez(folder / f"{name}.npz", **{key: value.numpy() for key, value in floats.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
