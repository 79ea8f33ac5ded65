"""From the recordings of a source to one file of 16 kHz samples and a table of its clips."""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from ecc.audio import SAMPLE_RATE, decode, resample, to_int16
from ecc.data.corpus import COLUMNS, MIN_SECONDS
from ecc.data.download import Unreachable
from ecc.data.sources.base import Recording, Source, SourceError
from ecc.files import ChecksumError, atomic_path

BATCH = 64  # recordings in memory at once


def fetch(name: str, source: Source, speech: Path, downloads: Path) -> str | None:
    """Write `speech`/`name`/{speech.s16,clips.csv,source.json}.

    Returns None, or the reason when the source cannot be reached: the files then say so and
    hold no clip. Clips shorter than 0.3 s, clips below 16 kHz at source and repetitions of the
    same samples are left out. `source.json` is written last and removed first: where it stands,
    the rest is whole. Raises `ChecksumError`, `AudioError` and `SourceError`.
    """
    folder = speech / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "source.json").unlink(missing_ok=True)
    for leftover in folder.glob(".*"):  # of a fetch that was killed
        leftover.unlink()
    reason = None
    try:
        clips = _store(name, source, source.recordings(name, downloads), folder / "speech.s16")
    except Unreachable as error:
        reason = str(error)
        clips = []
        with atomic_path(folder / "speech.s16"):
            pass
    with atomic_path(folder / "clips.csv") as temporary:
        table = pd.DataFrame(clips, columns=COLUMNS).sort_values("clip")
        table.to_csv(temporary, index=False, lineterminator="\n")
    with atomic_path(folder / "source.json") as temporary:
        facts = {
            "source": name,
            "available": reason is None,
            "reason": reason,
            "licence": source.licence,
            "url": source.origin,
            "version": source.version,
            "identity": source.identity(),
        }
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return reason


def _store(
    name: str, source: Source, recordings: Iterator[Recording], path: Path
) -> list[dict[str, Any]]:
    clips: list[dict[str, Any]] = []
    seen: set[bytes] = set()
    names: set[str] = set()
    start = 0
    # Threads: libsndfile, FFmpeg and torch all let go of the interpreter lock.
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as file,
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        tqdm(desc=name, unit="clip", disable=None) as bar,
    ):
        while batch := list(itertools.islice(recordings, BATCH)):
            for recording, samples in zip(batch, pool.map(_samples, batch), strict=True):
                bar.update()
                if samples is None:
                    continue
                pcm = samples.tobytes()
                if (digest := hashlib.sha256(pcm).digest()) in seen:
                    continue
                seen.add(digest)
                clip = f"{name}__{safe_name(recording.path)}"
                if clip in names:
                    raise SourceError(f"two clips called {clip}; rename one of the files")
                names.add(clip)
                file.write(pcm)
                clips.append(
                    {
                        "clip": clip,
                        "source": name,
                        "speaker": recording.speaker,
                        "language": recording.language,
                        "split": recording.split,
                        "licence": source.licence,
                        "seconds": round(samples.size / SAMPLE_RATE, 4),
                        "start": start,
                        "samples": samples.size,
                    }
                )
                start += samples.size
    return clips


def _samples(recording: Recording) -> npt.NDArray[np.int16] | None:
    """int16 [samples] at 16 kHz, or None for a clip that is too short or too narrow."""
    if not recording.data:
        return None  # Debian ships a few empty files
    decoded, rate = decode(recording.data, recording.path)
    if rate < SAMPLE_RATE or decoded.size < MIN_SECONDS * rate:
        return None
    if recording.pcm16_sha256 is not None:
        # What is pinned are int16 samples at the rate of the file, so these are what is resampled,
        # also of a file that holds floats.
        pcm = to_int16(decoded)
        actual = hashlib.sha256(pcm.astype("<i2").tobytes()).hexdigest()
        if actual != recording.pcm16_sha256:
            raise ChecksumError(
                f"{recording.path}: SHA-256 of the samples is {actual}, "
                f"expected {recording.pcm16_sha256}"
            )
        decoded = pcm.astype(np.float32) / 32768
    return to_int16(resample(decoded, rate)).astype("<i2")


def safe_name(path: str) -> str:
    """A path without its suffix as a file name: folders joined by two underscores."""
    stem = re.sub(r"\.[^./]*$", "", path)
    return re.sub(r"[^A-Za-z0-9._+-]", "_", stem.replace("/", "__"))
