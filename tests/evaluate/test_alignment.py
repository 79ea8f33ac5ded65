import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecc.evaluate.alignment import MAX_DELAY, estimate_delay, remove_delay


def shifted(samples, delay):
    """`samples` later by `delay`, of the same length."""
    return remove_delay(samples, -delay, len(samples))


@settings(max_examples=15, deadline=None)
@given(st.integers(-MAX_DELAY, MAX_DELAY), st.floats(0.05, 3.0), st.integers(0, 10))
def test_the_shift_of_a_noisy_waveform_is_found_to_the_sample(voice, delay, gain, seed):
    samples = voice(1.5, seed)
    noise = np.random.default_rng(seed).standard_normal(len(samples)) * 0.3 * samples.std()
    decoded = gain * (shifted(samples, delay) + noise)
    assert estimate_delay([(samples, decoded.astype(np.float32))]) == delay


@settings(max_examples=15, deadline=None)
@given(st.integers(-1200, 1200))
def test_the_shift_of_a_vocoder_is_found_within_two_milliseconds(voice, delay):
    # Noise under the envelope of the speech: no waveform is left to compare.
    pairs = []
    for seed in range(3):
        samples = voice(2, seed)
        level = np.sqrt(np.convolve(samples**2, np.hanning(320) / 160, mode="same"))
        noise = np.random.default_rng(seed).standard_normal(len(samples))
        pairs.append((samples, shifted((level * noise).astype(np.float32), delay)))
    assert estimate_delay(pairs) == pytest.approx(delay, abs=32)


def test_pairs_are_pooled_before_a_peak_is_taken(voice):
    # One utterance of another delay, and shorter, does not move the estimate.
    pairs = [(voice(2, seed), shifted(voice(2, seed), 100)) for seed in range(3)]
    pairs.append((voice(1, 9), shifted(voice(1, 9), 180)))
    assert estimate_delay(pairs) == 100


def test_decoded_may_be_longer_or_shorter(voice):
    samples = voice(2)
    longer = np.concatenate([np.zeros(333, np.float32), samples, np.zeros(777, np.float32)])
    assert estimate_delay([(samples, longer)]) == 333
    assert estimate_delay([(samples, longer[:20000])]) == 333


def test_nothing_to_correlate_is_no_delay(voice):
    silence = np.zeros(16000, np.float32)
    assert estimate_delay([]) == 0
    assert estimate_delay([(voice(1), silence), (silence, voice(1))]) == 0
    assert estimate_delay([(np.ones(1, np.float32), np.ones(1, np.float32))]) == 0


@given(st.integers(1, 50), st.integers(-60, 60), st.integers(0, 60))
def test_removal_crops_and_pads(received, delay, length):
    decoded = np.arange(1, received + 1, dtype=np.float32)
    expected = [decoded[t + delay] if 0 <= t + delay < received else 0 for t in range(length)]
    np.testing.assert_array_equal(remove_delay(decoded, delay, length), expected)
