"""What the study was meant to reach, and by how much that was missed."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from ecc.evaluate.metrics import LOWER_IS_BETTER
from ecc.report.bd_rate import mean_rate, pareto, quality_at
from ecc.report.config import AnyTarget, GapTarget, QualityTarget, RateTarget
from ecc.report.rd import Array

COLUMNS = ["target", "codec", "metric", "test_set", "goal", "found", "missed_by", "at"]


def target_table(
    targets: Sequence[AnyTarget],
    test_sets: Sequence[str],
    rd: pd.DataFrame,
    unseen: pd.DataFrame,
    bd_rate: pd.DataFrame,
    equal_rate: pd.DataFrame,
    kinds: Mapping[str, str],
) -> pd.DataFrame:
    """A row for each target (by its number), metric and test set.

    `found` is a BD-rate (against a codec of few points, the mean difference of log rate at its
    qualities, in percent), a quality, how far one is below that of the references, or, of a target
    to be ahead, the smallest lead over the others, which is at the point `at`. `missed_by` is 0
    where the target is met, and NaN, like `found`, where the scores do not tell.

    Args:
        targets: of the section `report` of params.yaml.
        test_sets: of the study; others that a target names are left out.
        rd: reports/rd.csv.
        unseen: reports/unseen.csv, for metrics that `rd` has no scores of.
        bd_rate: rows of reports/bd_rate.csv and reports/pairs.csv.
        equal_rate: reports/equal_rate.csv.
        kinds: of each codec, as in `ecc.params.Params.kinds`.
    """
    rows = []
    for number, target in enumerate(targets):
        for test_set in test_sets:
            if target.test_sets is not None and test_set not in target.test_sets:
                continue
            of_sets = (rd, unseen, bd_rate, equal_rate)
            for metric, goal, found, at in _found(target, test_set, *of_sets, kinds):
                # A BD-rate and a gap are to be low, as is a distance; a lead has a sign of its own.
                less = isinstance(target, RateTarget | GapTarget) or (
                    isinstance(target, QualityTarget) and metric in LOWER_IS_BETTER
                )
                short = found - goal if less else goal - found
                row = (number, target.codec, metric, test_set, goal, found)
                rows.append((*row, short if np.isnan(short) else max(0.0, short), at))
    return pd.DataFrame(rows, columns=COLUMNS)


def _found(
    target: AnyTarget,
    test_set: str,
    rd: pd.DataFrame,
    unseen: pd.DataFrame,
    bd_rate: pd.DataFrame,
    equal_rate: pd.DataFrame,
    kinds: Mapping[str, str],
) -> Iterator[tuple[str, float, float, str | None]]:
    """Metric, goal, what was found, and at which point of which codec."""
    if isinstance(target, RateTarget):
        for metric, goal in target.bd_rate.items():
            curves, points = (
                table[
                    (table["codec"] == target.codec)
                    & (table["anchor"] == target.against)
                    & (table["test_set"] == test_set)
                    & (table["metric"] == metric)
                ]
                for table in (bd_rate, equal_rate)
            )
            if len(points):  # too few for a curve
                found = mean_rate(points["rate_difference"].to_list())
            else:
                found = curves["bd_rate"].iloc[0] if len(curves) else np.nan
            yield metric, goal, found, None
    elif isinstance(target, QualityTarget):
        for metric, goal in target.quality.items():
            points = _points(target, test_set, metric, rd, unseen)
            yield metric, goal, float(_quality(points, metric, np.array([target.kbps]))[0]), None
    elif isinstance(target, GapTarget):
        for metric, goal in target.below_reference.items():
            points = _points(target, test_set, metric, rd, unseen)
            reached = float(_quality(points, metric, np.array([target.kbps]))[0])
            of_references = points.get(f"{metric}_reference", pd.Series(dtype=float))
            gap = of_references.iloc[0] - reached if len(of_references) else np.nan
            yield metric, goal, float(-gap if metric in LOWER_IS_BETTER else gap), None
    else:
        of_set = rd[rd["test_set"] == test_set]
        ours = of_set[of_set["codec"] == target.codec]
        rivals = [name for name, kind in kinds.items() if target.ahead_of in (name, kind)]
        theirs = of_set[of_set["codec"].isin(rivals) & (of_set["kbps"] <= target.below_kbps)]
        for metric in target.metrics:
            leads = _quality(ours, metric, theirs["kbps"].to_numpy()) - theirs[metric].to_numpy()
            leads = -leads if metric in LOWER_IS_BETTER else leads
            if np.isfinite(leads).any():
                least = int(np.nanargmin(leads))
                codec, point = theirs.iloc[least][["codec", "point"]]
                yield metric, 0.0, float(leads[least]), f"{codec} {point}"
            else:
                yield metric, 0.0, np.nan, None


def _points(
    target: AnyTarget, test_set: str, metric: str, rd: pd.DataFrame, unseen: pd.DataFrame
) -> pd.DataFrame:
    """Rows of the codec on a test set, of the table that has the metric; none if neither has."""
    table = rd if metric in rd else unseen
    if metric not in table:
        return table.head(0).assign(**{metric: np.nan})
    return table[(table["test_set"] == test_set) & (table["codec"] == target.codec)]


def _quality(points: pd.DataFrame, metric: str, kbps: Array) -> Array:
    """What a codec with these `points` reaches with `kbps` or less; NaN below its lowest rate."""
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    highest = points["kbps"].max()
    curve = pareto(points["kbps"].to_numpy(), sign * points[metric].to_numpy())
    return sign * quality_at(curve, np.minimum(kbps, highest), np.asarray(highest))
