"""Numbers of the README, taken from the report's tables.

A block is what stands between the lines `<!-- begin: NAME -->` and `<!-- end: NAME -->`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ecc.report.rd import Report
from ecc.report.render import average_pivot, markdown, read_table, summary_table

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


def blocks(
    reports: Path, test_sets: Sequence[str], metrics: Sequence[str], config: Report
) -> dict[str, str]:
    """Contents by name: `rd`, qualities at matched rates on `test_sets`, and `bd_rate`, what the
    codec under study saves on average over all test sets.

    Raises `FileNotFoundError` when a table is missing in `reports`.
    """
    codecs, matched = read_table(reports / "codecs.csv"), read_table(reports / "matched_rate.csv")
    summaries = []
    for test_set in test_sets:
        table = summary_table(matched[matched["test_set"] == test_set], codecs, metrics, config)
        table.insert(0, "test set", test_set)
        summaries.append(table)
    averages = average_pivot(read_table(reports / "bd_rate.csv"), codecs, metrics)
    return {
        "rd": markdown(pd.concat(summaries)) or "No speech has been scored yet.",
        "bd_rate": averages or "No two codecs have been compared yet.",
    }
