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
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".venv", "data", ".dvc/cache", ".dvc/config.local"} <= set(kept)
    assert ".git" not in kept  # without it DVC finds no repository
