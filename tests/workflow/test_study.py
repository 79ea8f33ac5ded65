"""workflow/study, around stand-ins for the installation, the preflight and the stages."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from workflow.conftest import PARAMS, Project

STUDY = "workflow/study"
TRAINS = 'import sys; print("TRAIN a"); sys.exit(3)\n'
STOPPED = "Stopped. What is done is kept: workflow/study goes on from here."


def would_train(project: Project) -> None:
    (project.path / "workflow/preflight.py").write_text(TRAINS)
    (project.path / "params.yaml").write_text(PARAMS.replace("one", "two"))


def test_it_pulls_and_trains_nothing(project: Project) -> None:
    output = project(STUDY)
    report, page = output.splitlines()[-2:]
    assert report == f"The report: {project.path}/reports/report.md"
    assert f"workflow/page.py, or open file://{project.path}/reports/html/index.html" in page
    assert project.trained() == []


def test_without_a_yes_it_stops_before_training(project: Project) -> None:
    would_train(project)
    status, output = project.run(STUDY)
    assert status == 1
    assert output.splitlines()[-2:] == ["TRAIN a", STOPPED]
    assert project.trained() == []


@pytest.mark.parametrize(("arguments", "yes"), [(["--train"], {}), ([], {"ECC_TRAIN": "1"})])
def test_a_yes_on_the_command_line_trains(
    project: Project, arguments: list[str], yes: dict[str, str]
) -> None:
    would_train(project)
    project(STUDY, *arguments, **yes)
    assert project.trained() == ["a", "b"]


@pytest.mark.parametrize(("answer", "trained"), [("y", ["a", "b"]), ("", []), ("n", [])])
def test_a_terminal_is_asked(project: Project, answer: str, trained: list[str]) -> None:
    would_train(project)
    # `script` gives the command a terminal; what it reads is typed there.
    typed = f"printf '{answer}\\n' | script --quiet --return --command {STUDY} /dev/null"
    status, output = project.run("bash", "-c", typed)
    assert "Train now? [y/N]" in output
    assert (status == 0) == bool(trained)
    assert project.trained() == trained


def test_weights_that_cannot_be_pulled_train_nothing(project: Project) -> None:
    project("git", "rm", "-r", "--quiet", ".dvc/store")
    status, output = project.run(STUDY)  # with a preflight that sees nothing to train
    assert status != 0
    assert "data/models/a.safetensors" in output
    assert "train@a: stopped before training." in output
    assert project.trained() == []


def test_an_interrupt_ends_it_and_a_second_run_goes_on(project: Project) -> None:
    would_train(project)
    started = project.start(STUDY, "--train", SECONDS_OF_TRAINING="60")
    wait_for(project.path / "training")
    os.killpg(started.pid, signal.SIGINT)
    output, _ = started.communicate(timeout=30)
    assert started.returncode != 0
    assert output.splitlines()[-1] == STOPPED
    assert "Traceback" not in output
    assert project.trained() == []
    project(STUDY, "--train")
    assert project.trained() == ["a", "b"]


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_lock_that_is_cut_while_it_runs_is_repaired_as_it_stops(project: Project) -> None:
    (project.path / "workflow/preflight.py").write_text(
        'import pathlib, sys; pathlib.Path("dvc.lock").write_text(""); sys.exit(1)\n'
    )
    status, output = project.run(STUDY)
    assert status == 1
    repaired, stopped = output.splitlines()
    assert repaired.startswith("dvc.lock was cut short by an interrupt: the last whole one is back")
    assert stopped == STOPPED
    assert project("git", "diff", "--stat", "dvc.lock") == ""


def test_a_lock_that_was_cut_before_is_repaired_first(project: Project) -> None:
    lock = project.path / "dvc.lock"
    lock.write_text(lock.read_text()[: lock.read_text().index("  train@b:")])
    assert "dvc.lock was cut short by an interrupt" in project(STUDY)
    assert project.trained() == []


@pytest.mark.parametrize(
    ("arguments", "passed_on"),
    [
        (["-j", "3"], "-j 3"),
        (["-j3"], "-j3"),
        (["--profile", "some/profile"], "--workflow-profile some/profile"),
        (["--profile", "some/profile", "-j", "9"], "--workflow-profile some/profile -j 9"),
    ],
)
def test_snakemake_runs_several_stages_or_has_a_profile(
    project: Project, tmp_path: Path, arguments: list[str], passed_on: str
) -> None:
    fake = tmp_path / "bin" / "snakemake"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "SNAKEMAKE $*"\n')
    fake.chmod(0o755)
    (project.path / "workflow/install").write_text(f'PATH="{fake.parent}:$PATH"\n')
    output = project(STUDY, *arguments).splitlines()
    assert f"SNAKEMAKE --rerun-triggers mtime {passed_on}" in output


@pytest.mark.parametrize("arguments", [["--trian"], ["-j"], ["now"]])
def test_what_it_does_not_know_is_an_error(project: Project, arguments: list[str]) -> None:
    status, output = project.run(STUDY, *arguments)
    assert status != 0
    assert "usage: workflow/study [-j N] [--profile FOLDER] [--train]" in output


def test_a_clone_that_cannot_be_written_is_named(project: Project) -> None:
    # In a mount namespace of its own, since root may write where the mode says no.
    unshare = ("unshare", "--user", "--map-root-user", "--mount", "bash", "-c")
    here = project.path
    script = f"mount --bind {here} {here} && mount -o remount,bind,ro {here}"
    if subprocess.run([*unshare, script], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    status, output = project.run(*unshare, f"{script} && {project.path}/{STUDY}")
    assert status == 1
    message = f"{project.path} cannot be written, and the study writes into its clone."
    assert output.splitlines() == [message]
