import json
import runpy
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ecc.params import apply_patch, load

ROOT = Path(__file__).parents[2]


def test_a_codec_follows_its_own_weights_test_sets_and_those_it_stands_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    apply_patch(content, YAML(typ="safe").load(ROOT / "workflow/presets/lyra.yaml"))
    content["study"]["codecs"] = ["ecc", "lyra-ecc", "lyra", "opus", "encodec-demo"]
    del content["codecs"]["lyra-ecc"]["test_sets"]
    YAML().dump(content, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    for path in (
        "data/models/ecc/ecc.safetensors",
        "data/models/lyra-ecc/lyra-ecc.safetensors",
        "data/lyra/lyragan.tflite",
        "data/corpus/test_sets/english.csv",
        "data/corpus/test_sets/english.dropped.csv",  # which is not coded
        "data/corpus/test_sets/english.s16",
        "data/corpus/test_sets/vctk-demo.s16",
        "data/corpus/decodes/freecodec-demo.json",
        "data/corpus/decodes/freecodec-demo.s16",
    ):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(path)
    monkeypatch.syspath_prepend(ROOT / "workflow" / "stages")
    main = runpy.run_path(str(ROOT / "workflow/stages/inputs.py"))["main"]
    configs = runpy.run_path(str(ROOT / "workflow/stages/validate.py"))["configs"]
    Path("data/configs").mkdir()
    Path("data/configs/inputs.json").write_text(json.dumps(configs(load(), {})["inputs"]))

    def notes(kind: str = "weights") -> dict[str, list[str]]:
        main()
        files = Path("data/inputs", kind).iterdir()
        return {path.stem: [line.split()[-1] for line in path.open()] for path in files}

    assert notes() == {
        "ecc": ["data/models/ecc/ecc.safetensors"],
        "lyra-ecc": ["data/lyra/lyragan.tflite", "data/models/lyra-ecc/lyra-ecc.safetensors"],
        "lyra": ["data/lyra/lyragan.tflite"],
        "opus": ["nothing"],
        "encodec-demo": [f"data/corpus/decodes/freecodec-demo.{end}" for end in ("json", "s16")],
    }
    sets = "data/corpus/test_sets"
    english = [f"{sets}/english.csv", f"{sets}/english.s16", f"{sets}/vctk-demo.s16"]
    assert notes("speech") == {
        **dict.fromkeys(("ecc", "lyra-ecc", "lyra", "opus"), english),
        "encodec-demo": [f"{sets}/vctk-demo.s16"],
    }
    shutil.rmtree("data/lyra")
    assert notes()["lyra-ecc"] == ["data/models/lyra-ecc/lyra-ecc.safetensors"]
