import json
from pathlib import Path

import numpy as np
import pandas as pd

from ecc.report.config import Report
from ecc.report.headline import headline


def test_the_numbers_by_which_versions_are_compared(tmp_path: Path) -> None:
    rows = [("a", "ecc", 0.8, 2.0, 3.0), ("a", "ecc", 6.0, 2.123456789, np.nan)]
    rows += [("b", "ecc", 0.8, 1.0, 1.5), ("a", "opus", 6.0, 1.0, 1.0)]
    matched = pd.DataFrame(rows, columns=["test_set", "codec", "kbps", "pesq_wb", "visqol"])
    compared = [
        ("a", "pesq_wb", "ecc", "rvq", -40.0),
        ("b", "pesq_wb", "ecc", "rvq", -20.0),
        ("a", "visqol", "ecc", "rvq", np.nan),
        ("a", "pesq_wb", "ecc", "opus", -90.0),
        ("a", "estoi", "ecc", "rvq", -10.0),
    ]
    columns = ["test_set", "metric", "codec", "anchor", "bd_rate"]
    log = tmp_path / "ecc"
    log.mkdir()
    (log / "metrics.json").write_text(
        json.dumps({"step": 9, "seconds": 5400.0, "valid": {"loss": 0.5, "4": {"kbps": 1}}})
    )
    found = headline(
        matched,
        pd.DataFrame(compared, columns=columns),
        [log],
        ["pesq_wb", "visqol", "estoi"],
        ["a", "b", "absent"],
        Report(beside=("rvq", "absent"), matched_kbps=(0.8, 6.0, 9.0)),
    )
    assert found == {
        "quality": {"a": {"pesq_wb": 2.123}},
        "bd_rate": {"pesq_wb": {"rvq": -30.0}, "visqol": {}},
        "loss": {"ecc": 0.5},
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_study_of_nothing_has_no_numbers() -> None:
    empty = pd.DataFrame(columns=["test_set", "metric", "codec", "anchor", "bd_rate", "kbps"])
    found = headline(empty, empty, [], ["estoi"], ["a"], Report())
    assert found == {"quality": {}, "bd_rate": {}, "loss": {}}
