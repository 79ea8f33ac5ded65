"""What the study takes on this machine, in minutes of one process: coding, and each metric.

    python workflow/costs.py

Each codec codes a few utterances at each of its points, and is charged for the seconds of speech
that the study gives it. Each metric is computed of some decodes of the codec under study, and
multiplied by how often the study asks for it. All in one thread, on a machine that had better do
nothing else. reports/costs.csv has the times, which docs/codecs.md and docs/metrics.md show.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pandas as pd
import typer

from ecc import params
from ecc.codecs.base import from_int16, load_codec
from ecc.evaluate.metrics import METRICS
from ecc.evaluate.processes import spread
from ecc.evaluate.scores import Pair, read_decodes
from ecc.speech import SAMPLE_RATE, read_clip
from ecc.tables import read_table, records, write_table

TABLE = Path("reports/costs.csv")


CODED = 4  # utterances that a codec is timed on at each point


class Scoring(NamedTuple):
    """A metric, and the pairs that it is timed on."""

    metric: str
    pairs: list[Pair]


class Coding(NamedTuple):
    """A codec, the arguments of each point, and where its clips are: a table, and samples."""

    codec: str
    spec: str
    points: dict[str, dict[str, Any]]
    clips: Path


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
    rows = [*_coding(study, scores)]
    asked = {name: [*scores.values()] for name in study.score.metrics}
    asked |= {name: unseen for name in study.unseen.metrics if name not in asked}
    jobs = [Scoring(metric, pairs) for metric in asked]
    for metric, seconds in spread(score, jobs, 1, "metrics"):
        times = sum(int(table[metric].notna().sum()) for table in asked[metric])
        rows.append(_row("score", metric, times, seconds * times))
    write_table(TABLE, pd.DataFrame(rows))


def score(job: Scoring) -> tuple[str, float]:
    """The name of the metric, and seconds of the processor for one utterance."""
    function = METRICS[job.metric].function
    signals = [pair.read() for pair in job.pairs]
    signals = [(reference, decoded[: len(reference)]) for reference, decoded in signals]
    function(*signals[0])  # loads what it runs on
    start = time.process_time()
    for reference, decoded in signals:
        function(reference, decoded)
    return job.metric, (time.process_time() - start) / len(signals)


def code(job: Coding) -> tuple[str, dict[str, tuple[float, float]]]:
    """The name of the codec, and for each point the seconds that encoding and decoding take for a
    second of speech. They are by the clock: some codecs are programs that go on running."""
    clips = records(read_table(job.clips))
    clips = clips[:: -(-len(clips) // CODED)]
    speech = [from_int16(read_clip(job.clips.with_suffix(".s16"), clip)) for clip in clips]
    length = sum(map(len, speech)) / SAMPLE_RATE
    found = {}
    for point, arguments in job.points.items():
        codec = load_codec(job.spec, arguments)
        codec.decode(codec.encode(speech[0]))  # loads what it runs on
        start = time.perf_counter()
        streams = [codec.encode(samples) for samples in speech]
        encoded = time.perf_counter()
        for stream in streams:
            codec.decode(stream)
        found[point] = (encoded - start) / length, (time.perf_counter() - encoded) / length
    return job.codec, found


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


def _coding(study: params.Params, scores: dict[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    about = {
        name: json.loads(Path(f"data/streams/{name}/codec.json").read_text()) for name in scores
    }
    # What others published is not coded here.
    coded = [
        name for name in scores if about[name]["available"] and about[name]["rate"] != "nominal"
    ]
    jobs = [
        Coding(
            name,
            study.codecs[name].class_,
            study.points(name),
            Path("data/corpus/test_sets") / f"{study.coded_by(name)[0]}.csv",
        )
        for name in coded
    ]
    times = dict(spread(code, jobs, 1, "codecs"))
    for part, name in enumerate(("encode", "decode")):
        for codec in coded:
            table = scores[codec]
            each = table["point"].map({point: found[part] for point, found in times[codec].items()})
            yield _row(name, codec, len(table), (each * table["seconds"]).sum())


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
