"""Speech as this package handles it: mono, 16 kHz, float32 in [-1, 1] or int16."""

import errno
import functools
import io
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from ecc.files import atomic_path
from ecc.speech import SAMPLE_RATE

if TYPE_CHECKING:
    import torchaudio

# Frames that are read and resampled at a time: an hour of stereo does not lie in memory whole.
BLOCK = 2**18
LOWEST_RATE, HIGHEST_RATE = 1000, 768_000
LARGEST_FILTER = 2**24  # filter bank of a resampler, whose size depends on the ratio of the rates


class AudioError(ValueError):
    """A file that cannot be used as speech; the message is one line that names it."""


@dataclass(frozen=True)
class AudioFile:
    """An audio file, open for reading once from its beginning to its end."""

    name: str
    rate: int  # Hz
    channels: int
    frames: Iterator[npt.NDArray[np.float32]]  # blocks [frames, channels]

    def mono(self) -> Iterator[npt.NDArray[np.float32]]:
        """The mean of the channels, in blocks [samples].

        Raises `AudioError` when the file is damaged, holds no samples or some are not finite.
        """
        empty = True
        for frames in self.frames:
            samples = frames[:, 0] if self.channels == 1 else frames.mean(axis=1)
            if not np.isfinite(samples).all():
                raise AudioError(f"{self.name}: samples that are not finite")
            empty = empty and not samples.size
            yield samples
        if empty:
            raise AudioError(f"{self.name}: no samples")

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
            sound = soundfile.SoundFile(file)
        except soundfile.LibsndfileError as error:
            file.seek(0)
            recording = _open_ffmpeg(file, name, reason=error.error_string)
        else:
            frames = _read_soundfile(sound, name)
            recording = AudioFile(name, sound.samplerate, sound.channels, frames)
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


def _no_audio(name: str, reason: str) -> AudioError:
    return AudioError(f"{name}: no audio that can be read ({reason.rstrip('.')})")


def _read_soundfile(sound: soundfile.SoundFile, name: str) -> Iterator[npt.NDArray[np.float32]]:
    try:
        while len(frames := sound.read(BLOCK, dtype="float32", always_2d=True)):
            yield frames
    except soundfile.LibsndfileError as error:
        raise _no_audio(name, error.error_string) from None


def _open_ffmpeg(
    file: BinaryIO, name: str, format: str | None = None, reason: str = "no frames"
) -> AudioFile:
    """Open what FFmpeg reads; `reason` is why others could not, if it cannot either."""
    import av

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
    """
    if rate == to_rate or not len(samples):
        return samples
    import torch  # takes seconds, and most speech of the study is at 16 kHz already

    return _resampler(rate, to_rate)(torch.from_numpy(samples)).numpy()


def resample_blocks(
    blocks: Iterable[npt.NDArray[np.float32]], rate: int, to_rate: int = SAMPLE_RATE
) -> Iterator[npt.NDArray[np.float32]]:
    """What `resample` makes of all blocks together, in blocks, up to the rounding of float32."""
    if rate == to_rate:
        yield from blocks
        return
    common = math.gcd(rate, to_rate)
    # `step` samples become `made`, whose filters reach `reach` samples to either side.
    step, made = rate // common, to_rate // common
    reach = _resampler(rate, to_rate).width
    before = -(-reach // step)  # whole steps that are kept in front of what is still to be made
    held, done = np.zeros(0, np.float32), 0  # samples, and steps of them that are made already
    for block in _gathered(blocks):
        held = np.concatenate([held, block])
        ready = (len(held) - reach) // step
        if ready > done:
            yield resample(held[: ready * step + reach], rate, to_rate)[done * made : ready * made]
            held = held[max(ready - before, 0) * step :]
            done = min(ready, before)
    yield resample(held, rate, to_rate)[done * made :]


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


@functools.lru_cache(maxsize=8)
def _resampler(rate: int, to_rate: int) -> "torchaudio.transforms.Resample":
    import torchaudio

    return torchaudio.transforms.Resample(
        rate,
        to_rate,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        beta=14.769656459379492,
    )


def to_int16(samples: npt.ArrayLike) -> npt.NDArray[np.int16]:
    """Full scale 1.0 = 32768, rounded to the nearest and clipped; int16 passes unchanged."""
    samples = np.asarray(samples)
    if samples.dtype == np.int16:
        return samples
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
