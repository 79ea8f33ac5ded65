import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecc.report import rd
from ecc.report.config import Report

METRICS = ["pesq_wb", "visqol", "estoi"]
CONFIG = Report(bootstrap=400)


def table(scores, codecs=("ecc",), test_sets=("default",)):
    return rd.rd_table(scores, codecs, test_sets, METRICS, CONFIG)


def test_rate_is_total_bits_over_total_seconds(make_scores):
    scores = make_scores("ecc", [(1.0, 2.0)], speakers=1, estimated=0.9)
    scores.loc[scores["seconds"] == 2.0, "kbps"] = 5.0
    row = table(scores).iloc[0]
    assert row["kbps"] == pytest.approx((5 * 2 + 1 * 6) / 8)
    assert row["kbps_estimated"] == pytest.approx(0.9)


def test_missing_scores_are_left_out_and_counted(make_scores):
    scores = make_scores("ecc", [(1.0, 2.0)], speakers=2)
    scores.loc[0, "pesq_wb"] = np.nan
    scores.loc[0, "reason"] = "pesq_wb: no utterances detected"
    row = table(scores).iloc[0]
    assert row["pesq_wb"] == pytest.approx((1.9 + 2.1 + 2.1) / 3)
    assert row["visqol"] == pytest.approx(2.0)
    assert (row["n"], row["speakers"], row["failures"]) == (4, 2, 1)
    failures = rd.failure_table(scores, METRICS)
    assert failures[["reason", "utterances"]].to_numpy().tolist() == [
        ["pesq_wb: no utterances detected", 1]
    ]


def test_stream_that_failed_is_left_out_of_the_rate(make_scores):
    scores = make_scores("ecc", [(1.0, 2.0)], speakers=2)
    scores.loc[0, ["kbps", *METRICS, "encode_seconds", "decode_seconds"]] = np.nan
    row = table(scores).iloc[0]
    assert row["kbps"] == pytest.approx(1.0)
    assert row["failures"] == 1


def test_metric_missing_everywhere_is_nan(make_scores):
    scores = make_scores("ecc", [(1.0, 2.0)])
    scores["estoi"] = np.nan
    row = table(scores).iloc[0]
    assert row[["estoi", "estoi_low", "estoi_high"]].isna().all()
    assert row["failures"] == row["n"]


def test_interval_holds_the_estimate_and_spans_three_speakers(make_scores):
    row = table(make_scores("ecc", [(1.0, 2.0)], speakers=3)).iloc[0]
    assert (row["pesq_wb_low"], row["pesq_wb_high"]) == pytest.approx((1.9, 2.1))
    many = table(make_scores("ecc", [(1.0, 2.0)], speakers=40)).iloc[0]
    assert 1.9 < many["pesq_wb_low"] < many["pesq_wb"] < many["pesq_wb_high"] < 2.1
    # A uniform spread of ±0.1 has a standard deviation of 0.059: ±1.96 × 0.059 / √40.
    assert many["pesq_wb_high"] - many["pesq_wb_low"] == pytest.approx(0.0367, rel=0.15)


def test_one_speaker_has_no_interval(make_scores):
    row = table(make_scores("ecc", [(1.0, 2.0)], speakers=1)).iloc[0]
    assert row["pesq_wb"] == pytest.approx(2.0)
    assert np.isnan(row["pesq_wb_low"]) and np.isnan(row["pesq_wb_high"])


def test_rows_follow_the_study_and_the_rate_whatever_the_order(make_scores):
    scores = pd.concat(
        [
            make_scores("opus", [(8.0, 3.0)]),
            make_scores("ecc", [(2.0, 3.0), (1.0, 2.0)]),
            make_scores("ecc", [(1.0, 2.0)], test_set="english"),
        ]
    )
    result = table(scores, ("ecc", "opus"), ("english", "default"))
    assert result[["test_set", "codec", "point"]].agg(" ".join, axis=1).tolist() == [
        "english ecc p0",
        "default ecc p1",
        "default ecc p0",
        "default opus p0",
    ]
    shuffled = scores.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(table(shuffled, ("ecc", "opus"), ("english", "default")), result)


def test_resamples_draw_as_many_speakers():
    resamples = rd.resample_speakers(5, 200, seed=3)
    assert (resamples.weights.sum(axis=1) == 5).all()
    assert (resamples.weights[0] == 1).all()
    assert len(resamples.draws) == 200 and resamples.draws.min() >= 1
    again = rd.resample_speakers(5, 200, seed=3)
    assert (again.weights == resamples.weights).all() and (again.draws == resamples.draws).all()


def test_interval_needs_a_value_in_nearly_every_resample():
    resamples = rd.resample_speakers(8, 1000, seed=0)
    values = resamples.weights @ np.arange(8.0) / 8
    rare, often = (
        np.where(np.isin(np.arange(len(values)), resamples.draws[:count]), np.nan, values)
        for count in (10, 300)
    )
    low, high = rd.interval(np.stack([values, rare, often], axis=1), resamples)
    assert low[0] < 3.5 < high[0]
    assert np.isfinite([low[1], high[1]]).all()
    assert np.isnan([low[2], high[2]]).all()


def write(scores: pd.DataFrame, folder: Path, codec: str) -> None:
    scores.to_csv(folder / f"{codec}.csv", index=False)


def test_absent_codec_source_and_test_set(make_scores, tmp_path):
    scores = make_scores("ecc", [(1.0, 2.0)])
    write(scores, tmp_path, "ecc")
    write(scores.iloc[:0], tmp_path, "evs")
    write(scores.iloc[:0], tmp_path, "opus")
    read = rd.read_scores(tmp_path, ["ecc", "evs", "opus"], METRICS)
    assert read["reason"].eq("").all()
    for codec, available in (("ecc", True), ("evs", False), ("opus", True)):
        about = {"codec": codec, "class": "a:B", "version": "1"}
        about |= {"available": available, "reason": None if available else "no library"}
        about["rate"] = "nominal" if codec == "opus" else "measured"
        (tmp_path / codec).mkdir()
        (tmp_path / codec / "codec.json").write_text(json.dumps(about | {"points": {}}))
    kinds = {"ecc": "own", "evs": "conventional", "opus": "neural"}
    codecs = rd.read_codecs(tmp_path, kinds, {codec: codec.upper() for codec in kinds})
    assert codecs["label"].tolist() == ["ECC", "EVS", "OPUS, nominal rate"]
    assert dict(zip(codecs["codec"], codecs["kind"], strict=True)) == kinds
    sources = [
        {"source": "vctk", "available": False, "reason": "cannot be reached"},
        {"source": "june", "available": True, "reason": None},
    ]
    absent = rd.absent_table(codecs, sources, ["default", "english"], read)
    assert absent[["kind", "name"]].to_numpy().tolist() == [
        ["source", "vctk"],
        ["test set", "english"],
        ["codec", "evs"],
        ["codec", "opus"],
    ]
    assert absent["reason"].tolist()[2] == "no library"
    result = table(read, ("ecc", "evs", "opus"), ("default", "english"))
    assert result["codec"].tolist() == ["ecc"]


def test_references_have_one_value_in_a_test_set(make_scores, tmp_path):
    scores = pd.concat(
        [make_scores("ecc", [(1.0, 2.0), (2.0, 3.0)]), make_scores("opus", [(8, 3)])]
    )
    scores["dnsmos"] = 3.0
    scores["dnsmos_reference"] = np.where(scores["speaker"] == "s0", 3.8, 3.4)
    write(scores[scores["codec"] == "ecc"], tmp_path, "ecc")
    read = rd.read_scores(tmp_path, ["ecc"], [*METRICS, "dnsmos"])
    result = rd.rd_table(read, ["ecc"], ["default"], [*METRICS, "dnsmos"], CONFIG)
    assert result["dnsmos_reference"].to_list() == pytest.approx([3.5, 3.5])
    assert result["failures"].eq(0).all()
    assert not table(read).columns.str.endswith("_reference").any()


def test_nominal_rates_are_marked(make_scores):
    codecs = pd.DataFrame({"codec": ["ecc", "opus"], "rate": ["measured", "nominal"]})
    scores = pd.concat([make_scores("ecc", [(1.0, 2.0)]), make_scores("opus", [(2.0, 3.0)])])
    marked = rd.mark_rates(table(scores, ("ecc", "opus")), codecs)
    assert marked["rate"].tolist() == ["measured", "nominal"]
    assert marked["pesq_wb"].notna().all()
    pairs = pd.DataFrame({"codec": ["ecc", "ecc"], "anchor": ["opus", "evs"]})
    assert rd.mark_rates(pairs, codecs)["rate"].tolist() == ["nominal", "measured"]
    assert rd.mark_rates(table(scores.iloc[:0]), codecs)["rate"].empty


def test_a_ceiling_has_no_rate_and_has_not_failed(make_scores):
    codecs = pd.DataFrame(
        {"codec": ["ecc", "opus", "pcm"], "rate": ["measured", "nominal", "none"]}
    )
    assert rd.with_rate(codecs) == ["ecc", "opus"]
    scores = pd.concat([make_scores("ecc", [(1.0, 2.0)]), make_scores("pcm", [(128.0, 3.0)])])
    marked = rd.mark_rates(table(scores, ("ecc", "pcm")), codecs)
    assert marked["rate"].tolist() == ["measured", "none"]
    assert marked["kbps"].notna().tolist() == [True, False]
    assert marked["failures"].eq(0).all()
    assert marked["pesq_wb"].tolist() == pytest.approx([2.0, 3.0])


def test_speaker_called_na_is_a_speaker(make_scores, tmp_path):
    write(make_scores("ecc", [(1.0, 2.0)], speakers=1).assign(speaker="NA"), tmp_path, "ecc")
    assert rd.read_scores(tmp_path, ["ecc"], METRICS)["speaker"].eq("NA").all()


def test_nothing_at_all_gives_an_empty_table_with_its_columns(make_scores, tmp_path):
    write(make_scores("ecc", [(1.0, 2.0)]).iloc[:0], tmp_path, "ecc")
    scores = rd.read_scores(tmp_path, ["ecc"], METRICS)
    result = table(scores)
    assert result.empty
    assert result.columns.tolist()[:6] == [
        "codec", "point", "test_set", "n", "speakers", "kbps",
    ]  # fmt: skip
    assert rd.failure_table(scores, METRICS).empty


def test_codec_without_a_table_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        rd.read_scores(tmp_path, ["ecc"], METRICS)
