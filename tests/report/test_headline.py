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
    pairs = [("a", "visqol", "rvq-coded", "rvq", -25.0)]
    log = tmp_path / "ecc"
    log.mkdir()
    (log / "metrics.json").write_text(
        json.dumps({"step": 9, "seconds": 5400.0, "valid": {"loss": 0.5, "4": {"kbps": 1}}})
    )
    found = headline(
        matched,
        pd.DataFrame(compared, columns=columns),
        pd.DataFrame(pairs, columns=columns),
        [log],
        ["pesq_wb", "visqol", "estoi"],
        Report(beside=("rvq", "absent"), pairs=(("rvq-coded", "rvq"),)),
    )
    assert found == {
        "quality": {
            "a": {"pesq_wb": {"0.8 kbps": 2.0, "6 kbps": 2.12346}, "visqol": {"0.8 kbps": 3.0}},
            "b": {"pesq_wb": {"0.8 kbps": 1.0}, "visqol": {"0.8 kbps": 1.5}},
        },
        "bd_rate": {
            "pesq_wb": {"ecc against rvq": -30.0},
            "visqol": {"rvq-coded against rvq": -25.0},
        },
        "training": {"ecc": {"steps": 9, "loss": 0.5, "hours": 1.5}},
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_study_of_nothing_has_no_numbers() -> None:
    empty = pd.DataFrame(columns=["test_set", "metric", "codec", "anchor", "bd_rate", "kbps"])
    found = headline(empty, empty, empty, [], ["estoi"], Report())
    assert found == {"quality": {}, "bd_rate": {}, "training": {}}
