from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ecc.params import ParamsError, load

ROOT = Path(__file__).parents[1]
Edit = Callable[[dict[str, Any]], object]


def write(path: Path, edit: Edit) -> Path:
    """The project's params.yaml with an edit."""
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    edit(content)
    YAML().dump(content, path)
    return path


def test_the_projects_own_params_are_valid() -> None:
    study = load(ROOT / "params.yaml")
    assert study.report.codec in study.study.codecs
    kinds = study.kinds()
    assert (kinds["ecc"], kinds["lyra"], kinds["opus"]) == ("own", "neural", "conventional")


@pytest.mark.parametrize(
    ("edit", "lines"),
    [
        (lambda p: p.update(trian={}), ["trian: unknown key"]),
        (lambda p: p["train"].update(batches=3), ["train.batches: unknown key"]),
        (lambda p: p.pop("score"), ["score: Field required"]),
        (lambda p: p["train"].update(steps=0), ["train.steps: ", "not 0"]),
        (lambda p: p["train"].update(steps="many"), ["train.steps: ", "not 'many'"]),
        (
            lambda p: p["study"]["sources"].append("librivox"),
            ["study.sources: unknown name 'librivox', known are: asterisk"],
        ),
        (
            lambda p: p["test_sets"]["languages"].update(sources=["librivox"]),
            ["test_sets.languages.sources: unknown name 'librivox'"],
        ),
        (
            lambda p: p["study"]["codecs"].append("mp3"),
            ["study.codecs: unknown name 'mp3'"],
        ),
        (
            lambda p: p["study"]["codecs"].append("opus"),
            ["study.codecs: 'opus' stands there twice"],
        ),
        (
            lambda p: p["codecs"]["opus"].update(test_sets=["defualt"]),
            ["codecs.opus.test_sets: unknown name 'defualt', known are: "],
        ),
        (
            lambda p: p["codecs"]["opus"].update(anchor="evs"),
            ["codecs.opus.anchor: unknown name 'evs'"],
        ),
        (
            lambda p: p["codecs"]["ecc"].update(variant="rvw"),
            ["codecs.ecc.variant: unknown name 'rvw'"],
        ),
        (lambda p: p["models"].update({"a/b": {"lmbda": [1.0]}}), ["models.a/b", "pattern"]),
        (lambda p: p["models"].update(a={"lmbda": 1.0}), ["models.a.lmbda: ", "not 1.0"]),
        (lambda p: p["models"].update(a={"lmbda": []}), ["models.a: ", "lmbda or stages"]),
        (
            lambda p: p["models"].update(a={"lmbda": [1.0], "stages": [1]}),
            ["models.a: ", "lmbda or stages"],
        ),
        (lambda p: p["models"].update(a={"stages": [2, 1]}), ["models.a: stages: ", "ascend"]),
        (lambda p: p["models"].update(a={"lmbda": [1, -1]}), ["models.a.lmbda.1: ", "not -1"]),
        (lambda p: p["models"].update(a={"lmbda": [2, 1]}), ["models.a: lmbda: ", "ascend"]),
        (lambda p: p["models"].update(a={"lmbda": [1, 1]}), ["models.a: lmbda: ", "ascend"]),
        (
            lambda p: p["models"].update(a={"lmbda": [*range(1, 66)]}),
            ["models.a: levels: ", "not 65"],
        ),
        (
            lambda p: p["models"].update(a={"lmbda": [1.0], "codec": {"entropy": {"slice": 3}}}),
            ["models.a", "entropy.slice: unknown key"],
        ),
        (
            lambda p: p["models"].update(a={"stages": [2], "codec": {"rvq": {"tokens": {}}}}),
            ["models.a: rvq.tokens are for code books that are given"],
        ),
        (
            lambda p: p["models"].update(
                a={"stages": [2], "codec": {"rvq": {"codebooks": "lyra"}}}
            ),
            ["models.a: ", "rvq.codebooks: those of Lyra are for its transform"],
        ),
        # What would stop a training only once everything is fetched.
        (
            lambda p: p["models"].update(a={"lmbda": [1.0], "codec": {"entropy": {"slices": 3}}}),
            ["models.a: codec.entropy.slices: 64 channels", "3 equal slices"],
        ),
        (
            lambda p: p["models"].update(
                a={
                    "lmbda": [1.0],
                    "codec": {"entropy": {"z_stride": 3}},
                    "train": {"crop": {"frames": 63}},
                }
            ),
            ["models.a: codec.entropy.z_stride: must divide 1024, not 3"],
        ),
        (
            lambda p: p["models"].update(a={"lmbda": [1.0], "train": {"crop": {"frames": 60}}}),
            ["models.a: train.crop.frames: must be a multiple of codec.entropy.z_stride"],
        ),
        (
            lambda p: p["models"].update(a={"lmbda": [1], "codec": {"transform": {"n_fft": 256}}}),
            ["models.a: codec.transform.n_fft: must be 2 * hop or more"],
        ),
        (
            lambda p: p["models"].update(a={"lmbda": [1], "codec": {"transform": {"n_fft": 641}}}),
            ["models.a: codec.transform.n_fft: must be even, not 641"],
        ),
        (
            lambda p: p["models"]["lyra-ecc"]["codec"]["transform"].update(hop=80),
            ["models.lyra-ecc: codec.transform.hop: hop * stack must be 320"],
        ),
        (
            lambda p: p["models"].update(
                a={
                    "lmbda": [1],
                    "train": {
                        "crop": {"frames": 8},
                        "loss": {"n_fft": [1, 2, 3, 8192], "loudness": 0},
                    },
                }
            ),
            ["models.a: train.loss.n_fft: a crop (train.crop.frames) has 2560 samples"],
        ),
        (
            lambda p: p["models"].update(
                a={"lmbda": [1], "train": {"crop": {"frames": 16}, "loss": {"loudness": 1.0}}}
            ),
            ["models.a: train.loss.loudness: a crop (train.crop.frames) has 5120 samples"],
        ),
        (lambda p: p["train"]["loss"].update(mels=[40]), ["train.loss: n_fft and mels: one"]),
        (
            lambda p: p["models"]["ecc"]["train"].update(loss={"n_fft": [512]}),
            ["models.ecc: loss: n_fft and mels: one"],
        ),
        (
            lambda p: p["models"]["lyra-coded"]["train"].update(processes=4),
            ["models.lyra-coded: train.processes: a model of tokens is trained in one process"],
        ),
        (
            lambda p: p["token_models"]["rvq-coded"]["train"].update(processes=4),
            ["token_models.rvq-coded: train.processes: a model of tokens is trained in one"],
        ),
        (
            lambda p: p["token_models"].update(ecc=p["token_models"]["rvq-coded"]),
            ["token_models.ecc: a model has that name already"],
        ),
        (
            lambda p: p["models"]["ecc"].update(sources=["vctk"]),
            ["models.ecc.sources: unknown name 'vctk'"],  # not in the study
        ),
        (
            lambda p: p["unseen"].update(codecs=["encodec"]),
            ["unseen.codecs: unknown name 'encodec', known are: "],  # not in the study
        ),
        (
            lambda p: p["unseen"].update(test_sets=["valid"]),
            ["unseen.test_sets: unknown name 'valid', known are: "],
        ),
        (
            lambda p: p["unseen"].update(metrics=["mos"]),
            ["unseen.metrics.0: no metric 'mos'; known are: pesq_wb"],
        ),
        (lambda p: p["unseen"]["codecs"].append("ecc"), ["unseen.codecs: 'ecc' stands there"]),
        (lambda p: p["unseen"].update(codecs=[]), ["unseen.codecs: ", "at least 1 item"]),
        (lambda p: p["report"].update(beside=["lira"]), ["report.beside: ", "'lira'"]),
        (lambda p: p["train"].update(optimizer="sgd"), ["train.optimizer: ", "not 'sgd'"]),
        (lambda p: p["train"].update(processes=0), ["train.processes: ", "not 0"]),
        (lambda p: p["codec"]["entropy"].update(skip=16), ["codec.entropy.skip: ", "not 16"]),
    ],
)
def test_one_line_names_the_key(tmp_path: Path, edit: Edit, lines: list[str]) -> None:
    path = write(tmp_path / "params.yaml", edit)
    with pytest.raises(ParamsError) as error:
        load(path)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{path}: ")
    for line in lines:
        assert line in message


def test_every_problem_has_its_line(tmp_path: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["train"]["steps"] = 0
        content["codec"]["colour"] = "red"

    with pytest.raises(ParamsError) as error:
        load(write(tmp_path / "params.yaml", edit))
    assert len(str(error.value).splitlines()) == 2


def test_missing_file_and_broken_yaml(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="No such file"):
        load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1,")
    with pytest.raises(ParamsError, match="not YAML") as error:
        load(tmp_path / "params.yaml")
    assert len(str(error.value).splitlines()) == 1


def test_a_number_with_an_exponent_is_a_number(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert "learning_rate: 3.0e-3" in text
    (tmp_path / "params.yaml").write_text(text.replace("3.0e-3", "3e-3"), encoding="utf-8")
    assert load(tmp_path / "params.yaml").train.learning_rate == 3e-3


def test_a_model_has_its_own_patches(tmp_path: Path) -> None:
    patched = {"lmbda": [2.0, 3.0], "codec": {"entropy": {"lrp": False}}, "train": {"steps": 7}}
    study = load(write(tmp_path / "params.yaml", lambda p: p["models"].update(small=patched)))
    model, codec, train = study.model("small")
    assert (model.lmbda, codec.entropy.lrp, train.steps) == ([2.0, 3.0], False, 7)
    assert codec.levels == 2  # one for each λ
    assert codec.transform == study.codec.transform
    with pytest.raises(ParamsError, match="no model 'large'"):
        study.model("large")


def test_a_model_hears_the_sources_that_it_names(tmp_path: Path) -> None:
    named = ["tuxpaint-stamps-default", "festvox-ru"]

    def edit(content: dict[str, Any]) -> None:
        content["models"]["rvq"]["sources"] = named

    study = load(write(tmp_path / "params.yaml", edit))
    assert study.training_sources("rvq") == [n for n in study.study.sources if n in named]
    assert study.training_sources("rvq-coded") == study.training_sources("rvq")  # its base's
    heard = study.training_sources("ecc")
    assert set(named) < set(heard) < set(study.study.sources)
    assert "freecodec-demo" not in heard  # nothing of it is for training


def test_models_of_tokens_are_trained_in_one_process(tmp_path: Path) -> None:
    study = load(write(tmp_path / "params.yaml", lambda p: p["train"].update(processes=4)))
    assert study.model("ecc")[2].processes == 4
    assert study.model("lyra-coded")[2].processes == 1
    assert study.token_model("rvq-coded")[2].processes == 1
