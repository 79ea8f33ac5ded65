"""What listening tests found, in Markdown."""

from pathlib import Path
from typing import Any

import pandas as pd

from ecc.listening.analysis import ListeningTest, analyse, labelled, read_test
from ecc.report.markdown import markdown, number


def sections(folder: Path) -> list[dict[str, Any]]:
    """What the report says of each test in `folder`, by name: a folder each with a `key.json` and
    results. Raises `ecc.listening.key.ResultError` for what cannot be read."""
    return [section(path.parent) for path in sorted(folder.glob("*/key.json"))]


def section(folder: Path) -> dict[str, Any]:
    """The test in `folder`: its name, facts and tables."""
    test = read_test(folder)
    tables = {name: labelled(table, _labels(test)) for name, table in analyse(test).items()}
    screening = tables["screening"]
    return {
        "name": folder.name,
        "method": test.key.method,
        "test_set": test.key.test_set,
        "items": sum(not item.training for item in test.key.items.values()),
        "listeners": len(screening),
        "kept": int(screening["kept"].sum()),
        "means": markdown(_means(tables["means"])) if "means" in tables else "",
        "pairs": markdown(_pairs(tables["pairs"])) if "pairs" in tables else "",
        "screening": markdown(_screening(screening)),
    }


def _labels(test: ListeningTest) -> dict[str, str]:
    return {name: condition.label for name, condition in test.key.conditions.items()}


def _means(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "condition": table["condition"],
            "mean [95 %]": [_interval(*row) for row in _rows(table, "mean", "{:.1f}")],
            "median": [number(value, "{:.1f}") for value in table["median"]],
        }
    )


def _pairs(table: pd.DataFrame) -> pd.DataFrame:
    shown: dict[str, Any] = {"first": table["first"], "against": table["second"]}
    if "share" in table:
        right = zip(table["right"], table["trials"], strict=True)
        shown |= {
            "right": [f"{found} of {trials}" for found, trials in right],
            "share [95 %]": [_interval(*row) for row in _rows(table, "share", "{:.2f}")],
            "p": [number(value, "{:.2g}") for value in table["p"]],
            "listeners who told them apart": [
                f"{able} of {all_}"
                for able, all_ in zip(table["able"], table["listeners"], strict=True)
            ],
        }
    else:
        shown |= {
            "difference [95 %]": [_interval(*row) for row in _rows(table, "difference", "{:+.1f}")],
            "p (t)": [number(value, "{:.2g}") for value in table["p_t"]],
            "p (Wilcoxon)": [number(value, "{:.2g}") for value in table["p_wilcoxon"]],
        }
    return pd.DataFrame(shown)


def _screening(table: pd.DataFrame) -> pd.DataFrame:
    shown: dict[str, Any] = {"listener": table["listener"]}
    if "hidden_below" in table:
        shown["hidden reference below 90"] = table["hidden_below"].map("{:.0%}".format)
        shown["7 kHz anchor above 90"] = table["anchor_above"].map("{:.0%}".format)
    else:
        found = zip(table["right"], table["controls"], strict=True)
        shown["controls right"] = [f"{right} of {trials}" for right, trials in found]
        shown["p"] = table["p"].map("{:.2g}".format)
    return pd.DataFrame({**shown, "counted": table["kept"].map({True: "yes", False: "no"})})


def _rows(table: pd.DataFrame, name: str, form: str) -> list[tuple[str, str, str]]:
    ends = table[[name, "low", "high"]]
    texts = ends.map(lambda value: number(value, form).replace("-", "−"))
    return list(texts.itertuples(index=False, name=None))


def _interval(value: str, low: str, high: str) -> str:
    return value if low == "–" else f"{value} [{low}, {high}]"
