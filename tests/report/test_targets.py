"""Targets, on points of which the quality at a rate is known."""

import numpy as np
import pandas as pd
import pytest

from ecc.report.config import GapTarget, LeadTarget, QualityTarget, RateTarget, Report
from ecc.report.rd import rd_table
from ecc.report.targets import target_table

KINDS = {"ecc": "own", "opus": "conventional", "silk": "conventional", "dac": "neural"}
RD = pd.DataFrame(
    [
        # codec, point, kbps, a quality, a distance
        ("ecc", "low", 1.0, 2.0, 4.0),
        ("ecc", "high", 4.0, 3.0, 2.0),
        ("opus", "3k", 2.0, 2.4, 1.0),
        ("opus", "9k", 9.0, 4.0, 1.0),
        ("silk", "5k", 5.0, 2.8, 1.0),
        ("dac", "0.5k", 0.5, 1.0, 9.0),
    ],
    columns=["codec", "point", "kbps", "pesq_wb", "log_mel_distance"],
).assign(test_set="a")
BD = pd.DataFrame(
    [("a", "pesq_wb", "ecc", "opus", -30.0), ("a", "visqol", "ecc", "opus", np.nan)],
    columns=["test_set", "metric", "codec", "anchor", "bd_rate"],
)
EQUAL = pd.DataFrame(
    [("a", "pesq_wb", "ecc", "dac", 60.0), ("a", "pesq_wb", "ecc", "dac", -60.0)],
    columns=["test_set", "metric", "codec", "anchor", "rate_difference"],
)


# Of a sample of the speech; a metric whose package was missing has no value.
UNSEEN = RD.assign(
    pesq_wb=np.nan,
    dnsmos_ovrl=RD["pesq_wb"],
    dnsmos_ovrl_reference=3.1,
    word_error_rate=RD["log_mel_distance"] / 100,
    speaker_similarity=np.nan,
)


def found(target, test_sets=("a",)):
    table = target_table([target], test_sets, RD, UNSEEN, BD, EQUAL, KINDS)
    return table.set_index(["test_set", "metric"])


@pytest.mark.parametrize(("goal", "missed"), [(-20, 0.0), (-30, 0.0), (-45, 15.0)])
def test_a_rate_is_missed_by_percentage_points(goal, missed):
    table = found(RateTarget(codec="ecc", against="opus", bd_rate={"pesq_wb": goal}))
    assert table.loc["a", "pesq_wb"]["missed_by"] == missed


def test_a_codec_of_few_points_is_met_at_their_qualities():
    table = found(RateTarget(codec="ecc", against="dac", bd_rate={"pesq_wb": -30}))
    assert table.loc["a", "pesq_wb"]["found"] == pytest.approx(-20)  # sqrt(1.6 · 0.4) = 0.8
    assert table.loc["a", "pesq_wb"]["missed_by"] == pytest.approx(10)


def test_a_rate_that_is_not_given_is_neither_met_nor_missed():
    table = found(RateTarget(codec="ecc", against="opus", bd_rate={"visqol": -20, "estoi": -20}))
    assert table[["found", "missed_by"]].isna().all(axis=None)


def test_a_quality_is_that_of_the_curve_at_the_rate():
    goals = {"pesq_wb": 2.7, "log_mel_distance": 2.7}
    # The middle of the rates by logarithm, of a straight line.
    table = found(QualityTarget(codec="ecc", kbps=2.0, quality=goals))
    assert table.loc["a", "pesq_wb"]["found"] == pytest.approx(2.5)
    assert table.loc["a", "pesq_wb"]["missed_by"] == pytest.approx(0.2)
    assert table.loc["a", "log_mel_distance"]["found"] == pytest.approx(3.0)
    assert table.loc["a", "log_mel_distance"]["missed_by"] == pytest.approx(0.3)


def test_what_all_speech_was_not_scored_by_is_of_the_sample():
    goals = {"word_error_rate": 0.02, "speaker_similarity": 0.85, "estoi": 0.9}
    table = found(QualityTarget(codec="ecc", kbps=2.0, quality=goals))
    assert table.loc["a", "word_error_rate"]["missed_by"] == pytest.approx(0.01)
    for metric in ("speaker_similarity", "estoi"):  # scored by none; asked of none
        assert table.loc["a", metric][["found", "missed_by"]].isna().all()


@pytest.mark.parametrize(("goal", "missed"), [(0.5, 0.1), (0.7, 0.0)])
def test_a_gap_is_to_the_references(goal, missed):
    table = found(GapTarget(codec="ecc", kbps=2.0, below_reference={"dnsmos_ovrl": goal}))
    assert table.loc["a", "dnsmos_ovrl"]["found"] == pytest.approx(0.6)
    assert table.loc["a", "dnsmos_ovrl"]["missed_by"] == pytest.approx(missed)
    table = found(GapTarget(codec="ecc", kbps=2.0, below_reference={"pesq_wb": goal}))
    assert table.loc["a", "pesq_wb"][["found", "missed_by"]].isna().all()  # hears the reference


def test_a_sample_of_no_speech_tells_nothing():
    columns = ["codec", "point", "test_set", "speaker", "kbps", "word_error_rate", "dnsmos_ovrl"]
    metrics = ["word_error_rate", "dnsmos_ovrl"]
    unseen = rd_table(pd.DataFrame(columns=columns), ["ecc"], ["b"], metrics, Report())
    for target in (
        QualityTarget(codec="ecc", kbps=4, quality={"word_error_rate": 0.03}),
        GapTarget(codec="ecc", kbps=4, below_reference={"dnsmos_ovrl": 0.1}),
    ):
        table = target_table((target,), ["a"], RD, unseen, BD, EQUAL, {})
        assert table[["found", "missed_by"]].isna().all(axis=None)


@pytest.mark.parametrize(("kbps", "quality"), [(0.9, np.nan), (1.0, 2.0), (4.0, 3.0), (9.0, 3.0)])
def test_beyond_its_rates_a_codec_has_its_best_quality_and_below_them_none(kbps, quality):
    table = found(QualityTarget(codec="ecc", kbps=kbps, quality={"pesq_wb": 2.0}))
    assert table.loc["a", "pesq_wb"]["found"] == pytest.approx(quality, nan_ok=True)


def test_a_lead_is_the_smallest_over_the_points_below_the_rate():
    lead = LeadTarget(codec="ecc", ahead_of="conventional", below_kbps=6, metrics=("pesq_wb",))
    row = found(lead).loc["a", "pesq_wb"]
    assert (row["found"], row["at"], row["missed_by"]) == (pytest.approx(0.1), "opus 3k", 0.0)
    row = found(lead.model_copy(update={"below_kbps": 9.0})).loc["a", "pesq_wb"]
    assert (row["at"], row["missed_by"]) == ("opus 9k", pytest.approx(1.0))


def test_a_lead_in_a_distance_is_the_smaller_one():
    lead = LeadTarget(codec="ecc", ahead_of="opus", below_kbps=3, metrics=("log_mel_distance",))
    assert found(lead).loc["a", "log_mel_distance"]["missed_by"] == pytest.approx(2.0)


def test_no_lead_is_told_where_no_rate_is_shared():
    lead = LeadTarget(codec="ecc", ahead_of="dac", below_kbps=6, metrics=("pesq_wb",))
    assert np.isnan(found(lead).loc["a", "pesq_wb"]["found"])


def test_a_target_counts_on_its_own_test_sets_of_those_that_take_part():
    target = QualityTarget(codec="ecc", kbps=2.0, quality={"pesq_wb": 2.0})
    assert len(found(target, ("a", "b"))) == 2
    narrow = target.model_copy(update={"test_sets": ("b", "c")})
    assert list(found(narrow, ("a", "b")).index) == [("b", "pesq_wb")]
