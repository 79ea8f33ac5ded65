import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from train.conftest import make_run

from ecc.model.config import CodecConfig, RvqConfig, TokenConfig
from ecc.model.files import ModelError, read_model
from ecc.model.weights import load_model
from ecc.runtime.codec import load_coder
from ecc.train.tokens import train_tokens
from ecc.train.trainer import train

STAGES = [1, 3]


@pytest.fixture(autouse=True)
def folder(corpus, monkeypatch):
    """Where models are looked for: the base of a model of tokens is not in its file."""
    monkeypatch.setenv("ECC_MODELS", str(corpus))


def rvq_run(corpus, name="rvq", **train_settings):
    run = make_run(corpus, name, **train_settings)
    rvq = RvqConfig(stages=STAGES, bits=4)
    codec = CodecConfig(transform=run.codec.transform, rvq=rvq, levels=len(STAGES))
    return replace(run, codec=codec, lmbda=[])


def token_run(corpus, base, name="coded", **train_settings):
    run = make_run(corpus, name, **train_settings)
    rvq = base.codec.rvq.model_copy(update={"tokens": TokenConfig(width=16, taps=3)})
    codec = base.codec.model_copy(update={"rvq": rvq})
    return replace(run, codec=codec, lmbda=[], base=base.weights)


def test_rvq_trains_and_its_code_books_are_used(corpus):
    run = rvq_run(corpus)
    train(run)
    trained = load_model(run.weights)
    assert read_model(run.weights).levels == ["1 stages", "3 stages"]
    assert (trained.codec.entropy.codebooks.abs().sum(dim=(1, 2)) > 0).all()
    assert (run.logs / "plots/metrics/valid/3/distortion.tsv").exists()
    assert not trained.codec.transform.g_a.gain.weight.any()


TWO_PROCESSES = """\
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from train.test_tokens import rvq_run
from ecc.train.trainer import train
train(rvq_run(Path({corpus!r}), "two", steps=8, batch=1))
"""


def test_two_processes_learn_one_set_of_code_books(corpus):
    # With a crop each they often draw other levels, and so other stages.
    script = corpus / "two.py"
    tests = str(Path(__file__).parents[1])
    script.write_text(TWO_PROCESSES.format(tests=tests, corpus=str(corpus)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(script)], check=True, env=environment, timeout=120)
    codebooks = load_model(corpus / "two" / "model.safetensors").codec.entropy.codebooks
    assert (codebooks.abs().sum(dim=(1, 2)) > 0).all()


def test_token_model_learns_and_leaves_the_codec_as_it_was(corpus):
    base = rvq_run(corpus)
    train(base)
    run = token_run(corpus, base, steps=40, learning_rate=5e-3)
    train_tokens(run)
    plain, coded = load_model(base.weights).codec, load_model(run.weights).codec
    for name, value in plain.state_dict().items():
        assert torch.equal(coded.state_dict()[name], value), name
    x = (np.random.default_rng(0).standard_normal(4000) * 0.1).astype(np.float32)
    coders = [load_coder(read_model(each.weights)) for each in (base, run)]
    bits = [0.0, 0.0]
    for level in range(len(STAGES)):
        said = [[latent for _, latent in coder.compress_chunks(x, level, 0)] for coder in coders]
        for one, other in zip(*said, strict=True):
            assert one.symbols.tolist() == other.symbols.tolist()
            for i, (coder, latent) in enumerate(zip(coders, (one, other), strict=True)):
                bits[i] += coder.entropy.costs(latent, level)[1].sum()
    assert bits[1] < bits[0]


def test_the_file_of_a_token_model_holds_it_alone(corpus):
    base = rvq_run(corpus, steps=2)
    train(base)
    run = token_run(corpus, base, steps=2)
    train_tokens(run)
    with safe_open(run.weights, framework="np") as file:
        assert all(key.startswith("entropy.tokens.") for key in file.keys())  # noqa: SIM118
    assert set(read_model(base.weights).arrays) < set(read_model(run.weights).arrays)
    beside = run.weights.with_name("base.safetensors")
    base.weights.rename(beside)
    assert read_model(run.weights).config.rvq.tokens is not None
    beside.unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors: it stands on the model .* neither"):
        read_model(run.weights)


def test_a_killed_token_training_ends_as_one_that_was_not(corpus, monkeypatch):
    base = rvq_run(corpus)
    train(base)
    whole, killed = token_run(corpus, base, "whole"), token_run(corpus, base, "killed")
    killed = replace(killed, name="whole")
    train_tokens(whole)
    calls = 0
    clip = torch.nn.utils.clip_grad_norm_

    def dying(*arguments, **keywords):
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return clip(*arguments, **keywords)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch.nn.utils, "clip_grad_norm_", dying)
        train_tokens(killed)
    train_tokens(killed)
    assert killed.weights.read_bytes() == whole.weights.read_bytes()
