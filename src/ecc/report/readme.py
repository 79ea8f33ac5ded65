"""Numbers of the README, taken from the report's tables.

A block is what stands between the lines `<!-- begin: NAME -->` and `<!-- end: NAME -->`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ecc.report.figures import METRIC_LABELS
from ecc.report.render import markdown, read_table, with_interval

_BLOCK = re.compile(
    r"^<!-- begin: (?P<name>[\w-]+) -->\n.*?^<!-- end: (?P=name) -->$", re.DOTALL | re.MULTILINE
)


def fill(text: str, blocks: Mapping[str, str]) -> str:
    """`text` with the content of each of its blocks replaced by `blocks[name]`.

    Raises `ValueError` for a block that nothing fills, or a mark without its partner.
    """
    marks = len(re.findall(r"^<!-- (?:begin|end): ", text, re.MULTILINE))
    found = [match["name"] for match in _BLOCK.finditer(text)]
    if marks != 2 * len(found):
        raise ValueError("a begin or end mark of a block has no partner")
    unknown = [name for name in found if name not in blocks]
    if unknown:
        raise ValueError(f"no content for block {unknown[0]!r}, only for {', '.join(blocks)}")

    def filled(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- begin: {name} -->\n{blocks[name].strip()}\n<!-- end: {name} -->"

    return _BLOCK.sub(filled, text)


def blocks(reports: Path, codec: str, metrics: Sequence[str]) -> dict[str, str]:
    """Contents by name: `rd`, the points of `codec`, and `bd_rate`, what it saves.

    Raises `FileNotFoundError` when a table is missing in `reports`.
    """
    return {
        "rd": points(read_table(reports / "rd.csv"), codec, metrics),
        "bd_rate": savings(
            read_table(reports / "bd_rate.csv"), read_table(reports / "codecs.csv"), metrics
        ),
    }


def points(rd: pd.DataFrame, codec: str, metrics: Sequence[str]) -> str:
    """A short table of the points of `codec`."""
    rows = rd[rd["codec"] == codec].dropna(subset=["kbps"])
    table: dict[str, object] = {
        "test set": rows["test_set"],
        "point": rows["point"],
        "kbps": rows["kbps"].map("{:.2f}".format),
    }
    for metric in metrics:
        ends = zip(rows[metric], rows[f"{metric}_low"], rows[f"{metric}_high"], strict=True)
        table[METRIC_LABELS.get(metric, metric)] = [with_interval(*e, digits=2) for e in ends]
    return markdown(pd.DataFrame(table)) or "No speech has been scored yet."


def savings(bd: pd.DataFrame, codecs: pd.DataFrame, metrics: Sequence[str]) -> str:
    """A line for each test set and metric: the BD-rates that can be given, in whole percent."""
    labels = dict(zip(codecs["codec"], codecs["label"], strict=True))
    lines = []
    for test_set in bd["test_set"].unique():
        for metric in metrics:
            rows = bd[
                (bd["test_set"] == test_set) & (bd["metric"] == metric) & (bd["flag"] == "ok")
            ]
            values = [
                f"{row['bd_rate']:+.0f} % against {labels[row['anchor']]}".replace("-", "−", 1)
                for _, row in rows.iterrows()
            ]
            if values:
                name = METRIC_LABELS.get(metric, metric)
                lines.append(f"- {name} on `{test_set}`: {'; '.join(values)}")
    return "\n".join(lines) or "No two codecs have enough quality range in common for a BD-rate."
