import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from train.conftest import LMBDA, make_run

import ecc.train.trainer as trainer
from ecc.model.codec import ECC
from ecc.model.files import ModelError, read_model
from ecc.model.weights import load_model
from ecc.runtime.codec import load_coder
from ecc.train.trainer import Trainer, TrainingDivergedError, learning_rate, train


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


@pytest.mark.parametrize(
    ("optimizer", "step"), [("muon", 1), ("muon", 6), ("muon", 12), ("adam", 6)]
)
def test_a_killed_run_ends_as_one_that_was_not(corpus, monkeypatch, optimizer, step):
    whole, killed = (make_run(corpus, name, optimizer=optimizer) for name in ("whole", "killed"))
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


@pytest.mark.parametrize("step", [None, 6, 7, 10])
def test_cycles_one_at_a_time_end_as_all_at_once(corpus, monkeypatch, step):
    whole, parts = (make_run(corpus, name, steps=6, cycles=2) for name in ("whole", "parts"))
    parts = replace(parts, name="whole")
    train(whole)
    if step is None:
        train(replace(parts, train=parts.train.model_copy(update={"cycles": 1})))
        assert load_model(parts.weights).info["steps"] == 6
    else:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, step)
            train(parts)
    train(parts)
    assert load_model(parts.weights).info["steps"] == 12
    assert parts.weights.read_bytes() == whole.weights.read_bytes()


def test_fewer_cycles_than_a_checkpoint_has_are_trained_anew(corpus):
    run, fresh = (make_run(corpus, name, steps=4) for name in ("run", "fresh"))
    train(replace(run, train=run.train.model_copy(update={"cycles": 2})))
    train(run)
    train(replace(fresh, name="run"))
    assert load_model(run.weights).info["steps"] == 4
    assert run.weights.read_bytes() == fresh.weights.read_bytes()


def test_a_cycle_begins_with_averaged_weights_a_new_optimizer_and_the_full_rate(
    corpus, monkeypatch
):
    run = make_run(corpus, "one", steps=6, cycles=2, rate_ramp=1.0)
    trained, seen, weights = network(run), {}, []
    step, constraint = Trainer._train_step, Trainer._constraint

    def watched(self):
        if self.step == 6:
            learnt = {k: p for k, p in self.codec.named_parameters() if p.requires_grad}
            seen["codec"] = {key: p.detach().clone() for key, p in learnt.items()}
            seen["states"] = [len(optimizer.state) for optimizer in self.optimizers]
            seen["updates"] = int(self.average.n_averaged)
        return step(self)

    class Weight:
        """Stands for the rate, and notes what it is multiplied by."""

        def __init__(self, value):
            self.value = value

        def __rmul__(self, weight):
            weights.append(weight)
            return weight * self.value

    monkeypatch.setattr(Trainer, "_train_step", watched)
    monkeypatch.setattr(
        Trainer, "_constraint", lambda self, *arguments: Weight(constraint(self, *arguments))
    )
    monkeypatch.setattr(Trainer, "_validate", lambda self: {"valid/loss": 0.0})
    trained.fit()
    state = torch.load(run.checkpoints / "checkpoint.pt", weights_only=True)
    assert state["step"] == 12
    assert seen["states"] == [0, 0]
    assert seen["updates"] == 0
    assert weights == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6] + [1.0] * 7)
    first = make_run(corpus, "first", steps=6, rate_ramp=1.0)
    ended = network(first)
    ended.fit()
    written = load_model(first.weights).codec.float().state_dict()
    for key, value in seen["codec"].items():
        # `fit` ends with rounding the average to what the file holds.
        torch.testing.assert_close(value, written[key], rtol=1e-3, atol=1e-3)


def test_weights_go_on_where_there_is_no_checkpoint(corpus):
    run = make_run(corpus, "one", steps=6)
    train(run)
    kept = corpus / "kept.safetensors"
    run.weights.rename(kept)
    seconds = json.loads((run.logs / "metrics.json").read_text())["seconds"]
    (run.checkpoints / "checkpoint.pt").unlink()
    more = replace(run, train=run.train.model_copy(update={"cycles": 2}), start=kept)
    begun = network(more)
    assert (begun.step, begun.seconds) == (6, seconds)
    written = load_model(kept).codec.float().state_dict()
    for key, value in begun.codec.named_parameters():
        assert torch.equal(value, written[key])
    train(more)
    assert load_model(run.weights).info["steps"] == 12
    logged = pd.read_csv(run.logs / "plots/metrics/valid/loss.tsv", sep="\t")
    assert list(logged["step"]) == [4, 6, 8, 12]
    # A checkpoint that has come further is not given up for them.
    assert network(more).step == 12


def begins(corpus, name: str) -> trainer.Run:
    """A run that begins as a smaller model with fewer levels."""
    first = make_run(corpus, f"{name}-1", steps=6)
    larger = first.codec.model_copy(
        update={
            "transform": first.codec.transform.model_copy(update={"hidden": 32}),
            "levels": 3,
        }
    )
    run = make_run(corpus, name, steps=6)
    return replace(
        run, name="run", codec=larger, lmbda=[2.0, *LMBDA], begins_as=replace(first, name="run-1")
    )


@pytest.mark.parametrize("step", [None, 3, 6, 9])
def test_what_a_model_begins_as_is_trained_first_and_once(corpus, monkeypatch, step):
    whole, killed = begins(corpus, "whole"), begins(corpus, "killed")
    train(whole)
    first = whole.begins_as
    assert first is not None
    assert load_model(first.weights).codec.config.levels == 2
    begun_with = Trainer(
        replace(whole, checkpoints=corpus / "none"), torch.device("cpu"), 1, 0
    ).codec.transform.g_a.embed.weight
    assert torch.equal(
        begun_with, load_model(first.weights).codec.float().transform.g_a.embed.weight
    )
    if step is not None:
        assert not trainer.begun(killed)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, step)
            train(killed)
        assert trainer.begun(killed)
    train(killed)
    assert killed.weights.read_bytes() == whole.weights.read_bytes()
    monkeypatch.setattr(Trainer, "fit", lambda self: fitted.append(self.run.name))
    fitted: list[str] = []
    train(killed)
    assert fitted == ["run"]


def test_what_has_come_further_needs_nothing_of_what_came_before(corpus, monkeypatch):
    second = begins(corpus, "second")
    train(second)
    assert second.begins_as is not None
    second.begins_as.weights.unlink()
    third = replace(
        make_run(corpus, "third", steps=6), codec=second.codec, lmbda=second.lmbda, begins_as=second
    )
    train(third)  # begins as what is there, whatever that began as
    assert not second.begins_as.weights.exists()
    second.weights.unlink()
    more = third.train.model_copy(update={"cycles": 2})
    on = replace(third, train=more, start=third.weights, checkpoints=corpus / "none")
    train(on)
    assert load_model(third.weights).info["steps"] == 12
    assert not second.weights.exists()


def test_what_a_model_cannot_begin_as_is_not_trained(corpus):
    run = begins(corpus, "one")
    wide = run.codec.transform.model_copy(update={"hidden": 8})
    with pytest.raises(ValueError, match=r"a layer of .* cannot become"):
        train(replace(run, codec=run.codec.model_copy(update={"transform": wide})))
    assert run.begins_as is not None
    assert not run.begins_as.checkpoint.exists()


def test_what_does_not_fit_is_no_start(corpus):
    run = make_run(corpus, "one", steps=6)
    train(run)
    other = make_run(corpus, "other", steps=6, cycles=2)
    for change in (
        {"lmbda": [1.0, 2.0]},
        {"train": other.train.model_copy(update={"steps": 5})},
        {"train": other.train.model_copy(update={"steps": 3, "cycles": 1})},
        {"codec": other.codec.model_copy(update={"levels": 3}), "lmbda": [1.0, 2.0, 3.0]},
    ):
        with pytest.raises(ModelError, match=r"model\.safetensors: not the weights of other"):
            train(replace(other, start=run.weights, **change))
    assert not other.weights.exists()


def test_a_checkpoint_of_other_inputs_is_not_resumed(corpus, monkeypatch):
    run = make_run(corpus, "one")
    train(run)
    first = run.weights.read_bytes()
    other = [1.0, 2.0]
    train(replace(run, lmbda=other, identity="two"))
    second = run.weights.read_bytes()
    fresh = replace(make_run(corpus, "fresh"), name="one", lmbda=other)
    train(fresh)
    assert first != second == fresh.weights.read_bytes()


def network(run) -> Trainer:
    return Trainer(run, torch.device("cpu"), world=1, rank=0)


def test_what_a_run_goes_on_from_is_all_that_steps_depend_on(corpus):
    run = make_run(corpus, "one", steps=3)
    train(run)
    going, resumed = network(make_run(corpus, "other", steps=3)), network(run)
    for _ in range(3):
        going._train_step()
        going.step += 1
    state, other = going.codec.state_dict(), resumed.codec.state_dict()
    assert all(torch.equal(state[key], other[key]) for key in state)
    muon = [optimizer for optimizer in resumed.optimizers if "momentum" in optimizer.defaults]
    (momentum,) = [optimizer.state_dict()["state"] for optimizer in muon]
    assert any(entry["momentum_buffer"].any() for entry in momentum.values())
    # The step after it is the same too, which an optimizer that forgot would not take.
    for each in (going, resumed):
        each._train_step()
    state, other = going.codec.state_dict(), resumed.codec.state_dict()
    assert all(torch.equal(state[key], other[key]) for key in state)


@pytest.mark.parametrize(("optimizer", "count"), [("adam", 1), ("muon", 2)])
def test_every_weight_has_one_optimizer_and_moves(corpus, optimizer, count):
    trained = network(make_run(corpus, optimizer, optimizer=optimizer, rate_ramp=0.0))
    assert len(trained.optimizers) == count
    owned = [
        parameter
        for one in trained.optimizers
        for group in one.param_groups
        for parameter in group["params"]
    ]
    learnt = {name: p for name, p in trained.codec.named_parameters() if p.requires_grad}
    assert sorted(map(id, owned)) == sorted(map(id, learnt.values()))
    with torch.no_grad():
        trained.codec.entropy.z_gain.weight.fill_(3.0)  # or z_hat is 0, of which nothing is learnt
    before = {name: p.detach().clone() for name, p in learnt.items()}
    # More than one step: what feeds a layer that starts at zero has no gradient in the first.
    for trained.step in range(3):
        trained._train_step()
    assert [name for name, p in learnt.items() if torch.equal(p, before[name])] == []
    quantiles = trained.codec.entropy.bottleneck.quantiles
    assert not quantiles.requires_grad


def test_muon_takes_all_matrices_and_nothing_else(corpus):
    trained = network(make_run(corpus, "muon", optimizer="muon"))
    names = {id(p): name for name, p in trained.codec.named_parameters()}
    taken = {names[id(p)] for group in trained.optimizers[1].param_groups for p in group["params"]}
    assert taken == {
        f"{name}.weight"
        for name, layer in trained.codec.named_modules()
        if isinstance(layer, nn.Linear)
    }
    assert {"transform.g_a.embed.weight", "entropy.h_s.1.weight"} <= taken


def test_optimizers_train_differently_and_at_one_learning_rate(corpus):
    runs = {name: network(make_run(corpus, name, optimizer=name)) for name in ("adam", "muon")}
    before = runs["adam"].codec.transform.g_a.trunk[0].expand.weight.detach().clone()
    steps = {}
    for name, trained in runs.items():
        for trained.step in range(2):  # of the warm-up: full learning rate at the second
            trained._train_step()
        rates = {group["lr"] for one in trained.optimizers for group in one.param_groups}
        assert rates == {learning_rate(trained.config, 1)}
        steps[name] = trained.codec.transform.g_a.trunk[0].expand.weight.detach() - before
    assert not torch.equal(steps["adam"], steps["muon"])
    # Muon's updates are made as large as Adam's, which are about the learning rate each.
    size = {name: step.square().mean().sqrt().item() for name, step in steps.items()}
    assert 0.1 < size["muon"] / size["adam"] < 2


def test_validation_scores_each_level_by_its_lambda(corpus):
    run = make_run(corpus, "levels")
    train(run)
    logged = json.loads((run.logs / "metrics.json").read_text())
    assert set(logged["valid"]) == {"4", "20", "loss"}
    losses = [
        logged["valid"][f"{lmbda:g}"]["distortion"] + logged["valid"][f"{lmbda:g}"]["kbps"] / lmbda
        for lmbda in LMBDA
    ]
    assert logged["valid"]["loss"] == pytest.approx(sum(losses) / 2, rel=1e-5)
    for lmbda in LMBDA:
        scores = logged["valid"][f"{lmbda:g}"]
        assert 0 <= scores["skipped"] <= 1
        assert 0 < scores["z_share"] < 1
        assert scores["kbps"] > 0
        table = run.logs / f"plots/metrics/valid/{lmbda:g}/kbps.tsv"
        assert list(pd.read_csv(table, sep="\t")["step"]) == [4, 8, 12]
    assert logged["step"] == 12
    assert logged["seconds"] > 0


def test_the_rate_of_each_crop_counts_by_the_lambda_of_its_level(corpus, monkeypatch):
    trained = network(make_run(corpus, "rate", batch=8, rate_ramp=0.0))
    levels, rates = [], []

    def kbps(bits, samples):
        rates.append(ECC.kbps(trained.codec, bits, samples))
        return rates[-1]

    def forward(x, level):
        levels.append(level)
        return trained.codec(x, level)

    monkeypatch.setattr(trained.codec, "kbps", kbps)
    trained.network = forward
    trained.distortion = lambda x, x_hat: {"distortion": 0 * x_hat.sum()}
    loss = trained._train_step()["train/loss"]
    (level,), (rate,) = levels, rates
    assert set(level.tolist()) == {0, 1}
    weighed = [kbps / LMBDA[number] for kbps, number in zip(rate.tolist(), level, strict=True)]
    assert loss == pytest.approx(sum(weighed) / 8, rel=1e-5)


def test_levels_start_with_steps_of_their_own_and_the_higher_spends_more(corpus):
    trained = network(make_run(corpus, "start"))
    for gain in (trained.codec.transform.g_a.gain, trained.codec.transform.g_s.gain):
        assert (gain.weight[1] > gain.weight[0]).all()
        torch.testing.assert_close(gain.weight.mean(dim=0), torch.zeros(8))
    scores = trained._validate()
    assert scores["valid/20/kbps"] > scores["valid/4/kbps"]


def test_one_level_starts_without_gain():
    codec = ECC(make_run(Path(), "one").codec.model_copy(update={"levels": 1}))
    codec.spread_levels([30.0])
    assert not codec.transform.g_a.gain.weight.any()


def test_training_lowers_the_loss_and_every_level_codes(corpus):
    run = make_run(corpus, "long", steps=60, learning_rate=3e-3, valid_steps=20, ema=0.9)
    untrained = network(run)._validate()
    train(run)
    for lmbda in LMBDA:
        table = run.logs / f"plots/metrics/valid/{lmbda:g}/distortion.tsv"
        losses = pd.read_csv(table, sep="\t")["distortion"]
        assert losses.iloc[-1] < losses.iloc[0]
        assert losses.iloc[-1] < 0.8 * untrained[f"valid/{lmbda:g}/distortion"]
    trained = load_model(run.weights)
    assert (trained.lmbda, trained.codec.config.levels) == (LMBDA, 2)
    x = (np.sin(np.arange(4000) / 5) * 0.1).astype(np.float32)
    codec = load_coder(read_model(run.weights))
    for level in range(2):
        ((stream, encoded),) = codec.compress_chunks(x, level, codec.skip)
        (frames,) = codec.chunks(4000)
        decoded = codec.decompress(stream, frames, level, codec.skip)
        np.testing.assert_array_equal(decoded.y_hat, encoded.y_hat)
        (x_hat,) = codec.synthesise_chunks([decoded.y_hat], 4000, level)
        assert len(x_hat) == 4000


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


def test_learning_rate_warms_up_and_decays_in_each_cycle(corpus):
    config = make_run(corpus, "rate", steps=100, warmup_steps=10, cycles=2).train
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(config.learning_rate / 10)
    assert max(rates) == rates[10] == pytest.approx(config.learning_rate)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(config.final_learning_rate, rel=0.1)
    assert [learning_rate(config, step) for step in range(100, 200)] == rates


TWO_PROCESSES = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from train.conftest import make_run
from ecc.train.trainer import train
train(make_run(Path({corpus!r}), "two", batch=1, steps=int(sys.argv[1])))
"""


def test_two_processes_train_one_model_and_go_on(corpus):
    script = corpus / "two.py"
    tests = str(Path(__file__).parents[1])
    script.write_text(TWO_PROCESSES.format(tests=tests, corpus=str(corpus)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for steps in (2, 4):  # the second goes on from the first's checkpoint
        subprocess.run([*command, str(script), str(steps)], check=True, env=environment)
        trained = load_model(corpus / "two" / "model.safetensors")
        assert trained.info == {"steps": steps, "processes": 2, "software": {}}
    logged = json.loads((corpus / "two" / "logs" / "metrics.json").read_text())
    assert logged["step"] == 4
    rates = pd.read_csv(corpus / "two/logs/plots/metrics/valid/4/kbps.tsv", sep="\t")
    assert list(rates["step"]) == [2, 4]
