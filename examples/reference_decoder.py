"""Decode an `.ecc` file as docs/format.md says, with NumPy and the standard library alone.

    python examples/reference_decoder.py speech.ecc speech.wav MODEL.safetensors...

It is that page as a program, under the same headings, shares no code with the package, and is
written to be read. `tests/test_reference.py` holds it and `ecc decode` to the same samples.
"""

import hashlib
import json
import sys
import wave
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
Weights = dict[str, Array]  # arrays of a model file by name
Table = Sequence[int]  # cumulative frequencies, from 0 to 2^24


class FormatError(ValueError):
    """A stream or a model file that cannot be decoded; the message says why in one line."""


class Model(NamedTuple):
    config: dict[str, Any]
    base: str  # SHA-256 of the file with the arrays that this one has not, or ""
    arrays: Weights


class Latent(NamedTuple):
    """What one chunk says: T frames of y, and the z that goes with them."""

    z: Array  # symbols [T / z_stride, z_channels]
    indexes: Array  # scale index of each element of y [T, channels]
    symbols: Array  # of y [T, channels], 0 where skipped; of an RVQ model tokens [T, stages]
    y_hat: Array  # [T, channels], multiples of 2^-10


# --- Header
def read_varint(data: bytes, at: int, most: int) -> tuple[int, int]:
    """The varint at byte `at`, which may be `most`, and where the next field begins."""
    size = next((n for n, byte in enumerate(data[at : at + 6], 1) if byte < 0x80), 0)
    value = sum((byte & 0x7F) << (7 * n) for n, byte in enumerate(data[at : at + size]))
    if size == 0 or value > most or (size > 1 and data[at + size - 1] == 0):
        raise FormatError("cut short, or a length that cannot be")
    return value, at + size


def read_header(data: bytes) -> tuple[int, int, bytes, int, int]:
    """Entropy-skip threshold, level, model, samples, and the number of bytes of the header."""
    if len(data) < 8 or data[:2] != b"\xec\xc1" or data[2] >> 4 != 0:
        raise FormatError("not an .ecc stream of version 1 at 16 kHz, or cut short in the header")
    samples, at = read_varint(data, 7, 2**40)
    return data[2] & 0xF, data[3], data[4:7], samples, at


# --- Chunks
def read_chunks(data: bytes, at: int, frames: int) -> list[tuple[int, bytes, bytes]]:
    """Of each chunk its latent frames, what ties it to its place, and its payload."""
    header, chunks = data[:at], []
    for number, first in enumerate(range(0, frames, 1024)):
        place = header + number.to_bytes(4, "little")
        size, start = read_varint(data, at, 2**24)
        end = start + 1 + size
        payload = data[start + 1 : end]
        if end > len(data) or data[start] != zlib.crc32(place + data[at:start] + payload) % 256:
            raise FormatError(f"cut short or damaged in chunk {number + 1}")
        chunks.append((min(1024, frames - first), place, payload))
        at = end
    if at != len(data):
        raise FormatError("goes on behind the last chunk")
    return chunks


# --- The model file
def read_model(data: bytes) -> Model:
    """What the bytes of a model file hold."""
    types = {"F16": "<f2", "F32": "<f4", "I32": "<i4", "I64": "<i8"}
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        entries, arrays = json.loads(data[8:start]), {}
        header = json.loads(entries.pop("__metadata__")["ecc"])
        for name, entry in entries.items():
            a, b = (start + offset for offset in entry["data_offsets"])
            arrays[name] = np.frombuffer(data[a:b], types[entry["dtype"]]).reshape(entry["shape"])
    except (ValueError, KeyError):
        raise FormatError("not a model file, or damaged") from None
    config = header["config"]
    if header["format"] not in (2, 3) or config["transform"]["kind"] != "stft":
        raise FormatError("a model file of another format, or around networks of others")
    if header["format"] == 2:
        config["entropy"]["taps"] = [3, 3] if config["entropy"]["checkerboard"] else [3]
    return Model(config, header.get("base", ""), arrays)


def choose_model(files: dict[str, bytes], model_id: str) -> Model:
    """The model of that id, with the arrays of its base, among model files by their SHA-256."""
    for digest, data in files.items():
        if digest.startswith(model_id):
            model = read_model(data)
            base = choose_model(files, model.base).arrays if model.base else {}
            return model._replace(arrays=base | model.arrays)
    raise FormatError(f"none of the model files is {model_id}")


# --- Tables
def cumulative(frequencies: Array) -> list[int]:
    """Whole frequencies [n] -> the table of the coder, n + 1 entries."""
    n, sums = len(frequencies), np.cumsum(np.append(0.0, frequencies))
    table = np.floor(sums * ((2**24 - n) / sums[-1])).astype(np.int64) + np.arange(n + 1)
    return [*table[:-1].tolist(), 2**24]


def read_tables(w: Weights, name: str) -> list[tuple[Table, int]]:
    """The tables of one kind of symbol, each with the symbol that its first entry means."""
    cdfs, lengths = w[f"{name}._quantized_cdf"], w[f"{name}._cdf_length"]
    medians = w.get(f"{name}.quantiles", np.zeros((1, 1, 3)))[:, 0, 1]
    first = w[f"{name}._offset"] + medians.astype(int)
    tables = (cumulative(np.diff(cdf[:n])) for cdf, n in zip(cdfs, lengths, strict=True))
    return list(zip(tables, first.tolist(), strict=True))


# --- Decoding a symbol
class Stack:
    """The ANS coder of one payload."""

    def __init__(self, payload: bytes) -> None:
        if not payload or payload[-1] == 0:
            raise FormatError("a payload that cannot be")
        self.words = np.frombuffer(payload + bytes(-len(payload) % 4), "<u4").tolist()
        self.state = 0

    def symbol(self, table: Table) -> int:
        """The next entry, of this table."""
        while self.state < 2**32 and self.words:
            self.state = self.state * 2**32 + self.words.pop()
        q = self.state % 2**24
        entry = bisect_right(table, q) - 1
        self.state = (self.state >> 24) * (table[entry + 1] - table[entry]) + q - table[entry]
        return entry

    def group(self, tables: list[tuple[Table, int]], indexes: Array) -> Array:
        """The symbols [N] of a group, given the number of the table of each."""
        symbols, escaped = np.zeros(len(indexes), np.int64), []
        for at in np.argsort(indexes, kind="stable"):
            table, first = tables[indexes[at]]
            entry = self.symbol(table)
            symbols[at] = entry + first
            if entry == len(table) - 2:
                escaped.append(at)
        for at in sorted(escaped):
            symbols[at] = self.symbol(range(0, 2**24 + 1, 2**8)) - 2**15
        return symbols


# --- Fixed point
def fixed(x: Array) -> Array:
    """x within ±2^15 as a multiple of 2^-10. `np.rint` takes halves to the even neighbour."""
    return np.clip(np.rint(x.astype(np.float64) * 2**10) / 2**10, -(2**15), 2**15)


def linear(w: Weights, name: str, x: Array, frames: slice = slice(None)) -> Array:
    """A map of each frame and its neighbours, zeros beyond the ends: [T, inputs] -> [T', outputs],
    those of `frames`. How many neighbours follows from the weights [outputs, taps * inputs]."""
    weight, bias = w[f"{name}.weight"].astype(np.float64), w[f"{name}.bias"].astype(np.float64)
    taps = weight.shape[1] // x.shape[1]
    padded = np.pad(x, ((taps // 2, taps // 2), (0, 0)))
    seen = np.hstack([padded[i : i + len(x)] for i in range(taps)])
    return seen[frames] @ weight.T + bias


def fixed_attention(w: Weights, name: str, x: Array) -> Array:
    qkv = fixed(linear(w, f"{name}.qkv", x))
    q, k, v = qkv.reshape(len(x), 3, 4, -1).transpose(1, 2, 0, 3)  # 4 heads
    q, k, v = q.clip(0, 2**4), k.clip(0, 2**4), v.clip(-(2**8), 2**8)
    state, key = fixed(k.swapaxes(1, 2) @ v / len(x)), fixed(k.sum(axis=1, keepdims=True) / len(x))
    attended = fixed(q @ state / ((q * key).sum(axis=2, keepdims=True) + 2**-10))
    return fixed(x + fixed(linear(w, f"{name}.out", attended.swapaxes(0, 1).reshape(x.shape))))


# --- The hyperprior
def hyperprior(model: Model, level: int, frames: int, stack: Stack) -> tuple[Array, Array]:
    """z, and psi [T, width], which it and the level say of each latent frame."""
    config, w = model.config["entropy"], model.arrays
    psi = np.tile(fixed(w["entropy.psi_level.weight"][level]), (frames, 1))
    if not config["hyperprior"]:
        return np.zeros((0, 0), np.int64), psi
    rows, channels = frames // config["z_stride"], config["z_channels"]
    tables, indexes = read_tables(w, "entropy.bottleneck"), np.arange(channels) + level * channels
    z = stack.group(tables, np.tile(indexes, rows)).reshape(rows, channels)
    told = fixed(w["entropy.z_level.weight"][level])
    hidden = (fixed(linear(w, "entropy.h_s_in", z)) + told).clip(0)
    for number in range(config["attention"]):
        hidden = fixed_attention(w, f"entropy.h_s.{number}", hidden)
    last = fixed(linear(w, f"entropy.h_s.{config['attention']}", hidden))
    return z, psi + last.reshape(frames, -1)


# --- Slices and groups
def frame_groups(count: int) -> list[slice]:
    """The frames of each group in order; of four 0 mod 8, 4 mod 8, 2 mod 4, 1 mod 2."""
    steps = [2**power for power in range(count - 1, 0, -1)]
    return [slice(0, None, 2 ** (count - 1)), *(slice(step // 2, None, step) for step in steps)]


def predict(w: Weights, name: str, x: Array, frames: slice) -> Array:
    """The three layers of the network of one step."""
    hidden = fixed(linear(w, f"{name}.0", x, frames)).clip(0)
    return fixed(linear(w, f"{name}.4", fixed(linear(w, f"{name}.2", hidden)).clip(0)))


def decode_slices(model: Model, level: int, skip: int, frames: int, stack: Stack) -> Latent:
    config, w = model.config["entropy"], model.arrays
    z, psi = hyperprior(model, level, frames, stack)
    channels, tables = model.config["transform"]["channels"], read_tables(w, "entropy.gaussian")
    size, groups = channels // config["slices"], frame_groups(len(config["taps"]))
    y_hat, (symbols, indexes) = np.zeros((frames, channels)), np.zeros((2, frames, channels), int)
    for i in range(config["slices"]):
        own = slice(i * size, (i + 1) * size)
        before = np.hstack([psi, y_hat[:, : i * size]]) if config["context"] else psi
        for g, group in enumerate(groups):
            step = i * len(groups) + g
            known = before if g == 0 else np.hstack([before, y_hat[:, own]])
            predicted = predict(w, f"entropy.parameter_nets.{step}", known, group)
            index = np.rint((4 * predicted[:, size:] + 22).clip(0, 63)).astype(int)
            residual, coded = np.zeros_like(index), index >= skip
            residual[coded] = stack.group(tables, index[coded])
            y_hat[group, own] = predicted[:, :size] + residual
            if config["lrp"]:
                seen = np.hstack([before, y_hat[:, own]])
                lrp = predict(w, f"entropy.lrp_nets.{step}", seen, group)
                y_hat[group, own] += fixed(0.5 * lrp.clip(-1, 1))
            symbols[group, own], indexes[group, own] = residual, index
    return Latent(z, indexes, symbols, y_hat)


# --- Payloads of residual vector quantization
def decode_tokens(model: Model, level: int, frames: int, stack: Stack) -> Latent:
    config, w = model.config["rvq"], model.arrays
    y_hat = np.zeros((frames, model.config["transform"]["channels"]))
    tokens = np.zeros((frames, config["stages"][level]), int)
    even = range(0, 2**24 + 1, 2 ** (24 - config["bits"]))  # all entries alike
    for stage in range(config["stages"][level]):
        codebook = fixed(w["entropy.codebooks"][stage])
        own, known = np.zeros_like(y_hat), np.zeros((frames, 1))
        for group in frame_groups(3) if config["tokens"] else [slice(None)]:
            seen = np.hstack([y_hat, own, known])
            tables: list[Table] = [even] * len(range(frames)[group])
            if config["tokens"]:
                tables = token_tables(w, stage, level, seen, group)
            tokens[group, stage] = [stack.symbol(table) for table in tables]
            own[group], known[group] = codebook[tokens[group, stage]], 1
        y_hat = fixed(y_hat + own)
    return Latent(np.zeros((0, 0), int), np.zeros_like(tokens), tokens, y_hat)


def token_tables(w: Weights, stage: int, level: int, seen: Array, group: slice) -> list[Table]:
    """The table of each token of a group, by the model of the tokens."""
    name = "entropy.tokens"
    told = fixed(w[f"{name}.stage.weight"][stage]) + fixed(w[f"{name}.level.weight"][level])
    hidden = fixed(fixed(linear(w, f"{name}.window", seen, group)) + told).clip(0)
    hidden = fixed(linear(w, f"{name}.inner", hidden)).clip(0)
    hidden = fixed(linear(w, f"{name}.heads.{stage}", hidden)).clip(-(2**8), 2**8)
    codebook = fixed(w["entropy.codebooks"][stage])
    length = fixed(np.square(codebook).mean(axis=1, keepdims=True))
    log_odds = hidden @ np.hstack([codebook, length]).T + fixed(w[f"{name}.bias.weight"][stage])
    steps = (fixed(log_odds) * 2**10).astype(int)
    steps -= steps.max(axis=1, keepdims=True)
    odds = powers_of_two()[steps % 2**10] >> np.minimum(-(steps // 2**10), 32)
    return [cumulative(row) for row in odds]


@cache
def powers_of_two() -> Array:
    """floor(2^(30 + i / 1024)) for i below 1024: ten square roots of integers, rounded down."""
    powers = [2 ** (30 * 1024 + i) for i in range(1024)]
    for _ in range(10):
        powers = [isqrt(power) for power in powers]
    return np.array(powers)


# --- From ŷ to samples
def normalise(w: Weights, name: str, x: Array) -> Array:
    centred = x - x.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + 1e-5)
    return scaled * w[f"{name}.weight"].astype(np.float64) + w[f"{name}.bias"]


def block(w: Weights, name: str, x: Array) -> Array:
    hidden = linear(w, f"{name}.expand", normalise(w, f"{name}.norm", x))
    inner = np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)
    return x + linear(w, f"{name}.project", 0.5 * hidden * (1 + np.tanh(inner)))


def attention(w: Weights, name: str, x: Array) -> Array:
    qkv = linear(w, f"{name}.qkv", normalise(w, f"{name}.norm", x))
    q, k, v = qkv.reshape(len(x), 3, 4, -1).transpose(1, 2, 0, 3)
    q, k = q.clip(0), k.clip(0)
    normaliser = (q * k.mean(axis=1, keepdims=True)).sum(axis=2, keepdims=True) + 1e-3
    attended = q @ (k.swapaxes(1, 2) @ v / len(x)) / normaliser
    return x + linear(w, f"{name}.out", attended.swapaxes(0, 1).reshape(x.shape))


def spectrum_of(model: Model, y_hat: Array, level: int) -> Array:
    """g_s: ŷ [T, channels] -> spectrum [T * stack, n_fft / 2 + 1]."""
    config, w, name = model.config["transform"], model.arrays, "transform.g_s"
    x = y_hat * np.exp(-w[f"{name}.gain.weight"][level].astype(np.float64))
    x = linear(w, f"{name}.embed", x) + w[f"{name}.shift.weight"][level]
    layers = {key.split(".")[3] for key in w if key.startswith(f"{name}.trunk.")}
    for layer in (f"{name}.trunk.{number}" for number in range(len(layers))):
        x = (attention if f"{layer}.qkv.weight" in w else block)(w, layer, x)
    head = linear(w, f"{name}.head", normalise(w, f"{name}.norm", x))
    loudness, real, imag = head.reshape(len(y_hat) * config["stack"], 3, -1).swapaxes(0, 1)
    magnitude = np.logaddexp(0, loudness) ** (1 / config["power"])
    return magnitude * (real + 1j * imag) / np.sqrt(real**2 + imag**2 + 1e-6)


def inverse_stft(spectrum: Array, window: Array, hop: int) -> Array:
    """[frames, n_fft / 2 + 1] -> samples [frames * hop]."""
    samples, weight = np.zeros((2, len(spectrum) * hop + len(window)))
    for t, frame in enumerate(np.fft.irfft(spectrum, len(window))):
        samples[t * hop :][: len(window)] += window * frame
        weight[t * hop :][: len(window)] += window**2
    inside = slice(len(window) // 2, len(window) // 2 + len(spectrum) * hop)
    return samples[inside] / weight[inside]


def synthesise(model: Model, y_hat: Array, level: int) -> Array:
    """ŷ [T, channels] -> samples [T * stack * hop], with the projections behind g_s."""
    n_fft, hop = model.config["transform"]["n_fft"], model.config["transform"]["hop"]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    spectrum, before = spectrum_of(model, y_hat, level), None
    magnitude = np.abs(spectrum)
    for _ in range(model.config["transform"].get("decoder_projections", 0)):
        padded = np.pad(inverse_stft(spectrum, window, hop), n_fft // 2)
        fitting = np.fft.rfft([window * padded[t * hop :][:n_fft] for t in range(len(spectrum))])
        ahead = fitting if before is None else fitting + 0.99 * (fitting - before)
        spectrum, before = magnitude * ahead / np.sqrt(np.abs(ahead) ** 2 + 1e-9), fitting
    return inverse_stft(spectrum, window, hop)


def decode_latents(stream: bytes, model: Model) -> list[Latent]:
    """What each chunk of a stream says."""
    skip, level, _, samples, at = read_header(stream)
    config, latents = model.config, []
    if level >= config["levels"]:
        raise FormatError(f"names level {level}, which the model has not")
    stride = 1 if config["rvq"]["stages"] else config["entropy"]["z_stride"]
    hop = config["transform"]["hop"] * config["transform"]["stack"]
    for frames, place, payload in read_chunks(stream, at, -(-samples // (hop * stride)) * stride):
        stack = Stack(payload)
        if config["rvq"]["stages"]:
            latent = decode_tokens(model, level, frames, stack)
        else:
            latent = decode_slices(model, level, skip, frames, stack)
        check = zlib.crc32(place + (latent.y_hat * 2**10).astype("<i4").tobytes()) % 2**23
        if stack.words or stack.state != 2**23 + check:
            raise FormatError("decodes to other symbols than were encoded")
        latents.append(latent)
    return latents


def decode(stream: bytes, model: Model) -> Array:
    """The bytes of an .ecc file -> samples, int16 at 16 kHz."""
    _, level, _, length, _ = read_header(stream)
    y_hats = [latent.y_hat for latent in decode_latents(stream, model)]
    hop, pieces = model.config["transform"]["hop"] * model.config["transform"]["stack"], []
    for number, y_hat in enumerate(y_hats):
        head = y_hats[number - 1][-16:] if number > 0 else y_hat[:0]
        tail = y_hats[number + 1][:16] if number + 1 < len(y_hats) else y_hat[:0]
        x = synthesise(model, np.concatenate([head, y_hat, tail]), level)
        pieces.append(x[len(head) * hop :][: len(y_hat) * hop])
    samples = np.concatenate([np.zeros(0), *pieces])[:length].clip(-1, 1).astype(np.float32)
    return np.rint(samples * 2**15).clip(-(2**15), 2**15 - 1).astype("<i2")


def main(source: str, target: str, *models: str) -> None:
    try:
        stream, contents = Path(source).read_bytes(), (Path(name).read_bytes() for name in models)
        files = {hashlib.sha256(data).hexdigest(): data for data in contents}
        samples = decode(stream, choose_model(files, read_header(stream)[2].hex()))
        with wave.open(target, "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(samples.tobytes())
    except (FormatError, OSError) as error:
        sys.exit(f"reference_decoder: {source}: {error}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: reference_decoder.py IN.ecc OUT.wav MODEL.safetensors...")
    main(*sys.argv[1:])
