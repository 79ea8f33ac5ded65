import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from train.conftest import make_run

import ecc.train.trainer as trainer
from ecc.model.weights import load_model
from ecc.train.trainer import TrainingDivergedError, learning_rate, train


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the code may catch it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Die in the middle of the given step, after its gradient and before its update."""
    calls = 0
    clip = torch.nn.utils.clip_grad_norm_

    def dying(*arguments, **keywords):
        nonlocal calls
        calls += 1
        if calls == step:
            raise Killed
        return clip(*arguments, **keywords)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", dying)


@pytest.mark.parametrize("step", [1, 6, 12])
def test_a_killed_run_ends_as_one_that_was_not(corpus, monkeypatch, step):
    whole, killed = make_run(corpus, "whole"), make_run(corpus, "killed")
    killed = replace(killed, name="whole")
    train(whole)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, step)
        train(killed)
    assert not killed.weights.exists()
    train(killed)
    assert killed.weights.read_bytes() == whole.weights.read_bytes()
    logged = [
        pd.read_csv(run.logs / "plots/metrics/valid/loss.tsv", sep="\t")[["step", "loss"]]
        for run in (whole, killed)
    ]
    pd.testing.assert_frame_equal(*logged)
    assert list(logged[0]["step"]) == [4, 8, 12]


def test_a_checkpoint_of_other_inputs_is_not_resumed(corpus, monkeypatch):
    run = make_run(corpus, "one")
    train(run)
    first = run.weights.read_bytes()
    train(replace(run, lmbda=1.0, identity="two"))
    second = run.weights.read_bytes()
    fresh = replace(make_run(corpus, "fresh"), name="one", lmbda=1.0)
    train(fresh)
    assert first != second == fresh.weights.read_bytes()


def test_training_lowers_the_loss_and_the_model_codes(corpus):
    run = make_run(corpus, "long", steps=60, learning_rate=3e-3, valid_steps=20, ema=0.9)
    train(run)
    losses = pd.read_csv(run.logs / "plots/metrics/valid/distortion.tsv", sep="\t")["distortion"]
    assert losses.iloc[-1] < 0.9 * losses.iloc[0]
    codec = load_model(run.weights).codec
    x = torch.sin(torch.arange(4000) / 5) * 0.1
    streams = list(codec.compress_chunks(x, codec.config.entropy.skip))
    assert len(torch.cat(list(codec.decompress_chunks(streams, 4000, 5)))) == 4000


def test_nan_stops_the_run_and_keeps_the_checkpoint(corpus, monkeypatch):
    run = make_run(corpus, "nan")
    kbps = trainer.ECC.kbps
    calls = 0

    def broken(self, bits, samples):
        nonlocal calls
        calls += 1
        return kbps(self, bits, samples) * (float("nan") if calls == 3 else 1.0)

    monkeypatch.setattr(trainer.ECC, "kbps", broken)
    with pytest.raises(TrainingDivergedError, match="nan at step 2"):
        train(run)
    state = torch.load(run.checkpoints / "checkpoint.pt", weights_only=True)
    assert state["step"] == 2
    assert all(torch.isfinite(value).all() for value in state["codec"].values())


def test_learning_rate_warms_up_and_decays(corpus):
    config = make_run(corpus, "rate", steps=100, warmup_steps=10).train
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(config.learning_rate / 10)
    assert max(rates) == rates[10] == pytest.approx(config.learning_rate)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(config.final_learning_rate, rel=0.1)


TWO_PROCESSES = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from train.conftest import make_run
from ecc.train.trainer import train
train(make_run(Path({corpus!r}), "two", batch=1, steps=4))
"""


def test_two_processes_train_one_model(corpus):
    script = corpus / "two.py"
    tests = str(Path(__file__).parents[1])
    script.write_text(TWO_PROCESSES.format(tests=tests, corpus=str(corpus)))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, "--standalone", str(script)], check=True, env=environment, timeout=240
    )
    assert load_model(corpus / "two" / "model.safetensors").info == {"steps": 4, "processes": 2}
