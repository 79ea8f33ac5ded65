"""Experiments of DVC as docs/sharing.md tells them, with stand-ins for the scripts of stages."""

import json

import pytest
from test_dag import TRAINING, Clone, clone, finished  # noqa: F401  (fixtures)

OF_ECC = {f"{stage}@ecc" for stage in ("encode", "decode", "score", "diagnose")}
OF_ECC |= {"validate", "weights", "aggregate", "report"}


@pytest.mark.slow
def test_experiments_train_what_they_change_and_come_back(clone: Clone) -> None:  # noqa: F811
    clone("git", "config", "user.name", "x")
    clone("git", "config", "user.email", "x@x")
    before = (clone.path / "reports/rd.csv").read_text()
    change = ("-S", "models.ecc-2.lmbda=[2.5, 4.0]")
    assert clone.ran("dvc", "exp", "run", "--name", "here", *change) == {*OF_ECC, "train@ecc-2"}
    here = (clone.path / "reports/rd.csv").read_text()
    assert here != before

    clone("git", "checkout", "--quiet", ".")
    for name, steps in (("short", 50), ("long", 150)):
        change = ("-S", f"train.steps={steps}")
        clone("dvc", "exp", "run", "--queue", "--copy-paths", "data", "--name", name, *change)
    ran = clone("dvc", "exp", "run", "--run-all")  # each in a copy of the clone
    assert ran.count("Running stage 'train@ecc-1'") == 2
    assert "Running stage 'fetch@debian'" not in ran
    assert "Running stage 'encode@opus'" not in ran
    assert (clone.path / "reports/rd.csv").read_text() == before

    table = json.loads(clone("dvc", "exp", "show", "--json"))
    (base,) = [entry for entry in table if entry["rev"] != "workspace"]
    assert {one["name"] for one in base["experiments"]} == {"here", "short", "long"}
    difference = json.loads(clone("dvc", "exp", "diff", "short", "long", "--json"))
    steps = difference["params"]["params.yaml"]["train.steps"]
    assert (steps["old"], steps["new"]) == (50, 150)
    metrics = difference["metrics"]["reports/training/ecc-1/metrics.json"]
    assert (metrics["step"]["old"], metrics["step"]["new"]) == (50, 150)

    clone("dvc", "exp", "apply", "here")
    assert (clone.path / "reports/rd.csv").read_text() == here
    assert not clone.ran("dvc", "repro") & TRAINING
    assert clone.status() == "Data and pipelines are up to date."
