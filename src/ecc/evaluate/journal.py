"""What was scored before, so that no pair of signals is scored twice.

A journal holds JSON lines: `{"signals": ..., "scores": {"<metric> <version>": ...}}`.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ecc.files import atomic_path

Scores = dict[str, float]
"""By metric and version."""


class Journal:
    """The journal at `path`, and what the other journals beside it say."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Scores] = {}
        for other in sorted(path.parent.glob("*.jsonl")):
            for signals, scores in _read(other):
                self._known.setdefault(signals, {}).update(scores)

    def score(self, signals: str, key: str) -> float | None:
        """What the metric and version `key` says of the signals, if that is known."""
        return self._known.get(signals, {}).get(key)

    @contextmanager
    def open(self) -> Iterator[TextIO]:
        """The file, open for more lines; what a killed run left of a line is cut off before."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        with self.path.open("a", encoding="utf-8") as lines:
            yield lines

    def add(self, lines: TextIO, signals: str, scores: Scores) -> None:
        """Note scores, and write them at once to `lines`, which `open` gave."""
        self._known.setdefault(signals, {}).update(scores)
        lines.write(_line(signals, scores))
        lines.flush()

    def rewrite(
        self, signals: Collection[str], keys: Mapping[str, str | None], metrics: Collection[str]
    ) -> None:
        """Hold what is known of these signals and no others, each by the `keys` of metrics (by
        name) and no others; all of a metric whose present version is not known here (None).

        What other journals alone know by metrics that are not among `metrics` is left to them: what
        this one holds must not follow from which of them there are.
        """
        held: dict[str, set[str]] = {}
        for name, scores in _read(self.path):
            held.setdefault(name, set()).update(scores)
        with atomic_path(self.path) as temporary, temporary.open("w", encoding="utf-8") as lines:
            for name in sorted(signals):
                known = self._known.get(name, {})
                kept = {
                    key: known[key]
                    for metric, current in keys.items()
                    for key in sorted(known)
                    if key.partition(" ")[0] == metric
                    and current in (None, key)
                    and (metric in metrics or key in held.get(name, ()))
                }
                if kept:
                    lines.write(_line(name, kept))


def _line(signals: str, scores: Mapping[str, float]) -> str:
    return json.dumps({"signals": signals, "scores": scores}) + "\n"


def _read(path: Path) -> Iterator[tuple[str, Scores]]:
    """What a journal holds in whole lines: the last may be half written, or being written."""
    content = path.read_bytes()
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        entry = json.loads(line)
        yield entry["signals"], entry["scores"]
