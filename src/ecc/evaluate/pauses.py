"""Where the bits of real streams go in time: into speech, or into the pauses between."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecc.codecs.base import Codec, from_int16, load_codec, split_packets
from ecc.codecs.ecc import EccCodec
from ecc.codecs.opus import Opus
from ecc.evaluate.activity import SPEECH_FRAME, speech_frames
from ecc.evaluate.processes import spread
from ecc.speech import SAMPLE_RATE, read_clip
from ecc.stream import Header
from ecc.tables import Row, read_table, records

COLUMNS = ["test_set", "point", "utterance", "seconds", "speech_seconds", "bits", "speech_bits"]


def pauses(
    streams: Path, test_sets: dict[str, pd.DataFrame], speech: Path, workers: int
) -> pd.DataFrame:
    """A row for each utterance and point of all that `coding.encode_test_sets` left in `streams`,
    with `COLUMNS`: `speech_seconds` of its `seconds` are speech, by
    `ecc.evaluate.activity.speech_frames` of the original, and `speech_bits` of its `bits` fall into
    them.

    `speech` holds the samples of each test set, NAME.s16.

    Raises:
        ValueError: the codec does not say how many bits each of its frames takes.
    """
    about = json.loads((streams / "codec.json").read_text(encoding="utf-8"))
    index = read_table(streams / "index.csv")
    index = index[index["reason"] == ""]
    jobs: list[Row] = []
    for _, group in index.groupby(["test_set", "point"], sort=False):
        test_set, point = group[["test_set", "point"]].iloc[0]
        clips = {clip["clip"]: clip for clip in records(test_sets[test_set])}
        rows = [
            {"stream": str(streams / row["file"]), "bits": row["bits"],
             "clip": clips[row["utterance"]]}
            for row in records(group)
        ]  # fmt: skip
        jobs.append(
            {
                "number": len(jobs),
                "key": {"test_set": test_set, "point": point},
                "codec": [about["class"], json.dumps(about["points"][point])],
                "streams": rows,
                "speech": str(speech / f"{test_set}.s16"),
            }
        )
    found = dict(spread(pauses_of_point, jobs, workers, f"pauses {about['codec']}"))
    return pd.DataFrame(
        [row for number in range(len(jobs)) for row in found[number]], columns=COLUMNS
    )


def pauses_of_point(job: Row) -> tuple[int, list[Row]]:
    """The number of the job, and the rows of one test set at one point."""
    codec, rows = _codec(*job["codec"]), []
    for stream in job["streams"]:
        samples = from_int16(read_clip(Path(job["speech"]), stream["clip"]))
        frames, length = frame_bits(codec, Path(stream["stream"]).read_bytes())
        speech = speech_frames(samples)
        seconds = int(speech.sum()) * SPEECH_FRAME / SAMPLE_RATE
        row = {**job["key"], "utterance": stream["clip"]["clip"]}
        row |= {"seconds": len(samples) / SAMPLE_RATE, "speech_seconds": seconds}
        bits = bits_in_speech(frames, length, stream["bits"], speech, len(samples))
        rows.append({**row, "bits": stream["bits"], "speech_bits": bits})
    return job["number"], rows


def frame_bits(codec: Codec, stream: bytes) -> tuple[NDArray[np.float64], int]:
    """The bits of each frame [F] of `stream`, and the samples that a frame stands for.

    Of our codecs these are the symbols of a latent frame by the tables that code them, with those
    of z spread evenly over the frames that share them; of Opus the packets. The delay of Opus,
    less than a packet, is left out of account.

    Raises:
        ValueError: the codec is neither.
    """
    if isinstance(codec, Opus):
        packets = [8.0 * len(packet) for packet in split_packets(stream)]
        return np.array(packets), codec.frame
    if not isinstance(codec, EccCodec):
        raise ValueError(f"{type(codec).__name__} does not say how many bits each frame takes")
    header, _ = Header.unpack(stream)
    frames = [np.zeros(0)]
    for latent in codec.latents(stream):
        if latent:
            z, y = codec.codec.entropy.costs(latent, header.level)
            # What is below the threshold of entropy skip is not coded; tokens have none.
            spent = np.where(latent.indexes >= header.skip, y, 0.0).sum(axis=1)
            if codec.codec.config.rvq.stages:
                spent = y.sum(axis=1)
            if len(z):
                stride = len(y) // len(z)
                spent = spent + np.repeat(z.sum(axis=1) / stride, stride)
            frames.append(spent)
    return np.concatenate(frames), codec.codec.transform.samples_per_frame


def bits_in_speech(
    frames: NDArray[np.float64],
    length: int,
    bits: float,
    speech: NDArray[np.bool_],
    samples: int,
) -> float:
    """How many of the `bits` of a stream fall into speech.

    The bits of each of `frames` [F], of `length` samples each, are spread evenly over it; what is
    left of `bits` (headers, checks, whole bytes, what lies behind the end) is spread evenly over
    all `samples`. `speech` [S] says which frames of `SPEECH_FRAME` samples are speech.
    """
    ends = np.arange(len(frames) + 1) * length
    spent = np.concatenate([[0.0], np.cumsum(frames)])
    edges = np.arange(len(speech) + 1) * SPEECH_FRAME
    within = np.diff(np.interp(edges, ends, spent))[speech].sum()
    rest = bits - np.interp(samples, ends, spent)
    return float(within + rest * speech.sum() * SPEECH_FRAME / samples)


@lru_cache(maxsize=1)  # jobs come point by point
def _codec(spec: str, kwargs: str) -> Any:
    return load_codec(spec, json.loads(kwargs))
