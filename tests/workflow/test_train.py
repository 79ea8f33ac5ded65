import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ecc.params import apply_patch

ROOT = Path(__file__).parents[2]


class Replaced(BaseException):
    """Stands for this process becoming another."""


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """train(processes, model): the stage `train` of a model of the project in so many processes."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    main = runpy.run_path(str(ROOT / "workflow" / "stages" / "train.py"))["main"]

    def run(processes: int, model: str = "ecc") -> object:
        content = YAML(typ="safe").load(ROOT / "params.yaml")
        apply_patch(content, YAML(typ="safe").load(ROOT / "workflow/presets/lyra.yaml"))
        content["train"]["processes"] = processes
        YAML().dump(content, tmp_path / "params.yaml")
        monkeypatch.chdir(tmp_path)
        return main(model)

    return run


def test_more_than_one_process_is_torchruns(
    train: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def replace(path: str, command: list[str]) -> None:
        commands.append((path, command))
        raise Replaced

    monkeypatch.setattr(os, "execv", replace)
    with pytest.raises(Replaced):
        train(3)
    ((path, command),) = commands
    assert path == command[0] == sys.executable
    assert "--nproc-per-node=3" in command
    assert command[-2:] == [str(ROOT / "workflow" / "stages" / "train.py"), "ecc"]
    for processes, world in ((1, None), (3, "3")):  # one process, and one of torchrun's three
        if world:
            monkeypatch.setenv("WORLD_SIZE", world)
        with pytest.raises(FileNotFoundError, match=r"identity\.json"):
            train(processes)
    assert len(commands) == 1


def test_a_source_out_of_reach_is_named(train: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "data" / "corpus").mkdir(parents=True)
    (tmp_path / "data/corpus/identity.json").write_text(json.dumps({"sources": {"far": {}}}))
    facts = [{"source": "far", "available": False, "reason": "HTTP 404"}]
    (tmp_path / "data/corpus/sources.json").write_text(json.dumps(facts))
    with pytest.raises(SystemExit, match=r"train ecc: the source far .*HTTP 404.*remove far"):
        train(1)


def test_lyras_weights_are_fetched_for_what_stands_on_them(
    train: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "corpus").mkdir(parents=True)
    (tmp_path / "data/corpus/identity.json").write_text(json.dumps({"sources": {}}))
    (tmp_path / "data/corpus/sources.json").write_text("[]")
    monkeypatch.setenv("ECC_MIRROR", str(tmp_path / "mirror"))
    copies = tmp_path / "mirror/google-lyra"
    copies.mkdir(parents=True)
    (copies / "soundstream_encoder.tflite").write_text("something else")
    with pytest.raises(SystemExit, match=r"train lyra-ecc: .*weights of Lyra.*encoder\.tflite"):
        train(1, "lyra-ecc")
    with pytest.raises(FileNotFoundError, match=r"train\.txt"):
        train(1)
