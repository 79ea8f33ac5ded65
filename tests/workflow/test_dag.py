"""The DAG of dvc.yaml, with stand-ins for its scripts: what runs again after which change."""

import hashlib
import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clones import MINE, ROOT, Clone, project

from ecc import params
from ecc.data.corpus import COLUMNS, build

SPANISH, ITALIAN = (f"asterisk-core-sounds-{language}-g722" for language in ("es", "it"))
ENGLISH, DECODES = "picovoice-speech-to-intent", "freecodec-demo"
STUDY: dict[str, Any] = {
    "models": None,
    "token_models": None,
    "study": {
        "sources": [SPANISH, ITALIAN, ENGLISH, DECODES],
        "test_sets": ["languages", "english", "librispeech-demo"],
        "codecs": ["ecc", "rvq", "rvq-coded", "opus", "encodec-demo", "mine"],
        "diagnose": ["ecc"],
    },
    "unseen": {"codecs": ["ecc", "opus"], "test_sets": ["languages"]},
    "test_sets": {"languages": {"sources": [ITALIAN]}},
    "train": {
        "steps": 100,
        "processes": 2,
        "batch": 10,
        "optimizer": "adam",
        "crop": {"frames": 48},
    },
    "codecs": {
        "mine": {
            "class": "my_codec:Mine",
            "label": "Mine",
            "points": {"a": {"weights": "mine.bin"}},
            "test_sets": ["languages"],
        }
    },
}
MODELS: dict[str, Any] = {
    "models": {
        "ecc": {"variant": "ecc", "lmbda": [2.0, 4.0]},
        "choosy": {"variant": "other", "lmbda": [8.0], "sources": [SPANISH]},
        "rvq": {"variant": "rvq", "stages": [1, 2]},
    },
    "token_models": {"rvq-coded": {"variant": "rvq-coded", "base": "rvq/rvq"}},
}
SMALLER = {"lmbda": [2.0, 4.0], "train": {"steps": 200}}  # what a model may begin as
CODECS, UNSEEN = STUDY["study"]["codecs"], STUDY["unseen"]["codecs"]
EVERYTHING = {
    "fetch-lyra", "corpus", "train@ecc", "train@choosy", "train@rvq", "tokens@rvq-coded", "inputs",
    "diagnose@ecc", "aggregate", "report", "page",
    *(f"fetch@{source}" for source in STUDY["study"]["sources"]),
    *(f"{stage}@{codec}" for stage in ("encode", "decode", "score") for codec in CODECS),
    *(f"unseen@{codec}" for codec in UNSEEN),
}  # fmt: skip
TRAINING = {stage for stage in EVERYTHING if stage.startswith(("train@", "tokens@"))}
TABLES = {"aggregate", "report"}  # what is made is in git
REPORT = {*TABLES, "page"}


def coding(*codecs: str) -> set[str]:
    """All that is done with streams of these codecs."""
    found = {f"{stage}@{c}" for stage in ("encode", "decode", "score") for c in codecs}
    return found | {f"unseen@{c}" for c in codecs if c in UNSEEN} | REPORT


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A small study that ran once, was pushed and committed."""
    clone = project(tmp_path_factory.mktemp("project"), STUDY, MODELS)
    assert clone.pretend() == EVERYTHING
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
    fresh("dvc", "pull", "--quiet", "--allow-missing")
    return fresh


def test_a_second_run_does_nothing(clone: Clone) -> None:
    assert clone.ran("dvc", "repro", "--quiet") == set()
    assert clone.stale() == set()
    assert clone("git", "status", "--short") == ""


def test_a_changed_lambda_trains_that_model_alone_and_changed_back_none(clone: Clone) -> None:
    downstream = {"inputs", "diagnose@ecc", *coding("ecc")}
    clone.patch({"models": {"ecc": {"lmbda": [2.5, 4.0]}}})
    assert clone.ran("dvc", "repro", "--quiet") == {*downstream, "train@ecc"}
    clone.patch({"models": {"ecc": {"lmbda": [2.0, 4.0]}}})
    ran = clone.ran("dvc", "repro", "--quiet")
    assert coding("ecc") <= ran <= downstream


def test_a_row_of_a_table_that_moves_is_fetched_and_trained_again(clone: Clone) -> None:
    clone.edit("src/ecc/data/sources/picovoice.csv", ",train,", ",test,")
    ran = clone.ran("dvc", "repro", "--quiet")
    assert {f"fetch@{ENGLISH}", "corpus", "encode@ecc", "encode@opus"} <= ran
    assert {stage for stage in ran if stage.startswith("fetch")} == {f"fetch@{ENGLISH}"}
    assert ran & TRAINING == TRAINING - {"train@choosy"}  # which names its sources
    assert not ran & coding("mine", "encodec-demo") - REPORT  # their test sets have no such speech


def test_a_new_source_trains_what_does_not_name_its_sources(clone: Clone) -> None:
    new = "asterisk-core-sounds-ru-g722"
    clone.patch({"study": {"sources": [*STUDY["study"]["sources"], new]}})
    ran = clone.ran("dvc", "repro", "--quiet")
    assert f"fetch@{new}" in ran
    assert ran & TRAINING == TRAINING - {"train@choosy"}
    assert not ran & coding("opus", "mine", "encodec-demo") - REPORT  # no test set hears of it


def test_a_test_set_is_coded_by_those_that_code_it(clone: Clone) -> None:
    clone.patch({"test_sets": {"english": {"utterances": 8}}})
    ran = clone.ran("dvc", "repro", "--quiet")
    coded = ("ecc", "rvq", "rvq-coded", "opus")
    assert ran == {"corpus", "inputs", "diagnose@ecc", *coding(*coded)}


def test_a_codec_of_ones_own_follows_its_code_and_its_files(clone: Clone) -> None:
    (clone.path / "my_codec.py").write_text(f"{MINE}    rate = 'nominal'\n")
    (clone.path / "mine.bin").write_text("other weights")
    assert clone.ran("dvc", "repro", "--quiet") == coding("mine")


def test_a_fresh_clone_rebuilds_all_but_the_weights(fresh: Clone) -> None:
    assert (fresh.path / "data/journals/ecc.jsonl").exists()
    assert (fresh.path / "data/journals/unseen-ecc.jsonl").exists()
    # What the tables are made from comes out as it was, to the byte, and they are in git.
    assert fresh.ran("dvc", "repro", "--quiet") == EVERYTHING - TRAINING - TABLES
    assert fresh.stale() == set()
    assert fresh("git", "status", "--short") == ""


def test_an_unreachable_source_trains_nothing(fresh: Clone) -> None:
    ran = fresh.ran("dvc", "repro", "--quiet", UNREACHABLE=SPANISH)
    assert ran == EVERYTHING - TRAINING
    assert fresh.stale() == set()


def test_a_stage_alone_of_a_new_codec_says_what_is_missing(clone: Clone) -> None:
    # By its whole path, which no stand-in takes the place of.
    done = clone.run("python", str(clone.path / "workflow/stages/encode.py"), "new")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("encode@new: data/configs/codecs/new.json is missing. `dvc repro enc")


@pytest.fixture
def preflight(fresh: Clone) -> Callable[..., list[str]]:
    """The lines that the preflight prints in the fresh clone as it ends with `status`."""

    def lines(status: int = 0) -> list[str]:
        done = fresh.run("python", "workflow/preflight.py")
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout.splitlines()

    return lines


WOULD_TRAIN = 3


def trained(lines: list[str]) -> list[str]:
    return [line.removeprefix("TRAIN ") for line in lines if line.startswith("TRAIN ")]


def test_preflight_of_a_fresh_clone_trains_nothing(
    preflight: Callable[..., list[str]], fresh: Clone
) -> None:
    text = "\n".join(preflight())
    assert f"encode ({len(CODECS)})" in text
    assert "Nothing is trained" in text
    fresh("dvc", "repro", "--quiet")
    assert preflight()[-1] == "Everything is up to date."


def test_preflight_names_what_is_trained_why_and_how_long(
    preflight: Callable[..., list[str]], fresh: Clone
) -> None:
    fresh.patch({"models": {"ecc": {"lmbda": [2.5, 4.0], "train": {"steps": 90}}}})
    fresh.patch({"models": {"new": {"variant": "ecc", "lmbda": [4.0]}}})
    # The stand-in of a training takes two seconds a step.
    lines = preflight(WOULD_TRAIN)
    assert trained(lines) == [
        "ecc: lmbda, train.steps changed in params.yaml; about 3 min",
        "new: it is new; about 3 min",
    ]
    assert lines[-1] == "Training ecc, new needs a yes: workflow/study --train"


def test_preflight_sees_that_the_command_of_a_training_changes(
    preflight: Callable[..., list[str]], fresh: Clone
) -> None:
    command = "python workflow/stages/train.py ${key}"
    fresh.edit("dvc.yaml", command, f"nice {command}")
    lines = trained(preflight(WOULD_TRAIN))
    assert "ecc: its command changed in dvc.yaml; about 3 min" in lines
    assert len(lines) == len(TRAINING)


@pytest.mark.parametrize(
    ("patch", "duration"),
    [
        ({}, "about 3 min"),
        ({"train": {"steps": 3600}}, "about 2.0 h"),
        ({"train": {"processes": 1}}, "about 2 min"),  # 1.7
        ({"train": {"batch": 30}}, "about 10 min"),
        ({"train": {"crop": {"frames": 96}}}, "about 7 min"),  # 6.7
        ({"train": {"optimizer": "muon"}}, "about 7 min"),  # twice
        ({"train": {"learning_rate": 0.002}}, "about 3 min"),
        ({"models": {"ecc": {"begins_as": [SMALLER]}}}, "about 10 min"),
        ({"codec": {"transform": {"width": 72}}}, "nobody has measured how long it takes"),
    ],
)
def test_preflight_knows_what_a_step_costs(
    finished: Clone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    patch: dict[str, Any],
    duration: str,
) -> None:
    monkeypatch.syspath_prepend(ROOT / "workflow")
    monkeypatch.chdir(finished.path)
    preflight = importlib.import_module("preflight")
    shutil.copy(finished.path / "params.yaml", tmp_path)
    Clone(tmp_path).patch(patch)
    study = params.load(tmp_path / "params.yaml")
    assert preflight.duration(preflight.training_seconds(study, "ecc")) == duration


def test_preflight_counts_what_a_model_begins_as_by_its_own_log_and_only_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "workflow")
    monkeypatch.chdir(tmp_path)
    preflight = importlib.import_module("preflight")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    Clone(tmp_path).patch({"train": {"cycles": 1}, "models": {"rvq": {"begins_as": [
        {"stages": [1], "codec": {"transform": {"hidden": 8}}, "train": {"steps": 100, "cycles": 3}}
    ], "train": {"steps": 10}}}})  # fmt: skip
    study = params.load()
    told = {}
    for name, (codec, train) in preflight.untrained(study, "rvq").items():
        told[name] = {"codec": codec.relevant(), "train": train.relevant(tokens=False)}
        log = tmp_path / "reports/training" / name / "metrics.json"
        log.parent.mkdir(parents=True)
        log.write_text(json.dumps({"step": 2, "seconds": 4 if name == "rvq-1" else 20}))
    (tmp_path / "reports/models").mkdir()
    note = {"config": told["rvq"] | {"begins_as": [told["rvq-1"]]}}
    (tmp_path / "reports/models/rvq.json").write_text(json.dumps(note))
    assert preflight.training_seconds(study, "rvq") == pytest.approx(10 * 10 + 300 * 2)
    there = [{"weights": tmp_path / "params.yaml"}]
    monkeypatch.setattr(preflight.resolved, "beginnings", lambda model: there)
    assert preflight.training_seconds(study, "rvq") == pytest.approx(10 * 10)


def test_preflight_sees_that_the_corpus_changes(
    preflight: Callable[..., list[str]], fresh: Clone
) -> None:
    fresh.edit("src/ecc/data/sources/picovoice.csv", ",train,", ",test,")
    lines = trained(preflight(WOULD_TRAIN))
    assert [line.partition(":")[0] for line in lines] == ["ecc", "rvq", "rvq-coded"]
    assert all("the corpus changed" in line for line in lines)


def test_preflight_foresees_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "workflow")
    identity_md5 = importlib.import_module("preflight").identity_md5
    study = params.load(ROOT / "params.yaml")
    names = study.study.sources[:1]
    study = study.model_copy(update={"study": study.study.model_copy(update={"sources": names})})
    source = study.sources[names[0]]
    folder = tmp_path / "speech" / names[0]
    folder.mkdir(parents=True)
    facts = {"available": True, "identity": source.identity()}
    (folder / "source.json").write_text(json.dumps(facts))
    (folder / "clips.csv").write_text(",".join(COLUMNS))
    training = {"ecc": study.training_sources("ecc")}
    build({names[0]: source}, {}, training, tmp_path / "speech", tmp_path / "corpus")
    written = (tmp_path / "corpus" / "training" / "ecc.json").read_bytes()
    assert identity_md5(study, "ecc") == hashlib.md5(written).hexdigest()


def test_preflight_sees_that_weights_are_missing(
    preflight: Callable[..., list[str]], fresh: Clone
) -> None:
    (fresh.path / "data" / "models" / "rvq" / "rvq.safetensors").unlink()
    shutil.rmtree(fresh.path / ".dvc" / "cache")
    shutil.rmtree(fresh.path / ".dvc" / "store")
    lines = trained(preflight(WOULD_TRAIN))
    assert any(line.startswith("rvq: its weights are neither here") for line in lines)


def test_preflight_names_the_token_model_of_what_is_trained_again(
    preflight: Callable[..., list[str]], fresh: Clone
) -> None:
    fresh.patch({"codec": {"rvq": {"decay": 0.9}}})
    rvq, coded = trained(preflight(WOULD_TRAIN))
    assert rvq.startswith("rvq: codec.rvq.decay changed in params.yaml; about")
    assert coded.startswith("rvq-coded: the model that it follows is trained again; about")


def test_a_run_that_is_kept_changes_the_report_alone(clone: Clone) -> None:
    (clone.path / "reports" / "runs" / "second.csv").write_text("codec\n")
    assert clone.ran("dvc", "repro", "--quiet") == REPORT


def test_new_weights_of_lyra_train_nothing(clone: Clone) -> None:
    (clone.path / "data" / "lyra" / "weights").write_text("others")
    assert clone.ran("dvc", "repro", "--quiet") <= {"fetch-lyra", "inputs"}


@pytest.mark.slow
def test_snakemake_runs_the_same_stages_and_leaves_dvc_clean(fresh: Clone) -> None:
    snakemake = ("snakemake", "--cores", "3", "--quiet")
    assert fresh.ran(*snakemake) | REPORT == EVERYTHING - TRAINING
    assert fresh.stale() == set()
    assert fresh("git", "status", "--short") == ""
    assert fresh.ran(*snakemake) == set()
    fresh.patch({"models": {"ecc": {"lmbda": [2.5, 4.0]}}})
    assert fresh.ran(*snakemake) & TRAINING == {"train@ecc"}
    assert fresh.stale() == set()
