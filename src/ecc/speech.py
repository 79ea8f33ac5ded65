"""Speech as the study keeps it: 16 kHz mono int16, all clips of a source or test set in one file.

Training and evaluation read clips through this module alone, so that how the corpus is fetched
and sampled is no part of their code.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16000


class SpeechError(ValueError):
    """A clip that is not where the manifest says; the message is one line."""


def read_clip(path: Path, clip: Mapping[str, Any]) -> npt.NDArray[np.int16]:
    """The int16 [samples] of a row of the table that belongs to the file `path`, mapped from disk
    and read on use.

    Raises `SpeechError` when the file is shorter than the row says.
    """
    start, samples = int(clip["start"]), int(clip["samples"])
    try:
        return np.memmap(path, dtype="<i2", mode="r", offset=2 * start, shape=(samples,))
    except (OSError, ValueError) as error:
        raise SpeechError(f"{path}: no samples for {clip['clip']} ({error})") from None
