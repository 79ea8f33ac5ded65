from importlib import metadata
from pathlib import Path

import pytest

from ecc.fingerprint import Code


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


def take(project: Path, ignore: frozenset[str] = frozenset()) -> str:
    return Code([project], ignore).fingerprint([project / "script.py"])


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
    before = Code([project]).fingerprint(["package.deep"])
    edit(project / "package" / "used.py", "2 * f", "3 * f")
    assert Code([project]).fingerprint(["package.deep"]) == before
    edit(project / "package" / "deep.py", "x + 1", "x - 1")
    assert Code([project]).fingerprint(["package.deep"]) != before


def test_installed_libraries_do_not_count(project: Path) -> None:
    script = project / "script.py"
    code = Code([project])
    assert code.fingerprint([script, "numpy"]) == code.fingerprint([script])


def test_a_missing_script_is_an_error(project: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Code([project]).fingerprint([project / "nothing.py"])


def test_software_is_what_is_imported_and_computes(project: Path) -> None:
    assert Code([project]).software([project / "script.py"]) == {}
    edit(
        project / "package" / "deep.py",
        "import os\n",
        'import os\nimport tqdm, missing\nfind_spec("scipy")\ndef f():\n    import numpy.fft\n'
        'WEIGHTS = resources.files("pandas") / "a.onnx"\n',
    )
    versions = Code([project]).software([project / "script.py"])
    assert versions == {name: metadata.version(name) for name in ("numpy", "pandas", "scipy")}
    # The module of a codec that is installed is an entry itself.
    assert set(Code([project]).software(["pandas.core"])) == {"pandas"}


def test_calls_are_found_by_the_name_of_the_function(project: Path) -> None:
    edit(project / "package" / "deep.py", "import os\n", 'base.version("libx1")\nversion(f"no")\n')
    assert Code([project]).calls("version", [project / "script.py"]) == {"libx1"}


def test_a_constructor_is_read_without_importing(project: Path) -> None:
    (project / "own.py").write_text(
        "from elsewhere import Other\nraise RuntimeError\n"
        "class A:\n    def __init__(self, x, *, y=1): ...\nclass B(A): ...\n"
    )
    code = Code([project])
    arguments = code.constructor("own", "A")
    assert arguments is not None
    assert [a.arg for a in (*arguments.args, *arguments.kwonlyargs)] == ["self", "x", "y"]
    assert code.constructor("own", "B") is code.constructor("own", "Other") is None
    assert code.constructor("numpy", "anything") is None  # installed: its source is not looked at
    for module, name, message in (
        ("own", "C", "has no class C"),
        ("owm", "A", "no module owm"),
        ("owm.sub", "A", "no module owm.sub"),
    ):
        with pytest.raises(ValueError, match=message):
            code.constructor(module, name)
