import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from visqol import VisqolApi
from visqol.analysis_window import AnalysisWindow
from visqol.audio_utils import AudioSignal
from visqol.gammatone import GammatoneSpectrogramBuilder
from visqol.patch_creator import VadPatchCreator

from ecc.evaluate.metrics import visqol
from ecc.evaluate.visqol import PatchCreator, SpectrogramBuilder


@given(st.integers(0, 9999), st.floats(1e-5, 3.0), st.integers(0, 700), st.integers(1, 9000))
@settings(max_examples=30, deadline=None)
def test_voice_is_found_where_the_library_finds_it(seed, level, start, total):
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.uniform(0, 1, 9), 1000) ** 4  # pauses too
    signal = AudioSignal(level * loudness * rng.standard_normal(9000), 16000)
    asked = (signal, start, total, 320)
    ours = PatchCreator(20)._get_voice_activity(*asked)
    assert ours == VadPatchCreator(20)._get_voice_activity(*asked)


@given(st.integers(0, 9999), st.integers(1281, 9000))
@settings(max_examples=20, deadline=None)
def test_spectrograms_are_the_librarys_to_the_last_bit(seed, samples):
    rng = np.random.default_rng(seed)
    signal = AudioSignal(10 ** rng.uniform(-5, 0) * rng.standard_normal(samples), 16000)
    window = AnalysisWindow(16000, 0.25)
    theirs, ours = (
        builder(21, 50.0, speech_mode=True).build(signal, window)
        for builder in (GammatoneSpectrogramBuilder, SpectrogramBuilder)
    )
    assert np.array_equal(ours.data, theirs.data)
    assert np.array_equal(ours.center_freq_bands, theirs.center_freq_bands)


def test_scores_are_the_librarys(voice):
    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=True)
    reference = voice(3)
    decoded = reference + 0.01 * np.random.default_rng(0).standard_normal(48000).astype(np.float32)
    theirs = api.measure_from_arrays(reference.astype(float), decoded.astype(float), 16000)
    assert visqol(reference, decoded) == pytest.approx(theirs.moslqo, abs=0)
