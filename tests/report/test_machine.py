import numpy as np
import pandas as pd
import pytest

from ecc.report.machine import page, speed_table, version_table
from ecc.tables import REPORTED, write_table

CODECS = pd.DataFrame(
    {
        "codec": ["ecc", "opus", "pcm", "evs"],
        "label": ["ECC", "Opus", "Ceiling", "EVS"],
        "rate": ["measured", "measured", "none", "measured"],
        "version": ["ecc 1", "libopus 1.6", "1", ""],
        "available": [True, True, True, False],
    }
)


@pytest.fixture
def scores(make_scores):
    tables = [
        make_scores("ecc", [(1.0, 2.0), (2.0, 3.0)]),
        make_scores("opus", [(8.0, 3.0)]),
        make_scores("pcm", [(128.0, 3.0)]),
    ]
    return pd.concat(tables, ignore_index=True)


def test_speed_is_of_what_was_coded(scores):
    first = scores[(scores["codec"] == "ecc") & (scores["point"] == "p0")].index[0]
    scores.loc[first, ["encode_seconds", "decode_seconds"]] = np.nan
    scores.loc[scores["codec"] == "opus", "decode_seconds"] = np.nan
    table = speed_table(scores, CODECS, ["default", "english"])
    assert table[["codec", "point"]].to_numpy().tolist() == [
        ["ecc", "p0"],
        ["ecc", "p1"],
        ["opus", "p0"],
    ]
    assert table["rtf_encode"].to_list() == pytest.approx([0.5, 0.5, 0.5])
    assert table["rtf_decode"].to_list() == pytest.approx([0.25, 0.25, np.nan], nan_ok=True)


SOFTWARE = [{"name": "numpy", "version": "1.26", "part": "encode, score"}]


def test_versions_are_of_what_ran():
    table = version_table(CODECS, SOFTWARE).set_index(["kind", "name"])["version"]
    assert table["codec"].to_dict() == {"ecc": "ecc 1", "opus": "libopus 1.6", "pcm": "1"}
    assert table["package"].to_dict() == {"numpy": "1.26"}


def test_the_page_shows_both(scores, tmp_path):
    write_table(tmp_path / "codecs.csv", CODECS.drop(columns="version"))
    with pytest.raises(FileNotFoundError):
        page(tmp_path)
    speed = speed_table(scores, CODECS, ["default"])
    write_table(tmp_path / "machine" / "speed.csv", speed, REPORTED)
    write_table(tmp_path / "machine" / "versions.csv", version_table(CODECS, SOFTWARE))
    text = page(tmp_path)
    for words in (
        "| Opus ",
        "| libopus 1.6 ",
        "| numpy ",
        "| encode, score ",
        "| 0.25 ",
        "## Speed",
    ):
        assert words in text
