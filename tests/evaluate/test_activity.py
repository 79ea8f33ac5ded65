import numpy as np
import pytest

from ecc.evaluate.activity import SPEECH_FRAME, speech_frames, speech_seconds


def test_quiet_frames_are_no_speech():
    rng = np.random.default_rng(0)
    levels = [-20, -55, -65, -20, -90]  # within 40 dB, within 40 dB, beyond, within, beyond
    frames = [10 ** (level / 20) * rng.standard_normal(SPEECH_FRAME) for level in levels]
    samples = np.concatenate([*frames, frames[0][:-1]]).astype(np.float32)
    assert speech_frames(samples).tolist() == [True, True, False, True, False]
    assert speech_seconds(samples) == pytest.approx(0.06)


def test_below_the_floor_nothing_is_speech_and_a_constant_is_none():
    hiss = 1e-4 * np.random.default_rng(0).standard_normal(5 * SPEECH_FRAME)
    assert not speech_frames(hiss).any()
    assert not speech_frames(np.full(5 * SPEECH_FRAME, 0.5)).any()
    assert speech_frames(np.zeros(10)).size == 0


def test_speech_is_what_is_loud_enough():
    noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    assert speech_seconds(noise) == 1
    assert speech_seconds(np.concatenate([noise, noise / 50, noise / 1000])) == 2
    assert speech_seconds(noise / 2000) == 0
    assert speech_seconds(noise[:319]) == 0
