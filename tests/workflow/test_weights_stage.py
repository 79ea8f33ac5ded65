import runpy
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ecc.params import apply_patch

ROOT = Path(__file__).parents[2]


def test_a_codec_follows_its_own_weights_and_those_it_stands_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    apply_patch(content, YAML(typ="safe").load(ROOT / "workflow/presets/lyra.yaml"))
    content["study"]["codecs"] = ["ecc", "lyra-ecc", "lyra", "opus"]
    YAML().dump(content, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    for path in (
        "data/models/ecc/ecc.safetensors",
        "data/models/lyra-ecc/lyra-ecc.safetensors",
        "data/lyra/lyragan.tflite",
    ):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(path)
    main = runpy.run_path(str(ROOT / "workflow/stages/weights.py"))["main"]

    def notes() -> dict[str, list[str]]:
        main()
        files = Path("data/weights").iterdir()
        return {path.stem: [line.split()[-1] for line in path.open()] for path in files}

    assert notes() == {
        "ecc": ["data/models/ecc/ecc.safetensors"],
        "lyra-ecc": ["data/lyra/lyragan.tflite", "data/models/lyra-ecc/lyra-ecc.safetensors"],
        "lyra": ["data/lyra/lyragan.tflite"],
        "opus": ["weights"],  # "no weights"
    }
    shutil.rmtree("data/lyra")
    assert notes()["lyra-ecc"] == ["data/models/lyra-ecc/lyra-ecc.safetensors"]
