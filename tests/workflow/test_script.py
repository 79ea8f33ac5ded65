import errno
import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from ecc.files import atomic_path


@pytest.fixture
def run(stage_scripts: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """run(main) as the script of the stage `encode@opus`, where there is no dvc.lock."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["workflow/stages/encode.py", "opus"])
    return importlib.import_module("script").run


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "; make room on the disk and run it again"),
        (errno.EROFS, "; the clone must lie where it can be written"),
        (errno.EACCES, "; the clone must be yours to write"),
        (errno.EIO, ""),
    ],
)
def test_an_error_of_a_file_is_one_line(run: Any, code: int, remedy: str) -> None:
    def main(codec: str) -> None:
        raise OSError(code, os.strerror(code), "data/streams/opus")

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == f"encode@opus: data/streams/opus: {os.strerror(code)}{remedy}"


def test_a_full_disk_names_the_file_that_was_written(run: Any) -> None:
    def main(codec: str) -> None:
        with atomic_path("table.csv"), Path("/dev/full").open("w") as full:
            full.write("x")

    message = r"^encode@opus: table\.csv: No space left on device; make room on the disk and"
    with pytest.raises(SystemExit, match=message):
        run(main)
    assert list(Path().iterdir()) == []


def test_a_missing_file_is_what_another_stage_makes(run: Any) -> None:
    def main(codec: str) -> None:
        Path("data/configs/codecs/opus.json").read_text()

    missing = r"^encode@opus: data/configs/codecs/opus\.json is missing\. `dvc repro encode@opus` "
    with pytest.raises(SystemExit, match=missing):
        run(main)


def test_an_error_that_the_stage_knows_is_one_line(run: Any) -> None:
    def main(codec: str) -> None:
        raise ValueError("no good")

    with pytest.raises(SystemExit, match=r"^encode@opus: no good$"):
        run(main, ArithmeticError, ValueError)
    with pytest.raises(ValueError, match="no good"):
        run(main, ArithmeticError)


def test_options_are_not_in_the_name(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["workflow/stages/fetch_lyra.py", "--from", "weights"]
    monkeypatch.setattr(sys, "argv", [*arguments, "ecc"])

    def main(model: str, start: Annotated[str | None, typer.Option("--from")] = None) -> None:
        assert start == "weights"
        raise ValueError("no good")

    with pytest.raises(SystemExit, match=r"^fetch-lyra@ecc: no good$"):
        run(main, ValueError)


def test_other_errors_are_not_hidden(run: Any) -> None:
    def main(codec: str) -> None:
        raise KeyError(codec)

    with pytest.raises(KeyError, match="opus"):
        run(main)
