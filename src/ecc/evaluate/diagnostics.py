"""What the real streams of ECC hold: where their bytes go, and what the entropy model achieves.

Every stream is decoded again, and the utterance that it stands for is analysed again for what no
stream says: the latent before quantization.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT
from torch import Tensor

from ecc.audio import SAMPLE_RATE
from ecc.codecs.base import codec_class, from_int16
from ecc.codecs.ecc import EccCodec
from ecc.evaluate.processes import spread
from ecc.model.entropy import EntropyModel, Estimator
from ecc.model.exact import unrounded
from ecc.model.rans import CHECK_BITS
from ecc.model.weights import load_networks
from ecc.speech import read_clip
from ecc.stream import Header, covered, unpack_chunks
from ecc.tables import Row, read_table, records

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

UTTERANCES = 8
"""Of each test set that are taken apart."""
THRESHOLDS = range(13)
"""Thresholds of entropy skip that are tried."""
SPECTRUM_BINS = 128
SPECTRUM_FLOOR = -80
"""dB below the maximum, where the spectrogram of the timeline ends."""


@dataclass(frozen=True)
class Estimate:
    """An utterance by likelihoods: nothing is coded."""

    bits: float
    error: float  # squared, of y_hat against y, summed; in quantization steps
    skipped: Integers  # [C], elements of each channel that were skipped
    lost: Integers  # [C], those of them that would not have been 0


@dataclass(frozen=True)
class Utterance:
    """A stream taken apart: T latent frames, C channels of y, Z of z."""

    seconds: float
    frame: int  # samples of a latent frame
    slices: int
    bits: Row  # what each part of the file takes
    exact: Estimate
    unrounded: Estimate  # by the same entropy model without fixed point
    sweep: dict[int, Estimate]  # by skip threshold
    z: Integers  # [T / z_stride, Z], symbols
    z_bits: Floats
    y: Floats  # [T, C], before quantization
    symbols: Integers  # [T, C], residuals; 0 where skipped
    indexes: Integers  # [T, C], of scales
    coded: NDArray[np.bool_]  # [T, C], not skipped
    costs: Floats  # [T, C], bits of each symbol under its table; of a skipped one what it saved

    @property
    def spent(self) -> Floats:
        """Bits that went into each symbol of y, [T, C]."""
        return self.costs * self.coded

    def slice_channels(self) -> list[slice]:
        """The channels of each slice."""
        ends = np.linspace(0, self.y.shape[1], self.slices + 1).astype(int).tolist()
        return [slice(*ends) for ends in pairwise(ends)]


class Recorder(Estimator):
    """An `Estimator` that also notes which elements lost a residual to skip."""

    def __init__(self, entropy: EntropyModel, skip: int) -> None:
        super().__init__(entropy.gaussian, skip, training=False)
        self.lost: list[Tensor] = []  # one boolean [B, T', C] for each step of the walk

    def __call__(self, residual: Tensor | None, index: Tensor) -> Tensor:
        """As of `ResidualCoder`."""
        assert residual is not None
        coded = super().__call__(residual, index)
        self.lost.append(self.skipped[-1] & (residual.round() != 0))
        return coded


def diagnose(
    streams: Path, test_sets: Mapping[str, pd.DataFrame], speech: Path, workers: int
) -> dict[str, pd.DataFrame]:
    """Tables of what `coding.encode_test_sets` left of an ECC codec in `streams`: of the first
    `UTTERANCES` of each test set, since each is walked through many times.

    `speech` holds the samples of each test set, NAME.s16.

    `rate`, `exactness`, `parts`, `channels` and `context` hold rows for each test set and point,
    `skip` for the first and the last point, `timeline` for one utterance at the middle one.

    Raises:
        ValueError: the codec is not ECC, or there are no streams.
    """
    about = json.loads((streams / "codec.json").read_text(encoding="utf-8"))
    if not issubclass(codec_class(about["class"]), EccCodec):
        raise ValueError(f"{about['class']} does not have the entropy model of ECC")
    index = read_table(streams / "index.csv")
    index = index[index["reason"] == ""].sort_values("test_set", kind="stable")
    if index.empty:
        raise ValueError("there are no streams")
    points = list(about["points"])
    jobs: list[Row] = []
    for _, every in index.groupby(["test_set", "point"], sort=False):
        group = every.head(UTTERANCES)
        test_set, point = group[["test_set", "point"]].iloc[0]
        clips = {clip["clip"]: clip for clip in records(test_sets[test_set])}
        jobs.append(
            {
                "number": len(jobs),
                "key": {"test_set": test_set, "point": point},
                "model": about["points"][point]["model"],
                "streams": [str(streams / file) for file in group["file"]],
                "clips": [clips[utterance] for utterance in group["utterance"]],
                "speech": str(speech / f"{test_set}.s16"),
                "estimated": float(group["bits_estimated"].sum()),
                "thresholds": list(THRESHOLDS) if point in (points[0], points[-1]) else [],
            }
        )
    middle = [job for job in jobs if job["key"]["point"] == points[len(points) // 2]]
    for job in middle[:1]:
        job["timeline"] = True
    found = dict(spread(diagnose_point, jobs, workers, f"diagnose {about['codec']}"))
    tables: dict[str, list[Row]] = {}
    for job in jobs:
        for name, rows in found[job["number"]].items():
            tables.setdefault(name, []).extend(rows)
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def diagnose_point(job: Row) -> tuple[int, dict[str, list[Row]]]:
    """The number of the job, and the rows of each table for the streams of one test set at one
    point."""
    pairs = list(zip(job["streams"], job["clips"], strict=True))
    utterances = [inspect_stream({**job, "stream": stream, "clip": clip}) for stream, clip in pairs]
    tables = {
        "rate": [rate_row(utterances, job["estimated"])],
        "exactness": [exactness_row(utterances)],
        "parts": part_rows(utterances),
        "skip": skip_rows(utterances),
        "channels": channel_rows(utterances),
        "context": context_rows(utterances),
    }
    tables = {name: [{**job["key"], **row} for row in rows] for name, rows in tables.items()}
    if job.get("timeline"):
        samples = from_int16(read_clip(Path(job["speech"]), job["clips"][0]))
        tables["timeline"] = timeline_rows(utterances[0], samples)
    return job["number"], tables


# ---------------------------------------------------------------------- one utterance


def inspect_stream(job: Row) -> Utterance:
    """The stream that the job names, taken apart."""
    api, entropy = _models(job["model"])
    codec = api.codec
    stream = Path(job["stream"]).read_bytes()
    header, at = Header.unpack(stream)
    level, skip = header.level, header.skip
    chunks = unpack_chunks(stream, at, codec.count_chunks(header.samples))
    payloads = [chunk for chunk in chunks if chunk]  # all of them: a damaged one is an error
    latents = [latent for latent in api.latents(stream) if latent]
    samples = from_int16(read_clip(Path(job["speech"]), job["clip"]))
    ys = list(codec.analyse_chunks(samples, level))
    tensors = [torch.from_numpy(y)[None] for y in ys]
    with unrounded():
        without_fixed_point = _estimate(entropy, tensors, level, skip)

    costs = [codec.entropy.costs(latent, level) for latent in latents]
    z_bits, y_bits = (np.concatenate(parts) for parts in zip(*costs, strict=True))
    indexes = np.concatenate([latent.indexes for latent in latents])
    coded = indexes >= skip
    payload = 8 * sum(map(len, payloads))
    tables = z_bits.sum() + y_bits[coded].sum()
    # A stream of an ANS coder is one large number, which grows out of the check: how much its
    # logarithm grows is what the symbols took.
    checks = [latent.check(covered(stream[:at], n)) for n, latent in enumerate(latents)]
    check = sum(math.log2(1 << CHECK_BITS | value) for value in checks)
    state = sum(math.log2(int.from_bytes(part, "little")) for part in payloads)
    return Utterance(
        seconds=header.samples / SAMPLE_RATE,
        frame=codec.transform.samples_per_frame,
        slices=codec.config.entropy.slices,
        bits={
            "file": 8 * len(stream),
            "header": 8 * at,
            "framing": 8 * (len(stream) - at) - payload,
            "check": check,
            "tables": tables,
            "coder": state - check - tables,
            "rounding": payload - state,
        },
        exact=_estimate(entropy, tensors, level, skip),
        unrounded=without_fixed_point,
        sweep={k: _estimate(entropy, tensors, level, k) for k in job["thresholds"]},
        z=np.concatenate([latent.z for latent in latents]),
        z_bits=z_bits,
        y=np.concatenate(ys).astype(np.float32),
        symbols=np.concatenate([latent.symbols for latent in latents]),
        indexes=indexes,
        coded=coded,
        costs=y_bits.astype(np.float32),
    )


@lru_cache(maxsize=1)  # jobs come point by point
def _models(path: str) -> tuple[EccCodec, EntropyModel]:
    """A codec, and its entropy model in PyTorch."""
    api = EccCodec(path)
    entropy = load_networks(api.trained).entropy
    if not isinstance(entropy, EntropyModel):
        raise ValueError(f"{path} has no entropy model")
    return api, entropy


@torch.inference_mode()
def _estimate(entropy: EntropyModel, ys: Sequence[Tensor], level: int, skip: int) -> Estimate:
    total = error = 0.0
    skipped: list[NDArray[np.int64]] = []
    lost: list[NDArray[np.int64]] = []
    for y in ys:
        recorder = Recorder(entropy, skip)
        y_hat, bits = entropy(y, torch.tensor([level]), recorder)
        total += (bits["z"].sum() + bits["slices"].sum()).item()
        error += (y_hat - y).double().square().sum().item()
        for counts, steps in ((skipped, recorder.skipped), (lost, recorder.lost)):
            counts.append(entropy.join_steps([step[0].numpy() for step in steps]).sum(axis=0))
    return Estimate(total, error, np.sum(skipped, axis=0), np.sum(lost, axis=0))


# ---------------------------------------------------------------------- the real rate


def rate_row(utterances: Sequence[Utterance], estimated: float) -> Row:
    """Bits of the files by what they are for, beside the `estimated` bits of the likelihoods.

    `header` + `framing` + `check` + `tables` + `coder` + `rounding` = `file`. `tables` is what
    the tables of 2^-16 make of the symbols, `coder` what the ANS coder adds to that, `rounding`
    what whole bytes add.
    """
    total = pd.DataFrame([u.bits for u in utterances]).sum()
    row = {"files": len(utterances), "seconds": _seconds(utterances)}
    return {**row, **total, "estimated": estimated}


def exactness_row(utterances: Sequence[Utterance]) -> Row:
    """Rate (kbit/s, by likelihoods) and error (mean square, in steps) of the exact entropy model
    and of the same without fixed point."""
    row: Row = {}
    elements = sum(u.y.size for u in utterances)
    for name in ("exact", "unrounded"):
        estimates: list[Estimate] = [getattr(u, name) for u in utterances]
        row[f"kbps_{name}"] = sum(e.bits for e in estimates) / _seconds(utterances) / 1000
        row[f"mse_{name}"] = sum(e.error for e in estimates) / elements
    return row


# ---------------------------------------------------------------------- where bits go


def part_rows(utterances: Sequence[Utterance]) -> list[Row]:
    """z and each slice of y: the rate (kbit/s, by the tables), elements, how many of them are
    skipped, the rate that this saves, and how many skipped ones would not have been 0."""
    seconds = _seconds(utterances)
    spent, costs, coded = _joined(utterances, "spent", "costs", "coded")
    lost = np.sum([u.exact.lost for u in utterances], axis=0)
    z = {
        "part": "z",
        "kbps": sum(u.z_bits.sum() for u in utterances) / seconds / 1000,
        "elements": sum(u.z.size for u in utterances),
        "skipped": 0,
        "kbps_saved": 0.0,
        "lost": 0,
    }
    rows = [z] if z["elements"] else []
    for number, part in enumerate(utterances[0].slice_channels(), start=1):
        rows.append(
            {
                "part": f"slice {number}",
                "kbps": spent[:, part].sum() / seconds / 1000,
                "elements": spent[:, part].size,
                "skipped": (~coded[:, part]).sum(),
                "kbps_saved": (costs - spent)[:, part].sum() / seconds / 1000,
                "lost": lost[part].sum(),
            }
        )
    return rows


def skip_rows(utterances: Sequence[Utterance]) -> list[Row]:
    """Rate (kbit/s, by likelihoods), error (mean square, in steps), elements skipped and lost to
    skip at each threshold that was tried; each time encoded anew."""
    elements = sum(u.y.size for u in utterances)
    rows = []
    for threshold in utterances[0].sweep:
        estimates = [u.sweep[threshold] for u in utterances]
        rows.append(
            {
                "threshold": threshold,
                "kbps": sum(e.bits for e in estimates) / _seconds(utterances) / 1000,
                "mse": sum(e.error for e in estimates) / elements,
                "elements": elements,
                "skipped": sum(e.skipped.sum() for e in estimates),
                "lost": sum(e.lost.sum() for e in estimates),
            }
        )
    return rows


# ---------------------------------------------------------------------- what was learnt


def channel_rows(utterances: Sequence[Utterance]) -> list[Row]:
    """Each channel of z and y, in bits per symbol: what it takes by the tables (`spent`), the
    empirical entropy of its symbols under one fixed table (`entropy`), and that of y rounded
    without prediction (`entropy_y`); the shares of its symbols that are skipped and that are 0."""
    z, z_bits, y, symbols, spent, coded = _joined(
        utterances, "z", "z_bits", "y", "symbols", "spent", "coded"
    )
    rows: list[Row] = []
    for channel in range(z.shape[1]):
        rows.append(
            {
                "part": "z",
                "channel": channel,
                "spent": z_bits[:, channel].mean(),
                "entropy": empirical_entropy(z[:, channel]),
                "entropy_y": math.nan,
                "skipped": 0.0,
                "zero": (z[:, channel] == 0).mean(),
            }
        )
    for number, part in enumerate(utterances[0].slice_channels(), start=1):
        for channel in range(part.start, part.stop):
            rows.append(
                {
                    "part": f"slice {number}",
                    "channel": channel,
                    "spent": spent[:, channel].mean(),
                    "entropy": empirical_entropy(symbols[:, channel]),
                    "entropy_y": empirical_entropy(np.rint(y[:, channel]).astype(int)),
                    "skipped": (~coded[:, channel]).mean(),
                    "zero": (symbols[:, channel] == 0).mean(),
                }
            )
    return rows


def context_rows(utterances: Sequence[Utterance]) -> list[Row]:
    """What each slice gains by its contexts, in bits per element, from empirical entropies:

    - `y`: y rounded, one table for each channel; `y_previous`: given the frame before as well.
    - `residual`: the residuals, one table for each channel; the difference to `y` is what the
      predicted mean gains.
    - `scale`: the residuals given their scale index; the difference is what the scale gains.
      `spent` is what they take by the tables.
    - `scale_previous`, `scale_slice`: given also the symbol of the frame before, or how many
      symbols of the slice before are not 0: what is left for a better context.

    And shares of the variance that a linear prediction explains: of y (`y_by_...`) and, as what
    the model left of it, of the residuals (`residual_by_...`), `previous` from all channels of
    the frame before, `slices` from the slices before in the same frame.
    """
    rows = []
    y, symbols, indexes, spent = _joined(utterances, "y", "symbols", "indexes", "spent")
    y_before = np.concatenate([_before(u.y) for u in utterances])
    before = np.concatenate([_before(u.symbols) for u in utterances])
    rounded, rounded_before = np.rint(y).astype(int), np.rint(y_before).astype(int)
    channel = np.broadcast_to(np.arange(y.shape[1]), y.shape)
    active = np.zeros(len(y), int)
    for number, part in enumerate(utterances[0].slice_channels(), start=1):
        s, index = symbols[:, part], indexes[:, part]
        bits = {
            "y": empirical_entropy(rounded[:, part], channel[:, part]),
            "y_previous": empirical_entropy(
                rounded[:, part], channel[:, part], rounded_before[:, part].clip(-2, 2)
            ),
            "residual": empirical_entropy(s, channel[:, part]),
            "scale": empirical_entropy(s, index),
            "scale_previous": empirical_entropy(s, index, before[:, part].clip(-1, 1)),
            "scale_slice": empirical_entropy(s, index, np.broadcast_to(active[:, None], s.shape))
            if number > 1
            else math.nan,
            "spent": spent[:, part].mean(),
        }
        explained = {
            "y_by_previous": _explained(y[:, part], y_before),
            "y_by_slices": _explained(y[:, part], y[:, : part.start]),
            "residual_by_previous": _explained(s, before),
            "residual_by_slices": _explained(s, symbols[:, : part.start]),
        }
        rows.append({"part": f"slice {number}", **bits, **explained})
        active = np.minimum((s != 0).sum(axis=1), 3)
    return rows


def timeline_rows(utterance: Utterance, samples: NDArray[np.float32]) -> list[Row]:
    """One row for each latent frame of an utterance: its start in seconds, the bits of z (spread
    evenly over the frames that share them) and of each slice, and its spectrum: dB below the
    maximum, in columns named by their frequency in Hz."""
    frames, step = len(utterance.y), utterance.frame
    spent = utterance.spent
    table = {"seconds": np.arange(frames) * step / SAMPLE_RATE}
    if len(utterance.z):
        stride = frames // len(utterance.z)
        table["z"] = np.repeat(utterance.z_bits.sum(axis=1) / stride, stride)
    for number, part in enumerate(utterance.slice_channels(), start=1):
        table[f"slice {number}"] = spent[:, part].sum(axis=1)
    window = np.hanning(2 * SPECTRUM_BINS)
    stft = ShortTimeFFT(window, step, SAMPLE_RATE)
    padded = np.pad(samples, (0, frames * step - len(samples)))
    power = stft.spectrogram(padded, p0=0, p1=frames)
    level = 10 * np.log10(np.maximum(power / max(power.max(), 1e-12), 10 ** (SPECTRUM_FLOOR / 10)))
    for hertz, row in zip(stft.f, np.rint(level).astype(int), strict=True):
        table[f"{hertz:g}"] = row
    return records(pd.DataFrame(table))


def _joined(utterances: Sequence[Utterance], *names: str) -> list[NDArray[Any]]:
    return [np.concatenate([getattr(u, name) for u in utterances]) for name in names]


def _seconds(utterances: Sequence[Utterance]) -> float:
    return sum(u.seconds for u in utterances)


def _before(values: NDArray[Any]) -> NDArray[Any]:
    """The frame before each of [T, C]; 0 before the first."""
    return np.concatenate([np.zeros_like(values[:1]), values[:-1]])


def empirical_entropy(symbols: Integers, *contexts: Integers) -> float:
    """Empirical entropy of `symbols` given `contexts` of the same shape, in bits per symbol.

    With the correction of Miller ("Note on the bias of information estimates", 1955), since many
    small tables fit what they were counted on too well.
    """
    codes = np.zeros(symbols.shape, np.int64)
    for values in (*contexts, symbols):
        _, of_context = np.unique(codes, return_counts=True)
        codes = codes * (np.ptp(values) + 1) + (values - values.min())
    _, of_both = np.unique(codes, return_counts=True)
    bits = (of_context * np.log2(of_context)).sum() - (of_both * np.log2(of_both)).sum()
    correction = (len(of_both) - len(of_context)) / (2 * math.log(2))
    return float((bits + correction) / symbols.size)


def _explained(values: NDArray[Any], given: NDArray[Any]) -> float:
    """Share of the variance of `values` [N, C] that a linear prediction from `given` [N, K]
    explains, adjusted for K; NaN without a prediction."""
    count, predictors = given.shape
    values, given = values.astype(np.float64), given.astype(np.float64)
    values, given = values - values.mean(axis=0), given - given.mean(axis=0)
    variance = np.square(values).sum()
    if not predictors or count <= predictors + 1 or variance == 0:
        return math.nan
    weights = np.linalg.pinv(given.T @ given, hermitian=True) @ (given.T @ values)
    left = np.square(values - given @ weights).sum() / variance
    return float(1 - left * (count - 1) / (count - predictors - 1))
