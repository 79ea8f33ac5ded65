import contextlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from scipy.signal import lfilter
from strict import pytest_runtest_makereport  # noqa: F401  (a hook)

from ecc.data.download import Unreachable
from ecc.data.lyra import fetch_weights
from ecc.errors import CodecUnavailable
from ecc.lyra.models import SHA256, LyraModels

# The first example of a test pays for imports and compilation: no limit for each.
settings.register_profile("study", deadline=None)
settings.load_profile("study")

RATE = 16000


def _voice(seconds: float, seed: int = 0) -> npt.NDArray[np.float32]:
    """Syllables of a pulse train and noise through three formants, with pauses between them."""
    rng = np.random.default_rng(seed)
    total = round(seconds * RATE)
    samples = np.zeros(total + RATE)
    at = 0
    while at < total:
        length = int(rng.uniform(0.12, 0.3) * RATE)
        pitch = rng.uniform(90, 220) * np.linspace(1, rng.uniform(0.8, 1.2), length)
        source = (np.diff(np.cumsum(pitch / RATE) % 1, prepend=0) < 0).astype(float)
        syllable = source + 0.02 * rng.standard_normal(length)
        for formant in rng.uniform([300, 900, 2200], [800, 2000, 3400]):
            pole = 0.97 * np.exp(2j * np.pi * formant / RATE)
            syllable = lfilter([1], [1, -2 * pole.real, abs(pole) ** 2], syllable)
        syllable *= np.hanning(length) / np.abs(syllable).max()
        samples[at : at + length] += rng.uniform(0.2, 0.6) * syllable[: len(samples) - at]
        at += length + int(rng.uniform(0.02, 0.15) * RATE)
    return (samples[:total] + 1e-4 * rng.standard_normal(total)).astype(np.float32)


@pytest.fixture(scope="session")
def voice() -> Callable[..., npt.NDArray[np.float32]]:
    """voice(seconds, seed=0): something like speech, float32 at 16 kHz."""
    return _voice


@pytest.fixture(scope="session")
def lyra_folder(request, tmp_path_factory):
    """Where Lyra's weights are, if they can be had."""
    folder = request.config.rootpath / "data/lyra"
    if not all((folder / name).exists() for name in SHA256):
        folder = tmp_path_factory.mktemp("lyra")
        with contextlib.suppress(Unreachable):  # LyraModels says what is missing
            fetch_weights(folder)
    return folder


@pytest.fixture(scope="session")
def lyra_models(lyra_folder):
    """Lyra's models; without them the test is skipped, with the reason."""
    try:
        return LyraModels(lyra_folder)
    except CodecUnavailable as error:
        pytest.skip(str(error))
