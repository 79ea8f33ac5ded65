"""What the real streams of a codec with residual vector quantization hold: how its code books are
used, and what a model of the tokens saves."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecc.codecs.ecc import EccCodec
from ecc.evaluate.diagnostics import empirical_entropy
from ecc.evaluate.processes import spread
from ecc.stream import Header
from ecc.tables import Row, read_table


def code_books(streams: Path, workers: int) -> pd.DataFrame:
    """One row for each test set, point and stage of all that `coding.encode_test_sets` left of
    such a codec in `streams`:

    - `tokens`, and `entries` of the code book, of which `used` occur;
    - `entropy` of the tokens in bits, under one fixed table for the stage, and `perplexity`, 2 to
      its power: as many entries, equally likely, would be as hard to tell;
    - `spent`, bits per token in the streams, by the probabilities that they are coded with.

    Raises:
        ValueError: there are no streams.
    """
    about = json.loads((streams / "codec.json").read_text(encoding="utf-8"))
    index = read_table(streams / "index.csv")
    index = index[index["reason"] == ""].sort_values("test_set", kind="stable")
    if index.empty:
        raise ValueError("there are no streams")
    jobs = [
        {
            "number": number,
            "key": {"test_set": test_set, "point": point},
            "model": about["points"][point]["model"],
            "streams": [str(streams / file) for file in group["file"]],
        }
        for number, ((test_set, point), group) in enumerate(
            index.groupby(["test_set", "point"], sort=False)
        )
    ]
    found = dict(spread(code_books_of_point, jobs, workers, "code books"))
    return pd.DataFrame([row for number in range(len(jobs)) for row in found[number]])


Taken = tuple[NDArray[np.int32], NDArray[np.float64], int]
"""Tokens of a stream [T, stages], the bits of each, and the entries of a code book."""


def code_books_of_point(job: Mapping[str, Any]) -> tuple[int, list[Row]]:
    """The number of the job, and the rows of one test set at one point."""
    taken = [read_tokens(job["model"], Path(stream)) for stream in job["streams"]]
    return job["number"], [{**job["key"], **row} for row in stage_rows(taken)]


def read_tokens(model: str, path: Path) -> Taken:
    """The tokens of the stream at `path`."""
    api = _codec(model)
    stream = path.read_bytes()
    header, _ = Header.unpack(stream)
    latents = [latent for latent in api.latents(stream) if latent]
    bits = [api.codec.entropy.costs(latent, header.level)[1] for latent in latents]
    symbols = np.concatenate([latent.symbols for latent in latents])
    return symbols, np.concatenate(bits), 1 << api.codec.config.rvq.bits


def stage_rows(streams: Sequence[Taken]) -> list[Row]:
    """The row of each stage, from the `streams` of a point."""
    tokens = np.concatenate([tokens for tokens, _, _ in streams])
    bits = np.concatenate([bits for _, bits, _ in streams])
    rows = []
    for stage in range(tokens.shape[1]):
        information = empirical_entropy(tokens[:, stage])
        rows.append(
            {
                "stage": stage + 1,
                "tokens": len(tokens),
                "entries": streams[0][2],
                "used": len(np.unique(tokens[:, stage])),
                "entropy": information,
                "perplexity": 2**information,
                "spent": bits[:, stage].mean(),
            }
        )
    return rows


@lru_cache(maxsize=1)  # jobs come point by point
def _codec(path: str) -> EccCodec:
    return EccCodec(path)
