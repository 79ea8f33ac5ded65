"""How long coding takes, part by part."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecc.codecs.ecc import EccCodec
from ecc.model import rans
from ecc.speech import SAMPLE_RATE

PARTS = ("transform", "entropy networks", "coding")
Place = tuple[str, object, Sequence[str]]
"""A part, and what accounts for it: functions of an owner, by name."""


def measure(codec: EccCodec, samples: NDArray[np.float32], runs: int) -> dict[str, list[float]]:
    """Seconds that each of `PARTS` takes to encode and to decode the samples [T], 16 kHz.

    Seconds are those of the processor: other work on the machine does not count, all threads do.
    The transform is the STFT with g_a or g_s, the coding that of symbols by ANS with all that
    sorts them by table, the networks are the rest. Each time is the median of `runs`, after one
    that does not count.
    """
    stream = codec.encode(samples)
    calls: dict[str, Callable[[], object]] = {
        "encode": lambda: codec.encode(samples),
        "decode": lambda: codec.decode(stream),
    }
    transform, networks, coding = PARTS
    places: list[Place] = [
        (transform, codec.codec.transform, ("analyse", "synthesise")),
        (coding, rans.Encoder, ("push", "finish")),
        (coding, rans.Decoder, ("__init__", "pull", "finish")),
    ]
    return {
        name: [times[part] for part in PARTS]
        for name, call in calls.items()
        for times in [median_times(call, places, networks, runs)]
    }


def median_times(
    call: Callable[[], object], places: Sequence[Place], rest: str, runs: int
) -> dict[str, float]:
    """Processor seconds of `call` by part: the median of `runs`, after one that does not count.
    What no place of `places` accounts for is the `rest`."""
    times = [_time_parts(call, places, rest) for _ in range(runs + 1)][1:]
    return {part: median(run[part] for run in times) for part in times[0]}


def speechlike(seconds: float) -> NDArray[np.float32]:
    """Syllables of a pulse train and noise through three formants, float32 [T], 16 kHz."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time)
    pulses = np.diff(np.cumsum(pitch / SAMPLE_RATE) % 1, prepend=0) < 0
    voice = pulses + 0.02 * np.random.default_rng(0).standard_normal(len(time))
    delay = np.exp(-2j * np.pi * np.fft.rfftfreq(len(time)))
    spectrum = np.fft.rfft(voice)
    for formant in (500, 1500, 2500):
        pole = 0.97 * np.exp(2j * np.pi * formant / SAMPLE_RATE)
        spectrum /= (1 - pole * delay) * (1 - pole.conjugate() * delay)
    voice = np.fft.irfft(spectrum, len(time))
    voice = voice * np.maximum(np.sin(2 * np.pi * 2 * time), 0.001)  # four syllables in a second
    return (0.3 * voice / np.abs(voice).max()).astype(np.float32)


def _time_parts(call: Callable[[], object], places: Sequence[Place], rest: str) -> dict[str, float]:
    clock = {part: 0.0 for part, _, _ in places}

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(*arguments: Any, **keywords: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **keywords)
            finally:
                clock[part] += time.process_time() - start

        return run

    with ExitStack() as stack:
        for part, owner, names in places:
            for name in names:
                replacement = timed(part, getattr(owner, name))
                stack.enter_context(_replaced(owner, name, replacement))
        start = time.process_time()
        call()
        elapsed = time.process_time() - start
    return clock | {rest: elapsed - sum(clock.values())}


@contextmanager
def _replaced(owner: object, name: str, replacement: object) -> Iterator[None]:
    """The attribute `name` of an object or a class is `replacement` within the block."""
    inherited = name not in vars(owner)  # as a method is of an object
    before = vars(owner).get(name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
