"""Where workflow/install installs, with stand-ins for Python and for what it would download."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALL = [  # VERSIONS are those of requirements.lock
    "install --quiet --constraint VERSIONS --editable .[study]",
    "install --quiet --no-deps --requirement VERSIONS",
]
# Makes an environment as `python -m venv` does. The `python` of an environment tells where its
# `ecc` comes from, if it has one; its `pip` notes what it was to install.
PYTHON = """\
#!/bin/bash
case "$*" in
"-m venv "*)
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python"
    printf '#!/bin/bash\\necho "$*" >>%s/pip.log\\n' "$PWD/$3" >"$3/bin/pip"
    chmod +x "$3/bin/pip"
    echo "VIRTUAL_ENV='$PWD/$3' PATH='$PWD/$3/bin:'\\$PATH; deactivate() { :; }" >"$3/bin/activate"
    ;;
*find_spec*) cat "${0%/bin/python}/ecc-comes-from" 2>/dev/null ;;
esac
"""


class Machine:
    """A clone, another environment, and a shell in which `workflow/install` is sourced."""

    def __init__(self, path: Path) -> None:
        self.clone, self.other = path / "clone", path / "other"
        (self.clone / "workflow").mkdir(parents=True)
        (self.clone / "src" / "ecc").mkdir(parents=True)
        (self.clone / "src" / "ecc" / "__init__.py").touch()
        shutil.copy(ROOT / "workflow" / "install", self.clone / "workflow")
        shutil.copy(ROOT / "pyproject.toml", self.clone)
        self.bin = path / "bin"
        self.bin.mkdir()
        (self.bin / "python3.11").write_text(PYTHON)
        for name in ("npm", "apt-get"):
            (self.bin / name).write_text("#!/bin/sh\n")
        for file in self.bin.iterdir():
            file.chmod(0o755)
        self.make("other", path)

    def make(self, name: str, folder: Path) -> None:
        subprocess.run([self.bin / "python3.11", "-m", "venv", name], cwd=folder, check=True)

    def install(self, active: Path | None = None) -> tuple[int, str, str]:
        """Its status, what it says, and the environment that is active afterwards."""
        before = "" if active is None else f"source {active}/bin/activate\n"
        script = 'source workflow/install || exit\necho "$VIRTUAL_ENV"'
        done = subprocess.run(
            ["bash", "-c", before + script], cwd=self.clone, capture_output=True, text=True,
            check=False, env={"PATH": f"{self.bin}:/usr/bin:/bin"},
        )  # fmt: skip
        return done.returncode, done.stderr, done.stdout.splitlines()[-1] if done.stdout else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def installed(environment: Path) -> list[str]:
    log = environment / "pip.log"
    notes = log.read_text() if log.exists() else ""
    return re.sub(r"/dev/fd/\d+", "VERSIONS", notes).splitlines()


def test_it_goes_into_the_clones_own_environment_once(machine: Machine) -> None:
    own = machine.clone / ".venv"
    for _ in range(2):
        status, _, active = machine.install()
        assert (status, active) == (0, str(own))
    assert installed(own) == INSTALL


def test_an_active_environment_of_something_else_is_left_alone(machine: Machine) -> None:
    (machine.other / "ecc-comes-from").write_text("/somewhere/else/src/ecc/__init__.py\n")
    status, said, active = machine.install(machine.other)
    own = machine.clone / ".venv"
    assert (status, active) == (0, str(own))
    assert f"The active environment {machine.other} is not of this clone: using {own}" in said
    assert installed(machine.other) == []
    assert installed(own) == INSTALL


def test_an_active_environment_of_this_clone_is_used(machine: Machine) -> None:
    (machine.other / "ecc-comes-from").write_text(f"{machine.clone}/src/ecc/__init__.py\n")
    status, said, active = machine.install(machine.other)
    assert (status, active) == (0, str(machine.other))
    assert "is not of this clone" not in said
    assert not (machine.clone / ".venv").exists()


def test_an_environment_that_came_along_with_a_copy_is_not_used(machine: Machine) -> None:
    machine.install()
    copy = Machine.__new__(Machine)
    copy.clone, copy.bin = machine.clone.with_name("copy"), machine.bin
    shutil.copytree(machine.clone, copy.clone)
    status, said, _ = copy.install()
    own = machine.clone / ".venv"
    assert status == 1
    assert f"{copy.clone}/.venv was made in another place, {own}: remove it" in said
    assert installed(own) == INSTALL
