import shutil

import pytest
from workflow.conftest import ROOT, Project

REPRO = ("dvc", "repro")
MISSING = (
    "train@a: stopped before training. Its weights are missing, and nothing that they follow from "
    "has changed; `dvc pull` brings the weights of dvc.lock. To train, which may take hours: "
    "`workflow/study --train`, or set ECC_TRAIN=1"
)


def test_a_fresh_clone_trains_nothing_before_a_pull(project: Project) -> None:
    status, output = project.run(*REPRO)
    assert status != 0
    assert MISSING in output.splitlines()
    assert project.trained() == []
    project("dvc", "pull", "--quiet")
    project(*REPRO)
    assert project.trained() == []


@pytest.mark.slow
def test_snakemake_trains_nothing_in_a_fresh_clone_either(project: Project) -> None:
    shutil.copy(ROOT / "Snakefile", project.path)
    status, output = project.run("snakemake", "--cores", "2", "--keep-going")
    assert status != 0
    assert MISSING in output
    assert project.trained() == []


def test_a_yes_trains(project: Project) -> None:
    project(*REPRO, ECC_TRAIN="1")
    assert project.trained() == ["a", "b"]


def test_a_person_who_runs_the_script_wants_to_train(project: Project) -> None:
    project("dvc", "repro", "validate")
    project("python", "workflow/stages/train.py", "b")
    assert project.trained() == ["b"]


def test_other_parameters_are_a_wish_to_train_that_model_alone(project: Project) -> None:
    project("dvc", "pull", "--quiet")
    project.edit("params.yaml", "lmbda: [1.0]", "lmbda: [1.5]")
    project(*REPRO)
    assert project.trained() == ["a"]
    project.edit("params.yaml", "  b:", "  c: {lmbda: [4.0]}\n  b:")
    project(*REPRO)
    assert project.trained() == ["c"]


def test_a_lock_of_an_earlier_form_is_no_wish_to_train(project: Project) -> None:
    project("dvc", "pull", "--quiet")
    project.edit("dvc.lock", "data/configs/train/a.json", "data/corpus/identity.json")
    status, output = project.run(*REPRO)
    assert status != 0
    assert MISSING in output.splitlines()
    assert project.trained() == []


def test_other_code_is_none(project: Project) -> None:
    project("dvc", "pull", "--quiet")
    project.edit("params.yaml", "code: one", "code: two")
    status, output = project.run(*REPRO)
    assert status != 0
    assert "train@a: stopped before training. Only the code of training changed; `dvc" in output
    assert project.trained() == []
    project("dvc", "pull", "--quiet")
    assert (project.path / "data/models/a.safetensors").exists()  # which DVC had deleted


def test_what_has_begun_goes_on(project: Project) -> None:
    (project.path / "checkpoint").touch()
    project(*REPRO, "train@a")
    assert project.trained() == ["a"]
