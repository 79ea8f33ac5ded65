import numpy as np
import pandas as pd
import pytest

from ecc.report.config import Report
from ecc.report.runs import METRICS, change_table, keep, run_table


def scores(factor: float, codec: str = "ecc", better: float = 0.0) -> pd.DataFrame:
    """Of a codec that takes `factor` times the rate for the same quality, or at equal rate has a
    PESQ `better` by so much."""
    rows = [
        {"codec": codec, "point": f"ecc.{p}", "test_set": "default", "utterance": f"u{u}"}
        | {"speaker": f"s{u}", "seconds": 3.0, "kbps": factor * (1 + p) * (1 + 0.01 * u)}
        | {
            "pesq_wb": 1.5 + 0.5 * p + 0.1 * u + better,
            "visqol": np.nan if u == 0 else 2.0 + 0.5 * p,
        }
        for p in range(3)
        for u in range(4)
    ]
    return pd.DataFrame(rows)


def test_the_curve_is_compared_with_itself_as_it_was(tmp_path):
    keep("first", scores(4.0), tmp_path)
    keep("second", scores(2.0), tmp_path)
    config = Report(runs={"first": "a first one", "second": "a second"})
    table = run_table(scores(1.0), tmp_path, ["default"], METRICS, config)
    found = table.set_index(["anchor", "metric"])["bd_rate"]
    for metric in ("pesq_wb", "visqol"):
        assert found["first", metric] == pytest.approx(-75)
        assert found["second", metric] == pytest.approx(-50)
    assert set(table["codec"]) == {"ecc"}
    # The first took 4 to 12 kbps, where there is no point now.
    assert table.groupby("anchor")["compared"].sum().to_dict() == {"first": 0, "second": 4}
    assert (table["change"].dropna() > 0).all()


@pytest.mark.parametrize(("better", "outside"), [(0.05, 0), (-0.05, 0), (0.4, 3), (-0.4, 3)])
def test_a_change_is_held_against_the_intervals_of_the_points(better, outside):
    # Speakers differ by 0.1 to 0.3, so that the mean of four of them is known to about 0.1.
    config = Report(runs={"first": "-"})
    kept = scores(1.0, "first", better=-better)
    table = change_table(scores(1.0), kept, ["default"], METRICS, config).set_index("metric")
    row = table.loc["pesq_wb"]
    for column in ("change", "change_low", "change_high"):
        assert row[column] == pytest.approx(better)
    assert (row["compared"], row["outside"]) == (3, outside)
    assert table.loc["visqol", "change"] == pytest.approx(0)
    assert table.loc["visqol", "outside"] == 0


def test_a_change_is_only_given_where_the_run_has_rates():
    config = Report(runs={"first": "-"})
    kept = scores(1.6, "first")  # 1.6 to 4.8 kbps beside 1 to 3
    row = change_table(scores(1.0), kept, ["default"], ["pesq_wb"], config).iloc[0]
    assert row["compared"] == 2
    # At 2 and 3 kbps, PESQ 2 and 2.5 (and the mean of the speakers), the run lies between its
    # first two points, 1.5 and 2.
    assert 0 < row["change_low"] < 0.5 < row["change_high"] < 1
    far = change_table(scores(1.0), scores(9.0, "first"), ["default"], ["pesq_wb"], config).iloc[0]
    assert np.isnan(far["change"]) and (far["compared"], far["outside"]) == (0, 0)


def test_one_speaker_has_no_interval_to_lie_outside_of():
    config = Report(runs={"first": "-"})
    ours, kept = (s[s["speaker"] == "s1"] for s in (scores(1.0), scores(1.0, "first", better=9.0)))
    row = change_table(ours, kept, ["default"], ["pesq_wb"], config).iloc[0]
    assert row["change"] == pytest.approx(-9)
    assert (row["compared"], row["outside"]) == (0, 0)


def test_without_runs_there_is_an_empty_table(tmp_path):
    table = run_table(scores(1.0), tmp_path, ["default"], METRICS, Report())
    assert table.empty and {"bd_rate", "change"} <= set(table)


def test_a_run_that_was_not_kept_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="other"):
        run_table(
            scores(1.0),
            tmp_path,
            ["default"],
            METRICS,
            Report(runs={"other": "-"}),
        )


@pytest.mark.parametrize("scored", [["estoi"], ["estoi", "visqol"]])
def test_a_study_without_the_metrics_of_runs_compares_by_those_that_it_has(tmp_path, scored):
    keep("first", scores(2.0), tmp_path)
    table = scores(1.0).rename(columns={"pesq_wb": "estoi"})
    table = table[[c for c in table if c != "visqol" or c in scored]]
    found = run_table(table, tmp_path, ["default"], scored, Report(runs={"first": "-"}))
    assert found["metric"].tolist() == [metric for metric in scored if metric == "visqol"]
