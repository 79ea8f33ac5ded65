"""The command workflow/listen.py."""

import importlib
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ecc.listening.key import read_key
from ecc.listening.kit import Decodes, KitError, Plan

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


def documented() -> list[list[str]]:
    """The arguments of each call in docs/listening.md."""
    lines = (ROOT / "docs" / "listening.md").read_text(encoding="utf-8").splitlines()
    words = [shlex.split(line, comments=True) for line in lines if line.startswith("python workf")]
    return [line[2:] for line in words]


def test_what_the_docs_say_is_what_is_made(listen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("listen")
    plans: list[Plan] = []

    def make_kit(plan: Plan, *_: object) -> None:
        plans.append(plan)
        raise KitError("made up")

    monkeypatch.setattr(module, "make_kit", make_kit)
    monkeypatch.setattr(module, "_labels", dict)
    *made, analysed = documented()
    for arguments in made:
        assert listen(*arguments) == (1, "listen make: made up")
    assert plans == [
        Plan("mushra", ["ecc", "opus", "lyra"], [1.5, 6.0], "english"),
        Plan("abx", ["ecc"], [6.0], "english"),
        Plan("abx", ["ecc", "lyra"], [3.0], "english", against="lyra"),
    ]
    assert listen(*analysed)[1].startswith("listen analyse: reports/listening/NAME/key.json: No ")


def test_a_test_is_made_and_analysed(
    listen: Any, decodes: Decodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("data").symlink_to(decodes.data)
    monkeypatch.setattr(importlib.import_module("listen"), "_labels", lambda: decodes.labels)
    arguments = ("--codecs", "late, plain", "--rate", "1", "--test-set", "talk", "--items", "2")
    status, said = listen("make", "mushra", *arguments, "--out", "made/kit")
    assert status == 0
    assert "  Late 1.00 kbps\n  Plain 1.00 kbps\n  anchor, 3.5 kHz\n" in said
    assert "made/kit/page/index.html opens the test" in said
    status, said = listen("make", "mushra", *arguments, "--out", "made/kit")
    assert status == 1 and said.startswith("listen make: made/kit is there already")

    key = read_key(Path("made/kit/key.json"))
    rating = {"reference": 100, "late:poor": 60, "plain:poor": 50, "anchor35": 20, "anchor70": 80}
    for listener, shift in (("one", 1), ("two", 2)):
        ratings: dict[str, dict[str, int]] = {trial: {} for trial in key.trials}
        for name, sound in key.sounds.items():
            if sound.item in ratings and sound.condition in rating:
                raised = shift if sound.condition == "late:poor" else 0
                ratings[sound.item][name] = rating[sound.condition] + raised
        trials = [{"trial": t, "ratings": r, "seconds": 1.0} for t, r in ratings.items()]
        result = {"kit": key.kit, "listener": listener, "finished": "", "trials": trials}
        Path(f"made/kit/{listener}.json").write_text(json.dumps(result))
    status, said = listen("analyse", "made/kit")
    assert status == 0 and said.startswith("2 of 2 listeners are counted; 2 items.")
    assert "| Late 1.00 kbps   | 61.5 " in said
    assert "| Late 1.00 kbps | Plain 1.00 kbps | +11.5 " in said
