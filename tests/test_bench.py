import ast
import time
from pathlib import Path

import pytest

from ecc.bench import median_times

PACKAGE = Path(__file__).parents[1] / "src" / "ecc"


class Worker:
    def work(self):
        start = time.process_time()
        while time.process_time() - start < 0.02:
            pass


def test_each_place_is_timed_and_the_rest_is_the_rest():
    worker = Worker()

    def call():
        worker.work()  # accounted for
        Worker().work()  # by another object, whose time is no part's

    times = median_times(call, [("part", worker, ("work",))], "rest", runs=1)
    assert times == pytest.approx({"part": 0.02, "rest": 0.02}, abs=0.01)


def test_what_was_timed_is_as_before_though_it_fails():
    worker, method = Worker(), Worker.work

    def call():
        assert "work" in vars(worker) and Worker.work is not method
        raise OSError

    with pytest.raises(OSError):
        median_times(call, [("a", worker, ("work",)), ("b", Worker, ("work",))], "rest", runs=1)
    assert "work" not in vars(worker)
    assert Worker.work is method


def test_no_test_tooling_is_shipped():
    tooling = {"unittest", "pytest", "hypothesis"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not tooling & {name.partition(".")[0] for name in names}, path
