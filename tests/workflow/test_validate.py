import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ecc import params
from ecc.fingerprint import Code

ROOT = Path(__file__).parents[2]
PRESETS = sorted(path.stem for path in (ROOT / "workflow/presets").glob("*.yaml"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what `validate` reads of the project."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("src", "workflow"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "params.yaml", folder)
    return folder


@pytest.fixture
def project(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stage's module; the current folder is a copy of the project."""
    shutil.copytree(whole, tmp_path / "project")
    monkeypatch.syspath_prepend(ROOT / "workflow" / "stages")
    monkeypatch.chdir(tmp_path / "project")
    return importlib.import_module("validate")


@pytest.fixture
def validate(project: Any) -> Any:
    """validate() -> the fingerprints, by stage."""

    def run() -> dict[str, str]:
        project.main()
        return {path.stem: path.read_text() for path in Path("data/fingerprints").iterdir()}

    return run


def told(name: str) -> Any:
    return json.loads(Path(f"data/configs/{name}.json").read_text())


def patch(changes: dict[str, Any]) -> None:
    """Apply a merge patch to params.yaml."""
    content = YAML(typ="safe").load(Path("params.yaml"))
    params.apply_patch(content, changes)
    YAML().dump(content, Path("params.yaml"))


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        ("ecc/codecs/lc3.py", {"encode-lc3", "decode-lc3"}),
        ("ecc/data/sources/vctk.py", {"fetch", "corpus"}),
        ("ecc/report/render.py", {"report"}),
        ("ecc/data/download.py", {"fetch", "fetch_lyra", "corpus"}),  # and no training
        # What they decide is in what the stages are told; the code itself computes nothing.
        ("ecc/params.py", set()),
        ("ecc/fingerprint.py", set()),
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


def test_no_code_of_codecs_sources_scores_or_reports_trains(validate: Any) -> None:
    training = {"config", "errors", "files", "folders", "lyra", "model", "resolved", "speech"}
    training |= {"train"}
    before = validate()
    for path in Path("src/ecc").rglob("*.py"):
        if path.relative_to("src/ecc").with_suffix("").parts[0] not in training:
            with path.open("a", encoding="utf-8") as file:
                file.write("\nCHANGED = True\n")
    after = validate()
    same = {stage for stage in after if after[stage] == before[stage]}
    assert same == {"train", "tokens", "inputs"}


def test_every_stage_of_the_dag_has_its_fingerprint(validate: Any) -> None:
    taken = set(validate())
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    named = {
        line.split("data/fingerprints/")[1].removesuffix(".txt")
        for line in text.splitlines()
        if "- data/fingerprints/" in line
    }
    assert {name for name in named if "$" not in name} == {s for s in taken if "-" not in s}


def test_versions_count_for_coding_and_scoring_and_train_nothing(validate: Any) -> None:
    found = validate()
    assert "\nconstriction " in found["encode-ecc"]
    assert "\nav " in found["decode-opus"]  # whose libopus it brings
    assert "\npesq " in found["score"]
    assert "\nspeechmos " in found["score"]  # whose network is read, and no module
    assert "libvo-amrwbenc0 (Debian) " in found["encode-amr-wb"]
    assert "@wasm-audio-decoders/opus-ml (npm) " in found["decode-opus-lace"]
    for stage in ("train", "tokens"):
        assert len(found[stage].split()) == 1
    shown = {row["name"]: row["part"] for row in told("aggregate")["software"]}
    # These know what metrics there are.
    assert shown["pesq"] == "aggregate, page, report, score, unseen"
    assert shown["constriction"] == "decode, diagnose, encode"


def test_what_is_written_is_what_params_name_today(project: Any) -> None:
    project.main()
    before = Path("data/configs/train/ecc.json").stat().st_mtime_ns
    patch({"models": {"rvq": None}, "token_models": None, "study": {"codecs": ["ecc", "opus"]}})
    patch({"report": {"targets": [], "pairs": [], "beside": []}, "study": {"diagnose": ["ecc"]}})
    patch({"unseen": {"codecs": ["ecc"]}})
    project.main()
    assert not Path("data/configs/train/rvq.json").exists()
    assert not Path("data/fingerprints/encode-silk.txt").exists()
    assert Path("data/configs/train/ecc.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_valid(project: Any, preset: str) -> None:
    patch(YAML(typ="safe").load(Path(f"workflow/presets/{preset}.yaml")) or {})
    study = params.load()
    assert not list(project.problems_of_classes(study, Code(project.ROOTS)))
    written = project.configs(study, {})
    assert {f"train/{name}" for name in study.models} <= written.keys()
    # All that is told in JSON, and nothing that is told twice means two things.
    assert json.loads(json.dumps(written)).keys() == written.keys()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"class": "ecc.codecs.opus:Opsu"}, r"codecs\.opus\.class: src/ecc/codecs/opus\.py has no"),
        ({"class": "ecc.codecs.opsu:Opus"}, r"codecs\.opus\.class: there is no module ecc\.codecs"),
        ({"class": "opsu:Opus"}, r"codecs\.opus\.class: there is no module opsu"),
        (
            {"class": "ecc.codecs.command:Command", "points": {"5k": {"encode": "x '{input}"}}},
            r"codecs\.opus\.points\.5k\.encode: No closing quotation",
        ),
        ({"points": {"5k": {"bitrat": 1}}}, r"codecs\.opus\.points\.5k: Opus has no argument 'bit"),
    ],
)
def test_a_class_that_is_not_there_is_named_before_anything_runs(
    project: Any, entry: dict[str, Any], message: str
) -> None:
    content = YAML(typ="safe").load(Path("params.yaml"))
    content["codecs"]["opus"] |= {"points": {"5k": {"bitrate": 5000}}} | entry
    YAML().dump(content, Path("params.yaml"))
    with pytest.raises(SystemExit, match=rf"^params\.yaml: {message}") as error:
        project.main()
    assert "\n" not in str(error.value)


def test_what_cannot_grow_is_named_before_anything_runs(project: Any) -> None:
    project.main()
    patch({"models": {"ecc": {"codec": {"transform": {"hidden": 64}}}}})
    with pytest.raises(SystemExit) as error:
        project.main()
    (line,) = str(error.value).splitlines()
    assert line.startswith("params.yaml: models.ecc.begins_as.2: it cannot become what follows: a ")
    with pytest.raises(SystemExit):  # what was refused is not taken for checked
        project.main()


def test_a_codec_of_ones_own_follows_what_it_names(validate: Any) -> None:
    program = Path("coder")
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    Path("weights").mkdir()
    Path("weights/a.bin").write_text("a")
    Path("own.py").write_text(
        "import scipy\nfrom ecc.codecs.base import Codec\n"
        "class Own(Codec):\n    def __init__(self, model, folder, parts): ...\n"
    )
    Path("b.bin").write_text("a")
    own = {"model": "weights/a.bin", "folder": "./weights/", "parts": [{"second": "b.bin"}]}
    commands = {"encode": "./coder {input} {output}", "decode": "sh -c ./coder {input} {output}"}
    codecs = {
        "own": {"class": "own:Own", "label": "Own", "points": {"a": own}},
        "cmd": {"class": "ecc.codecs.command:Command", "label": "C", "points": {"a": commands}},
    }
    study = YAML(typ="safe").load(Path("params.yaml"))["study"]
    patch({"codecs": codecs, "study": {"codecs": [*study["codecs"], *codecs]}})
    assert "\nscipy " in validate()["encode-own"]
    files = told("codecs/own")["files"]
    assert set(files) == {"weights/a.bin", "b.bin"}
    assert {Path(file).name for file in told("codecs/cmd")["files"]} == {"coder", "sh"}
    Path("weights/a.bin").write_text("b")
    program.write_text("#!/bin/sh\nexit 1\n")
    before = {name: told(f"codecs/{name}")["files"] for name in codecs}
    validate()
    for name in codecs:
        assert told(f"codecs/{name}")["files"] != before[name]
