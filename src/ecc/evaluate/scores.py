"""Scores of decoded utterances against their references: one row for each."""

import hashlib
import importlib.metadata
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import numpy.typing as npt
import onnxruntime
import pandas as pd
import torch
from pesq import pesq
from pystoi import stoi
from torchaudio.functional import melscale_fbanks
from torchaudio.transforms import MelSpectrogram
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


def dnsmos(reference: Samples, decoded: Samples) -> float:
    """DNSMOS P.808 (Reddy et al., 2021): the MOS that a network expects of `decoded`, 1 to 5.

    `reference` is not heard. As in `speechmos`, whose network this is: windows of 9.01 s, one
    each second, averaged; a shorter signal is repeated. Raises ValueError when `decoded` is
    silent.
    """
    if not decoded.any():
        raise ValueError("decoded signal is silent")
    window = 144_160
    while len(decoded) < window:
        decoded = np.concatenate([decoded, decoded])
    # By a rounding error speechmos hears seven windows at most, and so do we.
    count = min(max(1, len(decoded) // audio.SAMPLE_RATE - 9), 7)
    starts = range(0, count * audio.SAMPLE_RATE, audio.SAMPLE_RATE)
    session, bank = _dnsmos()
    segments = np.stack([decoded[start : start + window - 160] for start in starts])
    spectra = torch.stft(
        torch.from_numpy(segments),
        n_fft=321,
        hop_length=160,
        window=torch.hann_window(321),
        pad_mode="constant",
        return_complex=True,
    )
    power = (spectra.abs() ** 2).mT @ bank
    level = 10 * power.clamp(min=1e-10).log10()
    level = (level - level.amax((1, 2), keepdim=True)).clamp(min=-80)
    # One at a time: all at once takes 200 MB and is no faster.
    windows = ((level + 40) / 40).numpy()[:, None]
    return float(np.mean([session.run(None, {"input_1": window})[0] for window in windows]))


def log_mel_distance(reference: Samples, decoded: Samples) -> float:
    """Mean absolute difference of the log-mel spectrograms, dB, from 0; lower is better.

    Power in 80 mel bands (Slaney's, up to 8 kHz) of Hann windows of 32 ms, every 10 ms. Levels
    more than 60 dB below the highest of the reference count as 60 dB below. Raises ValueError
    when `reference` is silent.
    """
    power = _mel()(torch.from_numpy(np.stack([reference, decoded])))
    loudest = power[0].max()
    if loudest <= 0:
        raise ValueError("reference signal is silent")
    level = 10 * power.clamp(min=1e-6 * loudest).log10()
    return float((level[1] - level[0]).abs().mean())


class Metric(NamedTuple):
    """A score of (reference [T], decoded [T]), both float32 at 16 kHz; it raises what it cannot do.

    `distribution` is the package whose version decides whether an old score still holds.
    A metric that is not `intrusive` hears `decoded` alone, so that references have scores too.
    Whether more is better says `ecc.evaluate.config.LOWER_IS_BETTER`.
    """

    function: Callable[[Samples, Samples], float]
    distribution: str
    intrusive: bool = True


METRICS: dict[MetricName, Metric] = {
    "pesq_wb": Metric(pesq_wb, "pesq"),
    "visqol": Metric(visqol, "visqol-python"),
    "estoi": Metric(estoi, "pystoi"),
    "dnsmos": Metric(dnsmos, "speechmos", intrusive=False),
    "log_mel_distance": Metric(log_mel_distance, "ecc-speech"),
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
    NaN and the row's `reason` says why; so are the scores of what could not be coded. A metric
    that is not intrusive has a second column, `<metric>_reference`: what it says of the reference.

    `journal` (JSON lines) remembers every score under the hash of the two signals, the delay and
    the version of the metric, and so do the journals of other codecs beside it: a pair of signals
    is not scored twice by a metric, whichever points it comes from, and a killed run goes on.
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

    blind = [metric for metric in metrics if not METRICS[metric].intrusive]
    references = {
        (pair["test_set"], pair["utterance"]): {
            **pair, "decoded": "", "reason": "", "delay": 0, "digest": _reference_digest(pair)
        }
        for pair in (pairs if blind else [])
    }  # fmt: skip

    known: dict[str, float] = {}
    for path in journal.parent.glob("*.jsonl"):
        known |= _read_journal(path)
    jobs: dict[str, Row] = {}
    waiting: dict[str, list[Row]] = {}
    for pair, asked in [
        *((pair, metrics) for pair in pairs),
        *((reference, blind) for reference in references.values()),
    ]:
        pair["scores"] = {}
        if pair["reason"]:
            continue
        signals = f"{pair['digest']} {pair['delay']}"
        pair["scores"] = {m: known[key] for m in asked if (key := _key(m, signals)) in known}
        missing = [metric for metric in asked if metric not in pair["scores"]]
        if missing:
            job = jobs.setdefault(signals, {**pair, "signals": signals, "metrics": []})
            job["metrics"] = list(dict.fromkeys([*job["metrics"], *missing]))
            waiting.setdefault(signals, []).append(pair)
    with _appended(journal) as lines:
        for result in spread(score_pair, list(jobs.values()), workers, title):
            for pair in waiting[result["signals"]]:
                pair["scores"] |= result["scores"]
                pair["reason"] = result["reason"]
            for metric, value in result["scores"].items():
                key = _key(metric, result["signals"])
                lines.write(json.dumps({"key": key, "value": value}) + "\n")
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
        [
            *("codec", "point", "test_set", "utterance", "speaker", "seconds", "kbps"),
            *("kbps_estimated", "delay", *metrics, *(f"{metric}_reference" for metric in blind)),
            *("encode_seconds", "decode_seconds", "reason"),
        ],
    )


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
    return {"signals": job["signals"], "scores": scores, "reason": "; ".join(reasons)}


@cache
def _visqol() -> VisqolApi:
    api = VisqolApi()
    # Left to itself it chooses the mapping by what is installed, and the two differ more than
    # codecs do.
    api.create(mode="speech", use_lattice_model=True)
    return api


@cache
def _dnsmos() -> tuple[onnxruntime.InferenceSession, torch.Tensor]:
    """The network, [windows, 900, 120] to [windows, 1], and its mel filters [161, 120]."""
    options = onnxruntime.SessionOptions()
    # Its threads are its own: the variables that hold others to one thread do not reach it.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = resources.files("speechmos") / "dnsmos_models" / "model_v8.onnx"
    session = onnxruntime.InferenceSession(model.read_bytes(), options)
    # The bins of a transform of odd length end below half the sample rate: they are every other
    # one of a grid that reaches it.
    bank = melscale_fbanks(322, 0.0, 8000.0, 120, audio.SAMPLE_RATE, "slaney", "slaney")[::2]
    return session, bank


@cache
def _mel() -> MelSpectrogram:
    return MelSpectrogram(
        audio.SAMPLE_RATE, n_fft=512, hop_length=160, n_mels=80, mel_scale="slaney"
    )


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
    return digest.hexdigest()


@cache
def _version(metric: MetricName) -> str:
    return importlib.metadata.version(METRICS[metric].distribution)


def _key(metric: MetricName, signals: str) -> str:
    return f"{metric} {_version(metric)} {signals}"


def _read_journal(path: Path) -> dict[str, float]:
    """Scores by key, from the whole lines: the last may be half written, or being written."""
    content = path.read_bytes()
    entries = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    return {entry["key"]: entry["value"] for entry in entries}


@contextmanager
def _appended(path: Path) -> Iterator[TextIO]:
    """`path`, open for more lines; what a killed run left of a line is cut off before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
    with path.open("a", encoding="utf-8") as lines:
        yield lines
