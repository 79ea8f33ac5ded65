import pandas as pd
import pytest

from ecc.report.bd_rate import bd_rate_table
from ecc.report.config import Report
from ecc.report.pauses import pause_pivot, pause_points, pause_table, speech_pivot, speech_scores

CONFIG = Report(bootstrap=100)
METRICS = ["pesq_wb", "visqol", "estoi"]


def utterances(scores, in_pauses):
    """Half of each utterance is speech, and pauses have `in_pauses` of all bits."""
    table = scores[["test_set", "point", "utterance", "seconds"]].copy()
    table["speech_seconds"] = table["seconds"] / 2
    table["bits"] = scores["kbps"] * scores["seconds"] * 1000
    table["speech_bits"] = (1 - in_pauses) * table["bits"]
    return table


@pytest.fixture
def ours(make_scores):
    return make_scores("ecc", [(1.0, 2.0), (2.0, 3.0), (4.0, 4.0)])


@pytest.fixture
def theirs(make_scores):
    return make_scores("rvq", [(2.0, 2.0), (4.0, 3.0), (8.0, 4.0)])


def test_rates_in_speech_and_in_pauses(ours):
    table = pause_table(utterances(ours, in_pauses=0.25)).set_index("point")
    assert table["silence"].tolist() == pytest.approx([0.5] * 3)
    assert table["kbps"].tolist() == pytest.approx([1, 2, 4])
    assert table["kbps_speech"].tolist() == pytest.approx([1.5, 3, 6])
    assert table["kbps_pauses"].tolist() == pytest.approx([0.5, 1, 2])


def test_tables_of_the_report(ours, theirs):
    tables = {
        "ECC": pause_table(utterances(ours, in_pauses=0.25)),
        "RVQ": pause_table(utterances(theirs, in_pauses=0.5)),
    }
    head, _, row = pause_pivot(tables).splitlines()
    assert [cell.strip() for cell in head.split("|")[1:-1]] == [
        *("test set", "without speech", "ECC", "RVQ")
    ]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        *("`default`", "50 %", "3.00, 1.00", "4.00, 4.00")
    ]
    assert len(pause_points(tables).splitlines()) == 2 + 6
    assert "33 %" in pause_points(tables) and "100 %" in pause_points(tables)


def test_a_set_without_pauses_has_no_rate_in_them(ours):
    table = utterances(ours, in_pauses=0.0)
    table["speech_seconds"] = table["seconds"]
    found = pause_table(table)
    assert found["kbps_pauses"].isna().all()
    assert "1.00, –" in pause_points({"ECC": found})


def test_what_is_saved_in_pauses_is_not_in_the_bd_rate_of_speech(ours, theirs, tmp_path):
    # ECC spends a tenth of its bits in pauses, RVQ half: in speech it saves but a tenth.
    for codec, scores, in_pauses in (("ecc", ours, 0.1), ("rvq", theirs, 0.5)):
        (tmp_path / codec).mkdir()
        utterances(scores, in_pauses).to_csv(tmp_path / codec / "pauses.csv", index=False)
    both = pd.concat([ours, theirs])
    arguments = (["ecc", "rvq"], ["default"], METRICS, CONFIG)
    alone = bd_rate_table(speech_scores(both, tmp_path, ["ecc", "rvq"]), *arguments)
    assert alone["bd_rate"].tolist() == pytest.approx([-10] * 3)
    table = speech_pivot(
        bd_rate_table(both, *arguments), alone, {"pesq_wb": "PESQ-WB"}, {"rvq": "RVQ"}
    )
    cells = [cell.strip() for cell in table.splitlines()[-1].split("|")[1:-1]]
    assert cells == ["`default`", "RVQ", "−50.0 % → −10.0 %"]


def test_a_codec_without_streams_takes_no_part(ours, tmp_path):
    (tmp_path / "rvq").mkdir()
    utterances(ours, 0.1).iloc[:0].to_csv(tmp_path / "rvq" / "pauses.csv", index=False)
    assert speech_scores(ours, tmp_path, ["rvq"]).empty
    with pytest.raises(FileNotFoundError):
        speech_scores(ours, tmp_path, ["ecc"])
