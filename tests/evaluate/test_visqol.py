import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from visqol import VisqolApi
from visqol.audio_utils import AudioSignal
from visqol.patch_creator import VadPatchCreator

from ecc.evaluate.metrics import visqol
from ecc.evaluate.visqol import PatchCreator


@given(st.integers(0, 9999), st.floats(1e-5, 3.0), st.integers(0, 700), st.integers(1, 9000))
@settings(max_examples=30, deadline=None)
def test_voice_is_found_where_the_library_finds_it(seed, level, start, total):
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.uniform(0, 1, 9), 1000) ** 4  # pauses too
    signal = AudioSignal(level * loudness * rng.standard_normal(9000), 16000)
    asked = (signal, start, total, 320)
    ours = PatchCreator(20)._get_voice_activity(*asked)
    assert ours == VadPatchCreator(20)._get_voice_activity(*asked)


def test_scores_are_the_librarys(voice):
    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=True)
    reference = voice(3)
    decoded = reference + 0.01 * np.random.default_rng(0).standard_normal(48000).astype(np.float32)
    theirs = api.measure_from_arrays(reference.astype(float), decoded.astype(float), 16000)
    assert visqol(reference, decoded) == pytest.approx(theirs.moslqo, abs=0)
