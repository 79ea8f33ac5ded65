import pytest

from ecc.codecs.base import Codec, CodecUnavailable


@pytest.fixture
def codec(request: pytest.FixtureRequest) -> Codec:
    """`make_codec()` of the test's module; its tests are skipped where the codec is missing."""
    try:
        return request.module.make_codec()
    except CodecUnavailable as error:
        pytest.skip(str(error))
