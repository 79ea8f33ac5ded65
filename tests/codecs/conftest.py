import contextlib
from pathlib import Path

import pytest

from ecc.codecs.base import Codec, CodecUnavailable
from ecc.codecs.lyra import SHA256, fetch_weights
from ecc.data.download import Unreachable

LYRA = "data/lyra"


@pytest.fixture
def codec(request: pytest.FixtureRequest) -> Codec:
    """`make_codec()` of the test's module; its tests are skipped where the codec is missing."""
    try:
        return request.module.make_codec()
    except CodecUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def lyra_weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the weights of Lyra are that params.yaml looks for in data/lyra."""
    folder = Path(__file__).parents[2] / LYRA
    if not all((folder / name).exists() for name in SHA256):
        folder = tmp_path_factory.mktemp("lyra")
        with contextlib.suppress(Unreachable):  # the codec says what is missing
            fetch_weights(folder)
    return {LYRA: str(folder)}
