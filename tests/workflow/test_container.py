"""The Dockerfile says the same as workflow/install, and names what is there."""

import json
import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
LINES = [line.split(maxsplit=1) for line in TEXT.splitlines() if line and line[0] != "#"]


def test_it_installs_the_debian_packages_of_the_study() -> None:
    install = (ROOT / "workflow" / "install").read_text(encoding="utf-8")
    wanted = set(re.findall(r"^need (\S+)", install, flags=re.MULTILINE))
    (command,) = re.findall(r"apt-get install -y --no-install-recommends (.*?) &&", TEXT)
    # Its Python has headers and venv; DVC needs git.
    assert set(command.split()) == wanted - {"python3-dev", "python3-venv"} | {"git"}


def test_what_it_names_is_there_and_python_runs_without_root() -> None:
    kinds = [kind for kind, _ in LINES]
    assert kinds[0] == "FROM"
    pip = next(at for at, line in enumerate(LINES) if "pip install" in line[1])
    assert "--require-hashes" in LINES[pip][1]
    assert kinds.index("USER") < pip
    for kind, rest in LINES:
        if kind == "COPY":
            _, source, _ = rest.split()
            assert (ROOT / source).exists()
    (entry,) = [json.loads(rest)[0] for kind, rest in LINES if kind == "ENTRYPOINT"]
    assert os.access(ROOT / entry, os.X_OK)


def test_the_image_holds_what_git_has() -> None:
    """Neither the speech of others, nor credentials, nor what is made again."""
    ignored = []
    for folder in ("", ".dvc/"):
        for line in (ROOT / folder / ".gitignore").read_text(encoding="utf-8").split():
            name = line.strip("/")
            ignored.append(f"{folder}{name}" if line.startswith("/") else f"**/{name}")
    kept_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()[1:]
    assert kept_out == ignored  # and not .git, without which DVC finds no repository


def test_volumes_belong_to_who_runs_the_study() -> None:
    docs = (ROOT / "docs" / "sharing.md").read_text(encoding="utf-8")
    (run,) = re.findall(r"^docker run .*", docs, flags=re.MULTILINE)
    (made,) = re.findall(r"install -d -o ecc (.*)", TEXT)
    kept_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    # A volume takes its owner from the folder that it is mounted on; where there is none, it is
    # root's.
    folders = re.findall(r"-v \S+:(\S+)", run)
    assert {f for f in folders if f.removeprefix("/ecc/") in kept_out} <= set(made.split())
