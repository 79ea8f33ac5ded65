from pathlib import Path

import pytest

from ecc.fingerprint import fingerprint


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A script that imports package.used, which imports package.deep and reads a table."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text('"""A package."""\n')
    (package / "used.py").write_text(
        '"""Doc."""\nfrom pathlib import Path\nfrom .deep import f\nfrom . import sibling\n'
        'TABLE = Path(__file__).parent / "table.csv"\n'
        'def g(x):\n    """Twice f."""\n    return 2 * f(x)\n'
    )
    (package / "deep.py").write_text("import os\n\ndef f(x):\n    return x + 1\n")
    (package / "sibling.py").write_text("A = 1\n")
    (package / "unused.py").write_text("A = 1\n")
    (package / "table.csv").write_text("a,b\n")
    (package / "other.csv").write_text("a,b\n")
    (tmp_path / "script.py").write_text("from package.used import g\nprint(g(1))\n")
    return tmp_path


def take(project: Path, **options: frozenset[str]) -> str:
    return fingerprint([project / "script.py"], [project], **options)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("package/deep.py", "return x + 1", "return x + 1  # one more"),
        ("package/deep.py", "return x + 1", "return (x\n            + 1)"),
        ("package/deep.py", "    return x", '    """New docstring."""\n    return x'),
        ("package/used.py", "Twice f.", "Two times f."),
        ("package/used.py", '"""Doc."""\n', ""),
        ("package/__init__.py", "A package.", "The package."),
        ("package/unused.py", "A = 1", "A = 2"),
        ("package/other.csv", "a,b", "b,a"),
    ],
)
def test_reading_matter_does_not_count(project: Path, file: str, old: str, new: str) -> None:
    before = take(project)
    edit(project / file, old, new)
    assert take(project) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("script.py", "g(1)", "g(2)"),
        ("package/__init__.py", "A package.", 'A package."""\nX = 1\n"""Not a docstring.'),
        ("package/used.py", "2 * f", "3 * f"),
        ("package/deep.py", "x + 1", "x - 1"),
        ("package/sibling.py", "A = 1", "A = 2"),
        ("package/table.csv", "a,b", "b,a"),
    ],
)
def test_what_is_computed_counts(project: Path, file: str, old: str, new: str) -> None:
    before = take(project)
    edit(project / file, old, new)
    assert take(project) != before


def test_ignored_modules_are_not_followed(project: Path) -> None:
    ignore = frozenset({"package.used"})
    before = take(project, ignore=ignore)
    edit(project / "package" / "used.py", "2 * f", "3 * f")
    edit(project / "package" / "deep.py", "x + 1", "x - 1")
    assert take(project, ignore=ignore) == before


def test_the_place_of_the_project_does_not_count(project: Path, tmp_path: Path) -> None:
    before = take(project)
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    project.rename(moved)
    assert take(moved) == before


def test_modules_are_entries_too(project: Path) -> None:
    before = fingerprint(["package.deep"], [project])
    edit(project / "package" / "used.py", "2 * f", "3 * f")
    assert fingerprint(["package.deep"], [project]) == before
    edit(project / "package" / "deep.py", "x + 1", "x - 1")
    assert fingerprint(["package.deep"], [project]) != before


def test_installed_libraries_do_not_count(project: Path) -> None:
    script = project / "script.py"
    assert fingerprint([script, "numpy"], [project]) == fingerprint([script], [project])


def test_a_missing_script_is_an_error(project: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fingerprint([project / "nothing.py"], [project])
