"""Fingerprints of code: what a stage computes, without what a reader of its code sees.

A stage of the study depends on the fingerprint of its script in place of source files, so that
training is not repeated for a comment. The fingerprint covers the script, every module of the
project that it imports, directly or not, and the data files that these modules name.
"""

import ast
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple


def fingerprint(
    entries: Sequence[str | Path], roots: Sequence[Path], ignore: frozenset[str] = frozenset()
) -> str:
    """SHA-256 (hex) of the syntax of `entries` and of all that they import.

    `entries` are Python files or names of modules; `roots` are the folders in which modules are
    looked for. A module found in none of them is an installed library and does not count.
    Imports are followed statically: an import by a computed name is not seen, name its module as
    an entry. Modules in `ignore` are neither counted nor followed.

    Comments, docstrings and formatting do not count. A data file counts, byte by byte, where a
    module in its folder holds its name as a string ("stations.csv").

    Raises `FileNotFoundError` when a file in `entries` is missing and `SyntaxError` when one is
    not Python.
    """
    pending = [(entry.stem, entry) for entry in entries if isinstance(entry, Path)]
    names = [entry for entry in entries if isinstance(entry, str)]
    pending += [(name, path) for name in names if (path := _find(name, roots))]
    seen: dict[Path, str] = {}
    while pending:
        name, path = pending.pop()
        if path in seen:
            continue
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        module = _module(path.read_bytes(), package, str(path))
        for imported in module.imports - ignore:
            found = _find(imported, roots)
            if found:
                pending.append((imported, found))
        seen[path] = module.digest
        for data in (path.parent / file for file in module.files):
            if data.is_file():
                seen[data] = hashlib.sha256(data.read_bytes()).hexdigest()
    lines = sorted(f"{digest}  {_relative(path, roots)}" for path, digest in seen.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _Module(NamedTuple):
    """What a fingerprint takes of one module."""

    digest: str
    imports: frozenset[str]
    files: frozenset[str]  # strings that may name a data file beside it


@cache  # most modules are behind most stages
def _module(source: bytes, package: str, filename: str) -> _Module:
    tree = ast.parse(source, filename=filename)
    imports = frozenset(_imports(tree, package))
    _drop_docstrings(tree)
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return _Module(digest, imports, frozenset(_file_names(tree)))


def _find(name: str, roots: Sequence[Path]) -> Path | None:
    for root in roots:
        base = root.joinpath(*name.split("."))
        for path in (base / "__init__.py", base.with_name(base.name + ".py")):
            if path.is_file():
                return path
    return None


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Names that may be modules: what is imported, and the packages around it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: end + 1]) for end in range(len(parts)))


def _drop_docstrings(tree: ast.AST) -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]


def _file_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value
            if Path(name).suffix not in ("", ".py") and "\0" not in name and len(name) < 200:
                yield name


def _relative(path: Path, roots: Sequence[Path]) -> str:
    for root in roots:
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.name
