import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecc.report.bd_rate import bd_rate_table
from ecc.report.rd import Report, rd_table
from ecc.report.readme import blocks, fill

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
            make_scores("ecc", [(1.0, 2.0), (2.0, 3.0)]),
            make_scores("opus", [(2.0, 2.0), (4.0, 3.0)]),
        ]
    )
    arguments = (scores, ["ecc", "opus"], ["default"], METRICS, Report(bootstrap=100))
    rd_table(*arguments).to_csv(tmp_path / "rd.csv", index=False)
    bd_rate_table(*arguments).to_csv(tmp_path / "bd_rate.csv", index=False)
    codecs = pd.DataFrame({"codec": ["ecc", "opus"], "label": ["ECC", "Opus 1.6"]})
    codecs.to_csv(tmp_path / "codecs.csv", index=False)
    filled = blocks(tmp_path, "ecc", METRICS)
    assert "| 1.00   | 2.00 [1.9" in filled["rd"]
    assert len(filled["rd"].splitlines()) == 4  # ECC's two points alone
    assert filled["bd_rate"].splitlines() == [
        f"- {metric} on `default`: −50 % against Opus 1.6"
        for metric in ("PESQ-WB", "ViSQOL", "ESTOI")
    ]
    scores = scores[scores["codec"] == "ecc"]
    bd_rate_table(scores, *arguments[1:]).to_csv(tmp_path / "bd_rate.csv", index=False)
    assert blocks(tmp_path, "ecc", METRICS)["bd_rate"].startswith("No two codecs")
