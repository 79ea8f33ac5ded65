import numpy as np
import pytest

from ecc.speech import SpeechError, read_clip


def test_a_clip_is_the_stretch_that_its_row_names(tmp_path):
    path = tmp_path / "one.s16"
    samples = np.arange(1000, dtype="<i2")
    samples.tofile(path)
    row = {"clip": "a", "start": 100, "samples": 50}
    clip = read_clip(path, row)
    assert clip.dtype == np.int16
    assert np.array_equal(clip, samples[100:150])
    with pytest.raises(SpeechError, match="no samples for a"):
        read_clip(path, row | {"samples": 901})
    with pytest.raises(SpeechError, match=r"two.*No such file"):
        read_clip(tmp_path / "two.s16", row)
