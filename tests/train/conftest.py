from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecc.model.config import CodecConfig, EntropyConfig, TransformConfig
from ecc.train.config import CropConfig, TrainConfig
from ecc.train.trainer import Run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with manifest.csv and speech/: three speakers, one of them for validation."""
    rng = np.random.default_rng(0)
    rows, parts, at = [], [], 0
    for speaker, split, count in (("a", "train", 4), ("b", "train", 2), ("v", "valid", 2)):
        for i in range(count):
            samples = int(rng.integers(3000, 9000))
            wave = 4000 * np.sin(np.arange(samples) * rng.uniform(0.05, 0.2))
            parts.append((wave + rng.normal(0, 200, samples)).astype("<i2"))
            rows.append(
                {
                    "clip": f"{speaker}{i}",
                    "source": "toy",
                    "speaker": speaker,
                    "split": split,
                    "start": at,
                    "samples": samples,
                }
            )
            at += samples
    (tmp_path / "speech" / "toy").mkdir(parents=True)
    np.concatenate(parts).tofile(tmp_path / "speech" / "toy" / "speech.s16")
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    return tmp_path


LMBDA = [4.0, 20.0]


def make_run(corpus: Path, name: str, **train: object) -> Run:
    """A training of a tiny model with two levels."""
    settings = {
        "steps": 12,
        "batch": 2,
        "warmup_steps": 2,
        "valid_crops": 2,
        "valid_steps": 4,
        "checkpoint_seconds": 0,
        "bf16": False,
        "crop": CropConfig(frames=16),
    }
    folder = corpus / name
    return Run(
        name=name,
        codec=CodecConfig(
            transform=TransformConfig(
                n_fft=128,
                hop=64,
                width=16,
                hidden=16,
                analysis_blocks=1,
                synthesis_blocks=1,
                channels=8,
            ),
            entropy=EntropyConfig(slices=2, width=16, z_channels=4),
            levels=len(LMBDA),
        ),
        train=TrainConfig.model_validate(settings | train),
        lmbda=LMBDA,
        manifest=corpus / "manifest.csv",
        speech=corpus / "speech",
        checkpoints=folder / "checkpoints",
        logs=folder / "logs",
        weights=folder / "model.safetensors",
        identity="one",
    )
