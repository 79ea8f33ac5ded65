"""Scores of decoded utterances against their references: one row for each."""

import hashlib
import importlib.metadata
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from pesq import pesq
from pystoi import stoi
from visqol import VisqolApi

from ecc import audio
from ecc.codecs.base import from_int16
from ecc.data.speech import read_clip
from ecc.evaluate.alignment import estimate_delay, remove_delay
from ecc.evaluate.coding import Row, one_line, read_table, records, write_table
from ecc.evaluate.config import MetricName
from ecc.evaluate.processes import spread

Samples = npt.NDArray[np.float32]


def pesq_wb(reference: Samples, decoded: Samples) -> float:
    """PESQ, wideband (ITU-T P.862.2), 1.04 to 4.64.

    Raises `pesq.PesqError` (too short, no speech found) or ValueError (silent).
    """
    if not decoded.any():
        raise ValueError("decoded signal is silent")
    return float(pesq(audio.SAMPLE_RATE, reference, decoded, "wb"))


def visqol(reference: Samples, decoded: Samples) -> float:
    """ViSQOL v3 in speech mode with the lattice mapping (Chinen et al., 2020), 1 to 5.

    Raises ValueError when the signal is too short or silent.
    """
    if not decoded.any():
        raise ValueError("decoded signal is silent")
    result = _visqol().measure_from_arrays(
        reference.astype(np.float64), decoded.astype(np.float64), audio.SAMPLE_RATE
    )
    return float(result.moslqo)


def estoi(reference: Samples, decoded: Samples) -> float:
    """Extended short-time objective intelligibility (Jensen and Taal, 2016), up to 1.

    Raises RuntimeWarning when there are less than 30 frames of speech.
    """
    # pystoi adds noise of the size of a rounding error from numpy's global generator.
    np.random.seed(0)  # noqa: NPY002
    with warnings.catch_warnings():
        # Without enough frames pystoi warns and returns 1e-5, which is no score.
        warnings.simplefilter("error", RuntimeWarning)
        return float(stoi(reference, decoded, audio.SAMPLE_RATE, extended=True))


class Metric(NamedTuple):
    """A score of (reference [T], decoded [T]), both float32 at 16 kHz; it raises what it cannot do.

    `distribution` is the package whose version decides whether an old score still holds.
    """

    function: Callable[[Samples, Samples], float]
    distribution: str


METRICS: dict[MetricName, Metric] = {
    "pesq_wb": Metric(pesq_wb, "pesq"),
    "visqol": Metric(visqol, "visqol-python"),
    "estoi": Metric(estoi, "pystoi"),
}


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
    NaN and the row's `reason` says why; so are the scores of what could not be coded.

    `journal` (JSON lines) remembers every score under the hash of the two signals, the delay and
    the version of the metric: nothing is scored twice, and a killed run goes on.
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
    for survey in spread(survey_point, list(groups.values()), workers, f"{title}: delays"):
        for pair in groups[survey["test_set"], survey["point"]]:
            pair["delay"] = survey["delay"]
            pair["digest"] = survey["digests"][pair["utterance"]]

    known = _read_journal(journal)
    jobs = []
    for pair in pairs:
        pair["scores"] = {
            metric: known[key]
            for metric in metrics
            if not pair["reason"] and (key := _key(pair, metric)) in known
        }
        missing = [metric for metric in metrics if metric not in pair["scores"]]
        if missing and not pair["reason"]:
            jobs.append({**pair, "metrics": missing})
    by_name = {tuple(pair[key] for key in keys): pair for pair in pairs}
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a", encoding="utf-8") as lines:
        for result in spread(score_pair, jobs, workers, title):
            pair = by_name[tuple(result[key] for key in keys)]
            pair["scores"].update(result["scores"])
            pair["reason"] = result["reason"]
            for metric, value in result["scores"].items():
                lines.write(json.dumps({"key": _key(pair, metric), "value": value}) + "\n")
            lines.flush()

    write_table(
        out,
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
                "encode_seconds": row["encode_seconds"],
                "decode_seconds": row["decode_seconds"],
                "reason": pair["reason"],
            }
            for row, pair in zip(rows, pairs, strict=True)
        ],
        [
            *("codec", "point", "test_set", "utterance", "speaker", "seconds", "kbps"),
            *("kbps_estimated", "delay", *metrics, "encode_seconds", "decode_seconds", "reason"),
        ],
    )


def survey_point(pairs: Sequence[Row]) -> Row:
    """The delay (samples) over the `pairs` of one point and test set, and the digest of each."""
    digests = {}

    def signals() -> Iterator[tuple[Samples, Samples]]:
        for pair in pairs:
            reference, decoded = _signals(pair)
            digest = hashlib.sha256(reference.tobytes())
            digest.update(len(reference).to_bytes(8, "little") + decoded.tobytes())
            digests[pair["utterance"]] = digest.hexdigest()
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
    reference, decoded = _signals(job)
    decoded = remove_delay(decoded, job["delay"], len(reference))
    scores, reasons = {}, []
    for metric in job["metrics"]:
        try:
            value = METRICS[metric].function(reference, decoded)
            if not math.isfinite(value):
                raise ValueError("the score is not finite")
            scores[metric] = value
        except Exception as error:
            reasons.append(f"{metric}: {one_line(error)}")
    return {
        **{key: job[key] for key in ("test_set", "point", "utterance")},
        "scores": scores,
        "reason": "; ".join(reasons),
    }


@cache
def _visqol() -> VisqolApi:
    api = VisqolApi()
    # Left to itself it chooses the mapping by what is installed, and the two differ more than
    # codecs do.
    api.create(mode="speech", use_lattice_model=True)
    return api


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
    reference = from_int16(read_clip(Path(pair["speech"]), pair["clip"]))
    return reference, audio.read(pair["decoded"])


@cache
def _version(metric: MetricName) -> str:
    return importlib.metadata.version(METRICS[metric].distribution)


def _key(pair: Row, metric: MetricName) -> str:
    return f"{metric} {_version(metric)} {pair['digest']} {pair['delay']}"


def _read_journal(path: Path) -> dict[str, float]:
    """Scores by key. What a killed run left of a line is cut off, so that lines can follow."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    entries = [json.loads(line) for line in whole.splitlines()]
    return {entry["key"]: entry["value"] for entry in entries}
