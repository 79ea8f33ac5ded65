import numpy as np
import pandas as pd
import pytest

from ecc.train.config import CropConfig
from ecc.train.crops import Crops


def make(corpus, split="train", samples=5000, **config) -> Crops:
    manifest = pd.read_csv(corpus / "manifest.csv")
    return Crops(manifest, corpus / "speech", split, CropConfig(**config), samples)


def test_crops_depend_on_the_key_alone(corpus):
    crops = make(corpus)
    first = crops.batch(3, 0, 7, 0)
    crops.batch(3, 0, 8, 0)
    assert np.array_equal(crops.batch(3, 0, 7, 0), first)
    assert not np.array_equal(crops.batch(3, 0, 7, 1), first)
    assert first.shape == (3, 5000)
    assert first.dtype == np.float32


def test_crops_are_as_loud_as_asked(corpus):
    batch = make(corpus, level_low=-30.0, level_high=-20.0).batch(20, 1)
    level = 20 * np.log10(np.sqrt((batch**2).mean(axis=1)))
    assert level.min() > -30.1
    assert level.max() < -19.9
    assert level.max() - level.min() > 3
    assert np.abs(batch).max() <= 1


def test_short_clips_are_joined(corpus):
    batch = make(corpus, samples=40000).batch(2, 0)
    assert (np.abs(batch) > 0).mean() > 0.95


def test_a_split_without_speech_is_an_error(corpus):
    with pytest.raises(ValueError, match="no test speech"):
        make(corpus, split="test")
