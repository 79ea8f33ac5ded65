"""Skips that are failures: $ECC_TEST_STRICT."""

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
HOOK = Path(__file__).with_name("strict.py").read_text(encoding="utf-8")
ROOT = Path(__file__).parents[1]
TESTS = """
import pytest

def test_runs():
    pass

def test_program():
    pytest.skip("program sox not found; install sox")

def test_fixture(data):
    pass

@pytest.mark.skipif(True, reason="no instruction sets to cap")
def test_processor():
    pass

@pytest.mark.xfail(reason="known")
def test_known():
    assert False

@pytest.fixture
def data():
    pytest.skip("no published decodes: ECC_MIRROR has no folder")
"""


@pytest.mark.parametrize(
    ("strict", "mirror", "failed"),
    [("", "", []), ("1", "", ["program"]), ("1", "/mirror", ["program", "fixture"])],
)
def test_a_skip_without_an_excuse_fails(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    strict: str,
    mirror: str,
    failed: list[str],
) -> None:
    monkeypatch.setenv("ECC_TEST_STRICT", strict)
    monkeypatch.setenv("ECC_MIRROR", mirror)
    pytester.makeconftest(HOOK)
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-ra")
    names = re.findall(r"(?:FAILED|ERROR) \S+::test_(\w+)", result.stdout.str())
    assert set(names) == set(failed)
    result.assert_outcomes(
        passed=1, xfailed=1, skipped=3 - len(failed),
        failed=failed.count("program"), errors=failed.count("fixture"),
    )  # fmt: skip


def test_ci_is_strict_and_runs_what_only_a_server_shows() -> None:
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "export ECC_TEST_STRICT=1" in steps
    assert re.search(r"^workflow/test -m slow tests/workflow/.*share", steps, flags=re.MULTILINE)
