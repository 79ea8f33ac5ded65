import numpy as np
from scipy.signal import welch

from ecc.codecs.ceiling import Narrowband


def test_what_is_below_4_khz_stays_and_the_rest_goes():
    codec = Narrowband()
    assert codec.rate == "none"
    samples = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
    decoded = codec.decode(codec.encode(samples))
    assert len(decoded) == len(samples)
    frequency, before = welch(samples, 16000, nperseg=1024)
    _, after = welch(decoded, 16000, nperseg=1024)
    gain = 10 * np.log10(after / before)
    assert np.abs(gain[(frequency > 50) & (frequency < 3500)]).max() < 0.1
    assert gain[frequency > 4200].max() < -50
