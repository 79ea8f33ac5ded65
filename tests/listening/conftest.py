"""What the study leaves of two codecs that were never run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecc import audio
from ecc.listening.kit import Decodes, Plan, make_kit

SET = "talk"
DELAY = 40
POINTS = {"good": (4.0, 0.02), "poor": (1.0, 0.2)}  # kbps, and how loud the noise is
SECONDS = 2.2


@pytest.fixture(scope="session")
def decodes(tmp_path_factory: pytest.TempPathFactory, voice: Callable[..., Any]) -> Decodes:
    """Eight utterances of three speakers; the codec `late` is delayed and twice as loud."""
    data = tmp_path_factory.mktemp("data")
    clips, start, speech = [], 0, []
    for number in range(8):
        samples = audio.to_int16(voice(SECONDS, seed=number))
        clip = {"clip": f"u{number}", "speaker": f"s{number % 3}", "seconds": SECONDS}
        clips.append(clip | {"start": start, "samples": len(samples)})
        start += len(samples)
        speech.append(samples)
    folder = data / "corpus" / "test_sets"
    folder.mkdir(parents=True)
    np.concatenate(speech).astype("<i2").tofile(folder / f"{SET}.s16")
    pd.DataFrame(clips).to_csv(folder / f"{SET}.csv", index=False)
    for codec, delay, gain in (("late", DELAY, 2.0), ("plain", 0, 1.0)):
        rng = np.random.default_rng(1)
        rows, scores = [], []
        for point, (kbps, noise) in POINTS.items():
            for clip, samples in zip(clips, speech, strict=True):
                loud = noise * np.abs(samples).max() / 32768
                decoded = samples / 32768 + loud * rng.standard_normal(len(samples))
                file = f"{SET}/{point}/{clip['clip']}.flac"
                audio.write(data / "decoded" / codec / file, np.pad(gain / 2 * decoded, (delay, 0)))
                key = {"test_set": SET, "point": point, "utterance": clip["clip"]}
                rows.append(key | {"file": file, "reason": ""})
                scores.append(key | {"seconds": SECONDS, "kbps": kbps, "delay": delay})
        pd.DataFrame(rows).to_csv(data / "decoded" / codec / "index.csv", index=False)
        (data / "scores").mkdir(exist_ok=True)
        pd.DataFrame(scores).to_csv(data / "scores" / f"{codec}.csv", index=False)
        (data / "streams" / codec).mkdir(parents=True)
        (data / "streams" / codec / "codec.json").write_text(json.dumps({"rate": "measured"}))
    return Decodes(data, {"late": "Late", "plain": "Plain"})


@pytest.fixture(scope="session")
def kits(decodes: Decodes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small test of each method."""
    folder = tmp_path_factory.mktemp("kits")
    make_kit(Plan("mushra", ["late"], [4.0], SET, items=2), decodes, folder / "mushra")
    make_kit(Plan("abx", ["late"], [1.0], SET, items=2), decodes, folder / "abx")
    return {"mushra": folder / "mushra", "abx": folder / "abx"}
