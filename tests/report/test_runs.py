import numpy as np
import pandas as pd
import pytest

from ecc.report.config import Report
from ecc.report.runs import METRICS, keep, run_table


def scores(factor: float) -> pd.DataFrame:
    """Of a codec that takes `factor` times the rate for the same quality."""
    rows = [
        {"codec": "ecc", "point": f"ecc.{p}", "test_set": "default", "utterance": f"u{u}"}
        | {"speaker": f"s{u}", "seconds": 3.0, "kbps": factor * (1 + p) * (1 + 0.01 * u)}
        | {"pesq_wb": 1.5 + 0.5 * p, "visqol": np.nan if u == 0 else 2.0 + 0.5 * p}
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


def test_without_runs_there_is_an_empty_table(tmp_path):
    table = run_table(scores(1.0), tmp_path, ["default"], METRICS, Report())
    assert table.empty and "bd_rate" in table


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
