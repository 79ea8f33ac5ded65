import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from train.conftest import make_run

from ecc.train import checkpoint
from ecc.train.checkpoint import CheckpointError
from ecc.train.trainer import begun, train

STATE = {"identity": "one", "step": 3, "weights": torch.arange(50_000.0)}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "run" / "checkpoint.pt"
    assert checkpoint.load(path) is None
    checkpoint.save(STATE, path)
    loaded = checkpoint.load(path)
    assert loaded is not None
    assert (loaded["identity"], loaded["step"]) == ("one", 3)
    assert torch.equal(loaded["weights"], STATE["weights"])


@pytest.mark.parametrize("damage", ["empty", "cut", "a changed byte"])
def test_a_damaged_checkpoint_is_named_and_kept(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(STATE, path)
    content = bytearray(path.read_bytes())
    if damage == "a changed byte":
        content[len(content) // 2] ^= 1  # in the weights: torch reads it as if nothing were
    damaged = bytes({"empty": b"", "cut": content[:100_000]}.get(damage, content))
    for name in ("checkpoint-damaged.pt", "checkpoint-damaged-2.pt"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError) as caught:
            checkpoint.load(path)
        assert str(caught.value) == (
            f"{path} is damaged: it is {tmp_path / name} now; put a copy of it in its place, or "
            "run again to train from the beginning"
        )
        assert not path.exists()
        assert (tmp_path / name).read_bytes() == damaged


def test_a_full_disk_is_named_and_the_checkpoint_before_stands(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(STATE, path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt cannot be written, with .* MB"):
            checkpoint.save(STATE | {"step": 4}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert path.read_bytes() == before


def test_a_checkpoint_of_another_training_is_set_aside_in_one_line(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(corpus, "one", steps=2)
    assert not begun(run)
    train(run)
    assert begun(run)
    first = run.checkpoint.read_bytes()
    other = replace(run, identity="another")
    assert not begun(other)
    capsys.readouterr()
    train(other)
    aside = run.checkpoints / "checkpoint-one.pt"
    line = f"one: {run.checkpoint} was of another training and is now {aside}"
    assert capsys.readouterr().out.splitlines().count(line) == 1
    assert aside.read_bytes() == first
    assert begun(other)


def test_a_damaged_checkpoint_stops_a_training_once(corpus: Path) -> None:
    run = make_run(corpus, "one", steps=2)
    run.checkpoints.mkdir(parents=True)
    run.checkpoint.touch()
    with pytest.raises(CheckpointError, match="is damaged"):
        train(run)
    assert not run.weights.exists()
    train(run)
    assert run.weights.exists()
