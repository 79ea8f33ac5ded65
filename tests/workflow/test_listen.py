"""The command workflow/listen.py."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]


@pytest.fixture
def listen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """listen(arguments): the command where no study ran; its status, and what it says."""
    monkeypatch.syspath_prepend(ROOT / "workflow")
    monkeypatch.chdir(tmp_path)
    app = importlib.import_module("listen").app

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, arguments)
        if isinstance(done.exception, SystemExit) and isinstance(done.exception.code, str):
            return 1, done.exception.code
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return run


MAKE = ("make", "mushra", "--codecs", "ecc", "--rate", "1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (MAKE, "listen make: data/configs/aggregate.json is missing: `dvc repro validate` makes"),
        ((*MAKE[:-1], "fast"), "listen make: --rate fast: not a rate in kbps"),
        ((*MAKE[:-1], "1,-1"), "listen make: --rate -1: not a rate in kbps"),
        (("analyse", "here"), "listen analyse: here/key.json: No such file or directory"),
    ],
)
def test_an_error_is_one_line(listen: Any, arguments: tuple[str, ...], message: str) -> None:
    status, said = listen(*arguments)
    assert status == 1 and said.startswith(message) and "\n" not in said


def test_decodes_that_are_missing_name_their_stage(listen: Any) -> None:
    Path("data/configs").mkdir(parents=True)
    Path("data/configs/aggregate.json").write_text(json.dumps({"labels": {"ecc": "ECC"}}))
    status, said = listen(*MAKE)
    assert status == 1
    assert said.startswith("listen make: data/scores/ecc.csv is missing: `dvc repro score@ecc`")
