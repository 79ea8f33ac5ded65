"""The metrics: scores of a decoded utterance against its reference.

Each is a function of (reference [T], decoded [T]), both float32 at 16 kHz, and raises what it
cannot do. What else is to be known of them is in `ecc.evaluate.config.METRICS`.
"""

import warnings
from collections.abc import Callable
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from pesq import pesq
from pystoi import stoi
from torchaudio.functional import melscale_fbanks
from torchaudio.transforms import MelSpectrogram
from visqol import VisqolApi

from ecc import audio
from ecc.evaluate.config import MetricName

Samples = npt.NDArray[np.float32]


def pesq_wb(reference: Samples, decoded: Samples) -> float:
    """PESQ, wideband (ITU-T P.862.2), 1.04 to 4.64.

    Raises `pesq.PesqError` (too short, no speech found) or ValueError (silent).
    """
    if not decoded.any():
        raise ValueError("decoded signal is silent")
    return float(pesq(audio.SAMPLE_RATE, reference, decoded, "wb"))


def visqol(reference: Samples, decoded: Samples) -> float:
    """ViSQOL v3 in speech mode with the lattice mapping (Chinen et al., 2020), 1 to 5.

    Raises ValueError when the signal is too short or silent.
    """
    if not decoded.any():
        raise ValueError("decoded signal is silent")
    result = _visqol().measure_from_arrays(
        reference.astype(np.float64), decoded.astype(np.float64), audio.SAMPLE_RATE
    )
    return float(result.moslqo)


def estoi(reference: Samples, decoded: Samples) -> float:
    """Extended short-time objective intelligibility (Jensen and Taal, 2016), up to 1.

    Raises RuntimeWarning when there are less than 30 frames of speech.
    """
    # pystoi adds noise of the size of a rounding error from numpy's global generator.
    np.random.seed(0)  # noqa: NPY002
    with warnings.catch_warnings():
        # Without enough frames pystoi warns and returns 1e-5, which is no score.
        warnings.simplefilter("error", RuntimeWarning)
        return float(stoi(reference, decoded, audio.SAMPLE_RATE, extended=True))


def dnsmos(reference: Samples, decoded: Samples) -> float:
    """DNSMOS P.808 (Reddy et al., 2021): the MOS that a network expects of `decoded`, 1 to 5.

    `reference` is not heard. As in `speechmos`, whose network this is: windows of 9.01 s, one
    each second, averaged; a shorter signal is repeated. Raises ValueError when `decoded` is
    silent.
    """
    if not decoded.any():
        raise ValueError("decoded signal is silent")
    window = 144_160
    while len(decoded) < window:
        decoded = np.concatenate([decoded, decoded])
    # By a rounding error speechmos hears seven windows at most, and so do we.
    count = min(max(1, len(decoded) // audio.SAMPLE_RATE - 9), 7)
    starts = range(0, count * audio.SAMPLE_RATE, audio.SAMPLE_RATE)
    session, bank = _dnsmos()
    segments = np.stack([decoded[start : start + window - 160] for start in starts])
    spectra = torch.stft(
        torch.from_numpy(segments),
        n_fft=321,
        hop_length=160,
        window=torch.hann_window(321),
        pad_mode="constant",
        return_complex=True,
    )
    power = (spectra.abs() ** 2).mT @ bank
    level = 10 * power.clamp(min=1e-10).log10()
    level = (level - level.amax((1, 2), keepdim=True)).clamp(min=-80)
    # One at a time: all at once takes 200 MB and is no faster.
    windows = ((level + 40) / 40).numpy()[:, None]
    return float(np.mean([session.run(None, {"input_1": window})[0] for window in windows]))


def log_mel_distance(reference: Samples, decoded: Samples) -> float:
    """Mean absolute difference of the log-mel spectrograms, dB, from 0; lower is better.

    Power in 80 mel bands (Slaney's, up to 8 kHz) of Hann windows of 32 ms, every 10 ms. Levels
    more than 60 dB below the highest of the reference count as 60 dB below. Raises ValueError
    when `reference` is silent.
    """
    power = _mel()(torch.from_numpy(np.stack([reference, decoded])))
    loudest = power[0].max()
    if loudest <= 0:
        raise ValueError("reference signal is silent")
    level = 10 * power.clamp(min=1e-6 * loudest).log10()
    return float((level[1] - level[0]).abs().mean())


FUNCTIONS: dict[MetricName, Callable[[Samples, Samples], float]] = {
    "pesq_wb": pesq_wb,
    "visqol": visqol,
    "estoi": estoi,
    "dnsmos": dnsmos,
    "log_mel_distance": log_mel_distance,
}


@cache
def _visqol() -> VisqolApi:
    api = VisqolApi()
    # Left to itself it chooses the mapping by what is installed, and the two differ more than
    # codecs do.
    api.create(mode="speech", use_lattice_model=True)
    return api


@cache
def _dnsmos() -> tuple[onnxruntime.InferenceSession, torch.Tensor]:
    """The network, [windows, 900, 120] to [windows, 1], and its mel filters [161, 120]."""
    options = onnxruntime.SessionOptions()
    # Its threads are its own: the variables that hold others to one thread do not reach it.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = resources.files("speechmos") / "dnsmos_models" / "model_v8.onnx"
    session = onnxruntime.InferenceSession(model.read_bytes(), options)
    # The bins of a transform of odd length end below half the sample rate: they are every other
    # one of a grid that reaches it.
    bank = melscale_fbanks(322, 0.0, 8000.0, 120, audio.SAMPLE_RATE, "slaney", "slaney")[::2]
    return session, bank


@cache
def _mel() -> MelSpectrogram:
    return MelSpectrogram(
        audio.SAMPLE_RATE, n_fft=512, hop_length=160, n_mels=80, mel_scale="slaney"
    )
