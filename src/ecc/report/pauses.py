"""How much of a comparison is pauses: rates in speech and in pauses, BD-rates in speech alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ecc.report.markdown import markdown, number
from ecc.tables import read_table

KEYS = ["codec", "point", "test_set", "utterance"]


def pause_table(pauses: pd.DataFrame) -> pd.DataFrame:
    """A row for each test set and point of `ecc.evaluate.pauses.pauses`: the share of time without
    speech, and the rate in kbit/s, over all, in speech and in pauses."""
    keys = ["test_set", "point"]
    total = pauses.groupby(keys, sort=False)[pauses.columns[3:].tolist()].sum().reset_index()
    silent = total["seconds"] - total["speech_seconds"]
    return pd.DataFrame(
        {
            **{key: total[key] for key in keys},
            "silence": silent / total["seconds"],
            "kbps": total["bits"] / total["seconds"] / 1000,
            "kbps_speech": total["speech_bits"] / total["speech_seconds"] / 1000,
            "kbps_pauses": (total["bits"] - total["speech_bits"]) / silent / 1000,
        }
    )


def speech_scores(scores: pd.DataFrame, folder: Path, codecs: Sequence[str]) -> pd.DataFrame:
    """The `scores` of those of `codecs` whose pauses are known, with the rate in speech alone in
    place of the rate, and the seconds of speech in place of the seconds.

    Reads `<folder>/<codec>/pauses.csv`, as the stage `diagnose` writes it. Raises
    `FileNotFoundError` when a codec has none.
    """
    tables = [read_table(folder / codec / "pauses.csv").assign(codec=codec) for codec in codecs]
    known = [table for table in tables if len(table)]
    if not known:
        return scores.iloc[:0]
    found = pd.concat(known)[[*KEYS, "speech_seconds", "speech_bits"]]
    merged = scores.drop(columns=["seconds", "kbps"]).merge(found, on=KEYS)
    merged["seconds"] = merged.pop("speech_seconds")
    merged["kbps"] = merged.pop("speech_bits") / merged["seconds"] / 1000
    return merged


def pause_pivot(tables: Mapping[str, pd.DataFrame]) -> str:
    """A row for each test set: its share without speech, and for each codec the rate in speech and
    that in pauses at its middle point. `tables` of `pause_table` by label."""
    rows: dict[str, dict[str, str]] = {}
    for label, table in tables.items():
        for test_set, points in table.groupby("test_set", sort=False):
            middle = points.sort_values("kbps", kind="stable").iloc[len(points) // 2]
            silence = f"{100 * middle['silence']:.0f} %"
            row = rows.setdefault(
                str(test_set), {"test set": f"`{test_set}`", "without speech": silence}
            )
            row[label] = _rates(middle)
    return markdown(pd.DataFrame(list(rows.values())))


def pause_points(tables: Mapping[str, pd.DataFrame]) -> str:
    """All points of `tables`, as for `pause_pivot`, a row each."""
    rows = [
        {
            "test set": row["test_set"],
            "codec": label,
            "point": row["point"],
            "kbps": number(row["kbps"], "{:.2f}"),
            "in speech, in pauses": _rates(row),
            "in pauses of that in speech": number(
                100 * row["kbps_pauses"] / row["kbps_speech"], "{:.0f} %"
            ),
        }
        for label, table in tables.items()
        for _, row in table.iterrows()
    ]
    return markdown(pd.DataFrame(rows))


def speech_pivot(
    bd: pd.DataFrame, speech: pd.DataFrame, metrics: Mapping[str, str], labels: Mapping[str, str]
) -> str:
    """BD-rates with all bits and, behind an arrow, with those in speech alone: a row for each test
    set and anchor, a column for each of `metrics` (label by name).

    `bd` and `speech` have the columns of `ecc.report.bd_rate.bd_rate_table`.
    """
    keys = ["test_set", "metric", "codec", "anchor"]
    both = speech.merge(bd, on=keys, suffixes=("_speech", ""))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for _, row in both[both["metric"].isin(list(metrics))].iterrows():
        key = (row["test_set"], row["anchor"])
        cells = rows.setdefault(key, {"test set": f"`{key[0]}`", "against": labels[key[1]]})
        whole, alone = (
            number(row[name], "{:+.1f} %").replace("–", "n/a")
            for name in ("bd_rate", "bd_rate_speech")
        )
        cells[metrics[row["metric"]]] = f"{whole} → {alone}".replace("-", "−")
    return markdown(pd.DataFrame(list(rows.values())))


def _rates(row: pd.Series) -> str:
    return f"{row['kbps_speech']:.2f}, {number(row['kbps_pauses'], '{:.2f}')}"
