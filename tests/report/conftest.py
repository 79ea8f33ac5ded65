"""Score tables whose means are known by construction."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

METRICS = ["pesq_wb", "visqol", "estoi"]
MakeScores = Callable[..., pd.DataFrame]


@pytest.fixture
def make_scores() -> MakeScores:
    def make(
        codec: str,
        points: Sequence[tuple[float, float]],
        speakers: int = 4,
        test_set: str = "default",
        estimated: float = np.nan,
    ) -> pd.DataFrame:
        """Two utterances of each speaker at `points` (kbps, quality); speakers lie around them."""
        offsets = np.linspace(-0.1, 0.1, speakers) if speakers > 1 else np.zeros(1)
        rows = [
            {
                "codec": codec,
                "point": f"p{number}",
                "test_set": test_set,
                "utterance": f"s{speaker}-{take}",
                "speaker": f"s{speaker}",
                "seconds": seconds,
                "kbps": kbps,
                "kbps_estimated": kbps * estimated,
                "delay": 0.0,
                "pesq_wb": quality + offset,
                "visqol": quality + offset / 2,
                "estoi": quality / 5,
                "encode_seconds": 0.5 * seconds,
                "decode_seconds": 0.25 * seconds,
                "reason": "",
            }
            for number, (kbps, quality) in enumerate(points)
            for speaker, offset in enumerate(offsets)
            for take, seconds in enumerate((2.0, 6.0))
        ]
        return pd.DataFrame(rows)

    return make
