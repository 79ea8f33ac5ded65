import importlib
from pathlib import Path
from typing import Any, NamedTuple

import networkx as nx
import pytest
from dvc.repo import Repo

from ecc.report.readme import fill

ROOT = Path(__file__).parents[2]


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "workflow")
    return importlib.import_module("graph")


def test_the_drawing_in_the_docs_is_that_of_the_pipeline(graph: Any) -> None:
    text = (ROOT / graph.PAGE).read_text(encoding="utf-8")
    assert fill(text, {"dag": graph.drawing(Repo(ROOT).index.graph)}) == text


class Stage(NamedTuple):
    addressing: str


def test_stages_of_a_kind_are_one_and_implied_edges_are_left_out(graph: Any) -> None:
    stages = {name: Stage(name) for name in ("get", "train@a", "train@b", "report")}
    needs = [("train@a", "get"), ("train@b", "get"), ("report", "get")]
    needs += [("report", "train@a"), ("report", "train@b")]
    drawn = graph.drawing(nx.DiGraph([(stages[a], stages[b]) for a, b in needs]))
    assert drawn.splitlines() == [
        "```mermaid",
        "flowchart LR",
        '    get["get"]',
        '    train["train @ …"]',
        '    report["report"]',
        "    get --> train",
        "    train --> report",
        "```",
    ]
