"""Fingerprints of code: what a stage computes, without what a reader of its code sees.

A stage of the study depends on the fingerprint of its script in place of source files, so that
training is not repeated for a comment. The fingerprint covers the script, every module of the
project that it imports, directly or not, and the data files that these modules name. Libraries are
not in it; their versions are told apart.
"""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

# Libraries that check, download and carry values, and compute none.
CARRIERS = frozenset({"dvclive", "pydantic", "requests", "ruamel.yaml", "tqdm", "typer", "urllib3"})
# Functions whose first argument is a module: it is imported, or its files are read.
BY_NAME = frozenset({"distribution", "files", "find_spec", "import_module"})


class Code:
    """The Python code of a project, as it is when its files are first asked for.

    `roots` are the folders in which modules are looked for; a module found in none of them is an
    installed library. Modules in `ignore` are neither counted nor followed.

    The methods take `entries`, Python files or names of modules, and go through them and all that
    they import. Imports are followed statically: an import by a computed name is not seen, name its
    module as an entry. They raise `FileNotFoundError` when a file in `entries` is missing and
    `SyntaxError` when one is not Python.
    """

    def __init__(self, roots: Sequence[Path], ignore: frozenset[str] = frozenset()) -> None:
        self.roots, self.ignore = roots, ignore
        self._places: dict[str, Path | None] = {}

    def fingerprint(self, entries: Sequence[str | Path]) -> str:
        """SHA-256 (hex) of the syntax of the code.

        Comments, docstrings and formatting do not count. A data file counts, byte by byte, where a
        module in its folder holds its name as a string ("stations.csv").
        """
        seen: dict[Path, str] = {}
        for path, module in self._modules(entries).items():
            seen[path] = module.digest
            for data in (path.parent / file for file in module.files):
                if data.is_file():
                    seen[data] = hashlib.sha256(data.read_bytes()).hexdigest()
        lines = sorted(f"{digest}  {self._relative(path)}" for path, digest in seen.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def software(self, entries: Sequence[str | Path]) -> dict[str, str]:
        """The installed distributions that the code imports, and their versions.

        Those in `CARRIERS` are left out, as what distributions themselves depend on is.
        """
        imported = {name.partition(".")[0] for name in entries if isinstance(name, str)}
        for module in self._modules(entries).values():
            imported |= {name for name in module.imports if "." not in name}
        outside = {n for n in imported - sys.stdlib_module_names if not self._find(n)}
        names = {dist for name in outside for dist in _distributions().get(name, ())}
        return {name: _version(name) for name in sorted(names - CARRIERS)}

    def calls(self, function: str, entries: Sequence[str | Path]) -> set[str]:
        """The strings that the code gives to `function` as its first argument."""
        modules = self._modules(entries).values()
        return {given for module in modules for name, given in module.calls if name == function}

    def constructor(self, module: str, name: str) -> ast.arguments | None:
        """The arguments of the class `name` of `module`, which is not imported; None where its
        source does not tell.

        Raises:
            ValueError: there is no such module, or no such name in it.
        """
        path = self._find(module)
        if path is None:
            try:
                found = importlib.util.find_spec(module)
            except ImportError:
                found = None
            if found is None:
                raise ValueError(f"there is no module {module}")
            return None
        named: set[str] = set()
        for node in ast.parse(path.read_bytes(), filename=str(path)).body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                functions = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                return next((f.args for f in functions if f.name == "__init__"), None)
            if isinstance(node, ast.Import | ast.ImportFrom):
                named |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.Assign):
                named |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if not named & {name, "*"}:
            raise ValueError(f"{path} has no class {name}")
        return None

    def _modules(self, entries: Sequence[str | Path]) -> "dict[Path, _Module]":
        pending = [(entry.stem, entry) for entry in entries if isinstance(entry, Path)]
        names = [entry for entry in entries if isinstance(entry, str)]
        pending += [(name, path) for name in names if (path := self._find(name))]
        seen: dict[Path, _Module] = {}
        while pending:
            name, path = pending.pop()
            if path in seen:
                continue
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            module = seen[path] = _module(path.read_bytes(), package, str(path))
            for imported in module.imports - self.ignore:
                if found := self._find(imported):
                    pending.append((imported, found))
        return seen

    def _find(self, name: str) -> Path | None:
        if name not in self._places:
            bases = [root.joinpath(*name.split(".")) for root in self.roots]
            paths = [p for b in bases for p in (b / "__init__.py", b.with_name(b.name + ".py"))]
            self._places[name] = next((path for path in paths if path.is_file()), None)
        return self._places[name]

    def _relative(self, path: Path) -> str:
        for root in self.roots:
            if path.is_relative_to(root):
                return path.relative_to(root).as_posix()
        return path.name


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


@cache
def _version(distribution: str) -> str:
    return metadata.version(distribution)


class _Module(NamedTuple):
    """What is taken of one module."""

    digest: str
    imports: frozenset[str]
    files: frozenset[str]  # strings that may name a data file beside it
    calls: frozenset[tuple[str, str]]  # names of functions, and a string that they are given


@cache  # most modules are behind most stages
def _module(source: bytes, package: str, filename: str) -> _Module:
    tree = ast.parse(source, filename=filename)
    calls = frozenset(_calls(tree))
    named = {value for function, value in calls if function in BY_NAME}
    imports = frozenset({*_imports(tree, package), *named})
    _drop_docstrings(tree)
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return _Module(digest, imports, frozenset(_file_names(tree)), calls)


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


def _calls(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if isinstance(value := node.args[0].value, str):
                yield name, value


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
