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


@pytest.fixture
def diagnostics() -> dict[str, pd.DataFrame]:
    """What `ecc.evaluate.diagnostics.diagnose` says of two points on two test sets."""
    keys = [{"test_set": s, "point": f"p{p}"} for s in ("a", "b") for p in (0, 1)]
    parts = [("z", 0.1), ("slice 1", 0.3), ("slice 2", 0.2)]
    rate = {"files": 3, "seconds": 10.0, "file": 1100.0, "header": 20.0, "framing": 10.0}
    rate |= {"check": 15.0, "tables": 1010.0, "coder": 5.0, "rounding": 40.0, "estimated": 1000.0}
    exactness = {"kbps_exact": 1.01, "mse_exact": 0.5, "kbps_unrounded": 1.0}
    entropies = ("y", "y_previous", "residual", "scale", "scale_previous", "scale_slice", "spent")
    explained = [
        f"{name}_by_{what}" for name in ("y", "residual") for what in ("previous", "slices")
    ]
    counts = {"elements": 1000, "skipped": 500, "lost": 1}
    rows = {
        "rate": [{**key, **rate} for key in keys],
        "exactness": [{**key, **exactness, "mse_unrounded": 0.5} for key in keys],
        "parts": [
            {
                **key,
                "part": part,
                "kbps": kbps * (1 + int(key["point"][1])),
                "kbps_saved": 0.01,
                **(dict.fromkeys(counts, 0) if part == "z" else counts),
            }
            for key in keys
            for part, kbps in parts
        ],
        "skip": [
            {**key, "threshold": k, "kbps": 1 - 0.05 * k, "mse": 1 + 0.01 * k, **counts}
            for key in keys
            for k in range(3)
        ],
        "channels": [
            {**key, "part": part, "channel": channel, "spent": spent, "entropy": spent + 0.1,
             "entropy_y": np.nan, "skipped": 0.0, "zero": 0.5}
            for key in keys
            for part, channel, spent in (("z", 0, 0.5), ("z", 1, 2.0), ("slice 1", 0, 0.0),
                                         ("slice 1", 1, 1.0))
        ],
        "context": [
            {**key, "part": "slice 1", **dict.fromkeys(entropies, 0.5),
             **dict.fromkeys(explained, np.nan)}
            for key in keys
        ],
    }  # fmt: skip
    return {name: pd.DataFrame(table) for name, table in rows.items()}


@pytest.fixture
def codebooks() -> pd.DataFrame:
    """What `ecc.evaluate.codebooks.code_books` says of a point with one stage and one with two."""
    spent = {("p0", 1): 3.2, ("p1", 1): 3.0, ("p1", 2): 3.5}
    common = {"test_set": "a", "tokens": 1000, "entries": 16, "used": 15}
    return pd.DataFrame(
        [
            {**common, "point": point, "stage": stage, "entropy": 3.9, "perplexity": 2**3.9,
             "spent": bits}
            for (point, stage), bits in spent.items()
        ]
    )  # fmt: skip
