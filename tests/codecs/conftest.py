from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ecc.codecs.base import Codec, load_codec
from ecc.errors import CodecUnavailable

ROOT = Path(__file__).parents[2]
LYRA = "data/lyra"


@pytest.fixture
def codec(request: pytest.FixtureRequest) -> Codec:
    """`make_codec()` of the test's module; its tests are skipped where the codec is missing."""
    try:
        return request.module.make_codec()
    except CodecUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def lyra_weights(lyra_folder: Path) -> dict[str, str]:
    """Where the weights of Lyra are that params.yaml looks for in data/lyra."""
    return {LYRA: str(lyra_folder)}


@pytest.fixture
def make_point(
    lyra_weights: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], Codec]:
    """make_point(codec, point): the point of params.yaml, constructed, or a skip."""
    monkeypatch.chdir(ROOT)  # where npm's packages are
    codecs = YAML(typ="safe").load(ROOT / "params.yaml")["codecs"]

    def make(name: str, point: str) -> Codec:
        arguments = codecs[name]["points"][point].items()
        arguments = {key: lyra_weights.get(str(value), value) for key, value in arguments}
        try:
            return load_codec(codecs[name]["class"], arguments)
        except CodecUnavailable as error:
            pytest.skip(str(error))

    return make
