"""Speech as this package handles it: mono, 16 kHz, float32 in [-1, 1] or int16."""

import errno
import io
import math
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
from numpy.lib.stride_tricks import sliding_window_view

from ecc.files import atomic_path
from ecc.speech import SAMPLE_RATE

# Frames that are read and resampled at a time: an hour of stereo does not lie in memory whole.
BLOCK = 2**18
LOWEST_RATE, HIGHEST_RATE = 1000, 768_000
LARGEST_FILTER = 2**24  # filter bank of a resampler, whose size depends on the ratio of the rates
# Of the filter of a resampler: `resample` says what it is.
CROSSINGS, BETA, ROLLOFF = 64, 14.769656459379492, 0.9475937167399596
# Of the samples of a WAV: writers into a pipe put something from here on, or 0.
UNKNOWN_LENGTH = 0x7FFF0000
MOST_IN_FLAC = 2**36  # frames that the header of a FLAC can promise
LARGEST_OGG_PAGE = 65_307  # bytes


class AudioError(ValueError):
    """A file that cannot be used as speech; the message is one line that names it."""


@dataclass(frozen=True)
class AudioFile:
    """An audio file, open for reading once from its beginning to its end."""

    name: str
    rate: int  # Hz
    channels: int
    frames: Iterator[npt.NDArray[np.float32]]  # blocks [frames, channels]
    notes: list[str] = field(default_factory=list)  # what was found to be odd while it was read

    def mono(self) -> Iterator[npt.NDArray[np.float32]]:
        """The mean of the channels, in blocks [samples].

        Raises `AudioError` when the file is damaged, holds no samples or some are not finite.
        """
        empty, beyond = True, 0
        for frames in self.frames:
            samples = frames[:, 0] if self.channels == 1 else frames.mean(axis=1)
            if not np.isfinite(samples).all():
                raise AudioError(f"{self.name}: samples that are not finite")
            empty = empty and not samples.size
            beyond += int((np.abs(samples) > 1).sum())
            yield samples
        if empty:
            raise AudioError(f"{self.name}: no samples")
        if beyond:
            self.notes.append(f"{beyond} samples beyond full scale are clipped")

    def speech(self) -> npt.NDArray[np.float32]:
        """All of it, float32 [samples], mono, 16 kHz. Errors as of `mono`."""
        return np.concatenate([*resample_blocks(self.mono(), self.rate)])


def open_audio(file: BinaryIO, name: str) -> AudioFile:
    """An audio file, of which the end need not be read before the beginning is used.

    Reads what libsndfile reads (wav, flac, ogg, opus, mp3, ...), raw G.722 (`.g722`), and through
    FFmpeg what else it knows (m4a, webm, ...).

    Args:
        file: seekable; it stays open as long as the recording is read.
        name: stands in errors, and tells raw G.722 by its suffix.

    Raises:
        AudioError: an empty file, no audio, or a sample rate that nothing can be made of.
    """
    if not file.read(1):
        raise AudioError(f"{name}: empty file")
    file.seek(0)
    if name.lower().endswith(".g722"):
        recording = _open_ffmpeg(file, name, "g722")
    else:
        try:
            sound, promised = _open_soundfile(file)
        except soundfile.LibsndfileError as error:
            file.seek(0)
            recording = _open_ffmpeg(file, name, reason=error.error_string)
        else:
            notes: list[str] = []
            frames = _read_soundfile(file, sound, name, promised, notes)
            recording = AudioFile(name, sound.samplerate, sound.channels, frames, notes)
    if recording.rate != SAMPLE_RATE:
        common = math.gcd(recording.rate, SAMPLE_RATE)
        size = recording.rate // common * (SAMPLE_RATE // common)
        if size > LARGEST_FILTER or not LOWEST_RATE <= recording.rate <= HIGHEST_RATE:
            raise AudioError(f"{name}: a sample rate of {recording.rate} Hz is not supported")
    return recording


def read(path: str | os.PathLike[str]) -> npt.NDArray[np.float32]:
    """The speech in a file: float32 [samples], mono, 16 kHz.

    Raises `AudioError` when the file is missing, is no audio, is empty or is not finite.
    """
    try:
        with Path(path).open("rb") as file:
            return open_audio(file, str(path)).speech()
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror}") from None


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raise `AudioError` unless the suffix of `path` names a format that `write` can write."""
    suffix = Path(path).suffix
    if not soundfile.check_format(suffix[1:].upper(), "PCM_16"):
        raise AudioError(f"{path}: cannot write {suffix or 'without a suffix'}; use .wav")


def write(path: str | os.PathLike[str], samples: npt.ArrayLike) -> None:
    """Write speech [samples], float in [-1, 1] or int16, as 16-bit PCM at 16 kHz.

    The suffix chooses the format (`.wav`, `.flac`). The file is whole or not there.
    Raises `AudioError` for a suffix that cannot hold 16-bit PCM, and OSError when the file cannot
    be written.
    """
    write_blocks(path, [samples])


def write_blocks(path: str | os.PathLike[str], blocks: Iterable[npt.ArrayLike]) -> int:
    """`write` the samples of all blocks, one block at a time; returns how many there were."""
    check_suffix(path)
    with (
        atomic_path(path) as temporary,
        soundfile.SoundFile(temporary, "w", SAMPLE_RATE, channels=1, subtype="PCM_16") as file,
    ):
        for samples in blocks:
            try:
                file.write(to_int16(samples))
            # soundfile asserts that the disk took all samples.
            except (soundfile.LibsndfileError, AssertionError):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        frames: int = file.frames
    return frames


def decode(data: bytes, name: str) -> tuple[npt.NDArray[np.float32], int]:
    """The samples, float32 [samples] mono, and the sample rate of an audio file in memory.

    `name` tells raw G.722 by its suffix and stands in the message of an `AudioError`.
    Channels are averaged.
    """
    recording = open_audio(io.BytesIO(data), name)
    return np.concatenate([*recording.mono()]), recording.rate


class _Onward(soundfile.SoundFile):
    """What is read from its beginning to its end.

    Behind each block soundfile seeks to where it is already. A FLAC that does not say how long it
    is fails at its end then, and an MP3, whose frames take bits of those in front, goes on wrong.
    """

    def seekable(self) -> bool:
        """Not to be asked for."""
        return False


class _Presented:
    """A file, open for reading, with other bytes at some places, or longer than it is."""

    def __init__(self, file: BinaryIO, corrections: Mapping[int, bytes], longer: int = 0) -> None:
        self._file, self._corrections, self._longer = file, corrections, longer
        self._from_end = False

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file."""
        self._from_end = whence == os.SEEK_END
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As of a file."""
        return self._file.tell() + (self._longer if self._from_end else 0)

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        start = self._file.tell()
        data = bytearray(self._file.read(size))
        for at, right in self._corrections.items():
            for place, byte in enumerate(right, start=at - start):
                if 0 <= place < len(data):
                    data[place] = byte
        return bytes(data)


def _open_soundfile(file: BinaryIO) -> tuple[soundfile.SoundFile, float | None]:
    """The file for libsndfile, and how many frames it should have, if it says that; infinitely many
    if it says only that there are more than those that are there.
    """
    shown, promised = _open_wav(file)
    sound = _Onward(shown)
    here = file.tell()
    if sound.format == "FLAC" and sound.frames < MOST_IN_FLAC:
        promised = sound.frames
    elif sound.format == "OGG" and not _ends_ogg(file):
        promised = math.inf
    elif sound.format == "MP3" and _says_length_mp3(file):
        promised = sound.frames
    elif sound.format == "MP3":
        # Libsndfile reads no further than the length that it guesses from the size of the file.
        file.seek(0)
        return _Onward(_Presented(file, {}, longer=2**40)), None
    file.seek(here)
    return sound, promised


def _ends_ogg(file: BinaryIO) -> bool:
    """Whether the last page is whole (RFC 3533, section 6). That it says that it is the last is not
    asked: some who write Ogg leave that out.
    """
    file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * LARGEST_OGG_PAGE))
    end = file.read()
    page = end[end.rfind(b"OggS") :]
    if len(page) < 27:
        return False
    return len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])


def _says_length_mp3(file: BinaryIO) -> bool:
    """Whether behind an ID3 tag there is a first frame that says how many there are."""
    file.seek(0)
    tag, size = file.read(10), 0
    for byte in tag[6:]:
        size = size << 7 | byte
    file.seek(10 + size if tag.startswith(b"ID3") else 0)
    found = re.search(rb"(?:Xing|Info).{3}(.)", file.read(2048), re.DOTALL)
    return bool(found and found[1][0] & 1)


def _open_wav(file: BinaryIO) -> tuple[BinaryIO | _Presented, float | None]:
    """The file for libsndfile, and how many frames it should have, if it is a WAV that says so.

    Who writes a WAV into a pipe cannot come back to say how long it became. Libsndfile takes the
    largest length for an unknown one, but 0, which many leave there, for 0.
    """
    size, frame = file.seek(0, os.SEEK_END), 0
    file.seek(0)
    riff, _, wave = struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
    found: tuple[BinaryIO | _Presented, float | None] = file, None
    while (riff, wave) == (b"RIFF", b"WAVE") and len(header := file.read(8)) == 8:
        at = file.tell()
        name, length = struct.unpack("<4sI", header)
        if name == b"fmt ":
            kind, *_, frame = struct.unpack("<HHIIH", file.read(14).ljust(14, b"\0"))
            frame = frame if kind in (1, 3, 0xFFFE) else 0  # PCM of integers, of floats, of either
        elif name == b"data":
            if length == 0 and size > at:
                found = _Presented(file, {4: b"\xff" * 4, at - 4: b"\xff" * 4}), None
            elif frame and length < UNKNOWN_LENGTH:
                found = file, length // frame
            break
        file.seek(at + length + length % 2)
    file.seek(0)
    return found


def _no_audio(name: str, reason: str) -> AudioError:
    return AudioError(f"{name}: no audio that can be read ({reason.rstrip('.')})")


def _read_soundfile(
    file: BinaryIO,
    sound: soundfile.SoundFile,
    name: str,
    promised: float | None,
    notes: list[str],
) -> Iterator[npt.NDArray[np.float32]]:
    """Blocks [frames, channels], and a note where fewer frames come than were promised."""
    read, more = 0, True
    while more:
        frames = np.empty((BLOCK, sound.channels), np.float32)
        try:
            frames = sound.read(out=frames)
            more = len(frames) > 0
        except soundfile.LibsndfileError as error:
            # A frame of a FLAC is damaged, unless the file ends in it: those in front are there.
            if sound.format != "FLAC" or file.read(1):
                raise _no_audio(name, error.error_string) from None
            frames, more = frames[: sound.tell() - read], False
            promised = math.inf if promised is None else promised
        read += len(frames)
        if len(frames):
            yield frames
    if promised is not None and read < promised:
        of = "" if promised == math.inf else f" of {promised / sound.samplerate:.2f} s"
        notes.append(f"cut short: {read / sound.samplerate:.2f} s{of} are there")


def _open_ffmpeg(
    file: BinaryIO, name: str, format: str | None = None, reason: str = "no frames"
) -> AudioFile:
    """Open what FFmpeg reads; `reason` is why others could not, if it cannot either."""
    try:
        import av
    except ModuleNotFoundError:
        raise _no_audio(
            name, f"{reason.rstrip('.')}; pip install 'ecc-speech[formats]' reads more"
        ) from None
    try:
        # A playlist must not make FFmpeg open what it lists.
        container = av.open(file, "r", format=format, options={"protocol_whitelist": "none"})
        decoded = container.decode(audio=0)
        first = next(decoded)
    except (av.FFmpegError, IndexError, StopIteration):
        raise _no_audio(name, reason) from None
    # From the first frame: containers may know less than the decoder.
    rate, layout = first.sample_rate, first.layout
    convert = av.AudioResampler("fltp", layout, rate).resample

    def frames() -> Iterator[npt.NDArray[np.float32]]:
        try:
            for frame in (first, *decoded, None):
                for converted in convert(frame):
                    yield converted.to_ndarray().T.astype(np.float32, copy=False)
        except av.FFmpegError as error:
            raise _no_audio(name, str(error.strerror)) from None

    return AudioFile(name, rate, layout.nb_channels, frames())


def resample(
    samples: npt.NDArray[np.float32], rate: int, to_rate: int = SAMPLE_RATE
) -> npt.NDArray[np.float32]:
    """Resample [samples] from `rate` to `to_rate`: [ceil(samples * to_rate / rate)].

    One filter for everything: a Kaiser-windowed sinc of 64 zero crossings, beta 14.77, passband
    to 0.948 of the lower Nyquist frequency, the parameters of the "kaiser best" filter of
    resampy (J. O. Smith, Digital Audio Resampling) as torchaudio's tutorial gives them.

    By NumPy in float64: what comes out does not follow the machine or its number of threads.
    """
    if not len(samples):
        return samples
    return np.concatenate(list(resample_blocks([samples], rate, to_rate)))


def resample_blocks(
    blocks: Iterable[npt.NDArray[np.float32]], rate: int, to_rate: int = SAMPLE_RATE
) -> Iterator[npt.NDArray[np.float32]]:
    """What `resample` makes of all blocks together, in blocks."""
    if rate == to_rate:
        yield from blocks
        return
    common = math.gcd(rate, to_rate)
    # `step` samples become `made`, whose filters reach `reach` samples to either side; at least 64,
    # or laying the samples out for the product would cost more than the product.
    several = -(-64 * common // to_rate)
    step, made = several * rate // common, several * to_rate // common
    filters = _filters(step, made)
    reach = (filters.shape[1] - step) // 2
    before = -(-reach // step)  # whole steps that are kept in front of what is still to be made
    held, done = np.zeros(0, np.float32), 0  # samples, and steps of them that are made already
    for block in _gathered(blocks):
        held = np.concatenate([held, block])
        ready = (len(held) - reach) // step
        if ready > done:
            yield _filtered(held[: ready * step + reach], filters, step)[done * made : ready * made]
            held = held[max(ready - before, 0) * step :]
            done = min(ready, before)
    yield _filtered(held, filters, step)[done * made : -(-len(held) * made // step)]


def _filters(step: int, made: int) -> npt.NDArray[np.float64]:
    """The filter of each of the `made` samples that `step` become, [made, reach + step + reach]."""
    lower = min(step, made) * ROLLOFF
    reach = math.ceil(CROSSINGS * step / lower)
    time = np.arange(-reach, step + reach) / step - np.arange(made)[:, None] / made
    time = (time * lower).clip(-CROSSINGS, CROSSINGS)
    window = np.i0(BETA * np.sqrt(1 - np.square(time / CROSSINGS))) / np.i0(BETA)
    return np.sinc(time) * window * (lower / step)


def _filtered(
    samples: npt.NDArray[np.float32], filters: npt.NDArray[np.float64], step: int
) -> npt.NDArray[np.float32]:
    """Every `step` samples of [T], the last ones filled up with zeros, as many as the filters."""
    reach = (filters.shape[1] - step) // 2
    padded = np.pad(samples, (reach, reach + step))
    seen = sliding_window_view(padded, filters.shape[1])[: len(samples) : step]
    rows = max(1, BLOCK // filters.shape[1])  # at a time, since each is laid out for the product
    parts = [seen[at : at + rows] @ filters.T for at in range(0, len(seen), rows)]
    return np.concatenate([np.zeros(0), *(part.ravel() for part in parts)]).astype(np.float32)


def _gathered(blocks: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
    """The same samples in blocks of `BLOCK` at least, but for the last."""
    gathered: list[npt.NDArray[np.float32]] = []
    for block in blocks:
        gathered.append(block)
        if sum(map(len, gathered)) >= BLOCK:
            yield np.concatenate(gathered)
            gathered = []
    if gathered:
        yield np.concatenate(gathered)


def to_int16(samples: npt.ArrayLike) -> npt.NDArray[np.int16]:
    """Full scale 1.0 = 32768, rounded to the nearest and clipped; int16 passes unchanged."""
    samples = np.asarray(samples)
    if samples.dtype == np.int16:
        return samples
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
