import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Fingerprints by stage, as taken in a copy of the project."""
    for name in ("src", "workflow"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.syspath_prepend(ROOT / "workflow" / "stages")
    monkeypatch.chdir(tmp_path)

    def run() -> dict[str, str]:
        importlib.import_module("validate").main()
        return {path.stem: path.read_text() for path in Path("data/fingerprints").iterdir()}

    return run


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        ("ecc/codecs/lc3.py", {"encode-lc3", "decode-lc3"}),
        ("ecc/data/sources/vctk.py", {"fetch", "corpus"}),
        ("ecc/report/render.py", {"report"}),
        ("ecc/params.py", set()),
    ],
)
def test_a_module_counts_only_where_it_is_used(
    validate: Any, module: str, changed: set[str]
) -> None:
    before = validate()
    with Path("src", module).open("a", encoding="utf-8") as file:
        file.write("\n# A comment.\n")
    assert validate() == before
    with Path("src", module).open("a", encoding="utf-8") as file:
        file.write("\nCHANGED = True\n")
    after = validate()
    assert {stage for stage in after if after[stage] != before[stage]} == changed


def test_the_model_counts_for_training_and_for_our_codec(validate: Any) -> None:
    before = validate()
    with Path("src/ecc/model/codec.py").open("a", encoding="utf-8") as file:
        file.write("\nCHANGED = True\n")
    after = validate()
    changed = {stage for stage in after if after[stage] != before[stage]}
    assert {"train", "encode-ecc", "decode-ecc"} <= changed
    assert not changed & {"fetch", "corpus", "score", "report", "encode-opus", "decode-opus"}


def test_every_stage_of_the_dag_has_its_fingerprint(validate: Any) -> None:
    taken = set(validate())
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    named = {
        line.split("data/fingerprints/")[1].removesuffix(".txt")
        for line in text.splitlines()
        if "- data/fingerprints/" in line
    }
    assert {name for name in named if "$" not in name} == {s for s in taken if "-" not in s}
