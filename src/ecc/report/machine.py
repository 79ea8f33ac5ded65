"""What is the machine's in the results: how long coding took there, and what software did it.

It is kept apart, in reports/machine/ and reports/machine.md, so that all other tables and pages of
a study that is run again elsewhere can be compared with what they were.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ecc.report.markdown import markdown, number
from ecc.tables import read_table

STEPS = ("encode", "decode")


def speed_table(
    scores: pd.DataFrame, codecs: pd.DataFrame, test_sets: Sequence[str]
) -> pd.DataFrame:
    """Seconds of computing for a second of speech, `rtf_*`: a row for each test set, codec and
    point. Of `codecs` (see `ecc.report.rd.read_codecs`) only those whose rate was measured coded
    anything here."""
    rows = []
    for test_set in test_sets:
        for codec in codecs.loc[codecs["rate"] == "measured", "codec"]:
            ours = scores[(scores["test_set"] == test_set) & (scores["codec"] == codec)]
            for point, rows_of_point in ours.groupby("point", sort=False):
                row = {"codec": codec, "point": point, "test_set": test_set}
                for step in STEPS:
                    seconds = rows_of_point[f"{step}_seconds"]
                    of_speech = rows_of_point.loc[seconds.notna(), "seconds"].sum()
                    row[f"rtf_{step}"] = seconds.sum() / of_speech if of_speech else None
                rows.append(row)
    return pd.DataFrame(
        rows, columns=["codec", "point", "test_set", *(f"rtf_{step}" for step in STEPS)]
    )


def version_table(codecs: pd.DataFrame, software: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Versions of the `codecs` that could run here, and of the packages behind the numbers, which
    `software` names with the stages that use them: columns kind, name, version and part."""
    rows = [
        {"kind": "codec", "name": codec["codec"], "version": codec["version"]}
        for _, codec in codecs[codecs["available"].astype(bool)].iterrows()
    ]
    rows += [{"kind": "package", **package} for package in software]
    return pd.DataFrame(rows, columns=["kind", "name", "version", "part"])


def page(reports: Path) -> str:
    """Text of reports/machine.md on the tables in reports/machine/.

    Raises `FileNotFoundError` when one is missing.
    """
    codecs = read_table(reports / "codecs.csv")
    labels = dict(zip(codecs["codec"], codecs["label"], strict=True))
    speed, versions = (
        read_table(reports / "machine" / f"{name}.csv") for name in ("speed", "versions")
    )
    of_codecs, of_packages = (versions[versions["kind"] == kind] for kind in ("codec", "package"))
    speeds = pd.DataFrame(
        {
            "test set": speed["test_set"],
            "codec": speed["codec"].map(labels),
            "point": speed["point"],
            **{
                f"{step}, s/s": [number(value, "{:.3g}") for value in speed[f"rtf_{step}"]]
                for step in STEPS
            },
        }
    )
    sections = {
        "Codecs": pd.DataFrame(
            {"codec": of_codecs["name"].map(labels), "version": of_codecs["version"]}
        ),
        "Packages": of_packages[["name", "version", "part"]].rename(
            columns={"name": "package", "part": "in the stages"}
        ),
        "Speed": speeds,
    }
    text = [
        "# The machine that ran the study",
        "How long coding took there and what software did it: what the other tables and pages of "
        "`reports/` leave out, so that they are the same wherever the study runs.",
        "Speed is seconds of computing for a second of speech (s/s), in processes of one thread "
        "each, with whatever else the machine was doing.",
    ]
    for title, table in sections.items():
        text += [f"## {title}", markdown(table) or "Nothing."]
    return "\n\n".join(text) + "\n"
