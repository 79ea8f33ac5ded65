import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ecc.report.bd_rate import bd_rate_table, matched_rate_table, pair_table
from ecc.report.config import Report
from ecc.report.readme import (
    Trained,
    blocks,
    coding_costs,
    fill,
    footprint_table,
    machine_table,
    model_table,
    scoring_costs,
    study_costs,
    trial_table,
)

METRICS = ["pesq_wb", "visqol", "estoi"]
TEXT = "# Title\n\n<!-- begin: rd -->\nold\n<!-- end: rd -->\n\nrest\n"


def test_only_the_block_changes():
    assert fill(TEXT, {"rd": "new\n"}) == TEXT.replace("old", "new")


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"])))
def test_filling_twice_is_filling_once(content):
    once = fill(TEXT, {"rd": content})
    assert fill(once, {"rd": content}) == once


def test_empty_block_and_several_blocks():
    text = "<!-- begin: a -->\n<!-- end: a -->\n<!-- begin: b -->\nx\n<!-- end: b -->\n"
    filled = fill(text, {"a": "1", "b": "2"})
    assert filled == (
        "<!-- begin: a -->\n1\n<!-- end: a -->\n<!-- begin: b -->\n2\n<!-- end: b -->\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "<!-- begin: rd -->\n",
        "<!-- end: rd -->\n",
        "<!-- begin: rd -->\n<!-- end: bd -->\n",
        TEXT.replace("rd", "unknown"),
    ],
)
def test_broken_or_unknown_blocks_are_errors(text):
    with pytest.raises(ValueError, match=r"partner|no content"):
        fill(text, {"rd": "new"})


def test_blocks_hold_the_numbers_of_the_tables(make_scores, tmp_path):
    scores = pd.concat(
        [
            make_scores(codec, [(kbps, low), (2 * kbps, low + 1)], test_set=test_set)
            for test_set, low in (("default", 2.5), ("english", 2.0))
            for codec, kbps in (("ecc", 1.0), ("opus", 2.0))
        ]
    )
    config = Report(bootstrap=100, pairs=[("opus", "ecc")])
    codecs = pd.DataFrame({"codec": ["ecc", "opus"], "label": ["ECC", "Opus 1.6"]})
    codecs = codecs.assign(kind=["own", "conventional"], rate="measured")
    codecs.to_csv(tmp_path / "codecs.csv", index=False)

    def write(scores):
        arguments = (scores, ["ecc", "opus"], ["default", "english"], METRICS, config)
        matched_rate_table(*arguments).to_csv(tmp_path / "matched_rate.csv", index=False)
        bd_rate_table(*arguments).to_csv(tmp_path / "bd_rate.csv", index=False)
        pairs = pair_table(scores, [("opus", "ecc")], *arguments[2:])
        pairs.to_csv(tmp_path / "pairs.csv", index=False)

    write(scores)
    filled = blocks(tmp_path, ["english"], ["visqol"], config)
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in filled["rd"].splitlines()]
    assert rows[0] == ["test set", "metric", "codec", "1.2 kbps", "2 kbps", "3.2 kbps"]
    # Straight lines over log rate: 2 + log2(1.2), and 1 + log2(3.2).
    assert rows[2:] == [
        ["english", "ViSQOL", "ECC", "2.26", "3.00", "–"],
        ["english", "ViSQOL", "best conventional", "–", "2.00 (Opus 1.6)", "2.68 (Opus 1.6)"],
    ]
    assert "| all peers           | −50.0 % (2 of 2), – (0 of 2) |" in filled["bd_rate"]
    assert cells(filled["pairs"]) == [["Opus 1.6", "ECC", "+100.0 % (2 of 2), – (0 of 2)"]]
    write(scores.iloc[:0])
    empty = blocks(tmp_path, ["english"], ["visqol"], config)
    assert empty["rd"].startswith("No speech") and empty["bd_rate"].startswith("No two codecs")


def cells(table: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()]
    return rows[2:]


def test_models_are_told_by_their_files_and_logs(tmp_path):
    weights = {"a": np.zeros((3, 4), np.float16), "b": np.zeros(5, np.float16)}
    save_file({**weights, "table": np.zeros(100, np.int32)}, tmp_path / "m.safetensors")
    log = {"step": 3000, "seconds": 90.0, "valid": {"loss": 0.5}}
    (tmp_path / "metrics.json").write_text(json.dumps(log))
    trained = Trained(tmp_path / "m.safetensors", tmp_path / "metrics.json", step_seconds=12.0)
    (row,) = cells(model_table({"small": trained}))
    assert re.fullmatch("`[0-9a-f]{6}`", row[1])
    assert row[2:] == ["17", "0.0 MB", "3,000", "10.0 h", "2 min", "0.5000"]
    (row,) = cells(model_table({"grown": trained._replace(before=[6000, 300])}))
    assert row[4:7] == ["6,000 + 300 + 3,000", "31.0 h", "2 min"]


def test_trials_are_compared_with_the_base_before_them(tmp_path):
    points = [("base", "", 1.0), ("better", "train.ema=0.9", 0.5), ("base-b", "", 4.0)]
    points += [("worse", "train.ema=0.5", 6.0)]
    points = [(name, f"train.steps=600 {changes}", factor) for name, changes, factor in points]
    rows = [
        {"trial": name, "changes": changes, "steps": 600, "minutes": 5.0, "lmbda": lmbda}
        | {"kbps": factor * lmbda, "pesq_wb": lmbda}
        for name, changes, factor in points
        for lmbda in (1.0, 2.0, 3.0)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "trials.csv", index=False)
    text = trial_table(tmp_path / "trials.csv", ["pesq_wb"])
    # What all have in common is said once.
    common, table = text.split("\n\n")
    assert common == "All with `train.steps=600`."
    base, better, other, worse = cells(table)
    assert base == ["base", "none", "600", "5.0", "1.00 to 3.00", "–"]
    assert better[1:] == ["`train.ema=0.9`", "600", "5.0", "0.50 to 1.50", "−50.0 %, overlap 100 %"]
    assert other[-1] == "+300.0 %, overlap 100 %"
    assert worse[-1] == "+50.0 %, overlap 100 %"


def test_machines_stand_beside_one_another_by_model(tmp_path):
    assert machine_table(tmp_path / "machines.csv") == "No machines have been compared yet."
    rows = [
        {"machine": machine, "model": model, "clips": 9}
        | {"same_streams": same, "same_decodes": same - 1}
        for machine, same in (("sse", 9), ("avx2", 8))
        for model in ("rvq", "ecc")
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "machines.csv", index=False)
    first, second = cells(machine_table(tmp_path / "machines.csv"))
    assert first == ["sse", "9 / 8 of 9", "9 / 8 of 9"]
    assert second == ["avx2", "8 / 7 of 9", "8 / 7 of 9"]


def test_what_coding_takes_is_a_row_for_each_environment(tmp_path):
    path = tmp_path / "footprint.csv"
    assert footprint_table(path) == "Nothing has been measured yet."
    rows = [
        {"environment": name, "installed_mb": size, "command": what, "seconds": 10}
        | {"cpu_seconds": 0.456, "memory_mb": 99.6}
        for name, size in (("before", 7000.0), ("wheel", 131.2))
        for what in ("encode", "decode")
    ]
    pd.DataFrame(rows).to_csv(path, index=False)
    lines = footprint_table(path).splitlines()
    assert [cell.strip() for cell in lines[-1].strip("|").split("|")] == [
        "wheel", "131 MB", "0.46 s, 100 MB", "0.46 s, 100 MB",
    ]  # fmt: skip


def test_costs_by_codec_and_by_metric(tmp_path):
    table = tmp_path / "costs.csv"
    assert {coding_costs(table, {}), scoring_costs(table), study_costs(table)} == {
        "Nothing has been measured yet."
    }
    rows = [
        ("encode", "ours", 100, 0.6, 1.0),
        ("encode", "quick", 100, 0.03, 0.05),
        ("encode", "quicker", 50, 0.012, 0.01),
        ("decode", "ours", 99, 1.2, 2.0),
        ("decode", "quick", 100, 0.03, 0.05),
        ("score", "pesq_wb", 250, 0.24, 1.0),
        ("score", "visqol", 250, 1.7, 7.0),
    ]
    columns = ["part", "name", "utterances", "seconds_each", "core_minutes"]
    pd.DataFrame(rows, columns=columns).to_csv(table, index=False)
    labels = {"ours": "Ours", "quick": "Quick", "quicker": "Quicker"}
    lines = coding_costs(table, labels).splitlines()
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]] == [
        ["Ours", "100", "1.0", "2.0"],
        ["2 others", "150", "0.1", "0.1"],
        ["all", "250", "1.1", "2.0"],
    ]
    assert [
        cell.strip() for cell in scoring_costs(table).splitlines()[2].strip("|").split("|")
    ] == [*("`pesq_wb`", "0.240", "250", "1.0")]
    assert study_costs(table).startswith(
        "On two cores the first takes 1 minutes to encode and 1 to"
    )
    assert study_costs(table).endswith("; without those 4 more.")
