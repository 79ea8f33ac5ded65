"""Opus with LACE or NoLACE, the neural enhancement of libopus 1.5's decoder (Büthe et al., 2024).

The decoder is the npm package @wasm-audio-decoders/opus-ml, in a process of Node.js.
"""

import json
import struct
import subprocess
import weakref
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from ecc.codecs.base import find_program, split_packets
from ecc.codecs.opus import Opus
from ecc.errors import CodecUnavailable

INSTALL = "Node.js and the npm package (Debian nodejs npm; then `npm ci`)"
ENHANCEMENTS = ("lace", "nolace")
FAILED = 2**32 - 1


class OpusMl(Opus):
    """Opus at a target of `bitrate` bit/s, forced to wideband, which the enhancement is made for.

    `enhancement` is "lace" or "nolace". The npm package is looked for in the folder `node_modules`
    of the current one, where `npm ci` installs it. One process of Node.js decodes all streams of
    an instance, since each start of it takes longer than decoding an utterance.
    """

    def __init__(self, bitrate: int, enhancement: str, frame_ms: int = 20) -> None:
        if enhancement not in ENHANCEMENTS:
            raise ValueError(f"enhancements are {', '.join(ENHANCEMENTS)}, not {enhancement!r}")
        super().__init__(bitrate, frame_ms, wideband=True)
        node = find_program("node", INSTALL)
        # Named here, where `validate` reads it: another version is another codec.
        package, version = npm_package("@wasm-audio-decoders/opus-ml")
        self.version += f", opus-ml {version}"
        script = Path(__file__).with_name("opus_ml.mjs")
        self._command = [node, str(script), str(package), enhancement]
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        packets = split_packets(stream)  # a truncated stream is an error
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            weakref.finalize(self, _end, self._process)
        requests = cast(IO[bytes], self._process.stdin)
        answers = cast(IO[bytes], self._process.stdout)
        try:
            requests.write(struct.pack("<I", len(stream)) + stream)
            requests.flush()
        except BrokenPipeError:
            raise RuntimeError("node ended unexpectedly") from None
        count = int.from_bytes(_read(answers, 4), "little")
        if count == FAILED:
            raise RuntimeError("opus-ml: a packet cannot be decoded")
        samples = np.frombuffer(_read(answers, 4 * count), dtype="<f4").astype(np.float32)
        if len(samples) != len(packets) * self.frame:
            raise RuntimeError(f"opus-ml decoded {len(samples)} samples of {len(packets)} packets")
        return samples


def npm_package(name: str) -> tuple[Path, str]:
    """Where an npm package is installed, and its version.

    Raises `CodecUnavailable` where it is not.
    """
    package = Path.cwd() / "node_modules" / name
    if not (package / "package.json").exists():
        raise CodecUnavailable(f"npm package {name} not in node_modules; install {INSTALL}")
    return package, json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]


def _read(answers: IO[bytes], size: int) -> bytes:
    data = answers.read(size)
    if len(data) < size:
        raise RuntimeError("node ended unexpectedly")
    return data


def _end(process: subprocess.Popen[bytes]) -> None:
    process.communicate()  # closes its standard input, at which it ends
