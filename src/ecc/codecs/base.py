"""What a codec is to the study: one interface, and what its adapters share.

Everything downstream (encoding, decoding, scoring, reporting) sees only `Codec`.
"""

import ctypes
import importlib
import math
import shutil
import struct
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from ecc.config import Config
from ecc.errors import CodecUnavailable

if TYPE_CHECKING:
    from typing import Self  # not before Python 3.11


class Codec(ABC):
    """A speech codec at one operating point.

    Encoding and decoding happen in different processes: whatever `decode` needs is in the
    stream or in the arguments of the constructor. The constructor raises `CodecUnavailable`
    when a library or program is missing.
    """

    version: str
    """Version of the library or of the trained model."""

    rate: ClassVar[Literal["measured", "nominal", "none"]] = "measured"
    """Nominal where the bits are not counted but what others say they were; none for a ceiling,
    whose quality alone means something."""

    @abstractmethod
    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        """Code `samples` (float32 [T], mono, 16 kHz, in [-1, 1], T ≥ 1)."""

    @abstractmethod
    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        """Samples (float32 [T'], mono, 16 kHz); T' may differ from T by delay and framing."""

    def bits(self, stream: bytes) -> int:
        """Bits that count for the rate: the coded payload without framing added for storage."""
        return 8 * len(stream)

    def encode_estimated(self, samples: npt.NDArray[np.float32]) -> tuple[bytes, float]:
        """What `encode` makes of `samples`, and the bits that it should take by the codec's own
        probability model, −log2 likelihood; NaN if it has none."""
        return self.encode(samples), math.nan


class CodecEntry(Config):
    """One entry of `codecs` in `params.yaml`: a class and its operating points.

    A codec of this study has `variant` in place of `points`: every quality level of every
    trained model of that variant is a point, constructed with `{"model": path, "level": n}`.
    `test_sets` are those it codes; None is all of the study that are of test speakers. `kind` is
    what the report groups it with; those of this study are a group of their own, and a control is
    in tables, but in no figure and no mean. An ablation names its `anchor`, the full codec at the
    same budget: it is compared with that one alone.
    """

    class_: str = Field(alias="class", pattern=r"^[\w.]+:\w+$")
    label: str
    points: dict[str, dict[str, Any]] | None = None
    variant: str | None = None
    kind: Literal["conventional", "neural", "control"] = "conventional"
    test_sets: list[str] | None = None
    anchor: str | None = None

    @model_validator(mode="after")
    def _either_points_or_variant(self) -> "Self":
        if (self.points is None) == (self.variant is None):
            raise ValueError("give either points or variant")
        for name in self.points or {}:
            if not name or not all(c.isalnum() or c in "._+-" for c in name) or name[0] == ".":
                raise ValueError(f"point {name!r}: a point also names a folder: [A-Za-z0-9._+-]")
        return self

    def resolve_points(self, models: Mapping[str, tuple[str, int]]) -> dict[str, dict[str, Any]]:
        """Constructor arguments of each point; `models` gives the variant of every model and
        the number of its quality levels."""
        if self.points is not None:
            return self.points
        return {
            f"{name}.{level}" if levels > 1 else name: {
                "model": f"data/models/{self.variant}/{name}.safetensors",
                "level": level,
            }
            for name, (variant, levels) in models.items()
            if variant == self.variant
            for level in range(levels)
        }


def codec_class(spec: str) -> type[Codec]:
    """The class that `spec`, "module:Class", names; ValueError if there is no such codec.

    Modules are also looked for in the current folder, where a study keeps codecs of its own.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # a script's path starts in the folder of the script
    module_name, _, name = spec.partition(":")
    try:
        cls = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"codec {spec!r} cannot be imported: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, Codec)):
        raise ValueError(f"codec {spec!r} is not a subclass of ecc.codecs.base.Codec")
    return cls


def load_codec(spec: str, kwargs: Mapping[str, Any]) -> Codec:
    """Construct the codec "module:Class" with `kwargs`: any importable subclass of `Codec`.

    Raises `CodecUnavailable` (library missing) or ValueError (no such class, wrong arguments).
    """
    cls = codec_class(spec)
    try:
        return cls(**kwargs)
    except TypeError as error:
        raise ValueError(f"codec {spec!r} with {dict(kwargs)}: {error}") from error


def from_int16(pcm: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """int16 → float32 in [-1, 1), the inverse of `ecc.audio.to_int16`."""
    return np.asarray(pcm, dtype=np.float32) / np.float32(32768.0)


def pad_to_frames(samples: npt.NDArray[Any], frame: int, delay: int) -> npt.NDArray[Any]:
    """`samples` [T] as [frames, frame], with zeros behind that flush a delay of `delay` samples."""
    count = -(-(len(samples) + delay) // frame)
    return np.pad(samples, (0, count * frame - len(samples))).reshape(count, frame)


def join_packets(packets: Iterable[bytes]) -> bytes:
    """Packets of any size, each behind its length (16 bit, little-endian), as one stream."""
    return b"".join(struct.pack("<H", len(packet)) + packet for packet in packets)


def split_packets(stream: bytes) -> list[bytes]:
    """The inverse of `join_packets`; ValueError if the stream ends inside a packet."""
    packets, at = [], 0
    while at < len(stream):
        start = at + 2
        at = start + int.from_bytes(stream[at:start], "little")
        if at > len(stream) or start > len(stream):
            raise ValueError("truncated stream: it ends inside a packet")
        packets.append(stream[start:at])
    return packets


def load_library(paths: Sequence[str | None], install: str) -> ctypes.CDLL:
    """The first shared library of `paths` that loads; `CodecUnavailable` naming `install`."""
    for path in paths:
        if path is not None:
            try:
                return ctypes.CDLL(path)
            except OSError:
                continue
    name = next((path for path in reversed(paths) if path is not None), "library")
    raise CodecUnavailable(f"{name} cannot be loaded; install {install}")


def find_program(name: str, install: str) -> str:
    """Path of the program `name`; `CodecUnavailable` naming `install`."""
    path = shutil.which(name)
    if path is None:
        raise CodecUnavailable(f"program {name} not found; install {install}")
    return path


def pipe(command: Sequence[str], data: bytes) -> bytes:
    """What `command` writes to stdout when `data` is its stdin; RuntimeError if it fails."""
    result = subprocess.run(command, input=data, capture_output=True, check=False)
    if result.returncode != 0:
        lines = result.stderr.decode(errors="replace").split("\n")
        message = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        raise RuntimeError(f"{Path(command[0]).name} failed ({result.returncode}): {message}")
    return result.stdout


def debian_version(package: str) -> str:
    """Version of an installed Debian package, for libraries that cannot tell their own."""
    if sys.platform == "linux" and (query := shutil.which("dpkg-query")):
        command = [query, "--show", "--showformat=${Version}", package]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode == 0 and result.stdout:
            return result.stdout
    return "unknown"
