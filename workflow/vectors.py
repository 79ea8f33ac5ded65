"""Build an archive that another implementation of the format is tested against.

    python workflow/vectors.py vectors.zip

It has the page of the format, the reference decoder, the models, streams of synthetic signals with
all that they say, and streams that are to be refused; docs/format.md describes it. A model of
tokens takes the model that it stands on: `--model rvq --model rvq-coded`. With `--speech`
recordings are coded too; what is made of them may be passed on as far as they may.
"""

import copy
import hashlib
import json
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save
from tqdm import tqdm

from ecc import audio
from ecc.bench import speechlike
from ecc.codecs.ecc import EccCodec
from ecc.files import atomic_path
from ecc.model.config import CHUNK_FRAMES, MAX_SKIP
from ecc.model.files import DEFAULT, ModelError, find_model
from ecc.model.fixed_point import STEP
from ecc.stream import ID_BYTES, VERSION, Header, covered, pack_chunk, unpack_chunks

ROOT = Path(__file__).resolve().parents[1]
COPIES = (ROOT / "docs/format.md", ROOT / "examples/reference_decoder.py")
MOMENT = (1980, 1, 1, 0, 0, 0)  # of every file in the archive, so that it is the same every time

Signals = Mapping[str, NDArray[np.float32]]


def main(
    out: Annotated[Path, typer.Argument(help="The archive, .zip.")],
    model: Annotated[list[str] | None, typer.Option(help="A model; may be repeated.")] = None,
    speech: Annotated[list[Path] | None, typer.Option(help="A recording to code as well.")] = None,
) -> None:
    """Write the archive."""
    try:
        paths = [find_model(name) for name in model or [DEFAULT]]
        codecs = [EccCodec(path) for path in paths]
        recordings = {f"recording-{path.stem}": audio.read(path) for path in speech or []}
    except (ModelError, audio.AudioError, OSError) as error:
        sys.exit(f"vectors: {error}")
    if len(recordings) < len(speech or []) or len({one.trained.name for one in codecs}) < len(
        codecs
    ):
        sys.exit("vectors: two recordings, or two models, have the same name")
    check_whole(codecs)
    files = {path.name: path.read_bytes() for path in COPIES}
    models: dict[str, object] = {}
    for path, codec in zip(paths, codecs, strict=True):
        name = codec.trained.name
        files[f"{name}.safetensors"] = path.read_bytes()
        streams: dict[str, object] = {}
        made = dict(tqdm(coded(codec, recordings), desc=name, unit="stream", disable=None))
        for case, stream in made.items():
            said = meaning(codec, stream)
            streams[case] = {"stream": sha256(stream)} | {
                part: sha256(values.tobytes()) for part, values in said.items()
            }
            files[f"{name}/{case}.ecc"] = stream
            files[f"{name}/{case}.safetensors"] = save(said)
        wrong = refused(codec, made["speech-0"], made["chunks"])
        files |= {f"{name}/refused/{case}.ecc": stream for case, stream in wrong.items()}
        models[name] = {
            "sha256": sha256(files[f"{name}.safetensors"]),
            "streams": streams,
            "refused": list(wrong),
        }
    index = {"version": VERSION, "models": models}
    files["index.json"] = (json.dumps(index, indent=2) + "\n").encode()
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, MOMENT), data, zipfile.ZIP_DEFLATED)


def check_whole(codecs: list[EccCodec]) -> None:
    """Refuse models that take what is not among these."""
    digests = {codec.trained.digest.hex() for codec in codecs}
    for codec in codecs:
        path = codec.trained.path
        if codec.trained.config.transform.kind != "stft":
            sys.exit(f"vectors: {path}: stands on networks that are no part of a model file")
        with safe_open(path, framework="np") as file:
            base = json.loads(file.metadata()["ecc"]).get("base")
        if base not in {None, *digests}:
            sys.exit(f"vectors: {path}: stands on another model: name that too, with --model")


def coded(codec: EccCodec, recordings: Signals) -> Iterator[tuple[str, bytes]]:
    """Streams by the names of their signals: speech at all levels, and what is at an edge."""
    frame, levels = codec.codec.transform.samples_per_frame, codec.codec.config.levels
    middle, speech = levels // 2, speechlike(100 * frame / audio.SAMPLE_RATE)
    noise = np.random.default_rng(0).uniform(-1, 1, 50 * frame).astype(np.float32)
    edges = {
        "none": speech[:0],
        "one": np.full(1, 0.5, np.float32),
        "silence": np.zeros(50 * frame, np.float32),
        "noise": noise,
        "clipping": np.sign(noise),
        "chunks": speechlike((CHUNK_FRAMES + 40) * frame / audio.SAMPLE_RATE),
    }
    for level in range(levels):
        yield f"speech-{level}", encode(codec, speech, level)
    for name, samples in edges.items():
        yield name, encode(codec, samples, middle)
    for name, samples in recordings.items():
        for level in range(levels):
            yield f"{name}-{level}", encode(codec, samples, level)
    if not codec.codec.config.rvq.stages:
        for skip, level in ((0, 0), (MAX_SKIP, levels - 1)):
            other = copy.copy(codec)
            other.skip = skip
            yield f"skip-{skip}", encode(other, speech, level)


def encode(codec: EccCodec, samples: NDArray[np.float32], level: int) -> bytes:
    """The stream of a signal at one level."""
    return b"".join(codec.encode_chunks(samples, level))


def meaning(codec: EccCodec, stream: bytes) -> dict[str, NDArray[Any]]:
    """What a stream says, all chunks one after the other, and the samples that come of it."""
    latents = [latent for latent in codec.latents(stream) if latent is not None]
    said: dict[str, list[NDArray[Any]]] = {
        "symbols": [latent.symbols for latent in latents],
        "y_hat": [latent.y_hat / STEP for latent in latents],
    }
    if not codec.codec.config.rvq.stages:
        said["z"] = [latent.z for latent in latents]
        said["indexes"] = [latent.indexes for latent in latents]
    arrays = {name: np.concatenate(parts).astype("<i4") for name, parts in said.items() if parts}
    return arrays | {"samples": audio.to_int16(codec.decode(stream)).astype("<i2")}


def refused(codec: EccCodec, whole: bytes, chunks: bytes) -> dict[str, bytes]:
    """Streams that each break one rule of the format, by a name for it, out of one of a single
    chunk and one of two."""
    (header, start, [payload]), (_, both, pair) = apart(codec, whole), apart(codec, chunks)
    first = len(start)
    bent = bytes([payload[0] ^ 1]) + payload[1:]

    def sealed(start: bytes, payload: bytes) -> bytes:
        """One chunk with a right checksum, whatever it holds."""
        return start + pack_chunk(start, 0, payload)

    def spelt(varint: bytes) -> bytes:
        """The same number in one byte more than it takes."""
        return varint[:-1] + bytes([varint[-1] | 0x80, 0])

    other = replace(header, samples=header.samples - 1).pack()
    length = spelt(whole[first : len(whole) - len(payload) - 1])
    checksum = zlib.crc32(covered(start, 0) + length + payload) & 0xFF
    return {
        "version": whole[:1] + b"\xc2" + whole[2:],
        "sample-rate": sealed(replace(header, sample_rate=8000).pack(), payload),
        "sample-rate-code": whole[:2] + b"\xf5" + whole[3:],
        "level": sealed(replace(header, level=255).pack(), payload),
        "another-model": sealed(replace(header, model_id=bytes(ID_BYTES)).pack(), payload),
        "fewer-samples": other + whole[first:],
        "fewer-samples-with-their-checksum": sealed(other, payload),
        "samples-in-more-bytes": sealed(
            start[: 4 + ID_BYTES] + spelt(start[4 + ID_BYTES :]), payload
        ),
        "length-in-more-bytes": start + length + bytes([checksum]) + payload,
        "cut-in-the-header": whole[: first - 1],
        "cut-behind-the-header": start,
        "cut-in-a-chunk": whole[:-1],
        "more-behind-the-last-chunk": whole + b"\x01",
        "a-bit": start + whole[first:].replace(payload, bent),
        "a-bit-with-its-checksum": sealed(start, bent),
        "a-zero-at-the-end-of-a-payload": sealed(start, payload + b"\0"),
        "no-payload": sealed(start, b""),
        "a-word-too-many": sealed(start, bytes(3) + b"\1" + payload),
        "chunks-in-another-order": both
        + pack_chunk(both, 1, pair[1])
        + pack_chunk(both, 0, pair[0]),
    }


def apart(codec: EccCodec, stream: bytes) -> tuple[Header, bytes, list[bytes]]:
    """The header, its bytes, and the payload of each chunk."""
    header, at = Header.unpack(stream)
    payloads = unpack_chunks(stream, at, codec.codec.count_chunks(header.samples))
    return header, stream[:at], [payload for payload in payloads if payload is not None]


def sha256(data: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    try:
        typer.run(main)
    except OSError as error:
        sys.exit(f"vectors: {error}")
