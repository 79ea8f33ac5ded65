import json
import os
import re
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML

from ecc.params import apply_patch, load
from ecc.train.trainer import Run

ROOT = Path(__file__).parents[2]


class Replaced(BaseException):
    """Stands for this process becoming another."""


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """train(processes, model): the stage `train` of a model of the project in so many processes."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.syspath_prepend(ROOT / "workflow" / "stages")
    script = str(ROOT / "workflow" / "stages" / "train.py")
    configs = runpy.run_path(str(ROOT / "workflow" / "stages" / "validate.py"))["configs"]

    def run(
        processes: int,
        model: str = "ecc",
        patch: Mapping[str, Any] = MappingProxyType({}),
        instead: Callable[[Run], None] | None = None,
    ) -> None:
        content = YAML(typ="safe").load(ROOT / "params.yaml")
        apply_patch(content, YAML(typ="safe").load(ROOT / "workflow/presets/lyra.yaml"))
        content["train"]["processes"] = processes
        apply_patch(content, patch)
        YAML().dump(content, tmp_path / "params.yaml")
        monkeypatch.chdir(tmp_path)
        for name, told in configs(load(), {}).items():
            path = tmp_path / f"data/configs/{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(told))
        if instead is not None:
            monkeypatch.setattr("ecc.train.trainer.train", instead)
        monkeypatch.setattr(sys, "argv", [script, model])
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise

    return run


def write_corpus(folder: Path, **sources: object) -> None:
    """What the stage `corpus` says of the speech that every model hears."""
    (folder / "data/corpus/training").mkdir(parents=True, exist_ok=True)
    for model in ("ecc", "lyra-ecc", "lyra-coded"):
        path = folder / f"data/corpus/training/{model}.json"
        path.write_text(json.dumps({"sources": sources}))
    (folder / "data/corpus/sources.json").write_text("[]")


def test_more_than_one_process_is_torchruns(
    train: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)
    (tmp_path / "data/fingerprints").mkdir()
    (tmp_path / "data/fingerprints/train.txt").write_text("code")
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
    worlds = []

    def trainer(run: object, device: object, world: int, rank: int) -> SimpleNamespace:
        return SimpleNamespace(fit=lambda: worlds.append(world))

    monkeypatch.setattr("ecc.train.trainer.Trainer", trainer)
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(f"torch.distributed.{name}", lambda *arguments: None)
    for processes, world in ((1, None), (3, "3")):  # one process, and one of torchrun's three
        if world:
            monkeypatch.setenv("WORLD_SIZE", world)
        train(processes)
    assert len(commands) == 1
    runs = 1 + len(load().models["ecc"].begins_as)
    assert worlds == [1] * runs + [3] * runs


def test_a_source_out_of_reach_is_named(train: Callable[..., object], tmp_path: Path) -> None:
    write_corpus(tmp_path, far={})
    facts = [{"source": "far", "available": False, "reason": "HTTP 404"}]
    (tmp_path / "data/corpus/sources.json").write_text(json.dumps(facts))
    with pytest.raises(SystemExit, match=r"train@ecc: the source far .*HTTP 404.*remove far"):
        train(1)


def test_lyras_weights_are_fetched_for_what_stands_on_them(
    train: Callable[..., object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write_corpus(tmp_path)
    monkeypatch.setenv("ECC_MIRROR", str(tmp_path / "mirror"))
    copies = tmp_path / "mirror/google-lyra"
    copies.mkdir(parents=True)
    (copies / "soundstream_encoder.tflite").write_text("something else")
    with pytest.raises(SystemExit, match=r"train@lyra-ecc: .*encoder\.tflite is missing"):
        train(1, "lyra-ecc")
    (line,) = capfd.readouterr().err.splitlines()
    assert re.match(r"fetch_lyra: .*encoder\.tflite", line)
    with pytest.raises(SystemExit, match=r"train\.txt is missing"):
        train(1)


def test_a_model_of_tokens_is_trained_in_one_process(
    train: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("torchrun was called"))
    with pytest.raises(SystemExit, match=r"tflite is missing|train\.txt is missing"):
        train(4, "lyra-coded")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(SystemExit, match=r"train@lyra-coded: .*in one process"):
        train(1, "lyra-coded")


def test_a_checkpoint_belongs_to_what_weights_follow_from(
    train: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path, heard={})
    (tmp_path / "data/fingerprints").mkdir()
    (tmp_path / "data/fingerprints/train.txt").write_text("code")
    runs = []

    def note(run: Run) -> None:
        runs.append(run)
        raise Replaced

    def identity(patch: dict[str, object]) -> str:
        with pytest.raises(Replaced):
            train(1, "ecc", patch, note)
        return runs[-1].identity

    first = identity({})
    assert runs[0].sources == ["heard"]
    assert "torch" in runs[0].software
    line = [runs[0]]
    while line[-1].begins_as is not None:
        line.append(line[-1].begins_as)
    assert len(line) > 2
    assert line[-1].train.cycles == 3
    assert len({run.identity for run in line}) == len(line)
    assert len({run.weights for run in line}) == len(line)
    assert len({run.checkpoints for run in line}) == len(line)
    for same in (
        {"models": {"ecc": {"train": {"cycles": 4}}}},  # goes on from a checkpoint of fewer
        {"train": {"valid_steps": 7, "checkpoint_seconds": 7}},
        {"codec": {"rvq": {"bits": 7}}},
    ):
        assert identity(same) == first
    assert runs[-2].train.valid_steps == 7
    lmbda = {"lmbda": [7]}
    others = (
        {"train": {"loss": {"n_fft": [256], "mels": [40]}}},
        {"models": {"ecc": {"lmbda": [7]}}},
        {"models": {"ecc": {"begins_as": [lmbda]}}},
    )
    assert len({first, *map(identity, others)}) == 4
    write_corpus(tmp_path, other={})
    assert identity({}) != first
