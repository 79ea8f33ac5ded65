"""Tables of the report on what the streams of our codecs hold, `reports/diagnostics/<codec>`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ecc.tables import read_table


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables of one codec: `pauses`, and those of `ecc.evaluate.diagnostics.diagnose` or
    `codebooks` of `ecc.evaluate.codebooks.code_books`."""
    return {path.stem: read_table(path) for path in sorted(folder.glob("*.csv"))}


def sections(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The `tables` of one codec as a reader wants them; `channels` is for a figure alone, and
    `pauses` are of several codecs (`ecc.report.pauses`)."""
    if "codebooks" in tables:
        return {"codebooks": codebook_table(tables["codebooks"])}
    if "rate" not in tables:
        return {}
    return {
        "rate": rate_table(tables["rate"]),
        "exactness": exactness_table(tables["exactness"]),
        "parts": part_table(tables["parts"]),
        "skip": skip_table(tables["skip"]),
        "context": context_table(tables["context"]),
    }


def rate_table(rate: pd.DataFrame) -> pd.DataFrame:
    """Real bits above the estimate by what they are for, in percent of the estimate."""

    def percent(bits: pd.Series) -> pd.Series:
        return (100 * bits / rate["estimated"]).map("{:+.2f} %".format)

    tables = rate["tables"] - rate["estimated"]
    return pd.DataFrame(
        {
            **_keys(rate),
            "files": rate["files"],
            "real kbps": (rate["file"] / rate["seconds"] / 1000).map("{:.3f}".format),
            "estimated kbps": (rate["estimated"] / rate["seconds"] / 1000).map("{:.3f}".format),
            "header, framing": percent(rate["header"] + rate["framing"]),
            "check": percent(rate["check"]),
            "coding": percent(tables + rate["coder"] + rate["rounding"]),
            "of it tables": percent(tables),
            "of it ANS": percent(rate["coder"]),
            "of it whole bytes": percent(rate["rounding"]),
        }
    )


def exactness_table(exactness: pd.DataFrame) -> pd.DataFrame:
    """The exact entropy model against the same without fixed point."""
    change = {name: _change(exactness[f"{name}_exact"], exactness[f"{name}_unrounded"])
              for name in ("kbps", "mse")}  # fmt: skip
    return pd.DataFrame(
        {
            **_keys(exactness),
            "estimated kbps": exactness["kbps_exact"].map("{:.3f}".format),
            "rate": change["kbps"],
            "squared error of ŷ": change["mse"],
        }
    )


def part_table(parts: pd.DataFrame) -> pd.DataFrame:
    """A row for each point, a column for the share of the bits of each part, and what skip does."""
    rows = []
    for (test_set, point), group in parts.groupby(["test_set", "point"], sort=False):
        total, y = group["kbps"].sum(), group[group["part"] != "z"]
        skipped = y["skipped"].sum()
        rows.append(
            {
                "test set": test_set,
                "point": point,
                "kbps": f"{total:.3f}",
                **{
                    part: f"{100 * kbps / total:.1f} %"
                    for part, kbps in zip(group["part"], group["kbps"], strict=True)
                },
                "skipped": f"{100 * skipped / y['elements'].sum():.1f} %",
                "saved": f"{100 * y['kbps_saved'].sum() / total:.2f} %",
                "lost of a million": _per_million(y["lost"].sum(), skipped),
            }
        )
    return pd.DataFrame(rows)


def skip_table(skip: pd.DataFrame) -> pd.DataFrame:
    """Each threshold against no skip at all."""
    none = skip.groupby(["test_set", "point"])[["kbps", "mse"]].transform("first")
    lost = zip(skip["lost"], skip["skipped"], strict=True)
    return pd.DataFrame(
        {
            **_keys(skip),
            "threshold": skip["threshold"],
            "kbps": skip["kbps"].map("{:.3f}".format),
            "rate": _change(skip["kbps"], none["kbps"]),
            "squared error of ŷ": _change(skip["mse"], none["mse"]),
            "skipped": (100 * skip["skipped"] / skip["elements"]).map("{:.1f} %".format),
            "lost of a million": [_per_million(*counts) for counts in lost],
        }
    )


def context_table(context: pd.DataFrame) -> pd.DataFrame:
    """What each slice gains by its contexts, and what is left to gain."""
    bits = {
        "y": "y",
        "y_previous": "y, frame before",
        "residual": "residual",
        "scale": "residual, scale",
        "scale_previous": "… and frame before",
        "scale_slice": "… and slice before",
        "spent": "spent",
    }
    explained = {
        "y_by_previous": "y from frame before",
        "y_by_slices": "y from slices",
        "residual_by_previous": "residual from frame before",
        "residual_by_slices": "residual from slices",
    }
    return pd.DataFrame(
        {
            **_keys(context),
            "part": context["part"],
            **{title: context[name].map(_bits) for name, title in bits.items()},
            **{title: context[name].map(_share) for name, title in explained.items()},
        }
    )


def codebook_table(codebooks: pd.DataFrame) -> pd.DataFrame:
    """A row for each test set and stage, at the point with the most stages."""
    most = codebooks[codebooks["point"] == last_point(codebooks)]
    size = np.log2(most["entries"])
    return pd.DataFrame(
        {
            "test set": most["test_set"],
            "stage": most["stage"],
            "tokens": most["tokens"],
            "used": [f"{a} of {b}" for a, b in zip(most["used"], most["entries"], strict=True)],
            "perplexity": most["perplexity"].map("{:.0f}".format),
            "entropy": most["entropy"].map(_bits),
            "spent": most["spent"].map(_bits),
            "saved": (100 * (1 - most["spent"] / size)).map("{:.1f} %".format),
        }
    )


def last_point(codebooks: pd.DataFrame) -> str:
    """The point with the most stages."""
    return str(codebooks.sort_values("stage", kind="stable")["point"].iloc[-1])


def _keys(table: pd.DataFrame) -> dict[str, pd.Series]:
    return {"test set": table["test_set"], "point": table["point"]}


def _change(value: pd.Series, reference: pd.Series) -> pd.Series:
    return (100 * (value / reference - 1)).map("{:+.2f} %".format)


def _per_million(lost: float, skipped: float) -> str:
    return f"{1e6 * lost / skipped:.0f}" if skipped else "–"


def _bits(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.3f}"


def _share(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.0f} %"
