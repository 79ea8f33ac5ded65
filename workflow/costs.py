"""What the study takes on this machine, in minutes of one process: coding, and each metric.

    python workflow/costs.py

Coding is what the stages measured of each utterance. Each metric is computed of some decodes of the
codec under study, in one thread, and multiplied by how often the study asks for it.
reports/costs.csv has the times, which docs/codecs.md and docs/metrics.md show.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pandas as pd
import typer

from ecc import params
from ecc.evaluate.metrics import METRICS
from ecc.evaluate.processes import spread
from ecc.evaluate.scores import Pair, read_decodes
from ecc.tables import read_table, write_table

TABLE = Path("reports/costs.csv")


class Job(NamedTuple):
    """A metric, and the pairs that it is timed on."""

    metric: str
    pairs: list[Pair]


def main(
    utterances: Annotated[int, typer.Option(min=1, help="Decodes that metrics are timed on.")] = 16,
) -> None:
    """Write the table."""
    study = params.load()
    names = list(study.study.codecs)
    try:
        scores = {name: read_table(Path(f"data/scores/{name}.csv")) for name in names}
        unseen = [read_table(Path(f"data/unseen/{name}.csv")) for name in study.unseen.codecs]
        pairs = _pairs(study, utterances)
    except OSError as error:
        sys.exit(f"costs: run the study first ({error})")
    rows = [*_coding(scores)]
    asked = {name: [*scores.values()] for name in study.score.metrics}
    asked |= {name: unseen for name in study.unseen.metrics if name not in asked}
    jobs = [Job(metric, pairs) for metric in asked]
    for metric, seconds in spread(take, jobs, 1, "metrics"):
        times = sum(int(table[metric].notna().sum()) for table in asked[metric])
        rows.append(_row("score", metric, times, seconds * times))
    write_table(TABLE, pd.DataFrame(rows))


def take(job: Job) -> tuple[str, float]:
    """The name of the metric, and seconds of the processor for one utterance."""
    function = METRICS[job.metric].function
    signals = [pair.read() for pair in job.pairs]
    signals = [(reference, decoded[: len(reference)]) for reference, decoded in signals]
    function(*signals[0])  # loads what it runs on
    start = time.process_time()
    for reference, decoded in signals:
        function(reference, decoded)
    return job.metric, (time.process_time() - start) / len(signals)


def _pairs(study: params.Params, utterances: int) -> list[Pair]:
    """Evenly out of what the codec under study decoded of the first test set."""
    codec, leading = study.report.codec, study.study.test_sets[0]
    test_sets = Path("data/corpus/test_sets")
    decodes = read_decodes(
        Path("data/streams") / codec,
        Path("data/decoded") / codec,
        {leading: read_table(test_sets / f"{leading}.csv")},
        test_sets,
    )
    good = [decode.pair for decode in decodes if not decode.reason]
    return good[:: -(-len(good) // utterances)]


def _coding(scores: dict[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    for part in ("encode", "decode"):
        for codec, table in scores.items():
            seconds = table[f"{part}_seconds"].dropna()
            if len(seconds):  # not of what others published
                yield _row(part, codec, len(seconds), seconds.sum())


def _row(part: str, name: str, utterances: int, seconds: float) -> dict[str, Any]:
    each = seconds / utterances if utterances else float("nan")
    return {
        "part": part,
        "name": name,
        "utterances": utterances,
        "seconds_each": each,
        "core_minutes": seconds / 60,
    }


if __name__ == "__main__":
    typer.run(main)
