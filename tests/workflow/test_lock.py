import importlib
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from workflow.conftest import Project, commit

REPAIR = ("python", "workflow/stages/lock.py")
REPAIRED = "dvc.lock was cut short by an interrupt: the last whole one is back"


@pytest.fixture
def lock(project: Project, stage_scripts: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(project.path)
    return importlib.import_module("lock")


def test_no_part_of_a_lock_is_whole(lock: Any) -> None:
    text = lock.LOCK.read_text()
    assert lock.stages(text) == {"validate", "train@a", "train@b"}
    assert lock.whole(text, text)
    assert lock.whole(text, "")
    assert [size for size in range(len(text)) if lock.whole(text[:size], text)] == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_cut_lock_is_repaired_and_kept_aside(project: Project, share: float) -> None:
    file = project.path / "dvc.lock"
    # Changed since the commit: what comes back is the copy and not what git has.
    project.edit("dvc.lock", "- 2.0", "- 3.0")
    project(*REPAIR)
    text = file.read_text()
    cut = text[: int(share * len(text))]
    file.write_text(cut)
    assert REPAIRED in project(*REPAIR)
    assert file.read_text() == text
    assert (project.path / ".dvc/tmp/dvc.lock.cut").read_text() == cut
    assert project("git", "status", "--short") == " M dvc.lock\n"
    assert project(*REPAIR) == ""


def test_without_a_copy_the_one_in_git_comes_back(project: Project) -> None:
    (project.path / "dvc.lock").write_text("")
    assert REPAIRED in project(*REPAIR)
    assert project("git", "status", "--short") == ""


def test_without_any_other_lock_it_says_so(project: Project) -> None:
    shutil.rmtree(project.path / ".git")
    (project.path / "dvc.lock").write_text("schema: '2.0'\nstages:\n  validate:\n")
    status, output = project.run(*REPAIR)
    assert status == 1
    assert output.splitlines() == [
        "dvc.lock is cut short, and there is neither a copy of it nor one in git"
    ]


def test_a_lock_of_another_commit_is_whole_with_fewer_stages(project: Project) -> None:
    project(*REPAIR)
    file = project.path / "dvc.lock"
    text = file.read_text()
    fewer = text[: text.index("  train@b:")]
    file.write_text(fewer)
    commit(project)
    assert project(*REPAIR) == ""
    # And when a stage ran since, which keeps no copy.
    changed = fewer.replace("- 1.0", "- 1.5")
    assert changed != fewer
    file.write_text(changed)
    assert project(*REPAIR) == ""
    assert file.read_text() == changed


def test_a_conflict_is_left_to_who_merges(project: Project) -> None:
    file = project.path / "dvc.lock"
    conflict = "<<<<<<< HEAD\n" + file.read_text()
    file.write_text(conflict)
    assert project(*REPAIR) == ""
    assert file.read_text() == conflict


def test_no_stage_runs_on_a_cut_lock(project: Project) -> None:
    project(*REPAIR)
    file = project.path / "dvc.lock"
    text = file.read_text()
    file.write_text(text[: text.index("  train@b:")])  # which DVC takes for whole
    project.edit("workflow/stages/lock.py", "PATIENCE = 10.0", "PATIENCE = 0.5")
    status, output = project.run("dvc", "repro")
    assert status != 0
    assert "dvc.lock was cut short by an interrupt: python " in output
    assert project.trained() == []
    project(*REPAIR)
    assert file.read_text() == text


def test_a_stage_waits_for_another_that_writes(lock: Any) -> None:
    lock.guard()
    text = lock.LOCK.read_text()
    lock.LOCK.write_text(text[:100])

    def end() -> None:
        time.sleep(0.5)
        lock.LOCK.write_text(text)

    writer = threading.Thread(target=end)
    writer.start()
    lock.guard()
    writer.join()
    assert lock.LOCK.read_text() == text


def test_only_the_last_copy_is_kept(lock: Any) -> None:
    text = lock.LOCK.read_text()
    lock.keep(text, "one")
    lock.keep(text + "\n", "two")
    (kept,) = Path(".dvc/tmp").glob("dvc.lock-*")
    assert kept.read_text() == text + "\n"
