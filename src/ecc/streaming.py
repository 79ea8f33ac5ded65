"""Coding piece by piece, from and to file-like objects, in bounded memory.

>>> import ecc
>>> with ecc.open("speech.ecc", "w", level=0) as file:
...     for block in (samples[:5000], samples[5000:]):
...         file.write(block)
>>> with ecc.open("speech.ecc") as file:
...     first, rest = file.read(100), file.read()
>>> len(first), len(first) + len(rest) == len(samples)
(100, True)

The bytes are those of `EccCodec.encode` of all samples, and the samples those of its `decode`.

An `.ecc` file begins with its length, which the checks of every chunk cover. So a `Writer` that is
told how many samples will come writes each chunk (of about 20 s) once the 16 latent frames behind
it are there; one that is not told holds the samples in a temporary file, and codes them when it is
closed. A `Reader` gives the samples of a chunk once it has the next one too.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecc.codecs.ecc import EccCodec
from ecc.files import atomic_path
from ecc.model.config import CONTEXT_FRAMES
from ecc.model.files import find_model
from ecc.model.rans import CodingError
from ecc.shipped import find, find_for
from ecc.stream import ID_BYTES, MAX_CHUNK_BYTES, Header, StreamError, covered, pack_chunk

if TYPE_CHECKING:
    from typing import Self  # not before Python 3.11

BLOCK = 2**18  # samples that are read back at a time


@overload
def open(
    file: str | os.PathLike[str] | BinaryIO,
    mode: Literal["r"] = "r",
    *,
    model: str | EccCodec | None = None,
    models: str | Path | None = None,
) -> "Reader": ...


@overload
def open(
    file: str | os.PathLike[str] | BinaryIO,
    mode: Literal["w"],
    *,
    model: str | EccCodec | None = None,
    level: int | None = None,
    skip: int | None = None,
    samples: int | None = None,
    models: str | Path | None = None,
) -> "Writer": ...


def open(
    file: str | os.PathLike[str] | BinaryIO,
    mode: Literal["r", "w"] = "r",
    *,
    model: str | EccCodec | None = None,
    level: int | None = None,
    skip: int | None = None,
    samples: int | None = None,
    models: str | Path | None = None,
) -> "Reader | Writer":
    """An `.ecc` file to read samples from or to write samples to.

    Args:
        file: its path, or an open binary file, which need not be seekable and stays open: a pipe,
            the file of a socket, `io.BytesIO`. A path that is written to is whole or not there.
        mode: "r" or "w".
        model: as of `ecc.load`, or what that returned, so that many files load it once. If None,
            reading takes the model that the file names.
        level, skip, models: as of `ecc.load`, whose codec has its own.
        samples: how many will be written, if that is known.

    Raises:
        ecc.model.files.ModelError: no such model, or a damaged file.
        ecc.stream.StreamError: the header is none, or of another model.
        ValueError: the model has no such level, no stream holds that threshold, or another mode.
        OSError: the file cannot be opened.
    """
    folder = None if models is None else Path(models)
    with ExitStack() as stack:
        if mode == "w":
            if not isinstance(model, EccCodec):
                model = EccCodec(find(find_model, model, folder), level, skip)
            if isinstance(file, str | os.PathLike):
                file = stack.enter_context(stack.enter_context(atomic_path(file)).open("wb"))
            return Writer(file, model, samples, stack.pop_all())
        if mode != "r":
            raise ValueError(f"a file is opened to read (r) or to write (w), not {mode!r}")
        if isinstance(file, str | os.PathLike):
            file = stack.enter_context(Path(file).open("rb"))
        start = _read(file, 4 + ID_BYTES) + _varint(file)
        header, _ = Header.unpack(start)
        if not isinstance(model, EccCodec):
            model = EccCodec(find_for(model, header.model_id, folder))
        return Reader(file, model, header, stack.pop_all())


class _File:
    """What is closed at the end, and what to do before: nothing if an error ends the block."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._stack.__exit__(kind, error, traceback)

    def close(self) -> None:
        """Close the file, if it was opened by its path."""
        self._stack.close()


class Writer(_File):
    """Encodes what is written; `ecc.open(file, "w")` makes it."""

    def __init__(
        self, file: BinaryIO, codec: EccCodec, samples: int | None, stack: ExitStack
    ) -> None:
        super().__init__(stack)
        self.codec = codec
        self.samples = 0  # written so far
        self._file, self._closed = file, False
        self._encoding = None if samples is None else _Encoding(file, codec, samples)
        if samples is None:
            self._held = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115

    def write(self, samples: ArrayLike) -> None:
        """The next samples, [T], any number of them, float32, 16 kHz, mono; beyond ±1 they are
        clipped.

        Raises:
            ValueError: they are not a finite one-dimensional array, more than were promised, or the
                file is closed.
        """
        x = np.asarray(samples, dtype=np.float32)
        if x.ndim != 1:
            raise ValueError(f"expected mono samples [T], got an array of shape {x.shape}")
        if not np.isfinite(x).all():
            raise ValueError("the samples hold NaN or infinite values")
        if self._closed:
            raise ValueError("the file is closed")
        if self._encoding is not None:
            self._encoding.take(x.clip(-1, 1))
        else:
            self._held.write(x.clip(-1, 1).tobytes())
        self.samples += len(x)

    def close(self) -> None:
        """Encode what is left, and close the file, if it was opened by its path.

        Raises:
            ValueError: fewer samples were written than promised; a path is not there then.
        """
        if self._closed:
            return
        self._closed = True
        with self._stack:  # an error leaves no file
            if self._encoding is None:
                self._encoding = _Encoding(self._file, self.codec, self.samples)
                self._held.seek(0)
                while data := self._held.read(4 * BLOCK):
                    self._encoding.take(np.frombuffer(data, np.float32))
            self._encoding.finish()


class _Encoding:
    """Writes the stream of `samples` samples, each chunk as soon as all that it takes is there.

    It is also that signal, of which `Coder.compress_chunks` takes the length, and slices in order.
    """

    def __init__(self, file: BinaryIO, codec: EccCodec, samples: int) -> None:
        header = Header(codec.model_id, samples, codec.level, codec.skip).pack()
        coder = codec.codec
        self._file, self._samples = file, samples
        self._start, self._there = 0, 0  # samples that are no longer kept, and that have come
        self._kept = [np.zeros(0, np.float32)]
        self._needed = self._needs(coder.chunks(samples), coder.transform.samples_per_frame)
        self._next = next(self._needed, None)
        places = (covered(header, number) for number in count())
        coded = coder.compress_chunks(self, codec.level, codec.skip, places)  # type: ignore[arg-type]
        self._pieces = (
            pack_chunk(header, number, payload) for number, (payload, _) in enumerate(coded)
        )
        self._put(header)

    def _put(self, piece: bytes) -> None:
        self._file.write(piece)
        self._file.flush()  # somebody may listen

    def _needs(self, layout: Iterator[int], step: int) -> Iterator[tuple[int, int]]:
        """Of each chunk the first sample that it takes, and the one behind the last."""
        start = 0
        for frames in layout:
            first, last = max(0, start - CONTEXT_FRAMES), start + frames + CONTEXT_FRAMES
            yield first * step, min(last * step, self._samples)
            start += frames

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, part: slice) -> NDArray[np.float32]:
        return self._kept[0][part.start - self._start : part.stop - self._start]

    def take(self, x: NDArray[np.float32]) -> None:
        """The next samples."""
        if self._there + len(x) > self._samples:
            raise ValueError(f"more than the {self._samples} samples that were promised")
        self._there += len(x)
        self._kept.append(x)
        while self._next and self._next[1] <= self._there:
            first, _ = self._next
            self._kept = [np.concatenate(self._kept)[first - self._start :]]
            self._start = first
            self._put(next(self._pieces))
            self._next = next(self._needed, None)

    def finish(self) -> None:
        """All samples have come."""
        if self._there < self._samples:
            raise ValueError(f"{self._there} samples were written of the {self._samples} promised")


class Reader(_File):
    """Decodes what is read; `ecc.open(file)` makes it. Iterating gives blocks of a chunk each.

    What is damaged raises `ecc.stream.StreamError` when reading comes to it: the samples before it
    have been given by then, as `EccCodec.decode` would not.
    """

    def __init__(self, file: BinaryIO, codec: EccCodec, header: Header, stack: ExitStack) -> None:
        super().__init__(stack)
        self.codec, self.header = codec, header
        # Whether the model can decode it is asked of a stream of no samples with the same header.
        list(codec.latents(replace(header, samples=0).pack()))
        latents = _latents(file, codec, header)
        chunks = codec.codec.synthesise_chunks(latents, header.samples, header.level)
        self._blocks = (x_hat.clip(-1, 1).astype(np.float32) for x_hat in chunks)
        self._left = np.zeros(0, np.float32)

    @property
    def samples(self) -> int:
        """Length of the signal, by the header."""
        return self.header.samples

    def read(self, samples: int = -1) -> NDArray[np.float32]:
        """The next samples, float32 [T], mono, 16 kHz: as many as asked for, all that are left if
        that is negative; fewer, and at last none, at the end.

        Raises:
            ecc.stream.StreamError: the stream is damaged, or goes on behind its last chunk.
        """
        parts = [self._left]
        there = len(self._left)
        while (samples < 0 or there < samples) and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            there += len(block)
        x = parts[0] if len(parts) == 1 else np.concatenate(parts)
        end = len(x) if samples < 0 else samples
        self._left = x[end:]
        return x[:end]

    def __iter__(self) -> "Self":
        return self

    def __next__(self) -> NDArray[np.float32]:
        if len(self._left):
            block, self._left = self._left, self._left[:0]
            return block
        return next(self._blocks)


def _latents(file: BinaryIO, codec: EccCodec, header: Header) -> Iterator[NDArray[np.float64]]:
    """y_hat of each chunk as it is read."""
    start, chunks = header.pack(), codec.codec.count_chunks(header.samples)
    for number, frames in enumerate(codec.codec.chunks(header.samples)):
        name = f"chunk {number + 1} of {chunks}"
        length = _varint(file)
        size = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(length))
        if size > MAX_CHUNK_BYTES:
            raise StreamError(f"impossible length of {size} bytes in {name}")
        rest = _read(file, 1 + size)  # with the checksum
        if not length or len(rest) < 1 + size:
            raise StreamError(f"cut short in {name}")
        if length + rest != pack_chunk(start, number, rest[1:]):
            raise StreamError(f"{name} is damaged")
        place = covered(start, number)
        try:
            said = codec.codec.decompress(rest[1:], frames, header.level, header.skip, place)
        except CodingError as error:
            raise StreamError(f"{name}: {error}") from None
        yield said.y_hat
    if file.read(1):
        raise StreamError("bytes too many behind the last chunk")


def _read(file: BinaryIO, size: int) -> bytes:
    """`size` bytes, or fewer at the end; a raw file may give them bit by bit."""
    data = b""
    while len(data) < size and (part := file.read(size - len(data))):
        data += part
    return data


def _varint(file: BinaryIO) -> bytes:
    """The bytes of a varint, of at most six."""
    data = b""
    while len(data) < 6 and (byte := file.read(1)):
        data += byte
        if byte < b"\x80":
            break
    return data
