"""Experiments of DVC as docs/sharing.md tells them, with stand-ins for the scripts of stages."""

import json

import pytest
from ruamel.yaml import YAML
from test_dag import TRAINING, Clone, clone, finished  # noqa: F401  (fixtures)


@pytest.mark.slow
def test_experiments_train_what_they_change_and_come_back(clone: Clone) -> None:  # noqa: F811
    clone("git", "config", "user.name", "x")
    clone("git", "config", "user.email", "x@x")
    before = (clone.path / "reports/rd.csv").read_text()
    models = YAML(typ="safe").load(clone.path / "params.yaml")["models"]
    model = next(name for name, m in models.items() if m["variant"] == "ecc")
    change = ("-S", f"models.{model}.lmbda=[2.5, 4.0]")
    ran = clone.ran("dvc", "exp", "run", "--name", "here", *change)
    assert ran & TRAINING == {f"train@{model}"}
    assert "encode@ecc" in ran and "encode@opus" not in ran
    here = (clone.path / "reports/rd.csv").read_text()
    assert here != before

    clone("git", "checkout", "--quiet", ".")
    for name, steps in (("short", 50), ("long", 150)):
        change = ("-S", f"train.steps={steps}")
        clone("dvc", "exp", "run", "--queue", "--copy-paths", "data", "--name", name, *change)
    ran = clone("dvc", "exp", "run", "--run-all")  # each in a copy of the clone
    assert ran.count(f"Running stage 'train@{model}'") == 2
    assert "Running stage 'fetch@" not in ran
    assert "Running stage 'encode@opus'" not in ran
    assert (clone.path / "reports/rd.csv").read_text() == before

    table = json.loads(clone("dvc", "exp", "show", "--json"))
    (base,) = [entry for entry in table if entry["rev"] != "workspace"]
    assert {one["name"] for one in base["experiments"]} == {"here", "short", "long"}
    difference = json.loads(clone("dvc", "exp", "diff", "short", "long", "--json"))
    steps = difference["params"]["params.yaml"]["train.steps"]
    assert (steps["old"], steps["new"]) == (50, 150)

    clone("dvc", "exp", "apply", "here")
    assert (clone.path / "reports/rd.csv").read_text() == here
    assert not clone.ran("dvc", "repro") & TRAINING
