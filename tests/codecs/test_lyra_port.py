import numpy as np
import pytest

from ecc.codecs.lyra import Lyra
from ecc.codecs.lyra_port import LyraPort
from ecc.errors import CodecUnavailable


@pytest.fixture
def codecs(lyra_weights):
    folder = lyra_weights["data/lyra"]
    try:
        return Lyra(30, folder), LyraPort(30, folder)
    except CodecUnavailable as error:
        pytest.skip(str(error))


def test_it_differs_from_lyra_by_its_rounding_alone(codecs, voice):
    theirs, ported = codecs
    stream = theirs.encode(voice(2))
    own = ported.encode(voice(2))
    assert len(own) == len(stream)
    # The first stage, which says most of a frame, is nearly always the same.
    first = [np.frombuffer(one, np.uint8)[::15] >> 4 for one in (own, stream)]
    assert (first[0] == first[1]).mean() > 0.9
    expected, decoded = theirs.decode(stream), ported.decode(stream)
    assert decoded.dtype == np.float32
    assert decoded.shape == expected.shape
    noise = np.sum((decoded - expected) ** 2)
    assert 0 < noise < 0.01 * np.sum(expected**2)  # 20 dB


def test_missing_weights_make_it_unavailable(tmp_path):
    with pytest.raises(CodecUnavailable):
        LyraPort(16, str(tmp_path))
