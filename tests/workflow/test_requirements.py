"""requirements.lock is what pyproject.toml asks for, and what is installed here."""

import importlib.metadata
import json
import re
import runpy
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
LOCKED = dict(re.findall(r"^(\S+)==(\S+) --hash=sha256:[0-9a-f]{64}$", LOCK, flags=re.MULTILINE))
SCRIPT = runpy.run_path(str(ROOT / "workflow" / "requirements.py"))
BARE = dict(text.split("==") for text in SCRIPT["BARE"])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def direct() -> list[Requirement]:
    """What the core, and the extra `dev` with those that it contains, ask for."""
    extras, todo, found = PROJECT["optional-dependencies"], ["dev"], list(PROJECT["dependencies"])
    while todo:
        for text in extras[todo.pop()]:
            own = Requirement(text).name == PROJECT["name"]
            if own:
                todo += Requirement(text).extras
            else:
                found.append(text)
    return [Requirement(text) for text in found]


def test_every_line_has_one_version_and_one_hash() -> None:
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    assert len(lines) == len(LOCKED)
    assert lines == sorted(lines)


def test_whatever_a_package_needs_is_locked_and_nothing_else() -> None:
    """From pyproject.toml through the requirements of each installed package; at the versions that
    each asks for, which are those that are installed."""
    assert (
        BARE["resemblyzer"] == LOCKED["resemblyzer"]
    )  # by this name workflow/install looks for it
    needed = set(BARE)
    todo = [(requirement, "pyproject.toml") for requirement in direct()]
    seen = set()
    while todo:
        requirement, asker = todo.pop()
        name = canonicalize_name(requirement.name)
        needed.add(name)
        assert name in LOCKED, f"{asker} needs {name}: python workflow/requirements.py"
        assert requirement.specifier.contains(LOCKED[name], prereleases=True), (asker, requirement)
        if (name, extras := frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, extras))
        package = importlib.metadata.distribution(name)
        assert package.version.partition("+")[0] == LOCKED[name], f"{name}: workflow/install"
        for text in package.requires or ():
            found = Requirement(text)
            marker = found.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras)):
                todo.append((found, name))
    # A build of PyTorch without CUDA needs less.
    unneeded = {n for n in LOCKED.keys() - needed if not n.startswith(("nvidia-", "cuda-"))}
    assert unneeded <= {"triton"}


def test_a_refresh_writes_what_pip_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(name: str, **info: Any) -> dict[str, Any]:
        return {"metadata": {"name": name, "version": "1.0"}, "download_info": info}

    asked = {
        ".[dev]": [
            found("B_b.b", url="file:///wheels/b", archive_info={"hashes": {"sha256": "22"}}),
            found("a", url="https://index/a", archive_info={"hashes": {"sha256": "11"}}),
            found("ecc-speech", url="file:///clone", dir_info={}),
        ],
        "--no-deps": [found("a_bare", url="", archive_info={"hashes": {"sha256": "33"}})],
    }

    def run(command: list[str], **settings: Any) -> "subprocess.CompletedProcess[bytes]":
        report = {"install": asked[command[command.index("-") + 1]]}
        return subprocess.CompletedProcess([], status, stdout=json.dumps(report).encode())

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.chdir(tmp_path)
    status = 0
    SCRIPT["main"]()
    lines = (tmp_path / "requirements.lock").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "a-bare==1.0 --hash=sha256:33",
        "a==1.0 --hash=sha256:11",
        "b-b-b==1.0 --hash=sha256:22",
    ]
    assert capsys.readouterr().out == "requirements.lock: 3 packages\n"
    status = 1
    with pytest.raises(SystemExit, match="pip cannot install"):
        SCRIPT["main"]()
