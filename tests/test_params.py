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
            lambda p: p["test_sets"]["default"].update(sources=["librivox"]),
            ["test_sets.default.sources: unknown name 'librivox'"],
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
