import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ecc.train.trainer import Run

ROOT = Path(__file__).parents[2]


class Trained(BaseException):
    """Stands for the training."""


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """trial(name, changes, model): what the trial of a model of the project would train."""
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    content["models"]["ecc"]["train"] = {"cycles": 2}
    YAML().dump(content, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    main = runpy.run_path(str(ROOT / "workflow" / "trial.py"))["main"]

    def stand_in(run: Run) -> None:
        raise Trained(run)

    monkeypatch.setitem(main.__globals__, "train", stand_in)

    def run(name: str, changes: list[str], model: str = "ecc") -> Run:
        with pytest.raises(Trained) as trained:
            main(name, changes, model)
        (found,) = trained.value.args
        assert isinstance(found, Run)
        return found

    return run


def test_a_trial_trains_the_steps_that_it_names(trial: Callable[..., Run]) -> None:
    run = trial("short", ["train.steps=600", "codec.transform.width=32"])
    assert run.train.all_steps == run.train.steps == 600
    assert run.codec.transform.width == 32
    kept = YAML(typ="safe").load(Path("data/trials/short/params.yaml"))
    assert kept["train"]["steps"] == 600 and kept["models"]["ecc"]["train"] == {"cycles": 2}


def test_trials_are_apart_from_the_study_and_from_one_another(trial: Callable[..., Run]) -> None:
    runs = [trial("one", []), trial("two", []), trial("two", ["train.batch=8"])]
    for run in runs:
        for path in (run.weights, run.checkpoints, run.logs):
            assert Path("data/trials") / run.name in (path, *path.parents)
    same, again, other = (run.identity for run in runs)
    assert same == again != other


@pytest.mark.parametrize(
    ("changes", "model", "message"),
    [
        (["train.steps"], "ecc", "train.steps: not of the form section.key=value"),
        (["train.stepps=6"], "ecc", "stepps"),
        (["train.steps=-1"], "ecc", "steps"),
        ([], "eccc", "eccc"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    trial: Callable[..., Run], changes: list[str], model: str, message: str
) -> None:
    with pytest.raises(SystemExit, match=f"^trial wrong: .*{message}") as error:
        trial("wrong", changes, model)
    assert "\n" not in str(error.value)
