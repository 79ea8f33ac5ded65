"""No import runs up the layers of the library."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "ecc"
# From the ground up: a module imports from its own layer and from those below.
LAYERS = (
    ("errors", "files", "folders", "tables", "config", "resolved", "speech"),
    ("audio", "fingerprint"),
    ("lyra",),
    ("data",),
    ("model", "stream", "shipped"),
    ("runtime",),
    ("codecs", "train"),
    ("evaluate",),
    ("listening",),
    ("report",),
    ("page",),
    ("params", "bench", "streaming"),
    ("cli", "__init__"),
)
SIDE_BY_SIDE = {("codecs", "train"), ("train", "codecs")}


def test_every_module_has_a_layer() -> None:
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert modules - {"__pycache__", "py"} == {name for layer in LAYERS for name in layer}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_run_down(path: Path) -> None:
    order = {name: height for height, layer in enumerate(LAYERS) for name in layer}
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    for imported in imports(path):
        assert order[imported] <= order[own], f"{own} imports {imported}, which is above it"
        assert (own, imported) not in SIDE_BY_SIDE


def imports(path: Path) -> set[str]:
    """The modules and packages right below `ecc` that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ecc."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "ecc":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {parts[1] for parts in names if parts[0] == "ecc" and len(parts) > 1}
    return found
