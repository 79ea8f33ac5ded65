"""Decodes that others published, in the place of a codec that cannot be run here."""

import hashlib
import json
import re
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecc.audio import SAMPLE_RATE, to_int16
from ecc.codecs.base import Codec, from_int16
from ecc.errors import CodecUnavailable
from ecc.speech import read_clip
from ecc.tables import read_table, records

FOLDER = Path("data/corpus/decodes")  # see ecc.data.corpus.build


class Published(Codec):
    """What one codec made of certain references, as published with them.

    A reference is known by its samples. No stream was published: the one here is the length of
    the reference (32 bits, little-endian) and the published samples (int16). Its bits are the
    nominal rate times the seconds of the reference.

    Args:
        source: a source of `params.yaml` that has the references and the decodes; the split of
            the latter is `decoded`.
        reference: the names of the references: column `clip` behind `SOURCE__`, with {} for each
            part that a reference and its decode have in common.
        decoded: the names of the decodes, with the same parts in the same order.
        kbps: the nominal rate.

    Raises:
        CodecUnavailable: the source was not fetched, or could not be.
        ValueError: the names do not hold {} equally often, or not at all.
    """

    rate = "nominal"

    def __init__(self, source: str, reference: str, decoded: str, kbps: float) -> None:
        if not reference.count("{}") == decoded.count("{}") > 0:
            raise ValueError(f"{reference!r} and {decoded!r} must hold {{}} equally often")
        self.kbps = kbps
        facts, self._samples = FOLDER / f"{source}.json", FOLDER / f"{source}.s16"
        if not facts.exists():
            raise CodecUnavailable(f"source {source} was not fetched; add it to study.sources")
        about = json.loads(facts.read_text(encoding="utf-8"))
        if not about["available"]:
            raise CodecUnavailable(f"source {source} could not be reached: {about['reason']}")
        self.version = f"{source} {about['version'][:12]}"
        clips = {row["clip"]: row for row in records(read_table(FOLDER / f"{source}.csv"))}
        pattern = re.compile("(.+?)".join(map(re.escape, f"{source}__{reference}".split("{}"))))
        self._decodes = {}
        for name, clip in clips.items():
            if common := pattern.fullmatch(name):
                decode = clips.get(f"{source}__{decoded.format(*common.groups())}")
                if decode is not None:
                    self._decodes[_digest(read_clip(self._samples, clip))] = decode

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        """Raises LookupError when no decode of these samples was published."""
        decode = self._decodes.get(_digest(to_int16(samples)))
        if decode is None:
            raise LookupError("no decode of this reference was published")
        return struct.pack("<I", len(samples)) + read_clip(self._samples, decode).tobytes()

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        return from_int16(np.frombuffer(stream, dtype="<i2", offset=4))

    def bits(self, stream: bytes) -> int:
        (samples,) = struct.unpack_from("<I", stream)
        return round(1000 * self.kbps * samples / SAMPLE_RATE)


def _digest(samples: npt.NDArray[np.int16]) -> bytes:
    return hashlib.sha256(samples.astype("<i2").tobytes()).digest()
