"""Speech as this package handles it: mono, 16 kHz, float32 in [-1, 1] or int16."""

import functools
import io
import os
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile
import torch
import torchaudio

from ecc.data.speech import SAMPLE_RATE
from ecc.files import atomic_path


class AudioError(ValueError):
    """A file that cannot be used as speech; the message is one line that names it."""


def read(path: str | os.PathLike[str]) -> npt.NDArray[np.float32]:
    """The speech in a file: float32 [samples], mono, 16 kHz.

    Reads what libsndfile reads (wav, flac, ogg, opus, mp3, ...) and raw G.722 (`.g722`).
    Raises `AudioError` when the file is missing, is no audio, is empty or is not finite.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror}") from None
    samples, rate = decode(data, str(path))
    return resample(samples, rate)


def write(path: str | os.PathLike[str], samples: npt.ArrayLike) -> None:
    """Write speech [samples], float in [-1, 1] or int16, as 16-bit PCM at 16 kHz.

    The suffix chooses the format (`.wav`, `.flac`). The file is whole or not there.
    Raises `AudioError` for a suffix that cannot hold 16-bit PCM.
    """
    path = Path(path)
    if not soundfile.check_format(path.suffix[1:].upper(), "PCM_16"):
        raise AudioError(f"{path}: cannot write {path.suffix or 'without a suffix'}; use .wav")
    with atomic_path(path) as temporary:
        soundfile.write(temporary, to_int16(samples), SAMPLE_RATE, subtype="PCM_16")


def decode(data: bytes, name: str) -> tuple[npt.NDArray[np.float32], int]:
    """The samples, float32 [samples] mono, and the sample rate of an audio file in memory.

    `name` tells raw G.722 by its suffix and stands in the message of an `AudioError`.
    Channels are averaged.
    """
    if not data:
        raise AudioError(f"{name}: empty file")
    try:
        if name.lower().endswith(".g722"):
            samples, rate = _decode_g722(data), 16000
        else:
            channels, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
            samples = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1)
    except (soundfile.LibsndfileError, av.FFmpegError) as error:
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None)
        raise AudioError(f"{name}: no audio that can be read ({reason})") from None
    if not samples.size:
        raise AudioError(f"{name}: no samples")
    if not np.isfinite(samples).all():
        raise AudioError(f"{name}: samples that are not finite")
    return samples, rate


def _decode_g722(data: bytes) -> npt.NDArray[np.float32]:
    """G.722 at 64 kbit/s without a container, as Asterisk stores it; exact in int16."""
    with av.open(io.BytesIO(data), mode="r", format="g722") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    samples = np.concatenate(frames) if frames else np.zeros(0, np.int16)
    return (samples / np.float32(32768)).astype(np.float32)


def resample(
    samples: npt.NDArray[np.float32], rate: int, to_rate: int = SAMPLE_RATE
) -> npt.NDArray[np.float32]:
    """Resample [samples] from `rate` to `to_rate`: [ceil(samples * to_rate / rate)].

    One filter for everything: a Kaiser-windowed sinc of 64 zero crossings, beta 14.77, passband
    to 0.948 of the lower Nyquist frequency, the parameters of the "kaiser best" filter of
    resampy (J. O. Smith, Digital Audio Resampling) as torchaudio's tutorial gives them.
    """
    if rate == to_rate:
        return samples
    return _resampler(rate, to_rate)(torch.from_numpy(samples)).numpy()


@functools.lru_cache(maxsize=8)
def _resampler(rate: int, to_rate: int) -> torchaudio.transforms.Resample:
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
