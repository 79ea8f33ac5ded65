"""Which parts of a signal are speech, by level alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecc.speech import SAMPLE_RATE

SPEECH_RANGE = 40.0
"""dB below its loudest frame to which a reference is speech, as ESTOI has it."""
SPEECH_FLOOR = -60.0
"""dBFS below which nothing is speech."""
SPEECH_FRAME = SAMPLE_RATE // 50


def speech_frames(samples: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Which frames of 20 ms of `samples` [T] are speech: those within `SPEECH_RANGE` of the loudest
    and above `SPEECH_FLOOR`, without their mean. Noise that is as loud counts too; what is behind
    the last whole frame does not."""
    frames = samples[: len(samples) // SPEECH_FRAME * SPEECH_FRAME].reshape(-1, SPEECH_FRAME)
    level = 20 * np.log10(np.maximum(frames.std(axis=1, dtype=np.float64), 1e-10))
    floor = max(level.max(initial=SPEECH_FLOOR) - SPEECH_RANGE, SPEECH_FLOOR)
    return np.asarray(level > floor)


def speech_seconds(samples: NDArray[np.floating[Any]]) -> float:
    """How much of `samples` [T] is speech, by `speech_frames`."""
    return int(speech_frames(samples).sum()) * SPEECH_FRAME / SAMPLE_RATE
