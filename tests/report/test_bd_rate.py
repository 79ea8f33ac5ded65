import bjontegaard
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from ecc.report.bd_rate import (
    BdRate,
    akima_integral,
    average_table,
    bd_quality,
    bd_rate,
    bd_rate_table,
    equal_rate_table,
    matched_rate_table,
    mean_rate,
    pair_table,
    pareto,
    pchip_integral,
    quality_at,
)
from ecc.report.config import Report

METRICS = ["pesq_wb", "visqol", "estoi"]
CONFIG = Report(bootstrap=200)
KBPS = np.array([0.7, 1.3, 2.2, 3.5, 6.0])
QUALITY = np.array([1.5, 2.1, 2.7, 3.1, 3.6])


def steps(low: float, high: float) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(low, high), min_size=2, max_size=7)


@st.composite
def curves(draw):
    """Points whose rate and quality rise, and whose quality starts between 1 and 2."""
    rates = np.cumsum(draw(steps(0.1, 2.0)))
    gains = draw(st.lists(st.floats(0.05, 1.0), min_size=len(rates) - 1, max_size=len(rates) - 1))
    return rates, draw(st.floats(1.0, 2.0)) + np.cumsum([0.0, *gains])


def test_same_curve_at_half_the_rate_is_minus_fifty_percent():
    found = bd_rate(pareto(KBPS / 2, QUALITY), pareto(KBPS, QUALITY))
    assert found.percent == pytest.approx(-50)
    assert found.overlap == pytest.approx(1)
    assert (found.low, found.high) == (1.5, 3.6)


def test_straight_lines_by_hand():
    # In log2 rate: the codec needs q, the anchor 2 q over the common range 2 … 3, where the
    # difference is −q, on average −2.5.
    codec = pareto(np.exp2([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    anchor = pareto(np.exp2([4.0, 6.0, 8.0]), np.array([2.0, 3.0, 4.0]))
    found = bd_rate(codec, anchor)
    assert found.percent == pytest.approx(100 * (2**-2.5 - 1))
    assert found.overlap == pytest.approx(1 / 3)


@pytest.mark.parametrize(("method", "integral"), [("pchip", None), ("akima", akima_integral)])
def test_agrees_with_bjontegaard(method, integral):
    anchor_kbps = np.array([5.2, 5.8, 6.7, 7.6, 8.8, 9.7])
    anchor_quality = np.array([1.73, 2.11, 2.49, 2.80, 2.97, 3.31])
    expected = bjontegaard.bd_rate(
        anchor_kbps, anchor_quality, KBPS, QUALITY, method=method,
        require_matching_points=False, min_overlap=0,
    )  # fmt: skip
    more = {} if integral is None else {"integral": integral}
    found = bd_rate(pareto(KBPS, QUALITY), pareto(anchor_kbps, anchor_quality), **more)
    assert found.percent == pytest.approx(expected, abs=1e-6)


def test_quality_of_straight_lines_by_hand():
    # Over log2 rate: the codec has x, the anchor x / 2 − 1 over the common range 2 … 3, where the
    # difference is x / 2 + 1, on average 2.25.
    codec = pareto(np.exp2([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    anchor = pareto(np.exp2([2.0, 4.0, 6.0]), np.array([0.0, 1.0, 2.0]))
    found = bd_quality(codec, anchor)
    assert found.quality == pytest.approx(2.25)
    assert found.overlap == pytest.approx(1 / 5)
    assert np.exp([found.low, found.high]) == pytest.approx([4, 8])


def test_quality_agrees_with_bjontegaard():
    anchor_kbps = np.array([2.2, 3.8, 6.7, 9.7])
    anchor_quality = np.array([1.73, 2.11, 2.80, 3.31])
    expected = bjontegaard.bd_psnr(
        anchor_kbps, anchor_quality, KBPS, QUALITY, method="pchip",
        require_matching_points=False, min_overlap=0,
    )  # fmt: skip
    found = bd_quality(pareto(KBPS, QUALITY), pareto(anchor_kbps, anchor_quality))
    assert found.quality == pytest.approx(expected, abs=1e-6)


@given(curves(), curves())
def test_quality_of_swapped_codecs_changes_its_sign(one, other):
    forth, back = (bd_quality(pareto(*a), pareto(*b)) for a, b in ((one, other), (other, one)))
    assert forth.quality == pytest.approx(-back.quality, nan_ok=True)
    assert forth.overlap == pytest.approx(back.overlap)


@given(curves(), curves())
def test_swapping_the_codecs_inverts_the_ratio(one, other):
    forth, back = (bd_rate(pareto(*a), pareto(*b)) for a, b in ((one, other), (other, one)))
    assert np.isnan(forth.percent) == np.isnan(back.percent)
    if not np.isnan(forth.percent):
        assert np.log1p(forth.percent / 100) == pytest.approx(-np.log1p(back.percent / 100))
        assert forth.overlap == pytest.approx(back.overlap)


@given(curves(), st.randoms(use_true_random=False), st.integers(0, 1))
def test_order_and_dominated_points_change_nothing(curve, random, worse):
    kbps, quality = curve
    at = random.randrange(len(kbps))
    order = random.sample(range(len(kbps) + 1), len(kbps) + 1)
    # A duplicate, or one that needs more rate for less quality.
    more_kbps = np.append(kbps, kbps[at] * (1 + 0.1 * worse))[order]
    more_quality = np.append(quality, quality[at] - 0.2 * worse)[order]
    np.testing.assert_array_equal(
        np.stack(pareto(more_kbps, more_quality)), np.stack(pareto(kbps, quality))
    )


@given(curves())
def test_rate_of_a_curve_against_itself_is_nothing(curve):
    assert bd_rate(pareto(*curve), pareto(*curve)).percent == pytest.approx(0, abs=1e-9)


@given(st.lists(curves(), min_size=1, max_size=5))
def test_many_curves_at_once_are_what_scipy_makes_of_each(several):
    width = max(len(kbps) for kbps, _ in several)
    padded = [[np.pad(v, (0, width - len(v)), constant_values=np.nan) for v in c] for c in several]
    together = pareto(*np.stack(padded, axis=1))
    at = np.array([0.05, 0.3, 1.0, 2.5, 7.0])
    found = quality_at(together, at, np.zeros(len(several)))
    ends = [(c.quality[0], c.quality[-1]) for c in (pareto(*curve) for curve in several)]
    low, high = (np.array(e) for e in zip(*[(a + (b - a) / 9, b) for a, b in ends], strict=True))
    areas = pchip_integral(together.quality, together.log_rate, low, high)
    for row, (kbps, quality) in enumerate(several):
        over_rate = PchipInterpolator(np.log(kbps), quality, extrapolate=False)
        np.testing.assert_allclose(found[row], over_rate(np.log(at)), rtol=1e-9)
        area = PchipInterpolator(quality, np.log(kbps)).integrate(low[row], high[row])
        assert areas[row] == pytest.approx(float(area), rel=1e-9, abs=1e-9)


@given(st.lists(st.tuples(curves(), curves()), min_size=1, max_size=4))
def test_many_bd_rates_at_once_are_each(pairs):
    def together(side):
        width = max(len(pair[side][0]) for pair in pairs)
        rows = [
            [
                np.pad(values, (0, width - len(values)), constant_values=np.nan)
                for values in pair[side]
            ]
            for pair in pairs
        ]
        # A curve of one point among others has no BD-rate.
        rows.append([np.where(np.arange(width) == 0, values, np.nan) for values in rows[0]])
        return pareto(*np.stack(rows, axis=1))

    found = bd_rate(together(0), together(1))
    for row, (one, other) in enumerate(pairs):
        alone = bd_rate(pareto(*one), pareto(*other))
        for name in BdRate._fields:
            expected = pytest.approx(float(getattr(alone, name)), nan_ok=True)
            assert getattr(found, name)[row] == expected, name
    assert np.isnan(found.percent[-1]) and found.overlap[-1] == 0


def test_points_without_a_value_are_left_out():
    curve = pareto(np.append(KBPS, [9.0, np.nan]), np.append(QUALITY, [np.nan, 4.0]))
    np.testing.assert_array_equal(curve.quality, QUALITY)
    assert len(pareto(np.array([np.nan]), np.array([np.nan])).quality) == 0


def test_without_common_range_or_points_there_is_no_bd_rate():
    apart = bd_rate(pareto(KBPS, QUALITY), pareto(KBPS, QUALITY + 3))
    assert np.isnan(apart.percent) and apart.overlap == 0
    assert np.isnan(bd_rate(pareto(KBPS, QUALITY), pareto(KBPS[:1], QUALITY[:1])).percent)


def test_quality_is_interpolated_and_never_extrapolated():
    curve = pareto(KBPS, QUALITY)
    found = quality_at(curve, np.array([0.69, 0.7, 1.0, 6.0, 6.1]), np.array(6.0))
    assert np.isnan(found[[0, 4]]).all()
    assert found[[1, 3]] == pytest.approx([1.5, 3.6])
    assert 1.5 < found[2] < 2.1
    # Halfway in log rate between two points of a line.
    line = pareto(np.array([1.0, 4.0]), np.array([2.0, 3.0]))
    assert quality_at(line, np.array([2.0]), np.array(4.0))[0] == pytest.approx(2.5)


def test_more_rate_for_no_more_quality_keeps_the_quality(make_scores):
    ours = make_scores("ecc", [(1.0, 2.0), (4.0, 3.0), (6.5, 2.9)])
    config = Report(bootstrap=100, matched_kbps=(2.0, 6.0, 7.0))
    matched = matched_rate_table(ours, ["ecc"], ["default"], METRICS, config)
    assert matched["kbps"].tolist() == [2.0, 6.0]
    assert matched["pesq_wb"].tolist() == pytest.approx([2.5, 3.0])
    assert matched[["pesq_wb_low", "pesq_wb_high"]].notna().all(axis=None)


def both(make_scores, anchor_points, speakers=4):
    ours = make_scores("ecc", list(zip(KBPS, QUALITY, strict=True)), speakers=speakers)
    return pd.concat([ours, make_scores("opus", anchor_points, speakers=speakers)])


def test_table_gives_rate_interval_and_overlap(make_scores):
    scores = both(make_scores, list(zip(2 * KBPS, QUALITY, strict=True)))
    result = bd_rate_table(scores, ["opus", "ecc", "evs"], ["default", "none"], METRICS, CONFIG)
    assert result["metric"].tolist() == METRICS
    assert result["anchor"].eq("opus").all() and result["codec"].eq("ecc").all()
    for column in ("bd_rate", "bd_rate_akima", "bd_rate_low", "bd_rate_high"):
        # Paired resamples: the speakers' offsets are common to both, so they cancel.
        np.testing.assert_allclose(result[column], -50)
    np.testing.assert_allclose(result["overlap"], 1)


def test_table_gives_quality_at_equal_rate(make_scores):
    gains = {"pesq_wb": 0.5, "visqol": 0.5, "estoi": 0.1}
    scores = both(make_scores, list(zip(KBPS, QUALITY - 0.5, strict=True)))
    result = bd_rate_table(scores, ["opus", "ecc"], ["default"], METRICS, CONFIG)
    assert result["quality_flag"].eq("ok").all()
    for column in ("bd_quality", "bd_quality_low", "bd_quality_high"):
        np.testing.assert_allclose(result[column], list(gains.values()))
    np.testing.assert_allclose(result["rate_overlap"], 1)
    np.testing.assert_allclose(result[["rate_low", "rate_high"]], [[0.7, 6.0]] * 3)


def test_codecs_of_few_points_are_met_at_their_rates(make_scores):
    scores = pd.concat(
        [
            make_scores("ecc", [(1.0, 2.0), (4.0, 3.0), (6.0, 2.9)]),
            make_scores("two", [(2.0, 2.25), (9.0, 2.5)]),
            make_scores("low", [(0.5, 1.0)]),
            make_scores("many", [(1.0, 2.0), (2.0, 2.5), (4.0, 3.0)]),
        ]
    )
    table = equal_rate_table(scores, ["ecc", "two", "low", "many"], ["default"], METRICS, CONFIG)
    table = table[table["metric"] == "pesq_wb"].set_index(["anchor", "point"])
    assert list(table.index) == [("two", "p0"), ("two", "p1"), ("low", "p0")]
    assert table["difference"].tolist() == pytest.approx([0.25, 0.5, np.nan], nan_ok=True)
    # Above its highest rate the best of ECC counts, and the speakers' offsets cancel.
    assert table.loc[("two", "p1"), ["codec_kbps", "codec_quality"]].tolist() == [6.0, 3.0]
    for end in ("low", "high"):
        assert table.loc["two", f"difference_{end}"].tolist() == pytest.approx([0.25, 0.5])
    assert table.loc["low", ["difference_low", "difference_high"]].isna().all(axis=None)
    # ECC's two points make a straight line over log rate: a quarter of the way is sqrt(2) kbps.
    needed = [100 * (2**0.5 / 2 - 1), 100 * (2 / 9 - 1), 100.0]  # `low` is worse than ECC can be
    assert table["rate_difference"].tolist() == pytest.approx(needed)
    for end in ("low", "high"):  # each speaker's offset moves both
        assert table[f"rate_difference_{end}"].tolist() == pytest.approx(needed)


def test_no_rate_is_given_for_a_quality_that_is_not_reached(make_scores):
    scores = pd.concat(
        [make_scores("ecc", [(1.0, 2.0), (4.0, 3.0)]), make_scores("demo", [(2.0, 3.5)])]
    )
    table = equal_rate_table(scores, ["ecc", "demo"], ["default"], METRICS, CONFIG)
    assert table["difference"].notna().all()
    assert table.filter(like="rate_difference").isna().all(axis=None)


def test_rates_are_averaged_as_logarithms():
    assert mean_rate([-50.0, 100.0]) == pytest.approx(0)
    assert np.isnan(mean_rate([-50.0, np.nan]))


def test_only_utterances_that_both_have_are_compared(make_scores):
    scores = pd.concat(
        [make_scores("ecc", [(1.0, 2.0), (4.0, 3.0)]), make_scores("demo", [(2.0, 2.0)])]
    )
    missing = scores["utterance"].str.startswith("s3")
    scores.loc[missing & (scores["codec"] == "demo"), ["kbps", *METRICS]] = np.nan
    scores.loc[missing & (scores["codec"] == "ecc"), METRICS] = 1.0
    table = equal_rate_table(scores, ["ecc", "demo"], ["default"], METRICS, CONFIG)
    assert table["difference"].tolist() == pytest.approx([0.5, 0.5, 0.1])


def test_pairs_are_compared_with_each_other_alone(make_scores):
    worse = list(zip(2 * KBPS, QUALITY, strict=True))
    scores = pd.concat([both(make_scores, worse), make_scores("full", worse)])
    arguments = (["default"], METRICS, CONFIG)
    result = pair_table(scores, [("ecc", "full"), ("opus", "ecc")], *arguments)
    pairs = zip(result["codec"], result["anchor"], strict=True)
    assert list(dict.fromkeys(pairs)) == [("ecc", "full"), ("opus", "ecc")]
    np.testing.assert_allclose(result["bd_rate"], [-50] * len(METRICS) + [100] * len(METRICS))
    none = pair_table(scores, [], *arguments)
    assert none.empty and list(none.columns) == list(result.columns)


def test_interval_holds_the_estimate(make_scores):
    scores = both(make_scores, list(zip(2 * KBPS, QUALITY, strict=True)), speakers=12)
    strong = scores["speaker"].isin(["s1", "s5", "s8"]) & (scores["codec"] == "ecc")
    scores.loc[strong, "kbps"] *= 0.8
    row = bd_rate_table(scores, ["ecc", "opus"], ["default"], METRICS, CONFIG).iloc[0]
    assert row["bd_rate_low"] < row["bd_rate"] < row["bd_rate_high"] < -50


@pytest.mark.parametrize(
    ("anchor", "flag"),
    [
        ([(5.0, 3.2), (9.0, 4.5)], "low overlap"),
        ([(5.0, 4.0), (9.0, 4.5)], "no overlap"),
        ([(5.0, 2.0)], "fewer than two points"),
    ],
)
def test_too_little_overlap_is_not_available(make_scores, anchor, flag):
    scores = both(make_scores, anchor)
    result = bd_rate_table(scores, ["ecc", "opus"], ["default"], METRICS, CONFIG)
    assert result["flag"].eq(flag).all()
    assert result.filter(like="bd_rate").isna().all(axis=None)


def test_single_speaker_gives_a_rate_without_interval(make_scores):
    scores = both(make_scores, list(zip(2 * KBPS, QUALITY, strict=True)), speakers=1)
    row = bd_rate_table(scores, ["ecc", "opus"], ["default"], METRICS, CONFIG).iloc[0]
    assert row["bd_rate"] == pytest.approx(-50)
    assert np.isnan(row["bd_rate_low"]) and np.isnan(row["bd_rate_high"])


def test_matched_rates_inside_each_range(make_scores):
    scores = both(make_scores, [(5.0, 2.0), (8.0, 3.0)])
    result = matched_rate_table(scores, ["ecc", "opus"], ["default"], METRICS, CONFIG)
    assert result.groupby("codec")["kbps"].apply(list).to_dict() == {
        "ecc": [0.8, 1.2, 2.0, 3.2, 6.0],
        "opus": [6.0],
    }
    inner = result[result["kbps"].eq(2.0)].iloc[0]
    assert inner["pesq_wb_low"] < inner["pesq_wb"] < inner["pesq_wb_high"]


def test_a_distance_is_compared_as_what_it_is_worth(make_scores):
    ours = make_scores("ecc", list(zip(KBPS, QUALITY, strict=True)))
    theirs = make_scores("opus", list(zip(2 * KBPS, QUALITY, strict=True)))
    scores = pd.concat([ours, theirs])
    scores["log_mel_distance"] = 10 - scores["visqol"]
    arguments = (["ecc", "opus"], ["default"], ["visqol", "log_mel_distance"], CONFIG)
    quality, distance = bd_rate_table(scores, *arguments).to_dict("records")
    for column in ("points", "bd_rate", "bd_rate_low", "bd_rate_high", "overlap", "flag"):
        assert distance[column] == pytest.approx(quality[column]), column
    assert distance["bd_rate"] == pytest.approx(-50)
    assert distance["quality_low"] == pytest.approx(10 - quality["quality_high"])
    assert distance["quality_high"] == pytest.approx(10 - quality["quality_low"])
    assert distance["bd_quality"] == pytest.approx(-quality["bd_quality"])
    assert distance["bd_quality_low"] == pytest.approx(-quality["bd_quality_high"])
    matched = matched_rate_table(scores, *arguments)
    np.testing.assert_allclose(matched["log_mel_distance"], 10 - matched["visqol"])
    np.testing.assert_allclose(matched["log_mel_distance_low"], 10 - matched["visqol_high"])


def test_codec_under_study_absent_gives_empty_tables(make_scores):
    scores = make_scores("opus", [(5.0, 2.0), (8.0, 3.0)])
    assert bd_rate_table(scores, ["ecc", "opus"], ["default"], METRICS, CONFIG).empty
    empty = matched_rate_table(scores.iloc[:0], ["ecc", "opus"], ["default"], METRICS, CONFIG)
    assert empty.empty and "pesq_wb_low" in empty


def test_averages_are_over_what_has_a_bd_rate():
    rows = [
        ("a", "visqol", "opus", -40.0, "ok", 0.4, "ok"),
        ("b", "visqol", "opus", -20.0, "ok", 0.2, "ok"),
        ("a", "visqol", "speex", -90.0, "ok", np.nan, "low overlap"),
        ("b", "visqol", "speex", np.nan, "low overlap", np.nan, "no overlap"),
        ("a", "estoi", "opus", np.nan, "no overlap", 0.1, "ok"),
    ]
    columns = ["test_set", "metric", "anchor", "bd_rate", "flag", "bd_quality", "quality_flag"]
    bd = pd.DataFrame(rows, columns=columns)
    averages = average_table(bd, {"all": ["opus", "speex"], "one": ["opus"], "none": ["evs"]})
    assert averages.drop(columns=["bd_rate", "bd_quality"]).to_numpy().tolist() == [
        ["all", "visqol", 4, 3, 2],
        ["all", "estoi", 1, 0, 1],
        ["one", "visqol", 2, 2, 2],
        ["one", "estoi", 1, 0, 1],
    ]
    assert averages["bd_quality"].tolist() == pytest.approx([0.3, 0.1, 0.3, 0.1])
    assert averages["bd_rate"].tolist() == pytest.approx([-50, np.nan, -30, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("quality", "anchor_quality", "percent", "overlap"),
    [
        # ViSQOL of Lyra V2 against Opus 1.6.1 on the same twelve utterances.
        (
            [1.878, 2.375, 3.402, 3.776, 3.879],
            [2.174, 2.689, 3.147, 3.396, 3.943, 4.101, 4.316, 4.440],
            -59.8,
            0.67,
        ),
        # PESQ-WB of the same.
        (
            [1.114, 1.482, 2.098, 2.699, 2.932],
            [1.728, 2.109, 2.486, 2.801, 2.972, 3.311, 3.746, 4.160],
            -34.8,
            0.40,
        ),
    ],
)
def test_measured_curves(quality, anchor_quality, percent, overlap):
    lyra = pareto(np.array([0.806, 1.612, 3.223, 6.043, 9.266]), np.array(quality))
    opus_kbps = np.array([5.225, 5.777, 6.678, 7.610, 8.788, 9.712, 11.593, 15.383])
    found = bd_rate(lyra, pareto(opus_kbps, np.array(anchor_quality)))
    assert found.percent == pytest.approx(percent, abs=0.15)
    assert found.overlap == pytest.approx(overlap, abs=0.01)
