"""Scores of decoded utterances against their references: one row for each.

    read_decodes ──▶ survey ──▶ plan ──▶ score ──▶ write

A pair of signals is known by a hash of both and the delay between them. Its scores follow from that
alone, so that a journal can remember them, whichever codec and point the pair comes from.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tqdm import tqdm

from ecc import audio
from ecc.codecs.base import from_int16
from ecc.evaluate.coding import one_line
from ecc.evaluate.journal import Journal
from ecc.evaluate.metrics import METRICS, Samples, missing_package, unscorable, version
from ecc.evaluate.processes import spread
from ecc.speech import read_clip
from ecc.tables import Row, read_table, records, write_table

DELAY = "delay 1"
"""What journals know the delay of a point by. The number is that of the definition: raise it with
any change of what `ecc.evaluate.alignment` estimates."""


class Pair(NamedTuple):
    """Where a reference and what was decoded of it lie."""

    speech: Path
    clip: Row  # of the reference, in `speech`
    decoded: Path | None  # None: the reference itself

    def read(self) -> tuple[Samples, Samples]:
        """The reference [T] and the decode [T']."""
        reference = from_int16(read_clip(self.speech, self.clip))
        return reference, reference if self.decoded is None else audio.read(self.decoded)


class Decode(NamedTuple):
    """An utterance at one point on one test set, and how it was coded."""

    test_set: str
    point: str
    utterance: str
    seconds: float
    bits: float
    bits_estimated: float
    encode_seconds: float
    decode_seconds: float
    pair: Pair
    reason: str
    """Why there is nothing to score; "" if there is."""


class Signals(NamedTuple):
    """A pair that was read: all that its scores depend on."""

    pair: Pair
    digest: str
    delay: int  # samples

    @property
    def key(self) -> str:
        """What journals know the signals by."""
        return f"{self.digest} {self.delay}"


class Job(NamedTuple):
    """Signals, and the metrics that are still to be computed of them."""

    signals: Signals
    metrics: tuple[str, ...]


class Result(NamedTuple):
    """What became of a job: scores by metric, and why others are missing."""

    key: str
    scores: dict[str, float]
    reason: str


class Point(NamedTuple):
    """A point on a test set whose delay is to be estimated."""

    key: str
    pairs: list[Pair]


def score_codec(
    streams: Path,
    decoded: Path,
    test_sets: Mapping[str, pd.DataFrame],
    speech: Path,
    metrics: Sequence[str],
    out: Path,
    journal: Path,
    workers: int,
) -> None:
    """Score the utterances of one codec that are in `test_sets` into the table `out`.

    `streams` and `decoded` are what `encode_test_sets` and `decode_streams` left; `speech` is as
    there. The delay of a point on a test set is estimated over these utterances and removed. A
    score that fails is NaN and the row's `reason` says why; so are the scores of what could not be
    coded. A metric that hears no reference has a second column, `<metric>_reference`: what it says
    of that.

    `journal` (JSON lines) remembers every score under the hash of the two signals, the delay and
    the version of the metric, and so do the other journals beside it: a pair of signals
    is not scored twice by a metric, whichever points it comes from, and a killed run goes on. At
    the end it holds these signals, in order, and no others, with their scores by `metrics` and what
    else it held of them: it is a result too, which others need not compute again.
    """
    codec = json.loads((streams / "codec.json").read_text(encoding="utf-8"))["codec"]
    title = f"score {codec}"
    known = Journal(journal)
    decodes = read_decodes(streams, decoded, test_sets, speech)
    points, signals = survey(decodes, known, workers, title)
    blind = [metric for metric in metrics if not METRICS[metric].hears_reference]
    references = survey_references(decodes) if blind else {}
    asked = [(pair, metrics) for pair in signals if pair is not None]
    asked += [(pair, blind) for pair in references.values()]
    reasons = score(plan(asked, known), known, workers, title)
    used = {*points, *(pair.key for pair, _ in asked)}
    current = {metric: None if missing_package(metric) else _key(metric) for metric in METRICS}
    known.rewrite(used, {"delay": DELAY, **current}, {"delay", *metrics})
    rows = [
        {
            "codec": codec,
            **row(decode, pair, metrics, known, reasons),
            **{
                f"{metric}_reference": known.score(reference.key, _key(metric))
                for metric in blind
                for reference in [references[decode.test_set, decode.utterance]]
            },
        }
        for decode, pair in zip(decodes, signals, strict=True)
    ]
    write(rows, metrics, blind, out)


def sample(clips: pd.DataFrame, utterances: int) -> pd.DataFrame:
    """So many of the `clips` of a test set, in order: the first of each speaker, then the second of
    each who has one, and so on."""
    turns = clips.groupby("speaker").cumcount().sort_values(kind="stable")
    return clips.loc[sorted(turns.index[:utterances])]


def read_decodes(
    streams: Path, decoded: Path, test_sets: Mapping[str, pd.DataFrame], speech: Path
) -> list[Decode]:
    """The utterances of `test_sets` that were to be encoded, in order, and what became of them."""
    clips = {
        (test_set, clip["clip"]): clip
        for test_set, table in test_sets.items()
        for clip in records(table)
    }
    found = {
        (row["test_set"], row["point"], row["utterance"]): row
        for row in records(read_table(decoded / "index.csv"))
    }
    decodes = []
    for row in records(read_table(streams / "index.csv")):
        test_set, point, utterance = row["test_set"], row["point"], row["utterance"]
        if (test_set, utterance) not in clips:
            continue
        decode = found.get((test_set, point, utterance))
        reason = ""
        if row["reason"]:
            reason = f"encode: {row['reason']}"
        elif decode is None:
            reason = "decode: missing"
        elif decode["reason"]:
            reason = f"decode: {decode['reason']}"
        path = None if reason or decode is None else decoded / decode["file"]
        decodes.append(
            Decode(
                *(test_set, point, utterance),
                *(row["seconds"], row["bits"], row["bits_estimated"], row["encode_seconds"]),
                decode_seconds=math.nan if decode is None else decode["decode_seconds"],
                pair=Pair(speech / f"{test_set}.s16", clips[test_set, utterance], path),
                reason=reason,
            )
        )
    return decodes


def survey(
    decodes: Sequence[Decode], known: Journal, workers: int, title: str
) -> tuple[set[str], list[Signals | None]]:
    """What journals know each point by on each test set, for its delay, and the signals of each
    of `decodes`, None of what was not decoded."""
    digests = [
        "" if decode.reason else _digest(*decode.pair.read())
        for decode in tqdm(decodes, f"{title}: read", unit="job", disable=None)
    ]
    groups: dict[tuple[str, str], list[int]] = {}
    for number, decode in enumerate(decodes):
        if not decode.reason:
            groups.setdefault((decode.test_set, decode.point), []).append(number)
    keys = {
        group: hashlib.sha256(" ".join(digests[n] for n in numbers).encode()).hexdigest()[:32]
        for group, numbers in groups.items()
    }
    unknown = [
        Point(keys[group], [decodes[n].pair for n in numbers])
        for group, numbers in groups.items()
        if known.score(keys[group], DELAY) is None
    ]
    with known.open() as lines:
        for key, delay in spread(survey_point, unknown, workers, f"{title}: delays"):
            known.add(lines, key, {DELAY: delay})
    signals: list[Signals | None] = [None] * len(decodes)
    for group, numbers in groups.items():
        found = known.score(keys[group], DELAY)
        assert found is not None
        for n in numbers:
            signals[n] = Signals(decodes[n].pair, digests[n], int(found))
    return set(keys.values()), signals


def survey_point(point: Point) -> tuple[str, int]:
    """The key of a point, and the delay (samples) over its pairs."""
    # Takes time to import, which a run that finds all delays in journals should not spend.
    from ecc.evaluate.alignment import estimate_delay

    return point.key, estimate_delay(pair.read() for pair in point.pairs)


def survey_references(decodes: Sequence[Decode]) -> dict[tuple[str, str], Signals]:
    """The reference of each test set and utterance, as a decode of itself."""
    pairs = {
        (decode.test_set, decode.utterance): decode.pair._replace(decoded=None)
        for decode in decodes
    }
    return {name: Signals(pair, _digest(*pair.read()), 0) for name, pair in pairs.items()}


def plan(asked: Iterable[tuple[Signals, Sequence[str]]], known: Journal) -> list[Job]:
    """One job for all signals that are the same: what is asked of them, can be computed here and is
    not known."""
    jobs: dict[str, Job] = {}
    for signals, metrics in asked:
        before = jobs[signals.key].metrics if signals.key in jobs else ()
        missing = [
            metric
            for metric in metrics
            if metric not in before
            and not missing_package(metric)
            and known.score(signals.key, _key(metric)) is None
        ]
        if missing:
            jobs[signals.key] = Job(signals, (*before, *missing))
    return list(jobs.values())


def score(jobs: Sequence[Job], known: Journal, workers: int, title: str) -> dict[str, str]:
    """Do the jobs into the journal; returns the reasons of those that lack a score, by key."""
    reasons = {}
    with known.open() as lines:
        for result in spread(score_pair, jobs, workers, title):
            found = {_key(metric): value for metric, value in result.scores.items()}
            known.add(lines, result.key, found)
            reasons[result.key] = result.reason
    return reasons


def score_pair(job: Job) -> Result:
    """The scores of a job; those that fail are left to the reason."""
    from ecc.evaluate.alignment import remove_delay

    reference, decoded = job.signals.pair.read()
    decoded = remove_delay(decoded, job.signals.delay, len(reference))
    if reason := unscorable(reference, decoded):
        return Result(job.signals.key, {}, reason)
    scores, reasons = {}, []
    for metric in job.metrics:
        try:
            value = METRICS[metric].function(reference, decoded)
            if not math.isfinite(value):
                raise ValueError("the score is not finite")
            scores[metric] = value
        except Exception as error:
            reasons.append(f"{metric}: {one_line(error)}")
    return Result(job.signals.key, scores, "; ".join(reasons))


def row(
    decode: Decode,
    signals: Signals | None,
    metrics: Sequence[str],
    known: Journal,
    reasons: Mapping[str, str],
) -> Row:
    """What the table says of a decode, but for its reference."""
    reason = decode.reason
    if signals is not None:
        absent = [f"{metric}: {why}" for metric in metrics if (why := missing_package(metric))]
        reason = "; ".join(filter(None, [reasons.get(signals.key), *absent]))
    return {
        "point": decode.point,
        "test_set": decode.test_set,
        "utterance": decode.utterance,
        "speaker": decode.pair.clip["speaker"],
        "seconds": decode.seconds,
        "kbps": decode.bits / decode.seconds / 1000,
        "kbps_estimated": decode.bits_estimated / decode.seconds / 1000,
        "delay": None if signals is None else signals.delay,
        **{
            metric: None if signals is None else known.score(signals.key, _key(metric))
            for metric in metrics
        },
        "encode_seconds": decode.encode_seconds,
        "decode_seconds": decode.decode_seconds,
        "reason": reason,
    }


def write(rows: Sequence[Row], metrics: Sequence[str], blind: Sequence[str], out: Path) -> None:
    """Write the table: a row for each decode, a missing score an empty cell."""
    columns = [
        *("codec", "point", "test_set", "utterance", "speaker", "seconds", "kbps"),
        *("kbps_estimated", "delay", *metrics, *(f"{metric}_reference" for metric in blind)),
        *("encode_seconds", "decode_seconds", "reason"),
    ]
    write_table(out, pd.DataFrame(rows, columns=columns))


def _digest(reference: Samples, decoded: Samples) -> str:
    digest = hashlib.sha256(reference.tobytes())
    digest.update(len(reference).to_bytes(8, "little") + decoded.tobytes())
    return digest.hexdigest()[:32]


def _key(metric: str) -> str:
    """What journals know the scores of a metric by."""
    about = METRICS[metric]
    revision = f"+{about.revision}" if about.revision else ""
    return f"{metric} {version(about.packages[0])}{revision}"
