import numpy as np
import pyfftw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from visqol import VisqolApi, numba_accel
from visqol.analysis_window import AnalysisWindow
from visqol.audio_utils import AudioSignal
from visqol.gammatone import GammatoneSpectrogramBuilder
from visqol.patch_creator import VadPatchCreator

from ecc.evaluate.metrics import visqol
from ecc.evaluate.visqol import LANES, PatchCreator, SpectrogramBuilder, forward_pass, manager


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


@pytest.mark.parametrize("search_window", [1200, 60, 7])
def test_patches_are_matched_as_by_the_library_to_the_last_bit(search_window):
    rng = np.random.default_rng(search_window)
    frames = 10 * LANES + 3
    heard = rng.uniform(0, 0.7, (21, frames))
    heard[:, 50:80] = 0  # silence is like silence wherever it is
    starts = np.arange(2, frames - 20, 20)
    patches = np.stack([heard[:, start : start + 20] for start in starts])
    patches *= rng.normal(1, 0.1, patches.shape)
    asked = (
        *(patches, numba_accel._build_all_deg_patches(heard, 21, 20), starts, len(starts) - 1),
        *(frames, search_window, numba_accel._GW, numba_accel._C1, numba_accel._C3),
    )
    theirs = numba_accel._dp_forward_pass(*asked)
    for found, expected in zip(forward_pass(*asked), theirs, strict=True):
        assert np.array_equal(found, expected)


def test_scores_are_the_librarys(voice):
    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=True)
    reference = voice(3)
    decoded = reference + 0.01 * np.random.default_rng(0).standard_normal(48000).astype(np.float32)
    theirs = api.measure_from_arrays(reference.astype(float), decoded.astype(float), 16000)
    assert visqol(reference, decoded) == pytest.approx(theirs.moslqo, abs=0)


def test_buffers_of_signals_scored_before_are_let_go():
    manager()
    assert pyfftw.interfaces.cache._fftw_cache.keepalive_time <= 1
