"""Any codec that comes as two commands: one encodes a WAV file, the other decodes to one."""

import hashlib
import shlex
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecc import audio
from ecc.codecs.base import Codec, find_program, pipe

INPUT, OUTPUT = "{input}", "{output}"


class Command(Codec):
    """A codec behind an `encode` and a `decode` command, run without a shell.

    `{input}` and `{output}` stand for files: a WAV file (16 kHz, mono, 16 bit) and the coded
    file to encode, the coded file and a WAV file (any rate; it is resampled) to decode. Commands
    are split into words as a shell would (quotes, backslashes), then the names are filled in, so
    that names with spaces need no care. All bytes of the coded file count. The version is a
    digest of the files that the commands name, so that another program, script or model of the
    same name is coded again.

    Args:
        encode, decode: the commands.
        suffix: of the coded file, for programs that go by it.

    Raises:
        CodecUnavailable: a program is missing.
        ValueError: a command lacks a placeholder or has an open quote.
    """

    def __init__(self, encode: str, decode: str, suffix: str = ".bin") -> None:
        self._encode = _words("encode", encode)
        self._decode = _words("decode", decode)
        self.suffix = suffix
        digest = hashlib.sha256()
        for word in [*self._encode, *self._decode]:
            if Path(word).is_file():
                digest.update(hashlib.sha256(Path(word).read_bytes()).digest())
        self.version = f"sha256 {digest.hexdigest()[:8]}"

    def encode(self, samples: npt.NDArray[np.float32]) -> bytes:
        """Raises RuntimeError with the last words of a command that fails or writes nothing."""
        with tempfile.TemporaryDirectory(prefix="ecc-") as folder:
            speech, coded = Path(folder, "speech.wav"), Path(folder, "coded" + self.suffix)
            audio.write(speech, samples)
            _run("encode", self._encode, speech, coded)
            return coded.read_bytes()

    def decode(self, stream: bytes) -> npt.NDArray[np.float32]:
        """Raises RuntimeError like `encode`, and `AudioError` for what is no audio."""
        with tempfile.TemporaryDirectory(prefix="ecc-") as folder:
            coded, decoded = Path(folder, "coded" + self.suffix), Path(folder, "decoded.wav")
            coded.write_bytes(stream)
            _run("decode", self._decode, coded, decoded)
            return audio.read(decoded)


def _words(name: str, command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"{name} command {command!r}: {error}") from None
    for placeholder in (INPUT, OUTPUT):
        if not any(placeholder in word for word in words):
            raise ValueError(f"{name} command {command!r} has no {placeholder}")
    return [find_program(words[0], f"it, or correct the {name} command"), *words[1:]]


def _run(name: str, words: list[str], source: Path, target: Path) -> None:
    # One pass over each word: a file's name is never searched for placeholders.
    command = [
        str(target).join(part.replace(INPUT, str(source)) for part in word.split(OUTPUT))
        for word in words
    ]
    pipe(command, b"")
    if not target.exists() or not target.stat().st_size:
        raise RuntimeError(f"the {name} command wrote no {{output}}")
