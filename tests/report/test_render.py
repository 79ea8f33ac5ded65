import numpy as np
import pandas as pd
import pytest

from ecc.report import rd as rate_distortion
from ecc.report.bd_rate import (
    bd_rate_table,
    equal_rate_table,
    matched_rate_table,
    pair_table,
)
from ecc.report.config import GapTarget, LeadTarget, QualityTarget, RateTarget, Report
from ecc.report.markdown import markdown
from ecc.report.render import (
    average_pivot,
    bd_quality_cell,
    bd_rate_cell,
    change_cell,
    leads,
    pair_pivot,
    points_table,
    render,
    summary_table,
    target_pivot,
    with_interval,
)
from ecc.report.runs import run_table
from ecc.report.targets import COLUMNS, target_table

METRICS = ["pesq_wb", "visqol", "estoi"]
CONFIG = Report(bootstrap=100)
SOURCE = {
    "source": "june",
    "available": True,
    "reason": None,
    "licence": "CC-BY-SA-3.0",
    "url": "Debian pool/main/a/asterisk",
    "version": "1.6",
    "splits": {"test": {"clips": 40, "hours": 0.5, "speakers": 3}},
}
PARAMETERS = {"codec": {"width": 192}, "models": {"ecc-1": {"lmbda": 6.0}}}


def write_tables(folder, scores, codecs, test_sets, sources=(), pairs=()):
    """What workflow/stages/aggregate.py writes."""
    names = codecs["codec"].tolist()
    rated = rate_distortion.with_rate(codecs)
    arguments = (test_sets, METRICS, CONFIG)
    tables = {
        "rd": rate_distortion.rd_table(scores, names, *arguments),
        "bd_rate": bd_rate_table(scores, rated, *arguments),
        "matched_rate": matched_rate_table(scores, rated, *arguments),
        "equal_rate": equal_rate_table(scores, rated, *arguments),
        "speech_bd_rate": bd_rate_table(scores.iloc[:0], rated, *arguments),
        "unseen_bd_rate": bd_rate_table(scores.iloc[:0], rated, *arguments),
        "unseen_equal_rate": equal_rate_table(scores.iloc[:0], rated, *arguments),
    }
    tables = {name: rate_distortion.mark_rates(t, codecs) for name, t in tables.items()} | {
        "pairs": pair_table(scores, pairs, *arguments),
        "targets": pd.DataFrame(columns=COLUMNS),
        "runs": run_table(scores, folder, *arguments),
        "unseen": rate_distortion.rd_table(
            scores.iloc[:0], names, test_sets, ["dnsmos_ovrl"], CONFIG
        ),
        "codecs": codecs.drop(columns="version"),
        "absent": rate_distortion.absent_table(codecs, sources, test_sets, scores),
        "failures": rate_distortion.failure_table(scores, METRICS),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def text_of(*arguments):
    """The report, and all tables below it."""
    return "\n".join(render(*arguments).values())


def about(*names, available=True, rate="measured", kind="conventional"):
    return pd.DataFrame(
        [
            {"codec": name, "label": name.upper(), "version": "1.0", "available": available}
            | {"rate": rate, "kind": "own" if name == "ecc" else kind}
            | {"reason": None if available else "its library is not installed"}
            for name in names
        ]
    )


@pytest.fixture
def scores(make_scores):
    ours = make_scores("ecc", [(1.0, 2.0), (2.0, 3.0), (4.0, 4.0)], estimated=0.5)
    opus = make_scores("opus", [(2.0, 2.0), (4.0, 3.0), (8.0, 4.0)])
    return pd.concat([ours, opus], ignore_index=True)


def test_numbers_of_the_tables_stand_in_the_report(scores, tmp_path):
    scores.loc[0, ["pesq_wb", "reason"]] = [np.nan, "pesq_wb: silent | empty"]
    write_tables(tmp_path, scores, about("ecc", "opus"), ["default"])
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "rd_default.png").touch()
    text = text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)
    assert "(figures/rd_default.png)" in text
    assert "48 decoded" in text and "1 of 48" in text
    assert r"silent \| empty" in text
    assert "−50.0 [−50.0, −50.0] %, overlap 100 %" in text
    assert "+100.00 %" in text
    assert "CC-BY-SA-3.0" in text and "0.50 h, 3 sp." in text
    assert "codec: {width: 192}" in text
    assert "Nothing: every source" in text


def test_a_lead_is_over_the_highest_rate_up_to_which_others_are_behind():
    qualities = {  # at 1, 2, 4 and 8 kbps
        "ecc": [np.nan, 3.0, 3.5, 3.8],
        "lyra": [1.0, 1.5, 2.9, 3.1],
        "codec2": [1.2, 1.4, np.nan, np.nan],
        "opus": [np.nan, np.nan, 2.5, 2.8],
        "rvq": [1.0, 2.0, 2.5, 2.6],
    }
    rows = [
        {"test_set": "a", "codec": codec, "kbps": kbps, "visqol": value, "log_mel_distance": -value}
        for codec, values in qualities.items()
        for kbps, value in zip((1, 2, 4, 8), values, strict=True)
    ]
    codecs = about(*qualities)
    codecs.loc[codecs["codec"] == "lyra", "kind"] = "neural"
    codecs.loc[codecs["codec"] == "rvq", "kind"] = "own"
    config = CONFIG.model_copy(update={"beside": ("lyra", "rvq", "absent")})
    matched = pd.DataFrame(rows)
    assert leads(matched, codecs, ["visqol", "log_mel_distance"], ["a", "b"], config) == [
        "On `a`, ECC at 2 kbps has ViSQOL 3.00, better than LYRA at 4 kbps (2.90) and the best "
        "conventional codec at 8 kbps (2.80, OPUS).",
        "On `a`, ECC at 2 kbps has log-mel distance, dB ↓ -3.00, better than LYRA at 4 kbps "
        "(-2.90) and the best conventional codec at 8 kbps (-2.80, OPUS).",
    ]
    matched.loc[(matched["codec"] == "opus") & (matched["kbps"] == 4), "visqol"] = 3.2
    (sentence,) = leads(matched, codecs, ["visqol"], ["a"], config)
    assert "the best conventional codec at 2 kbps (1.40, CODEC2)" in sentence


def test_the_report_says_which_metrics_the_training_imitates(scores, tmp_path):
    write_tables(tmp_path, scores, about("ecc", "opus"), ["default"])
    loss = {"loudness": 0.1, "structure": 0.0, "naturalness": 0.5}
    text = text_of(tmp_path, [], METRICS, CONFIG, {"train": {"loss": loss}})
    assert "trained with imitates PESQ, DNSMOS." in text
    assert "imitates" not in text_of(tmp_path, [], METRICS, CONFIG, {})


def test_tables_that_the_report_has_no_room_for_stand_apart(scores, tmp_path):
    write_tables(tmp_path, scores, about("ecc", "opus"), ["default"])
    texts = render(tmp_path, [], METRICS, CONFIG, PARAMETERS)
    assert list(texts) == ["report", "tables"]
    assert "All points of <code>default</code>" in texts["tables"]
    assert "All points of" not in texts["report"] and "(tables.md)" in texts["report"]


@pytest.fixture
def write_ablations(make_scores, tmp_path):
    """Writes the tables of a full model, and of one that takes `factor` of its rate."""

    def write(full, label, factor):
        points = [(1.0, 2.0), (2.0, 3.0), (4.0, 4.0)]
        less = f"{full}-less"
        rows = pd.concat(
            [make_scores(full, points), make_scores(less, [(factor * r, q) for r, q in points])]
        )
        codecs = about(full, less).assign(label=[label, "LESS"], steps=300, crops=8, lmbda="4 16")
        found = rate_distortion.rd_table(rows, [full, less], ["default"], METRICS, CONFIG)
        folder = tmp_path / "ablations" / full
        folder.mkdir(parents=True)
        rate_distortion.mark_rates(found, codecs).to_csv(folder / "rd.csv", index=False)
        pairs = pair_table(rows, [(less, full)], ["default"], METRICS, CONFIG)
        pairs.to_csv(folder / "bd_rate.csv", index=False)
        codecs.to_csv(folder / "codecs.csv", index=False)

    return write


def test_the_first_screen_says_what_was_found_on_the_test_sets_that_lead(make_scores, tmp_path):
    sets = ["two", "three", "one"]
    scores = pd.concat(
        [
            make_scores(codec, [(factor * r, q) for r, q in ((1, 2.0), (2, 3.0))], test_set=name)
            for name in sets
            for codec, factor in (("ecc", 1), ("rvq", 2), ("opus", 0.8))
        ]
    )
    write_tables(tmp_path, scores, about("ecc", "rvq", "opus"), sets)
    config = CONFIG.model_copy(update={"beside": ("rvq", "opus", "evs")})
    first, _, after = text_of(tmp_path, [], METRICS, config, {}).partition("## Rate-distortion")
    sentences = [
        line for line in first.splitlines() if line.startswith("- ") and " beside " in line
    ]
    assert sentences == [
        f"- On `{name}`, ECC beside {codec}: {rate} rate for the same PESQ-WB, {rate} rate for "
        "the same ViSQOL."
        for name in ("two", "three")
        for codec, rate in (("RVQ", "50 % less"), ("OPUS", "25 % more"))
    ]
    assert "(2 of 4)" in first and "`one`" not in first
    assert "All points of <code>one</code>" in after.partition("\n# All tables\n")[2]
    assert "All points" not in after.partition("\n# All tables\n")[0]


def test_ablations_have_a_section_for_each_full_model(scores, write_ablations, tmp_path):
    write_tables(tmp_path, scores, about("ecc", "opus"), ["default"])
    write_ablations("full", "FULL", 1.5)
    write_ablations("other", "OTHER", 1.2)
    before, _, section = text_of(tmp_path, [], METRICS, CONFIG, {}).partition("## Ablations\n")
    assert "LESS" not in before and "FULL" not in before
    assert "| LESS    | 50.0 [50.0, 50.0] %, overlap 100 %" in section
    assert "| LESS    | 20.0 [20.0, 20.0] %, overlap 100 %" in section
    assert "### FULL: 300 steps of 8 crops, λ 4, 16\n" in section
    assert "### OTHER: " in section and "seeds" not in section


def test_full_models_of_one_label_are_seeds_of_one_study(scores, write_ablations, tmp_path):
    write_tables(tmp_path, scores, about("ecc", "opus"), ["default"])
    for seed, factor in enumerate((1.5, 1.2, 0.9)):
        write_ablations(f"full-{seed}", "FULL", factor)
    _, _, section = text_of(tmp_path, [], METRICS, CONFIG, {}).partition("## Ablations\n")
    assert section.count("### FULL: 300 steps") == 1 and "3 seeds" in section
    assert "| LESS    | +20.0 % (−10.0 to +50.0)" in section
    assert section.count("| LESS    | full-") == 0 and section.count("| LESS    |") > 3


def test_a_pair_has_a_row_for_each_test_set(scores, tmp_path):
    pairs = [("opus", "ecc")]
    write_tables(tmp_path, scores, about("ecc", "opus"), ["default"], pairs=pairs)
    text = text_of(tmp_path, [], METRICS, CONFIG, {})
    assert "## Ablations" not in text
    mean, row = [line for line in text.splitlines() if line.startswith("| OPUS    | ECC")]
    # A third of the range of log rate is too little for a BD-quality.
    assert mean.count("+100.0 % (1 of 1), – (0 of 1)") == len(METRICS)
    assert "| default" in row and row.count("100.0 [100.0, 100.0] %") == len(METRICS)


def test_everything_absent_still_renders(scores, tmp_path):
    sources = [{**SOURCE, "available": False, "reason": "no network"}]
    codecs = about("ecc", "opus", available=False)
    write_tables(tmp_path, scores.iloc[:0], codecs, ["default"], sources)
    text = text_of(tmp_path, sources, METRICS, CONFIG, {})
    assert "There is no scored speech" in text
    assert "No BD-rate can be computed" in text
    assert "No source of speech could be had" in text
    for reason in ("no network", "its library is not installed", "none of its speech"):
        assert reason in text
    assert "nan" not in text.lower().split()


def test_one_speaker_and_no_anchor(make_scores, tmp_path):
    only = make_scores("ecc", [(1.0, 2.0)], speakers=1)
    write_tables(tmp_path, only, about("ecc"), ["default"])
    text = text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)
    assert "of 1 speaker." in text
    assert "| 2.00 " in text and "2.00 [" not in text
    assert "makes an estimate" in text


def test_test_set_that_nothing_could_code(make_scores, tmp_path):
    scores = make_scores("ecc", [(1.0, 2.0), (2.0, 3.0)])
    scores[["kbps", *METRICS, "encode_seconds", "decode_seconds"]] = np.nan
    scores["reason"] = "encode: out of memory"
    write_tables(tmp_path, scores, about("ecc"), ["default"])
    text = text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)
    assert "16 of 16 decoded" in text and "out of memory" in text
    assert "nan" not in text.lower().replace("|", " ").split()


def test_nominal_rates_are_said_where_they_are_shown(scores, tmp_path):
    write_tables(tmp_path, scores, about("ecc", "opus"), ["default"])
    assert "hollow markers" not in text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)
    codecs = pd.concat([about("ecc"), about("opus", rate="nominal")], ignore_index=True)
    write_tables(tmp_path, scores, codecs, ["default"])
    assert "hollow markers" in text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)


def test_a_ceiling_has_no_rate_anywhere(scores, make_scores, tmp_path):
    scores = pd.concat([scores, make_scores("pcm", [(128.0, 3.7)])])
    codecs = pd.concat([about("ecc", "opus"), about("pcm", rate="none")], ignore_index=True)
    write_tables(tmp_path, scores, codecs, ["default"])
    text = text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)
    assert "A ceiling has no rate" in text and "128" not in text
    rows = [line for line in text.splitlines() if line.startswith("| PCM ")]
    assert len(rows) == 1 and rows[0].split("|")[3].strip() == "–" and " 3.70 " in rows[0]


def test_more_metrics_than_panels_fold_their_figure(scores, tmp_path):
    write_tables(tmp_path, scores, about("ecc", "opus"), ["default"])
    (tmp_path / "figures").mkdir()
    for name in ("rd_default", "rd_default_more"):
        (tmp_path / "figures" / f"{name}.png").touch()
    text = text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)
    first, second = text.index("(figures/rd_default.png)"), text.index("figures/rd_default_more")
    assert "<details>" not in text[:first] and "<details>" in text[first:second]
    assert text.count("<details>") == text.count("</details>")


def test_summary_names_the_best_conventional_codec(make_scores):
    scores = pd.concat(
        [
            make_scores("ecc", [(1.0, 3.0), (8.0, 4.0)]),
            make_scores("opus", [(5.0, 2.0), (8.0, 4.0)]),
            make_scores("speex", [(1.0, 1.5), (8.0, 2.5)]),
            make_scores("dac", [(1.0, 4.5), (8.0, 4.6)]),
            make_scores("lyra", [(1.0, 1.1), (2.0, 1.4)]),
        ]
    ).assign(log_mel_distance=lambda table: 10 - table["visqol"])
    codecs = pd.concat([about("ecc", "opus", "speex"), about("dac", "lyra", kind="neural")])
    config = Report(bootstrap=100, matched_kbps=(2.0, 6.0), beside=("lyra", "evs"))
    metrics = ["visqol", "log_mel_distance"]
    matched = matched_rate_table(scores, list(codecs["codec"]), ["default"], metrics, config)
    quality, distance = (
        rows.set_index("codec")
        for _, rows in summary_table(matched, codecs, metrics, config).groupby("metric", sort=False)
    )
    assert list(quality.index) == list(distance.index) == ["ECC", "LYRA", "best conventional"]
    assert quality.loc["LYRA", ["2 kbps", "6 kbps"]].tolist() == ["1.40", "–"]
    # At 2 kbps there is but Speex; at 6 Opus is better, in what is a distance too.
    assert quality.loc["best conventional", "2 kbps"] == "1.83 (SPEEX)"
    best = [
        float(table.loc["best conventional", "6 kbps"].split(" (")[0])
        for table in (quality, distance)
    ]
    assert [t.loc["best conventional", "6 kbps"].split(" ")[1] for t in (quality, distance)] == [
        "(OPUS)"
    ] * 2
    assert sum(best) == pytest.approx(10, abs=0.011) and best[0] > 2.5


def test_averages_are_given_by_kind_and_by_codec_of_the_study(scores, make_scores):
    scores = pd.concat(
        [
            scores,
            make_scores("dac", [(4.0, 2.0), (8.0, 3.0), (16.0, 4.0)]),
            make_scores("demo", [(2.0, 2.0)]),
            make_scores("rvq", [(1.25, 2.0), (2.5, 3.0), (5.0, 4.0)]),
            make_scores("port", [(1.0, 2.0), (2.0, 3.0), (4.0, 4.0)]),
        ]
    )
    codecs = pd.concat(
        [
            about("ecc", "opus"),
            about("port", kind="control"),
            about("dac", kind="neural"),
            about("rvq", kind="own"),
            about("demo", kind="neural", rate="nominal"),
        ]
    )
    bd = bd_rate_table(scores, list(codecs["codec"]), ["default"], METRICS, CONFIG)
    lines = average_pivot(bd, codecs, METRICS[:1]).splitlines()[2:]
    assert [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in lines] == [
        # At twice the rate for the same quality the points share too little range of the rate.
        ("all peers", "−62.5 % (2 of 3), – (0 of 3)"),
        ("conventional codecs", "−50.0 % (1 of 1), – (0 of 1)"),
        ("neural codecs", "−75.0 % (1 of 1), – (0 of 1)"),
        ("published decodes, nominal rate", "–, – (0 of 1)"),
        ("RVQ", "−20.0 %, +0.32 (1 of 1)"),
    ]
    assert average_pivot(bd.iloc[:0], codecs, METRICS) == ""


def test_what_no_training_heard_has_a_table_for_each_test_set(scores, make_scores, tmp_path):
    write_tables(tmp_path, scores, about("ecc", "opus"), ["default"])
    assert "no training heard" not in render(tmp_path, [], METRICS, CONFIG, {})["report"]
    rows = pd.concat(
        [scores, make_scores("demo", [(1.0, 2.5)], speakers=1, test_set="few")], ignore_index=True
    )
    rows = rows.assign(dnsmos_ovrl=rows["pesq_wb"] - 1, dnsmos_ovrl_reference=3.25)
    # As where a package is missing.
    rows = rows.assign(word_error_rate=np.nan, speaker_similarity=rows["pesq_wb"] / 10)
    sampled = ["ecc", "opus", "absent", "demo"]
    metrics = ["dnsmos_ovrl", "speaker_similarity", "word_error_rate"]
    unseen = rate_distortion.rd_table(rows, sampled, ["default", "few"], metrics, CONFIG)
    unseen.to_csv(tmp_path / "unseen.csv", index=False)
    _, _, section = render(tmp_path, [], METRICS, CONFIG, {})["report"].partition(
        "## Metrics that no training heard\n"
    )
    section = section.partition("\n## ")[0]
    assert "DNSMOS OVRL (Reddy et al., 2022)" in section
    first, few = (part.splitlines() for part in section.split("### On ")[1:])
    assert (first[0], few[0]) == ("8 utterances of `default`", "2 utterances of `few`")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in first if "|" in line]
    heard = ["DNSMOS OVRL", "speaker similarity", "WER ↓"]
    assert cells[0] == ["codec", "point", "kbps", *heard, "failed"]
    assert cells[2] == ["the references", "–", "–", "3.25", "–", "–", "–"]
    assert "speaker similarity, WER ↓: of a decode beside its reference" in section
    assert cells[3][4].startswith("0.200 [0.19") and cells[3][5:] == ["–", "8 of 8"]
    assert [row[0] for row in cells[3:]] == ["ECC"] * 3 + ["OPUS"] * 3
    assert cells[3][2] == "1.00" and cells[3][3].startswith("1.00 [0.9")
    assert any(line.startswith("| demo ") and " 1.50 " in line for line in few)
    assert "BD-rate of ECC there" not in section  # of a sample without one
    pair = ["ecc", "opus"]
    table = bd_rate_table(rows, pair, ["default"], metrics, CONFIG)
    codecs = about("ecc", "opus")
    rate_distortion.mark_rates(table, codecs).to_csv(tmp_path / "unseen_bd_rate.csv", index=False)
    lines = render(tmp_path, [], METRICS, CONFIG, {})["report"].splitlines()
    after = lines[lines.index("BD-rate of ECC there:") :]
    cells = [cell.strip() for cell in after[4].split("|")[1:-1]]
    assert cells[0] == "OPUS" and cells[1].endswith(" %") and cells[3].startswith("n/a")


def test_missing_table_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        text_of(tmp_path, [], METRICS, CONFIG, {})


@pytest.mark.parametrize(
    ("flag", "cell"),
    [
        ("low overlap", "n/a (overlap 23 %)"),
        ("no overlap", "n/a (no overlap)"),
        ("ok", "−12.3 [−20.0, 3.0] %, overlap 23 %"),
    ],
)
def test_bd_rate_cell(flag, cell):
    row = {"flag": flag, "overlap": 0.23, "bd_rate": -12.34}
    assert bd_rate_cell(pd.Series(row | {"bd_rate_low": -20.0, "bd_rate_high": 3.0})) == cell


@pytest.mark.parametrize(
    ("flag", "cell"),
    [
        ("low overlap", "n/a (overlap 23 %)"),
        ("fewer than two points", "n/a (fewer than two points)"),
        ("ok", "−0.12 [−0.20, 0.03], overlap 23 %"),
    ],
)
def test_bd_quality_cell(flag, cell):
    row = {"quality_flag": flag, "rate_overlap": 0.23, "bd_quality": -0.1234}
    found = bd_quality_cell(pd.Series(row | {"bd_quality_low": -0.2, "bd_quality_high": 0.03}))
    assert found == cell


def test_a_codec_of_few_points_has_a_row_for_each(make_scores, tmp_path):
    scores = pd.concat(
        [
            make_scores("ecc", [(1.0, 2.0), (4.0, 3.0)]),
            make_scores("demo", [(2.0, 2.0), (9.0, 2.5)]),
        ]
    )
    write_tables(tmp_path, scores, about("ecc", "demo"), ["default"])
    text = text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)
    rows = [line for line in text.splitlines() if line.startswith("| DEMO") and "→" in line]
    assert "| 2.00 " in rows[0] and "| 2.00 → 2.50, 0.50 [0.50, 0.50]" in rows[0]
    assert "| 9.00 (ECC 4.00) " in rows[1] and "| 2.50 → 3.00, 0.50 [0.50, 0.50]" in rows[1]


def test_figures_of_the_paper_stand_beside_ours(make_scores, tmp_path):
    scores = pd.concat(
        [
            make_scores(codec, points, test_set=test_set)
            for test_set in ("one", "two", "three")
            for codec, points in (
                ("ecc", [(1.0, 2.0), (2.0, 3.0), (4.0, 4.0)]),
                ("rvq", [(1.25, 2.0), (2.5, 3.0), (5.0, 4.0)]),
                ("demo", [(2.0, 1.0)]),
            )
        ]
    )
    sets = ["two", "one", "three"]
    write_tables(tmp_path, scores, about("ecc", "rvq", "demo"), sets)
    text = text_of(tmp_path, [], METRICS, CONFIG.model_copy(update={"paper": ("demo", "rvq")}), {})
    rows = [line for line in text.splitlines() if line.startswith(("| the paper", "| this study"))]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert [row[1:3] for row in cells] == [
        ["FunCodec", "LibriTTS test-clean and test-other"],
        ["FunCodec", "VCTK"],
        # The order of the test sets decides which two lead.
        *(["DEMO", f"`{name}`"] for name in ("two", "one")),
        *(["RVQ", f"`{name}`"] for name in ("two", "one")),
    ]
    assert cells[0][3] == "−69.4 %, +0.60" and cells[0][5] == "−58.4 %"
    # PESQ 1 at 2 kbps: ECC is better at 1 already.
    assert cells[2][3] == "−50.0 %, +2.00 at its points" and cells[2][7] == "–"
    assert cells[4][3] == "−20.0 %, +0.32"
    # Of a sample, by a metric that not all speech is scored by, and of which less is better.
    heard = scores.assign(word_error_rate=5 - scores["pesq_wb"])
    table = bd_rate_table(heard, ["ecc", "rvq"], ["two"], ["word_error_rate"], CONFIG)
    codecs = about("ecc", "rvq", "demo")
    rate_distortion.mark_rates(table, codecs).to_csv(tmp_path / "unseen_bd_rate.csv", index=False)
    text = text_of(tmp_path, [], METRICS, CONFIG.model_copy(update={"paper": ("rvq",)}), {})
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| this study")]
    assert [row[-2].strip() for row in rows] == ["−20.0 %, −0.32", "–"]
    assert "| the paper" not in text_of(tmp_path, [], METRICS, CONFIG, {})


def test_references_stand_above_the_points(scores):
    rd = rate_distortion.rd_table(scores, ["ecc", "opus"], ["default"], METRICS, CONFIG)
    labels = {"ecc": "ECC", "opus": "OPUS"}
    without = points_table(rd, METRICS, labels).splitlines()
    lines = points_table(rd.assign(visqol_reference=4.5), METRICS, labels).splitlines()
    cells = [cell.strip() for cell in lines[2].split("|")[1:-1]]
    assert cells[:6] == ["the references", "–", "–", "–", "4.50", "–"]
    assert set(cells[6:]) == {"–"}
    assert len(lines) == len(without) + 1


def test_cells():
    assert with_interval(1.234, 1.1, 1.35, digits=2) == "1.23 [1.10, 1.35]"
    assert with_interval(1.234, np.nan, np.nan, digits=1) == "1.2"
    assert with_interval(np.nan, np.nan, np.nan, digits=1) == "–"
    assert markdown(pd.DataFrame({"a": []})) == ""
    assert markdown(pd.DataFrame({"a": ["0010"], "b": [None]})).splitlines()[-1] == "| 0010 | –   |"


def test_diagnostics_are_shown_of_the_codecs_that_have_them(scores, diagnostics, tmp_path):
    write_tables(tmp_path, scores, about("ecc", "opus"), ["default"])
    assert "## Streams" not in text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)
    folder = tmp_path / "diagnostics" / "ecc"
    folder.mkdir(parents=True)
    for name, table in diagnostics.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    text = text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)
    assert text.index("## Streams") < text.index("## Diagnostics")
    # Header and framing 3 %, check 1.5 %; coding 5.5 %, of it tables 1, ANS 0.5, bytes 4.
    assert "| +3.00 %" in text and "| +1.50 %" in text and "| +5.50 %" in text
    assert "| +1.00 %" in text  # the rate of the exact model above that of the other
    assert "| 16.7 % " in text and "| 50.0 % " in text and "| 2000 " in text
    assert "nan" not in text.lower().replace("|", " ").split()


def test_code_books_are_shown_at_the_point_with_the_most_stages(scores, codebooks, tmp_path):
    write_tables(tmp_path, scores, about("ecc", "opus"), ["default"])
    assert "## Code books" not in text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)
    folder = tmp_path / "diagnostics" / "ecc"
    folder.mkdir(parents=True)
    codebooks.to_csv(folder / "codebooks.csv", index=False)
    text = text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)
    assert "## Code books" in text and "## Streams" not in text
    rows = [line for line in text.splitlines() if " of 16 " in line]
    assert len(rows) == 2
    assert "| 25.0 %" in rows[0] and "| 12.5 %" in rows[1]


def test_each_target_says_whether_it_is_met_or_by_how_much_missed():
    rd = pd.DataFrame(
        [("ecc", "0", "a", 1.0, 2.0), ("ecc", "1", "a", 4.0, 3.0), ("opus", "5k", "a", 5.0, 3.5)],
        columns=["codec", "point", "test_set", "kbps", "pesq_wb"],
    )
    unseen = rd.rename(columns={"pesq_wb": "dnsmos_ovrl"}).assign(
        dnsmos_ovrl_reference=3.25, word_error_rate=[0.05, 0.0312, 0.2]
    )
    bd = pd.DataFrame(
        [("a", "pesq_wb", "ecc", "opus", -32.0)],
        columns=["test_set", "metric", "codec", "anchor", "bd_rate"],
    )
    targets = (
        RateTarget(codec="ecc", against="opus", bd_rate={"pesq_wb": -40}),
        QualityTarget(codec="ecc", kbps=4, quality={"pesq_wb": 2.9}),
        QualityTarget(codec="ecc", kbps=4, quality={"word_error_rate": 0.03}),
        GapTarget(codec="ecc", kbps=4, below_reference={"dnsmos_ovrl": 0.1}),
        QualityTarget(codec="ecc", kbps=4, quality={"pesq_wb": 3.001}),
        LeadTarget(codec="ecc", ahead_of="conventional", below_kbps=6, metrics=("pesq_wb",)),
        LeadTarget(codec="ecc", ahead_of="opus", below_kbps=6, metrics=("pesq_wb",)),
    )
    kinds = {"opus": "conventional", "ecc": "own"}
    table = target_table(targets, ["a", "b"], rd, unseen, bd, bd.iloc[:0], kinds)
    lines = target_pivot(table, targets, {"ecc": "ECC", "opus": "Opus"}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["codec", "what", "metric", "test set", "goal", "found", ""]
    assert [row[1:] for row in cells[2:]] == [  # of b nothing is told
        ["rate against Opus", "PESQ-WB", "a", "−40 %", "−32.0 %", "missed by 8.0"],
        ["quality at 4 kbps", "PESQ-WB", "a", "2.9", "3.00", "met"],
        ["quality at 4 kbps", "WER ↓", "a", "0.03", "0.031", "missed by 0.001"],
        ["below the references at 4 kbps", "DNSMOS OVRL", "a", "0.1", "0.25", "missed by 0.15"],
        ["quality at 4 kbps", "PESQ-WB", "a", "3.001", "3.00", "just missed"],
        [
            *("lead over all conventional codecs, below 6 kbps", "PESQ-WB", "a", "ahead"),
            *("−0.50 (Opus 5k)", "missed by 0.50"),
        ],
        ["lead over Opus, below 6 kbps", "PESQ-WB", "a", "ahead", "−0.50 (5k)", "missed by 0.50"],
    ]


def test_other_runs_have_a_row_for_each_test_set():
    bd = {"codec": "ecc", "anchor": "first", "bd_rate": -50.0, "bd_rate_low": -60.0}
    bd |= {"bd_rate_high": -40.0, "overlap": 0.9, "flag": "ok"}
    rows = [{"test_set": s, "metric": m} | bd for s in ("a", "b") for m in ("pesq_wb", "visqol")]
    lines = pair_pivot(
        pd.DataFrame(rows), METRICS, {"first": "1,000 steps"}, ["anchor"]
    ).splitlines()
    assert len(lines) == 2 + 2
    assert lines[2].count("−50.0 [−60.0, −40.0] %") == 2
    assert "1,000 steps" in lines[3] and "| b " in lines[3]


def test_changes_of_a_curve_are_held_against_its_intervals():
    row = {"codec": "ecc", "anchor": "first", "test_set": "a", "change": 0.05}
    row |= {"change_low": -0.01, "change_high": 0.125, "compared": 8, "outside": 1}
    none = dict.fromkeys(("change", "change_low", "change_high"), np.nan)
    rows = [row | {"metric": "pesq_wb"}, row | {"metric": "visqol", "compared": 0}]
    rows.append(row | {"metric": "pesq_wb", "test_set": "b"} | none)
    lines = pair_pivot(
        pd.DataFrame(rows), METRICS, {"first": "1,000 steps"}, ["anchor"], change_cell
    ).splitlines()
    cells = [cell.strip() for cell in lines[2].split("|")]
    change = "+0.05 (−0.01 to +0.12)"
    assert cells[3:5] == [f"{change}, outside at 1 of 8", change]
    assert "n/a" in lines[3]


def test_listening_tests_are_shown_where_there_are_results(scores, tmp_path, monkeypatch):
    write_tables(tmp_path, scores, about("ecc", "opus"), ["default"])
    before = text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)
    assert "istening test" not in before
    folder = tmp_path / "listening"
    folder.mkdir()
    (folder / "README.md").touch()
    assert text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS) == before
    test = {"method": "mushra", "test_set": "default", "items": 5, "listeners": 9, "kept": 8}
    test |= {"means": "MEANS", "pairs": "PAIRS", "screening": "SCREENING"}
    tests = [test | {"name": "first"}, test | {"name": "second", "method": "abx", "means": ""}]
    monkeypatch.setattr("ecc.report.listening.sections", lambda _: tests)
    text = text_of(tmp_path, [SOURCE], METRICS, CONFIG, PARAMETERS)
    first, _, second = text.partition("### Listening test `second`")
    assert "9 listeners, of whom 8 are counted" in first and "MEANS" in first
    assert "Half right is guessing" in second and "MEANS" not in second
