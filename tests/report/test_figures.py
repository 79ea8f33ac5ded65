import itertools

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ecc.report import figures
from ecc.report.bd_rate import pair_table
from ecc.report.config import Report
from ecc.report.rd import rd_table

METRICS = ["pesq_wb", "visqol", "estoi"]
POINTS = [(0.7, 1.5), (1.3, 2.1), (6.0, 3.6)]


@pytest.fixture
def rd(make_scores):
    scores = pd.concat(
        [make_scores("ecc", POINTS, estimated=0.98), make_scores("lpc", [(2.4, 1.5)])]
    )
    return rd_table(scores, ["ecc", "lpc"], ["default"], METRICS, Report(bootstrap=100))


KINDS = {"ecc": "own", "lpc": "conventional", "dac": "neural", "evs": "conventional"}
KIND = ["ecc", "lpc", "dac"]
LABELS = {"ecc": "ECC", "lpc": "LPC-10", "dac": "DAC (published), nominal rate", "evs": "EVS"}


def about(**rates):
    rows = [{"codec": c, "label": LABELS[c], "rate": rate} for c, rate in rates.items()]
    return pd.DataFrame(rows)


def legend(figure):
    """What stands in the legend."""
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    return [name for name in names if name]


@pytest.fixture
def styles():
    return figures.Styles(KINDS, LABELS, about(ecc="measured", lpc="measured"), "ecc")


def test_curves_show_the_points_of_the_table(rd, styles):
    figure = figures.rd_curves(rd, METRICS, styles)
    assert [axes.get_title() for axes in figure.axes] == ["PESQ-WB", "ViSQOL", "ESTOI"]
    ours, single = figure.axes[0].get_lines()
    assert ours.get_label() == "ECC"
    assert ours.get_xdata() == pytest.approx([0.7, 1.3, 6.0])
    assert ours.get_ydata() == pytest.approx([1.5, 2.1, 3.6])
    assert ours.get_linewidth() > single.get_linewidth()
    assert ours.get_zorder() > single.get_zorder()
    assert figure.axes[0].get_xscale() == "log"
    assert len(figure.axes[0].collections) == 1  # the interval of ECC alone


def test_ablations_have_a_row_each_and_a_colour_for_each_test_set(make_scores):
    scores = [
        make_scores(
            codec, [(factor * kbps, quality) for kbps, quality in POINTS], test_set=test_set
        )
        for codec, factor in (("full", 1.0), ("no-lrp", 1.1), ("no-skip", 2.0))
        for test_set in ("a", "b")
    ]
    pairs = [("no-lrp", "full"), ("no-skip", "full")]
    config = Report(bootstrap=100)
    table = pair_table(pd.concat(scores), pairs, ["a", "b"], METRICS, config)
    table["label"] = table["codec"].map({"no-lrp": "No LRP", "no-skip": "No skip"})
    figure = figures.ablations(table, METRICS)
    for axes in figure.axes:
        of_sets = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
        assert [line.get_label() for line in of_sets] == ["a", "b"]
        for line in of_sets:
            assert line.get_xdata() == pytest.approx([10, 100])
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["No LRP", "No skip"]


def test_a_control_is_in_no_figure(rd):
    codecs = about(ecc="measured", lpc="measured")
    styles = figures.Styles(KINDS | {"lpc": "control"}, LABELS, codecs, "ecc")
    figure = figures.rd_curves(rd, METRICS, styles)
    for axes in figure.axes:
        assert not axes.texts
        assert [line.get_label() for line in axes.get_lines()] == ["ECC"]


def test_no_name_is_written_over_the_curves_and_all_are_in_the_legend(rd, styles):
    figure = figures.rd_curves(rd, METRICS, styles)
    assert not any(axes.texts for axes in figure.axes)
    assert legend(figure) == ["this study", "ECC", "conventional", "LPC-10"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_legend_is_as_wide_as_its_figure_at_most(make_scores, number):
    """However many panels there are, and of codecs with long names."""
    kinds = {"ecc": "own"} | {f"c{i}": KINDS[KIND[i % 3]] for i in range(18)}
    labels = {codec: f"A codec that has a long name, {codec}" for codec in kinds}
    codecs = pd.DataFrame([{"codec": c, "label": labels[c], "rate": "measured"} for c in kinds])
    scores = pd.concat([make_scores(codec, POINTS[:2]) for codec in kinds])
    table = rd_table(scores, list(kinds), ["default"], METRICS, Report(bootstrap=100))
    styles = figures.Styles(kinds, labels, codecs, "ecc")
    figure = figures.rd_curves(table, METRICS[:number], styles)
    figure.draw_without_rendering()
    drawn = figure.legends[0].get_window_extent()
    assert drawn.x0 >= 0 and drawn.x1 <= figure.bbox.width
    assert drawn.y0 >= 0 and drawn.y1 < min(axes.bbox.y0 for axes in figure.axes)
    assert len(legend(figure)) == 3 + len(kinds)


def test_legend_columns_hold_one_kind(make_scores):
    names = ["ecc", "lpc", "dac", "evs"]
    scores = pd.concat([make_scores(name, POINTS) for name in names])
    table = rd_table(scores, names, ["default"], METRICS, Report(bootstrap=100))
    codecs = about(**dict.fromkeys(names, "measured") | {"dac": "nominal"})
    figure = figures.rd_curves(table, METRICS, figures.Styles(KINDS, LABELS, codecs, "ecc"))
    (legend,) = figure.legends
    entries = [text.get_text() for text in legend.get_texts()]
    rows = len(entries) // legend._ncols
    columns = [entries[start : start + rows] for start in range(0, len(entries), rows)]
    assert [[entry for entry in column if entry] for column in columns] == [
        ["this study", "ECC"],
        ["conventional", "LPC-10"],
        ["EVS"],
        ["published decodes, nominal rate", "DAC"],
    ]


def test_two_codecs_of_one_name_have_an_entry_each(make_scores):
    kinds, labels = KINDS | {"evs": "neural"}, LABELS | {"evs": "DAC"}
    scores = pd.concat([make_scores(name, POINTS) for name in ("ecc", "evs", "dac")])
    table = rd_table(scores, ["ecc", "evs", "dac"], ["default"], METRICS, Report(bootstrap=100))
    codecs = about(ecc="measured", evs="measured", dac="nominal")
    codecs.loc[codecs["codec"] == "evs", "label"] = "DAC"
    figure = figures.rd_curves(table, METRICS, figures.Styles(kinds, labels, codecs, "ecc"))
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries.count("DAC") == 2


def test_a_dashed_line_is_what_the_references_score(rd, styles):
    rd["visqol_reference"] = 4.5
    figure = figures.rd_curves(rd, METRICS, styles)
    assert [len(axes.get_lines()) for axes in figure.axes] == [2, 3, 2]
    assert list(figure.axes[1].get_lines()[-1].get_ydata()) == [4.5, 4.5]
    assert legend(figure)[-2:] == ["without a rate", "the references"]


def test_a_ceiling_is_a_line_without_a_rate(rd):
    rd.loc[rd["codec"] == "lpc", "kbps"] = np.nan
    styles = figures.Styles(KINDS, LABELS, about(ecc="measured", lpc="none"), "ecc")
    figure = figures.rd_curves(rd, METRICS, styles)
    axes = figure.axes[0]
    _, ceiling = axes.get_lines()
    assert list(ceiling.get_ydata()) == pytest.approx([1.5, 1.5])
    assert list(ceiling.get_xdata()) == [0, 1] and ceiling.get_linestyle() == "-."
    assert axes.get_xlim() == pytest.approx((0.85 * 0.7, 1.18 * 6.0))
    assert not axes.texts
    assert legend(figure) == ["this study", "ECC", "without a rate", "LPC-10"]


def test_rates_beyond_the_axis_are_left_out(make_scores, styles):
    scores = pd.concat([make_scores("ecc", POINTS), make_scores("lpc", [(9.0, 3.0), (24.0, 4.0)])])
    table = rd_table(scores, ["ecc", "lpc"], ["default"], METRICS, Report(bootstrap=100))
    _, other = figures.rd_curves(table, METRICS, styles).axes[0].get_lines()
    assert other.get_xdata() == pytest.approx([9.0])


def test_nominal_rates_are_hollow_and_named_without_brackets(rd):
    rd["codec"] = rd["codec"].replace("lpc", "dac")
    styles = figures.Styles(KINDS, LABELS, about(ecc="measured", dac="nominal"), "ecc")
    figure = figures.rd_curves(rd, METRICS, styles)
    ours, other = figure.axes[0].get_lines()
    assert ours.get_markerfacecolor() == ours.get_color() and ours.get_linestyle() == "-"
    assert other.get_markerfacecolor() == "white" and other.get_linestyle() == ":"
    assert "hollow: nominal" in figure.axes[0].get_xlabel()
    assert "DAC" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_overhead_is_in_percent_of_the_estimate(rd, styles):
    figure = figures.rate_overhead(rd, styles)
    lines = [line for line in figure.axes[0].get_lines() if line.get_label() == "ECC"]
    assert lines[0].get_ydata() == pytest.approx([100 * (1 / 0.98 - 1)] * 3)


def test_training_curves_read_what_dvclive_wrote(tmp_path):
    assert figures.training_curves(tmp_path, ["ecc"]) is None
    runs = (("ecc", "100", [3.0, 2.0]), ("ecc", "20", [4.0, 1.0]), ("rvq", "2", [5.0, 5.0]))
    for model, lmbda, values in runs:
        folder = tmp_path / model / "plots" / "metrics" / "valid" / lmbda
        folder.mkdir(parents=True)
        for metric in ("distortion", "kbps"):
            table = pd.DataFrame({"step": [0, 100], metric: values})
            table.to_csv(folder / f"{metric}.tsv", sep="\t", index=False)
    figure = figures.training_curves(tmp_path, ["ecc"])
    assert [axes.get_title() for axes in figure.axes] == ["distortion", "kbps"]
    for axes in figure.axes:
        lines = axes.get_lines()
        assert [(line.get_label(), list(line.get_ydata())) for line in lines] == [
            ("ecc, λ = 20", [4.0, 1.0]),
            ("ecc, λ = 100", [3.0, 2.0]),
        ]


def test_bits_of_tokens_are_shown_by_stage(codebooks):
    (axes,) = figures.codebook_bits(codebooks, "p1").axes
    sent, _, spent = axes.get_lines()
    assert list(sent.get_ydata()) == [4.0, 4.0]
    assert list(spent.get_ydata()) == [3.0, 3.5]


def test_equal_figures_give_equal_small_files(rd, styles, tmp_path):
    for name in ("a.png", "b.png"):
        figures.save(figures.rd_curves(rd, METRICS, styles), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").stat().st_size < 150_000
    assert Image.open(tmp_path / "a.png").info.keys() <= {"dpi"}


def test_a_codec_has_its_colour_to_the_last_bit(make_scores, tmp_path):
    names = [f"c{number}" for number in range(19)]
    kinds = dict(zip(names, ["neural"] * 9 + ["conventional"] * 10, strict=True)) | {"ecc": "own"}
    labels = {name: name for name in kinds}
    codecs = pd.DataFrame({"codec": list(kinds), "label": list(kinds), "rate": "measured"})
    styles = figures.Styles(kinds, labels, codecs, "ecc")
    scores = [make_scores(c, [(1 + 0.5 * i, 2 + 0.1 * i)]) for i, c in enumerate(kinds)]
    table = rd_table(pd.concat(scores), list(kinds), ["default"], METRICS, Report(bootstrap=100))
    figures.save(figures.rd_curves(table, METRICS, styles), tmp_path / "a.png")
    image = Image.open(tmp_path / "a.png").convert("RGB")
    drawn = {f"#{r:02x}{g:02x}{b:02x}" for _, (r, g, b) in image.getcolors(10**6)}
    assert {styles.colours[codec] for codec in kinds} <= drawn


def test_bit_shares_add_up_to_all(diagnostics):
    axes, _ = figures.bit_shares(diagnostics["parts"]).axes
    assert axes.get_title() == "a"
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
    assert max(tops) == pytest.approx(100)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.6", "1.2"]


def test_skip_is_shown_against_no_skip(diagnostics):
    rate, error = figures.skip_sweep(diagnostics["skip"]).axes
    for axes, change in ((rate, [0, -5, -10]), (error, [0, 1, 2])):
        (line,) = [e for e in axes.get_lines() if (e.get_gid(), e.get_label()) == ("a", "p0")]
        assert line.get_ydata() == pytest.approx(change)


def test_points_of_skip_have_a_colour_each_on_all_test_sets(diagnostics):
    figure = figures.skip_sweep(diagnostics["skip"])
    lines = [line for line in figure.axes[0].get_lines() if line.get_gid()]
    assert len(lines) > len({line.get_label() for line in lines})
    assert len({(line.get_label(), line.get_color()) for line in lines}) == len(legend(figure))


def test_names_of_bars_do_not_touch(diagnostics):
    parts = diagnostics["parts"]
    parts = pd.concat([parts.assign(point=parts["point"] + str(i)) for i in range(5)])
    figure = figures.bit_shares(parts)
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert len(boxes) == 10
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_channels_are_sorted_within_their_part(diagnostics):
    channels = diagnostics["channels"]
    one = channels[(channels["point"] == "p0") & (channels["test_set"] == "a")]
    (axes,) = figures.channel_bits(one).axes
    bars = [bar.get_height() for bar in axes.patches]
    assert bars == [2.0, 0.5, 1.0, 0.0]


def test_channels_of_equal_bits_stay_in_order():
    # What sorts otherwise follows the instruction set.
    number = np.arange(64)
    channels = pd.DataFrame({"part": "z", "spent": number % 3, "entropy": number})
    (axes,) = figures.channel_bits(channels.assign(entropy_y=number)).axes
    expected = sorted(number, key=lambda channel: -(channel % 3))
    assert all(list(line.get_ydata()) == expected for line in axes.lines)


def test_timeline_stacks_the_parts_below_the_spectrum():
    table = pd.DataFrame(
        {"seconds": [0.0, 0.02], "z": [1, 1], "slice 1": [3, 5], "0": [-80, 0], "8000": [-9, -9]}
    )
    above, below = figures.timeline(table).axes
    assert above.images[0].get_array().shape == (2, 2)
    assert above.images[0].get_extent() == [0, 0.04, 0, 8]
    assert [band.get_label() for band in below.collections] == ["z", "slice 1"]
    assert below.collections[-1].get_paths()[0].vertices[:, 1].max() == 6
