"""What needs packages that are not installed is skipped."""

import os
from pathlib import Path

import numpy as np
import pytest

from ecc import audio
from ecc.evaluate.metrics import (
    character_error_rate,
    missing_package,
    speaker_similarity,
    word_error_rate,
)

PAGE = Path(os.environ.get("ECC_MIRROR", "")) / "freecodec-demo"
TARGETS = PAGE / "target" / "test-clean"
pytestmark = pytest.mark.skipif(not TARGETS.is_dir(), reason="no freecodec-demo/ in $ECC_MIRROR")


def needs(metric):
    return pytest.mark.skipif(bool(why := missing_package(metric)), reason=why)


def speech(folder, number=0):
    """An utterance of the page, as its `folder` has it."""
    name = sorted(TARGETS.iterdir())[number].stem
    return audio.read(next((PAGE / folder).rglob(f"{name}*")))


@needs("speaker_similarity")
def test_a_speaker_is_most_like_himself():
    reference = speech("target")
    assert speaker_similarity(reference, reference) == pytest.approx(1, abs=1e-6)
    assert speaker_similarity(reference, reference / 2) > 0.85
    assert speaker_similarity(reference, speech("opus-9k")) > 0.9
    assert speaker_similarity(reference, speech("target", 2)) < 0.75
    with pytest.raises(ValueError, match="silent"):
        speaker_similarity(reference, np.zeros_like(reference))


@needs("word_error_rate")
def test_words_are_those_of_the_reference():
    reference = speech("target")
    for rate in (word_error_rate, character_error_rate):
        assert rate(reference, reference) == 0
        assert rate(reference, speech("opus-9k")) < 0.2
        assert rate(reference, reference[: len(reference) // 2]) > 0.3
    with pytest.raises(ValueError, match="no words"):
        word_error_rate(np.zeros(16000, np.float32), reference)
