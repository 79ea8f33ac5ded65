"""From an installed package to a decoded file and a small rate-quality curve.

    pip install . && python examples/first_curve.py speech.wav ecc out/

Takes any WAV or FLAC file and a trained model, or the name of one that lies in data/models (`ecc`).
Writes `out/decoded-LEVEL.wav`, one for each of four levels, and `out/curve.png`.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import typer

import ecc
from ecc import audio
from ecc.evaluate.metrics import METRICS

LEVELS = 4
METRIC = METRICS["pesq_wb"]


def main(speech: Path, model: str, out: Path) -> None:
    """Code SPEECH at four levels of MODEL into the folder OUT, and draw quality over rate."""
    out.mkdir(parents=True, exist_ok=True)
    samples = audio.read(speech)  # float32 [T], mono, brought to 16 kHz
    highest = ecc.load(model).level
    points = []
    for level in sorted({round(number * highest / (LEVELS - 1)) for number in range(LEVELS)}):
        codec = ecc.load(model, level=level)
        stream = codec.encode(samples)  # the bytes of an .ecc file
        decoded = codec.decode(stream)  # float32 [T], of the same length
        audio.write(out / f"decoded-{level}.wav", decoded)
        kbps = codec.bits(stream) * audio.SAMPLE_RATE / len(samples) / 1000
        points.append((kbps, METRIC.function(samples, decoded)))
        print(f"level {level}: {points[-1][0]:.2f} kbps, {METRIC.label} {points[-1][1]:.2f}")

    figure, axes = plt.subplots(layout="constrained")
    axes.plot(*zip(*points, strict=True), "o-")
    axes.set_xscale("log")
    axes.set_xlabel("rate of the real streams (kbps)")
    axes.set_ylabel(METRIC.label)
    figure.savefig(out / "curve.png")


if __name__ == "__main__":
    typer.run(main)
