"""What more compute would bring: a power law through models of other sizes, from one study.

Each model differs from the full one in one size alone. Over a size of `factor` times that of the
full model, rate at equal quality is taken as factor ** slope times the full model's, and the loss
likewise (Kaplan et al., "Scaling laws for neural language models", 2020). It knows of no floor, so
what it says of sizes beyond those trained is the most that could be hoped for.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ecc.report.ablations import Ablations

SIZES = {
    "steps": "steps",
    "hidden": "width of the hidden layers",
    "hours": "hours of speech",
}
LOSS = "loss"
FACTORS = (10, 100)  # of the full model's size, that the fit is asked about


def scaling(study: Ablations, metrics: Sequence[str]) -> pd.DataFrame:
    """Models of other sizes beside the full one.

    Returns:
        Columns `size` (a key of `SIZES`), `factor` (times that of the full model), `label`,
        `test_set`, `metric`, `change`, `low`, `high`: of rate at equal quality, and where `metric`
        is `LOSS`, without a test set, of the loss on validation speech; all in percent.
    """
    rows = []
    for model in study.codecs.to_dict("records"):
        # A codec with the models of another has no size, nor have tables that older studies left.
        factors = {size: model[size] / study.full[size] for size in SIZES if model.get(size, 0) > 0}
        other = [size for size, factor in factors.items() if factor != 1]
        if len(other) != 1 or len(factors) < len(SIZES):
            continue
        found = {"size": other[0], "factor": factors[other[0]], "label": model["label"]}
        change = 100 * (model["loss"] / study.full["loss"] - 1)
        rows.append(found | {"test_set": "", "metric": LOSS, "change": change})
        own = study.bd_rate[study.bd_rate["codec"] == model["codec"]]
        for row in own[own["metric"].isin(metrics) & (own["flag"] == "ok")].to_dict("records"):
            ends = {"low": row["bd_rate_low"], "high": row["bd_rate_high"]}
            of_row = {key: row[key] for key in ("test_set", "metric")}
            rows.append(found | of_row | {"change": row["bd_rate"]} | ends)
    columns = ["size", "factor", "label", "test_set", "metric", "change", "low", "high"]
    return pd.DataFrame(rows, columns=columns).sort_values(
        ["size", "factor"], kind="stable", ignore_index=True
    )


def fit(table: pd.DataFrame) -> pd.DataFrame:
    """The power law of each size in `scaling`'s table, by least squares through the full model.

    Returns:
        Columns `metric`, `test_set`, `size`, `models` (that it goes through), `slope`, and the
        change in percent at each of `FACTORS`, called by it.
    """
    rows = []
    for (metric, test_set, size), own in table.groupby(["metric", "test_set", "size"], sort=False):
        x, y = np.log(own["factor"]), np.log1p(own["change"] / 100)
        slope = float((x * y).sum() / (x * x).sum())
        found = {"metric": metric, "test_set": test_set, "size": size, "models": len(own)}
        rows.append(found | {"slope": slope} | {f: 100 * (f**slope - 1) for f in FACTORS})
    return pd.DataFrame(rows, columns=["metric", "test_set", "size", "models", "slope", *FACTORS])
