import shutil
from pathlib import Path

import pytest
from workflow.conftest import Project

PULL = ("python", "workflow/pull.py")


def stored(project: Project) -> list[Path]:
    """Files of the remote, as git has them."""
    return [project.path / name for name in project("git", "ls-files", ".dvc/store").split()]


def weights(project: Project) -> set[str]:
    return {path.stem for path in (project.path / "data").rglob("*.safetensors")}


def test_what_is_pulled_needs_no_word(project: Project) -> None:
    assert project(*PULL) == ""
    assert weights(project) == {"a", "b"}
    assert project(*PULL) == ""


def test_a_damaged_file_is_named_and_not_deleted(project: Project) -> None:
    for file in stored(project):
        content = bytearray(file.read_bytes())
        content[0] ^= 1
        file.chmod(0o644)
        file.write_bytes(content)
    status, output = project.run(*PULL)
    assert status == 1
    (line,) = output.splitlines()
    assert line.startswith("data/models/a.safetensors (.dvc/store/files/md5/")
    assert line.endswith(" and 1 more: damaged; to have what git has: git checkout -- .dvc/store")
    assert all(file.exists() for file in stored(project))
    project("git", "checkout", "--", ".dvc/store")
    assert project(*PULL) == ""
    assert weights(project) == {"a", "b"}


def test_a_missing_file_is_named(project: Project) -> None:
    stored(project)[0].unlink()
    (line,) = project(*PULL).splitlines()
    assert line.startswith("data/models/")
    assert "more" not in line
    assert line.endswith(": not pulled; to have what git has: git checkout -- .dvc/store")
    assert len(weights(project)) == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ssh://127.0.0.1:9/nowhere", "2 files failed to download"),
        (None, "config file error: remote 'store' doesn't exist"),
    ],
)
def test_a_remote_out_of_reach_is_told(project: Project, url: str | None, reason: str) -> None:
    shutil.rmtree(project.path / ".dvc" / "store")
    if url is None:
        project("dvc", "remote", "remove", "store")
        project("dvc", "config", "core.remote", "store")
    else:
        project("dvc", "remote", "modify", "store", "url", url)
    output = project(*PULL).splitlines()
    assert f"dvc pull: {reason}" in output
    last = "data/models/a.safetensors and 1 more: not pulled; who has it can `dvc push` it"
    assert output[-1] == last


def test_another_folder_is_a_remote_too(project: Project, tmp_path: Path) -> None:
    project("dvc", "remote", "modify", "store", "url", str(tmp_path / "empty"))
    (line,) = project(*PULL).splitlines()
    assert f"data/models/a.safetensors ({tmp_path}/empty/files/md5/" in line
    assert line.endswith(" and 1 more: not pulled; who has it can `dvc push` it")
