"""What docs/workflow.md says of what runs again: each row of its table, on the study as it is."""

import importlib
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from importlib import metadata
from typing import Any

import pytest
from clones import MINE, ROOT, Clone, project
from ruamel.yaml import YAML

from ecc import fingerprint

PARAMS = YAML(typ="safe").load(ROOT / "params.yaml")
STUDY, LMBDA = PARAMS["study"], PARAMS["models"]["ecc"]["lmbda"]
OWN = {"class": "my_codec:Mine", "label": "Mine", "points": {"a": {"weights": "mine.bin"}}}
Change = Callable[[Clone], object]
ROWS = {
    cells[0]: cells[1]
    for line in (ROOT / "docs/workflow.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and len(cells := [cell.strip() for cell in line.split("|")[1:-1]]) == 3
}
del ROWS["What changes"]


def patch(**changes: Any) -> Change:
    return lambda clone: clone.patch(changes)


def edit(file: str, old: str, new: str) -> Change:
    return lambda clone: clone.edit(file, old, new)


def appended(file: str, text: str) -> Change:
    return lambda clone: (clone.path / file).open("a", encoding="utf-8").write(text)


class Version:
    """Another version of a library is installed."""

    def __init__(self, library: str) -> None:
        self.library = library

    def __call__(self, name: str) -> str:
        return "99" if name == self.library else metadata.version(name)


CHANGES: dict[str, list[Any]] = {
    "a comment in `src/ecc`": [
        appended(f"src/ecc/{module}.py", "\n# A comment.\n")
        for module in ("model/codec", "speech", "params", "codecs/base")
    ],
    "how files are downloaded, `src/ecc/data/download.py`": [
        appended("src/ecc/data/download.py", "\nA = 1\n")
    ],
    "`score.workers`, `train.checkpoint_seconds`, `train.valid_steps`": [
        patch(score={"workers": 1}),
        patch(train={"checkpoint_seconds": 7, "valid_steps": 7}),
    ],
    "the label of a codec": [patch(codecs={"ecc": {"label": "The ECC"}, "opus": {"label": "O"}})],
    "`report.seed`": [patch(report={"seed": 7})],
    "a result in `reports/listening`": [appended("reports/listening/README.md", "More.\n")],
    "`score.metrics`": [patch(score={"metrics": ["pesq_wb", "estoi"]})],
    "`unseen.utterances`": [patch(unseen={"utterances": 4})],
    "`page.utterances`": [patch(page={"utterances": 4})],
    "a bit rate of `opus`": [
        patch(codecs={"opus": {"points": {"5k": {"bitrate": 5500}}}}),
        patch(codecs={"opus": {"points": {"5k": None}}}),
    ],
    "the adapter `src/ecc/codecs/lc3.py`": [appended("src/ecc/codecs/lc3.py", "\nA = 1\n")],
    "how a metric is computed": [appended("src/ecc/evaluate/metrics.py", "\nA = 1\n")],
    "the network, `src/ecc/model/codec.py`": [appended("src/ecc/model/codec.py", "\nA = 1\n")],
    "a λ of the model `ecc`": [patch(models={"ecc": {"lmbda": [LMBDA[0] / 2, *LMBDA[1:]]}})],
    "`train.steps`": [patch(train={"steps": 7777})],
    "`codec.entropy.slices`": [patch(codec={"entropy": {"slices": 8}})],
    "`codec.rvq.decay`": [patch(codec={"rvq": {"decay": 0.9}})],
    "a row of a table of speakers": [
        edit("src/ecc/data/sources/picovoice.csv", ",train,", ",test,")
    ],
    "one more source to train on": [patch(study={"sources": [*STUDY["sources"], "vctk"]})],
    "`test_sets.english.utterances`": [patch(test_sets={"english": {"utterances": 8}})],
    "the code or the weights of your codec `mine`": [
        edit("my_codec.py", "...", "pass"),
        appended("mine.bin", "more"),
    ],
    "a library that `mine` imports": [Version("tabulate")],
    "the version of `pesq`, or of `speechmos`": [Version("pesq"), Version("speechmos")],
    "the version of `constriction`": [Version("constriction")],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The study, with a codec of somebody's own, as if it had run."""
    changes = {"codecs": {"mine": OWN}, "study": {"codecs": [*STUDY["codecs"], "mine"]}}
    clone = project(tmp_path_factory.mktemp("project"), changes, {})
    clone.stages = clone.pretend()
    clone("git", "add", ".")
    clone("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "-m", "x")
    return clone


@pytest.fixture
def clone(finished: Clone) -> Iterator[Clone]:
    """The study, which is put as it was afterwards."""
    yield finished
    finished("git", "checkout", "--quiet", ".")


def test_each_row_has_its_changes() -> None:
    assert list(ROWS) == list(CHANGES)


@pytest.mark.parametrize("row", CHANGES)
def test_what_is_stale_is_what_the_row_says(
    row: str, clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    patterns = re.findall(r"`([^`]+)`", ROWS[row])
    assert bool(patterns) == (ROWS[row] != "nothing")
    for change in CHANGES[row]:
        with monkeypatch.context() as context:
            context.chdir(clone.path)
            if isinstance(change, Version):
                context.setattr(fingerprint, "_version", change)
            else:
                change(clone)
            if "data/sources" in clone("git", "status", "--short"):  # which `ecc` brings along
                clone("python", "workflow/stages/validate.py")
            else:
                context.syspath_prepend(ROOT / "workflow" / "stages")
                importlib.import_module("validate").main()
            stale = clone.stale()
        every = clone.stages | stale  # a new source has a stage of its own
        expected = {s for s in every if any(fnmatch(s, pattern) for pattern in patterns)}
        assert stale == expected
        for pattern in patterns:
            assert any(fnmatch(stage, pattern) for stage in stale), pattern
        clone("git", "checkout", "--quiet", ".")


def test_nothing_is_stale_before(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "workflow" / "stages")
    monkeypatch.chdir(clone.path)
    importlib.import_module("validate").main()
    assert clone.stale() == set()
    assert MINE in (clone.path / "my_codec.py").read_text()
