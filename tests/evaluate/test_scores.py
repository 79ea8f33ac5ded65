import math
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from ecc.evaluate import scores
from ecc.evaluate.coding import decode_streams, encode_test_sets
from ecc.evaluate.config import MetricName, ScoreConfig
from ecc.evaluate.scores import METRICS, estoi, pesq_wb, score_codec, score_pair, visqol


def score(study, metrics=("pesq_wb", "estoi")):
    score_codec(
        study.root / "streams",
        study.root / "decoded",
        study.test_sets,
        study.root / "speech",
        metrics,
        study.root / "scores.csv",
        study.root / "cache" / "scores.jsonl",
        workers=2,
    )
    names = dict.fromkeys(["point", "test_set", "utterance"], str)
    return pd.read_csv(study.root / "scores.csv", dtype=names)


@pytest.fixture
def coded(study):
    encode_test_sets(
        "toy",
        study.config,
        study.config.points,
        study.test_sets,
        study.root / "speech",
        study.root / "streams",
        "code",
        workers=2,
    )
    decode_streams(study.root / "streams", study.root / "decoded", "code", workers=2)
    return study


def test_one_row_for_every_utterance(coded):
    table = score(coded)
    assert list(table.columns) == [
        *("codec", "point", "test_set", "utterance", "speaker", "seconds", "kbps"),
        *("kbps_estimated", "delay", "pesq_wb", "estoi", "encode_seconds", "decode_seconds"),
        "reason",
    ]
    assert len(table) == 10
    good = table[table["reason"].isna()]
    assert len(good) == 8
    assert set(good["delay"]) == {25}
    kbps = 8 * (good["seconds"] * 16000 + 25) / good["seconds"] / 1000
    np.testing.assert_allclose(good["kbps"], kbps)
    np.testing.assert_allclose(good["kbps_estimated"], 112)
    means = good.groupby("point")[["pesq_wb", "estoi"]].mean()
    assert (means.loc["fine"] > means.loc["coarse"]).all()
    failed = table[table["reason"].notna()]
    assert list(failed["utterance"]) == ["001", "001"]
    assert failed[["kbps", "pesq_wb", "estoi"]].isna().all(axis=None)
    assert set(failed["reason"]) == {"encode: RuntimeError: too short for me"}


def test_nothing_is_scored_twice(coded):
    table = score(coded)
    journal = coded.root / "cache" / "scores.jsonl"
    lines = journal.read_text().splitlines()
    assert len(lines) == 2 * 8
    # As a killed run leaves it. A remembered score is believed: its line is made a wrong one.
    known, value = lines[0].rsplit(" ", 1)
    journal.write_text("\n".join([f"{known} 4.5678}}", *lines[1:9], lines[9][:20]]))
    again = score(coded)
    assert len(journal.read_text().splitlines()) == 2 * 8
    metrics = ["pesq_wb", "estoi"]
    differences = (again[metrics] - table[metrics]).abs().fillna(0).to_numpy()
    assert np.count_nonzero(differences) == 1
    assert math.isclose(differences.max(), abs(4.5678 - float(value[:-1])))
    score(coded, metrics=("estoi",))
    assert len(journal.read_text().splitlines()) == 2 * 8


def test_what_was_not_decoded_has_no_scores(coded):
    path = coded.root / "decoded" / "index.csv"
    lines = path.read_text().splitlines()
    broken = [*lines[:1], lines[1] + "bad stream", *lines[3:]]
    path.write_text("\n".join(broken) + "\n")
    reasons = score(coded)["reason"].to_list()
    assert reasons[:2] == ["decode: bad stream", "decode: missing"]


def test_an_absent_codec_has_an_empty_table(study):
    encode_test_sets(
        *("toy", study.config, {"none": {"step": 0}}, study.test_sets),
        *(study.root / "speech", study.root / "streams", "code", 2),
    )
    decode_streams(study.root / "streams", study.root / "decoded", "code", workers=2)
    assert score(study).empty


def test_a_failed_score_is_left_out_with_its_reason(monkeypatch, voice):
    signals = {"reference": voice(1), "decoded": np.zeros(16000, np.float32)}
    monkeypatch.setattr(scores, "_signals", lambda job: tuple(signals.values()))
    job = {"test_set": "a", "point": "p", "utterance": "u", "delay": 0}
    result = score_pair({**job, "metrics": ["pesq_wb", "visqol"]})
    assert result["scores"] == {}
    assert result["reason"] == (
        "pesq_wb: ValueError: decoded signal is silent; "
        "visqol: ValueError: decoded signal is silent"
    )
    signals["reference"] = signals["decoded"] = voice(0.1)
    result = score_pair({**job, "metrics": ["pesq_wb", "estoi"]})
    assert result["scores"] == {}
    assert "pesq_wb: BufferTooShortError" in result["reason"]
    assert "estoi: RuntimeWarning" in result["reason"]


def test_the_best_and_something_worse(voice):
    samples = voice(4)
    worse = samples + 0.02 * np.random.default_rng(0).standard_normal(64000).astype(np.float32)
    assert pesq_wb(samples, samples) == pytest.approx(4.64, abs=0.01)
    assert estoi(samples, samples) == pytest.approx(1, abs=1e-6)
    # Of identical speech the lattice says 4.5 and more, by the speech; without it 5.0.
    assert 4.3 < visqol(samples, samples) < 4.9
    for metric in METRICS.values():
        assert metric.function(samples, worse) < metric.function(samples, samples) - 0.05


def test_scores_are_the_same_every_time(voice):
    noisy = voice(2) + 0.01 * voice(2, seed=5)
    for metric in METRICS.values():
        assert metric.function(voice(2), noisy) == metric.function(voice(2), noisy)


def test_every_metric_of_the_params_exists():
    assert set(METRICS) == set(get_args(MetricName)) == set(ScoreConfig().metrics)
