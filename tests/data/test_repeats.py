from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecc.audio import resample
from ecc.data import repeats
from ecc.data.corpus import COLUMNS

RATE = 16000


def speech(seconds: float, seed: int) -> np.ndarray:
    """Noise with the spectrum and the pauses of speech, float32 [samples]."""
    rng = np.random.default_rng(seed)
    noise = np.cumsum(rng.normal(size=int(seconds * RATE)))
    noise -= np.convolve(noise, np.full(400, 1 / 400), "same")
    syllables = np.repeat(rng.uniform(0, 1, int(seconds * 4) + 1) > 0.3, RATE // 4)[: len(noise)]
    return (0.1 * syllables * noise / noise.std()).astype(np.float32)


def corpus(folder: Path, clips: dict[str, np.ndarray], speaker: str = "anna") -> pd.DataFrame:
    """Clips called SOURCE/NAME, all of one speaker; returns their rows."""
    rows = []
    for name, samples in clips.items():
        source = name.partition("/")[0]
        path = folder / source / "speech.s16"
        path.parent.mkdir(exist_ok=True)
        start = path.stat().st_size // 2 if path.exists() else 0
        with path.open("ab") as file:
            file.write((samples * 32768).astype("<i2").tobytes())
        seconds = len(samples) / RATE
        rows.append((name, source, speaker, "en", "test", "", seconds, start, len(samples)))
    return pd.DataFrame(rows, columns=COLUMNS)


def test_a_piece_of_a_longer_recording_is_found(tmp_path):
    whole = speech(6, 1)
    table = corpus(tmp_path, {"one/whole": whole, "two/piece": whole[20000:60000]})
    assert repeats.find(table, tmp_path) == {"two/piece": ("one/whole", 2.5)}
    # Whichever stands first.
    assert repeats.find(table.iloc[::-1], tmp_path) == {"two/piece": ("one/whole", 2.5)}


def test_what_went_through_another_rate_level_and_coder_is_found(tmp_path):
    whole = speech(5, 2)
    other = resample(resample(whole, RATE, 22050), 22050)[100:50000]
    late = resample(resample(other, RATE, 48000)[1:], 48000)  # by a third of a sample
    noise = np.random.default_rng(3).normal(0, 0.002, len(late)).astype(np.float32)
    table = corpus(tmp_path, {"one/whole": whole, "two/piece": 0.3 * late + noise})
    assert list(repeats.find(table, tmp_path)) == ["two/piece"]


def test_an_overlap_counts_from_a_second_on(tmp_path):
    whole = speech(8, 4)
    table = corpus(tmp_path, {"one/a": whole[: 5 * RATE], "two/b": whole[int(3.5 * RATE) :]})
    assert repeats.find(table, tmp_path) == {"two/b": ("one/a", 1.5)}
    table = corpus(tmp_path, {"one/c": whole[: 4 * RATE], "two/d": whole[int(3.1 * RATE) :]})
    assert repeats.find(table, tmp_path) == {}


def test_of_equal_length_the_first_by_name_is_kept(tmp_path):
    same = speech(3, 5)
    table = corpus(tmp_path, {"two/x": same, "one/x": same, "three/x": same})
    found = repeats.find(table, tmp_path)
    assert found == {"three/x": ("one/x", 3.0), "two/x": ("one/x", 3.0)}


def test_other_words_hum_and_silence_are_no_repetition(tmp_path):
    hum = 0.002 * np.sin(2 * np.pi * 50 / RATE * np.arange(5 * RATE)).astype(np.float32)
    clips = {
        f"{source}/{i}": hum[: int(seconds * RATE)] + speech(seconds, 10 * i + ord(source[0]))
        for source in ("one", "two")
        for i, seconds in enumerate((2, 3.5, 5))
    }
    for name in ("one/1", "two/1"):  # a second of hum at the end of one, at the start of the other
        clips[name][-RATE:] = hum[:RATE]
        clips[name][:RATE] = hum[:RATE]
    clips |= {"one/zero": np.zeros(2 * RATE), "two/zero": np.zeros(2 * RATE)}
    assert repeats.find(corpus(tmp_path, clips), tmp_path) == {}


def test_within_a_source_and_between_speakers_nothing_is_compared(tmp_path, monkeypatch):
    same = speech(3, 6)
    one = corpus(tmp_path, {"one/x": same, "one/y": same})
    two = corpus(tmp_path, {"two/x": same}, speaker="ben")
    monkeypatch.setattr(repeats, "shared", lambda *clips: pytest.fail("compared"))
    assert repeats.find(pd.concat([one, two]), tmp_path) == {}
