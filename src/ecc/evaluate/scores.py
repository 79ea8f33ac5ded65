"""Scores of decoded utterances against their references: one row for each."""

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecc import audio
from ecc.codecs.base import from_int16
from ecc.evaluate.alignment import estimate_delay, remove_delay
from ecc.evaluate.coding import one_line
from ecc.evaluate.config import METRICS, MetricName
from ecc.evaluate.processes import spread
from ecc.files import atomic_path
from ecc.speech import read_clip
from ecc.tables import Row, read_table, records, write_table

Samples = npt.NDArray[np.float32]

Scores = dict[str, dict[str, float]]
"""By signals (hash and delay), then by metric and version."""


def score_codec(
    streams: Path,
    decoded: Path,
    test_sets: Mapping[str, pd.DataFrame],
    speech: Path,
    metrics: Sequence[MetricName],
    out: Path,
    journal: Path,
    workers: int,
) -> None:
    """Score all utterances of one codec into the table `out`.

    `streams` and `decoded` are what `encode_test_sets` and `decode_streams` left. The delay of a
    point on a test set is estimated over all its utterances and removed. A score that fails is
    NaN and the row's `reason` says why; so are the scores of what could not be coded. A metric
    that is not intrusive has a second column, `<metric>_reference`: what it says of the reference.

    `journal` (JSON lines) remembers every score under the hash of the two signals, the delay and
    the version of the metric, and so do the journals of other codecs beside it: a pair of signals
    is not scored twice by a metric, whichever points it comes from, and a killed run goes on. At
    the end it holds the signals of this codec, in order, and no others: it is a result too, which
    others need not compute again.
    """
    about = json.loads((streams / "codec.json").read_text(encoding="utf-8"))
    keys = ["test_set", "point", "utterance"]
    index = read_table(streams / "index.csv").merge(
        read_table(decoded / "index.csv"), on=keys, how="left", suffixes=("", "_decoded")
    )
    index["reason_decoded"] = index["reason_decoded"].fillna("")
    clips = {
        (test_set, clip["clip"]): clip
        for test_set, table in test_sets.items()
        for clip in records(table)
    }
    rows = records(index)
    pairs = [_pair(row, clips[row["test_set"], row["utterance"]], speech, decoded) for row in rows]

    groups: dict[tuple[str, str], list[Row]] = {}
    for pair in pairs:
        if not pair["reason"]:
            groups.setdefault((pair["test_set"], pair["point"]), []).append(pair)
    title = f"score {about['codec']}"
    surveys = spread(survey_point, list(groups.values()), workers, f"{title}: delays")
    for survey in surveys:
        for pair in groups[survey["test_set"], survey["point"]]:
            pair["delay"] = survey["delay"]
            pair["digest"] = survey["digests"][pair["utterance"]]

    blind = [metric for metric in metrics if not METRICS[metric].intrusive]
    references = {
        (pair["test_set"], pair["utterance"]): {
            **pair, "decoded": "", "reason": "", "delay": 0, "digest": _reference_digest(pair)
        }
        for pair in (pairs if blind else [])
    }  # fmt: skip

    known: Scores = {}
    for path in sorted(journal.parent.glob("*.jsonl")):
        for signals, found in _read_journal(path).items():
            known.setdefault(signals, {}).update(found)
    jobs: dict[str, Row] = {}
    waiting: dict[str, list[Row]] = {}
    for pair, asked in [
        *((pair, metrics) for pair in pairs),
        *((reference, blind) for reference in references.values()),
    ]:
        pair["scores"] = {}
        if pair["reason"]:
            continue
        signals = pair["signals"] = f"{pair['digest']} {pair['delay']}"
        found = known.setdefault(signals, {})
        pair["scores"] = {m: found[key] for m in asked if (key := _key(m)) in found}
        missing = [metric for metric in asked if metric not in pair["scores"]]
        if missing:
            job = jobs.setdefault(signals, {**pair, "metrics": []})
            job["metrics"] = list(dict.fromkeys([*job["metrics"], *missing]))
            waiting.setdefault(signals, []).append(pair)
    with _appended(journal) as lines:
        for result in spread(score_pair, list(jobs.values()), workers, title):
            for pair in waiting[result["signals"]]:
                pair["scores"] |= result["scores"]
                pair["reason"] = result["reason"]
            found = {_key(metric): value for metric, value in result["scores"].items()}
            known[result["signals"]] |= found
            lines.write(_line(result["signals"], found))
            lines.flush()
    current = [_key(metric) for metric in METRICS]
    scored = {p["signals"] for p in (*pairs, *references.values()) if "signals" in p}
    with atomic_path(journal) as temporary, temporary.open("w", encoding="utf-8") as lines:
        for signals in sorted(scored):
            if found := {key: known[signals][key] for key in current if key in known[signals]}:
                lines.write(_line(signals, found))

    table = pd.DataFrame(
        [
            {
                "codec": about["codec"],
                **{key: row[key] for key in keys},
                "speaker": pair["clip"]["speaker"],
                "seconds": row["seconds"],
                "kbps": row["bits"] / row["seconds"] / 1000,
                "kbps_estimated": row["bits_estimated"] / row["seconds"] / 1000,
                "delay": pair.get("delay", math.nan),
                **{metric: pair["scores"].get(metric, math.nan) for metric in metrics},
                **{
                    f"{metric}_reference": references[row["test_set"], row["utterance"]][
                        "scores"
                    ].get(metric, math.nan)
                    for metric in blind
                },
                "encode_seconds": row["encode_seconds"],
                "decode_seconds": row["decode_seconds"],
                "reason": pair["reason"],
            }
            for row, pair in zip(rows, pairs, strict=True)
        ],
        columns=[
            *("codec", "point", "test_set", "utterance", "speaker", "seconds", "kbps"),
            *("kbps_estimated", "delay", *metrics, *(f"{metric}_reference" for metric in blind)),
            *("encode_seconds", "decode_seconds", "reason"),
        ],
    )
    write_table(out, table)


def survey_point(pairs: Sequence[Row]) -> Row:
    """The delay (samples) over the `pairs` of one point and test set, and the digest of each."""
    digests = {}

    def signals() -> Iterator[tuple[Samples, Samples]]:
        for pair in pairs:
            reference, decoded = _signals(pair)
            digests[pair["utterance"]] = _digest(reference, decoded)
            yield reference, decoded

    delay = estimate_delay(signals())
    return {
        "test_set": pairs[0]["test_set"],
        "point": pairs[0]["point"],
        "delay": delay,
        "digests": digests,
    }


def score_pair(job: Row) -> Row:
    """The scores of one utterance by `job["metrics"]`; those that fail are left to the reason."""
    # Takes seconds to import, which a run that finds all scores in journals should not spend.
    from ecc.evaluate.metrics import FUNCTIONS

    reference, decoded = _signals(job)
    decoded = remove_delay(decoded, job["delay"], len(reference))
    scores, reasons = {}, []
    for metric in job["metrics"]:
        try:
            value = FUNCTIONS[metric](reference, decoded)
            if not math.isfinite(value):
                raise ValueError("the score is not finite")
            scores[metric] = value
        except Exception as error:
            reasons.append(f"{metric}: {one_line(error)}")
    return {"signals": job["signals"], "scores": scores, "reason": "; ".join(reasons)}


def _pair(row: Row, clip: Row, speech: Path, decoded: Path) -> Row:
    reason = ""
    if row["reason"]:
        reason = f"encode: {row['reason']}"
    elif row["reason_decoded"]:
        reason = f"decode: {row['reason_decoded']}"
    elif not isinstance(row["file_decoded"], str):
        reason = "decode: missing"
    return {
        "test_set": row["test_set"],
        "point": row["point"],
        "utterance": row["utterance"],
        "clip": clip,
        "speech": str(speech),
        "decoded": "" if reason else str(decoded / row["file_decoded"]),
        "reason": reason,
    }


def _signals(pair: Row) -> tuple[Samples, Samples]:
    reference = _reference(pair)
    return reference, audio.read(pair["decoded"]) if pair["decoded"] else reference


def _reference(pair: Row) -> Samples:
    return from_int16(read_clip(Path(pair["speech"]), pair["clip"]))


def _reference_digest(pair: Row) -> str:
    reference = _reference(pair)
    return _digest(reference, reference)


def _digest(reference: Samples, decoded: Samples) -> str:
    digest = hashlib.sha256(reference.tobytes())
    digest.update(len(reference).to_bytes(8, "little") + decoded.tobytes())
    return digest.hexdigest()[:32]


@cache
def _version(metric: MetricName) -> str:
    return importlib.metadata.version(METRICS[metric].distribution)


def _key(metric: MetricName) -> str:
    return f"{metric} {_version(metric)}"


def _line(signals: str, scores: Mapping[str, float]) -> str:
    return json.dumps({"signals": signals, "scores": scores}) + "\n"


def _read_journal(path: Path) -> Scores:
    """What a journal holds in whole lines: the last may be half written, or being written."""
    content = path.read_bytes()
    entries = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    found: Scores = {}
    for entry in entries:
        found.setdefault(entry["signals"], {}).update(entry["scores"])
    return found


@contextmanager
def _appended(path: Path) -> Iterator[TextIO]:
    """`path`, open for more lines; what a killed run left of a line is cut off before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
    with path.open("a", encoding="utf-8") as lines:
        yield lines
