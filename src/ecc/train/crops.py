"""Training crops: random stretches of one speaker, read lazily from the memory-mapped speech."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecc.speech import read_clip
from ecc.train.config import CropConfig


class Crops:
    """Draws crops of one split of the manifest.

    A speaker is drawn with probability (hours of the speaker) ** speaker_power, then clips of
    that speaker by their length, joined until the crop is full, since many clips are shorter
    than a crop. What is drawn depends on (seed, step, rank) alone: a resumed run sees the same
    crops as one that was never stopped.
    """

    def __init__(
        self, manifest: pd.DataFrame, speech: Path, split: str, config: CropConfig, samples: int
    ) -> None:
        chosen = manifest[(manifest["split"] == split) & (manifest["samples"] > 0)]
        if chosen.empty:
            raise ValueError(f"the manifest has no {split} speech: is a source missing?")
        self.speech, self.config, self.samples = speech, config, samples
        speakers = [group for _, group in chosen.groupby("speaker", sort=True)]
        self.clips: list[list[Mapping[str, object]]] = [
            [{str(key): value for key, value in row.items()} for row in group.to_dict("records")]
            for group in speakers
        ]
        lengths = [group["samples"].to_numpy(float) for group in speakers]
        self.clip_odds = [length / length.sum() for length in lengths]
        weights = np.array([length.sum() for length in lengths]) ** config.speaker_power
        self.speaker_odds = weights / weights.sum()

    def batch(self, size: int, *key: int) -> NDArray[np.float32]:
        """Samples [size, samples], in [-1, 1]; the same for the same key (seed, step, rank)."""
        rng = np.random.default_rng(key)
        return np.stack([self._crop(rng) for _ in range(size)])

    def _crop(self, rng: np.random.Generator) -> NDArray[np.float32]:
        speaker = rng.choice(len(self.clips), p=self.speaker_odds)
        crop = np.empty(self.samples, np.float32)
        filled = 0
        while filled < self.samples:
            index = rng.choice(len(self.clips[speaker]), p=self.clip_odds[speaker])
            row = self.clips[speaker][index]
            clip = read_clip(self.speech / str(row["source"]) / "speech.s16", row)
            # A crop starts anywhere in its first clip, and at the start of those joined to it.
            start = rng.integers(max(1, len(clip) - self.samples // 2)) if filled == 0 else 0
            part = clip[start : start + self.samples - filled]
            crop[filled : filled + len(part)] = part
            filled += len(part)
        crop /= 32768
        level = 10 ** (rng.uniform(self.config.level_low, self.config.level_high) / 20)
        rms = float(np.sqrt(np.mean(crop**2)))
        peak = float(np.abs(crop).max())
        # Near silence stays so, and nothing clips.
        gain = min(level / max(rms, 1e-3), 1.0 / max(peak, 1e-3))
        return (crop * np.float32(gain)).astype(np.float32)
