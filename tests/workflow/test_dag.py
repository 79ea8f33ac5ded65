"""The DAG of dvc.yaml, with stand-ins for its scripts: what runs again after which change."""

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML

from ecc import params
from ecc.data.corpus import COLUMNS, build
from ecc.model.config import CodecConfig
from ecc.train.config import TrainConfig

ROOT = Path(__file__).parents[2]
FAKES = Path(__file__).with_name("fake_stages.py")
PARAMS = """\
study:
  sources: [debian, english]
  test_sets: [default]
  codecs: [ecc, rvq, coded, opus]
  diagnose: [ecc]
sources:
  debian: {kind: debian}
  english: {kind: github}
test_sets:
  default: {sources: [debian], utterances: 4}
codec: {transform: {kind: stft, width: 64}}
train: {steps: 100, learning_rate: 0.001, processes: 2, batch: 10, optimizer: adam,
        crop: {frames: 50}}
models:
  ecc-1: {variant: ecc, lmbda: [1.0]}
  ecc-2: {variant: ecc, lmbda: [2.0, 4.0]}
  rvq-1: {variant: rvq, stages: [1]}
token_models:
  coded: {variant: coded, base: rvq/rvq-1}
codecs:
  ecc: {class: "ecc.codecs.ecc:EccCodec", label: ECC, variant: ecc}
  rvq: {class: "ecc.codecs.ecc:EccCodec", label: RVQ, variant: rvq}
  coded: {class: "ecc.codecs.ecc:EccCodec", label: RVQ coded, variant: coded}
  opus: {class: "ecc.codecs.opus:Opus", label: Opus, points: {"6": {bitrate: 6000}}}
score: {metrics: [estoi]}
report: {bootstrap: 100}
"""
EVERYTHING = {
    "validate", "fetch@debian", "fetch@english", "fetch-lyra", "corpus", "train@ecc-1",
    "train@ecc-2", "train@rvq-1", "tokens@coded", "weights", "diagnose@ecc", "aggregate", "report",
    *(f"{stage}@{codec}" for stage in ("encode", "decode", "score")
      for codec in ("ecc", "rvq", "coded", "opus")),
}  # fmt: skip
SCRIPTS = {stage.partition("@")[0].replace("-", "_") for stage in EVERYTHING}
TRAINING = {stage for stage in EVERYTHING if stage.startswith(("train@", "tokens@"))}
RVQ = {f"{stage}@{codec}" for stage in ("encode", "decode", "score") for codec in ("rvq", "coded")}


class Clone:
    """A clone of the project in which commands run, and what they ran."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, *command: str, **environment: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command, cwd=self.path, env=os.environ | {"PATH": path} | environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ran(self, *command: str, **environment: str) -> set[str]:
        log = self.path / "ran.log"
        log.unlink(missing_ok=True)
        self(*command, **environment)
        stages = log.read_text().split() if log.exists() else []
        assert len(stages) == len(set(stages))
        return set(stages)

    def edit(self, old: str, new: str) -> None:
        params = self.path / "params.yaml"
        text = params.read_text()
        assert old in text
        params.write_text(text.replace(old, new))

    def status(self) -> str:
        return self("dvc", "status").strip()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A project that ran once, was pushed and committed."""
    clone = Clone(tmp_path_factory.mktemp("project"))
    for name in ("dvc.yaml", "Snakefile", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, clone.path)
    (clone.path / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, clone.path / ".dvc")
    for script in SCRIPTS:
        (clone.path / "workflow" / "stages").mkdir(parents=True, exist_ok=True)
        shutil.copy(FAKES, clone.path / "workflow" / "stages" / f"{script}.py")
    (clone.path / "src" / "ecc").mkdir(parents=True)
    (clone.path / "src" / "ecc" / "__init__.py").touch()
    (clone.path / "reports" / "runs").mkdir(parents=True)
    (clone.path / "reports" / "runs" / "first.csv").write_text("codec\n")
    (clone.path / "params.yaml").write_text(PARAMS)
    with (clone.path / ".gitignore").open("a") as ignore:
        ignore.write("ran.log\n")
    clone("git", "init", "--quiet")
    assert clone.ran("dvc", "repro", "--quiet") == EVERYTHING
    clone("dvc", "push", "--quiet")
    clone("git", "add", ".")
    clone("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "-m", "x")
    return clone


@pytest.fixture
def clone(finished: Clone, tmp_path: Path) -> Clone:
    """A copy of the finished project, data and all."""
    shutil.copytree(finished.path, tmp_path / "copy")
    return Clone(tmp_path / "copy")


@pytest.fixture
def fresh(finished: Clone, tmp_path: Path) -> Clone:
    """A fresh clone with the trained weights pulled, as a stranger has it."""
    finished("git", "clone", "--quiet", ".", str(tmp_path / "fresh"))
    fresh = Clone(tmp_path / "fresh")
    fresh("dvc", "pull", "--quiet")
    return fresh


def test_a_second_run_does_nothing(clone: Clone) -> None:
    assert clone.ran("dvc", "repro", "--quiet") == set()
    assert clone.status() == "Data and pipelines are up to date."


def test_a_changed_lambda_trains_that_model_alone_and_changed_back_none(clone: Clone) -> None:
    downstream = {"validate", "weights", "aggregate", "report"}
    downstream |= {f"{stage}@ecc" for stage in ("encode", "decode", "score", "diagnose")}
    clone.edit("lmbda: [2.0, 4.0]", "lmbda: [2.5, 4.0]")
    assert clone.ran("dvc", "repro", "--quiet") == {*downstream, "train@ecc-2"}
    clone.edit("lmbda: [2.5, 4.0]", "lmbda: [2.0, 4.0]")
    assert clone.ran("dvc", "repro", "--quiet") == downstream


def test_changed_operating_points_code_one_codec_again(clone: Clone) -> None:
    clone.edit("bitrate: 6000", "bitrate: 7000")
    ran = clone.ran("dvc", "repro", "--quiet")
    assert not ran & (TRAINING | RVQ | {"encode@ecc", "diagnose@ecc"})
    assert "encode@opus" in ran


def test_a_fresh_clone_rebuilds_all_but_the_weights(fresh: Clone, finished: Clone) -> None:
    assert (fresh.path / "data/journals/ecc.jsonl").exists()
    ran = fresh.ran("dvc", "repro", "--quiet")
    assert {"fetch@debian", "encode@ecc", "decode@ecc", "score@ecc"} <= ran
    assert not ran & TRAINING
    assert fresh.status() == "Data and pipelines are up to date."
    assert fresh("git", "status", "--short") == ""  # the same results, to the byte


def test_an_unreachable_source_trains_nothing(fresh: Clone) -> None:
    ran = fresh.ran("dvc", "repro", "--quiet", UNREACHABLE="english")
    assert {"encode@ecc", "aggregate", "report"} <= ran
    assert not ran & TRAINING
    assert fresh.status() == "Data and pipelines are up to date."


PREFLIGHT = """
from types import SimpleNamespace as N
import hashlib, json, pathlib, preflight
from ecc.model.config import CodecConfig
from ecc.train.config import TrainConfig
from ruamel.yaml import YAML
values = YAML(typ="safe").load(pathlib.Path("params.yaml"))
model = None, CodecConfig(**values["codec"]), TrainConfig(**values["train"])
preflight.params.load = lambda: N(
    study=N(sources=[], codecs=[]), token_models=values["token_models"],
    model=lambda name: model, token_model=lambda name: model,
)
text = json.dumps(values["sources"])
preflight.identity_md5 = lambda study: hashlib.md5(text.encode()).hexdigest()
preflight.main()
"""


@pytest.fixture
def preflight(fresh: Clone) -> Callable[[], list[str]]:
    """The lines that the preflight prints in the fresh clone."""
    folder = str(ROOT / "workflow")
    return lambda: fresh("python", "-c", PREFLIGHT, PYTHONPATH=folder).splitlines()


def test_preflight_of_a_fresh_clone_trains_nothing(
    preflight: Callable[[], list[str]], fresh: Clone
) -> None:
    text = "\n".join(preflight())
    assert "encode (4)" in text
    assert "Nothing is trained" in text
    fresh("dvc", "repro", "--quiet")
    assert preflight()[-1] == "Everything is up to date."


def test_preflight_names_what_is_trained_why_and_how_long(
    preflight: Callable[[], list[str]], fresh: Clone
) -> None:
    fresh.edit("lmbda: [2.0, 4.0]", "lmbda: [2.5, 4.0]")
    (line,) = [line for line in preflight() if line.startswith("TRAIN ")]
    # The stand-in of a training takes two seconds a step.
    assert line == "TRAIN ecc-2: models.ecc-2 changed in params.yaml; about 3 min"


@pytest.mark.parametrize(
    ("patch", "duration"),
    [
        ({}, "about 3 min"),
        ({"train": {"steps": 3600}}, "about 2.0 h"),
        ({"train": {"processes": 1}}, "about 2 min"),  # 1.7
        ({"train": {"batch": 30}}, "about 10 min"),
        ({"train": {"crop": {"frames": 100}}}, "about 7 min"),  # 6.7
        ({"train": {"optimizer": "muon"}}, "about 7 min"),  # twice
        ({"train": {"learning_rate": 0.002}}, "about 3 min"),
        ({"codec": {"transform": {"width": 72}}}, "nobody has measured how long it takes"),
    ],
)
def test_preflight_knows_what_a_step_costs(
    finished: Clone, monkeypatch: pytest.MonkeyPatch, patch: dict[str, Any], duration: str
) -> None:
    monkeypatch.syspath_prepend(ROOT / "workflow")
    monkeypatch.chdir(finished.path)
    preflight = importlib.import_module("preflight")
    values = YAML(typ="safe").load(PARAMS)
    params.apply_patch(values, patch)
    model = None, CodecConfig(**values["codec"]), TrainConfig(**values["train"])
    study = SimpleNamespace(token_models={}, model=lambda name: model)
    assert preflight.duration(preflight.training_seconds(study, "ecc-1")) == duration


def test_preflight_names_a_new_model(preflight: Callable[[], list[str]], fresh: Clone) -> None:
    fresh.edit("  rvq-1:", "  ecc-3: {variant: ecc, lmbda: [4.0]}\n  rvq-1:")
    (line,) = [line for line in preflight() if line.startswith("TRAIN ")]
    assert line == "TRAIN ecc-3: it is new; about 3 min"


def test_preflight_sees_that_the_corpus_changes(
    preflight: Callable[[], list[str]], fresh: Clone
) -> None:
    fresh.edit("english: {kind: github}", "english: {kind: github, commit: abc}")
    lines = [line for line in preflight() if line.startswith("TRAIN ")]
    assert len(lines) == 4
    assert all("the corpus changed" in line for line in lines)


def test_preflight_foresees_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "workflow")
    identity_md5 = importlib.import_module("preflight").identity_md5
    study = params.load(ROOT / "params.yaml")
    name = study.study.sources[0]
    study = study.model_copy(update={"study": study.study.model_copy(update={"sources": [name]})})
    folder = tmp_path / "speech" / name
    folder.mkdir(parents=True)
    (folder / "source.json").write_text("{}")
    (folder / "clips.csv").write_text(",".join(COLUMNS))
    build({name: study.sources[name]}, {}, tmp_path / "speech", tmp_path / "corpus")
    written = (tmp_path / "corpus" / "identity.json").read_bytes()
    assert identity_md5(study) == hashlib.md5(written).hexdigest()


def test_preflight_sees_that_weights_are_missing(
    preflight: Callable[[], list[str]], fresh: Clone
) -> None:
    (fresh.path / "data" / "models" / "rvq" / "rvq-1.safetensors").unlink()
    shutil.rmtree(fresh.path / ".dvc" / "cache")
    shutil.rmtree(fresh.path / ".dvc" / "store")
    lines = [line for line in preflight() if line.startswith("TRAIN ")]
    assert any(line.startswith("TRAIN rvq-1: its weights are neither here") for line in lines)


def test_preflight_names_the_token_model_of_what_is_trained_again(
    preflight: Callable[[], list[str]], fresh: Clone
) -> None:
    fresh.edit("stages: [1]", "stages: [2]")
    lines = [line for line in preflight() if line.startswith("TRAIN ")]
    assert [line.partition(":")[0] for line in lines] == ["TRAIN rvq-1", "TRAIN coded"]
    assert lines[1].startswith("TRAIN coded: the model that it follows is trained again; about")


def test_a_run_that_is_kept_changes_the_report_alone(clone: Clone) -> None:
    (clone.path / "reports" / "runs" / "second.csv").write_text("codec\n")
    assert clone.ran("dvc", "repro", "--quiet") == {"aggregate", "report"}


def test_new_weights_of_lyra_train_nothing(clone: Clone) -> None:
    (clone.path / "data" / "lyra" / "weights").write_text("others")
    ran = clone.ran("dvc", "repro", "--quiet", "weights")
    assert not ran & TRAINING


@pytest.mark.slow
def test_snakemake_runs_the_same_stages_and_leaves_dvc_clean(fresh: Clone) -> None:
    snakemake = ("snakemake", "--cores", "3", "--quiet")
    ran = fresh.ran(*snakemake)
    assert {"fetch@debian", "encode@ecc", "decode@ecc", "score@ecc"} <= ran
    assert not ran & TRAINING
    assert fresh.status() == "Data and pipelines are up to date."
    assert fresh("git", "status", "--short") == ""
    assert fresh.ran(*snakemake) == set()
    fresh.edit("lmbda: [2.0, 4.0]", "lmbda: [2.5, 4.0]")
    ran = fresh.ran(*snakemake)
    assert ran & TRAINING == {"train@ecc-2"}
    assert not ran & RVQ
    assert fresh.status() == "Data and pipelines are up to date."
