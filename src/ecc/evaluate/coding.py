"""Test sets into real streams, and these streams into audio: one file for each utterance."""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecc import audio
from ecc.codecs.base import Codec, codec_class, from_int16, load_codec
from ecc.errors import CodecUnavailable
from ecc.evaluate.processes import spread
from ecc.files import atomic_path
from ecc.speech import read_clip
from ecc.tables import Row, read_table, records, write_table

PointKey = tuple[str, str]
"""A test set and an operating point."""

STREAM_COLUMNS = [
    "test_set",
    "point",
    "utterance",
    "file",
    "seconds",
    "bits",
    "bits_estimated",
    "encode_seconds",
    "reason",
]
DECODED_COLUMNS = ["test_set", "point", "utterance", "file", "decode_seconds", "reason"]


def encode_test_sets(
    name: str,
    spec: str,
    points: Mapping[str, Mapping[str, Any]],
    test_sets: Mapping[str, pd.DataFrame],
    speech: Path,
    out: Path,
    code: str,
    workers: int,
) -> str | None:
    """Encode every utterance of `test_sets` at every point of the codec `spec`, "module:Class",
    into `out`.

    `speech` holds the samples of each test set, NAME.s16. Writes one stream per utterance,
    `index.csv` and `codec.json`. What `out` holds already is kept where nothing that shapes it has
    changed: class, arguments, weights, version, `code` (the fingerprint of the code) and the speech
    itself. The rest is removed, also what no point or test set asks for any more. An utterance that
    fails is a row with a reason and is tried again by the next run.

    Returns the reason when the codec cannot run here; then `index.csv` is empty. Raises
    ValueError when the class or its arguments are wrong.
    """
    about = {
        "codec": name,
        "class": spec,
        "rate": codec_class(spec).rate,
        "version": None,
        "available": False,
        "reason": None,
        "points": {point: dict(kwargs) for point, kwargs in points.items()},
    }
    try:
        versions = {point: load_codec(spec, points[point]).version for point in points}
    except CodecUnavailable as error:
        _code_utterances(out, {}, [], encode_utterance, STREAM_COLUMNS, workers, f"encode {name}")
        _write_json(out / "codec.json", {**about, "reason": str(error)})
        return str(error)

    files = {test_set: speech / f"{test_set}.s16" for test_set in test_sets}
    digests = {name: _speech_digest(files[name], clips) for name, clips in test_sets.items()}
    identities = {
        (test_set, point): _digest(
            spec, _pinned(points[point]), versions[point], code, digests[test_set]
        )
        for test_set in test_sets
        for point in points
    }
    jobs = [
        {
            "test_set": test_set,
            "point": point,
            "utterance": clip["clip"],
            "file": f"{test_set}/{point}/{clip['clip']}.bin",
            "codec": [spec, dict(points[point])],
            "clip": clip,
            "speech": str(files[test_set]),
            "out": str(out),
        }
        for point in points
        for test_set, clips in test_sets.items()
        for clip in records(clips)
    ]
    _code_utterances(
        out, identities, jobs, encode_utterance, STREAM_COLUMNS, workers, f"encode {name}"
    )
    version = ", ".join(dict.fromkeys(versions.values()))
    _write_json(out / "codec.json", {**about, "version": version, "available": True})
    return None


def decode_streams(streams: Path, out: Path, code: str, workers: int) -> str | None:
    """Decode all that `encode_test_sets` left in `streams`, in fresh processes, into `out`.

    Nothing but `streams` and the weights that its `codec.json` names is read. Writes one FLAC
    file (16 kHz, 16 bit) per stream and `index.csv`; resumes and tidies up as encoding does.

    Returns the reason when the codec was absent from encoding. Raises `CodecUnavailable` when it
    could encode elsewhere but cannot run here.
    """
    about = json.loads((streams / "codec.json").read_text(encoding="utf-8"))
    name = about["codec"]
    rows: list[Row] = []
    versions: dict[str, str] = {}
    files: dict[PointKey, list[Path]] = {}
    if about["available"]:
        rows = [row for row in records(read_table(streams / "index.csv")) if not row["reason"]]
        versions = {
            point: load_codec(about["class"], kwargs).version
            for point, kwargs in about["points"].items()
        }
        for row in rows:
            files.setdefault((row["test_set"], row["point"]), []).append(streams / row["file"])
    identities = {
        (test_set, point): _digest(
            about["class"],
            _pinned(about["points"][point]),
            versions[point],
            code,
            *map(_file_digest, paths),
        )
        for (test_set, point), paths in files.items()
    }
    jobs = [
        {
            "test_set": row["test_set"],
            "point": row["point"],
            "utterance": row["utterance"],
            "file": str(Path(row["file"]).with_suffix(".flac")),
            "codec": [about["class"], about["points"][row["point"]]],
            "stream": str(streams / row["file"]),
            "out": str(out),
        }
        for row in rows
    ]
    _code_utterances(
        out, identities, jobs, decode_utterance, DECODED_COLUMNS, workers, f"decode {name}"
    )
    return None if about["available"] else about["reason"]


def encode_utterance(job: Row) -> Row:
    """Encode one utterance into its file; returns its row of `index.csv`."""
    samples = from_int16(read_clip(Path(job["speech"]), job["clip"]))
    row = {
        **{column: job[column] for column in ("test_set", "point", "utterance", "file")},
        "seconds": len(samples) / audio.SAMPLE_RATE,
        "bits": math.nan,
        "bits_estimated": math.nan,
        "encode_seconds": math.nan,
        "reason": "",
    }
    try:
        codec = _codec(*job["codec"])
        start = time.perf_counter()
        stream, estimated = codec.encode_estimated(samples)
        seconds = time.perf_counter() - start
        bits = codec.bits(stream)
    except Exception as error:
        return {**row, "reason": one_line(error)}
    with atomic_path(Path(job["out"]) / job["file"]) as path:
        path.write_bytes(stream)
    return {**row, "bits": bits, "bits_estimated": estimated, "encode_seconds": seconds}


def decode_utterance(job: Row) -> Row:
    """Decode one stream into its file; returns its row of `index.csv`."""
    row = {
        **{column: job[column] for column in ("test_set", "point", "utterance", "file")},
        "decode_seconds": math.nan,
        "reason": "",
    }
    stream = Path(job["stream"]).read_bytes()
    try:
        codec = _codec(*job["codec"])
        start = time.perf_counter()
        samples = codec.decode(stream)
        seconds = time.perf_counter() - start
        if samples.ndim != 1 or samples.size == 0:
            raise ValueError(f"decoded to shape {samples.shape}, not [samples]")
        if not np.isfinite(samples).all():
            raise ValueError("decoded to samples that are not finite")
    except Exception as error:
        return {**row, "reason": one_line(error)}
    audio.write(Path(job["out"]) / job["file"], samples)
    return {**row, "decode_seconds": seconds}


def one_line(error: BaseException) -> str:
    """An exception as the reason of a row."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")


def _code_utterances(
    out: Path,
    identities: Mapping[PointKey, str],
    jobs: Sequence[Row],
    work: Callable[[Row], Row],
    columns: Sequence[str],
    workers: int,
    title: str,
) -> None:
    """Do the `jobs` that `out` does not hold yet, remove what nothing asks for, write the index.

    `identities` says what shapes the files of each test set and point: a folder made under
    another identity is removed. Rows are kept in a journal until all are there, so that a killed
    run goes on where it stopped.
    """
    out.mkdir(parents=True, exist_ok=True)
    index, journal, identity = out / "index.csv", out / "journal.jsonl", out / "identity.json"
    wanted = {"/".join(key): value for key, value in identities.items()}
    before = json.loads(identity.read_text(encoding="utf-8")) if identity.exists() else {}
    same = {key for key in wanted if before.get(key) == wanted[key]}

    done: dict[str, Row] = {}
    rows = records(read_table(index)) if index.exists() else []
    for row in rows + _read_journal(journal):
        if (
            f"{row['test_set']}/{row['point']}" in same
            and not row["reason"]
            and (out / row["file"]).exists()
        ):
            done[row["file"]] = row
    for folder in [path for path in out.glob("*/*") if path.is_dir()]:
        if folder.relative_to(out).as_posix() not in same:
            shutil.rmtree(folder)
    for folder in [path for path in out.iterdir() if path.is_dir()]:
        if not any(folder.iterdir()):
            folder.rmdir()
    # In this order: a row must never outlive the identity under which it was made.
    with atomic_path(journal) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in done.values()))
    index.unlink(missing_ok=True)
    _write_json(identity, wanted)

    missing = [job for job in jobs if job["file"] not in done]
    with journal.open("a", encoding="utf-8") as lines:
        for row in spread(work, missing, workers, title):
            done[row["file"]] = row
            lines.write(json.dumps(row) + "\n")
            lines.flush()
    write_table(index, pd.DataFrame([done[job["file"]] for job in jobs], columns=list(columns)))
    journal.unlink()


def _read_journal(path: Path) -> list[Row]:
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break  # the last line of a killed run
    return rows


def _codec(spec: str, kwargs: Mapping[str, Any]) -> Codec:
    return _cached_codec(spec, json.dumps(kwargs))


@lru_cache(maxsize=1)  # jobs come point by point
def _cached_codec(spec: str, kwargs: str) -> Codec:
    return load_codec(spec, json.loads(kwargs))


def _pinned(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """`kwargs` with the hash of each file that they name: trained weights change in place."""
    return {
        name: [value, _file_digest(Path(value))]
        if isinstance(value, str) and Path(value).is_file()
        else value
        for name, value in kwargs.items()
    }


def _speech_digest(path: Path, clips: pd.DataFrame) -> str:
    digest = hashlib.sha256()
    for clip in records(clips):
        digest.update(f"{clip['clip']} {clip['samples']}\n".encode())
        digest.update(read_clip(path, clip).tobytes())
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
