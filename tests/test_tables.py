import math

import pandas as pd
import pytest

from ecc.tables import read_table, records, write_table


def test_names_stay_text_and_only_an_empty_cell_is_missing(tmp_path):
    rows = [
        {"point": "6.60", "utterance": "007", "speaker": "no", "reason": "", "kbps": 0.1 + 0.2},
        {"point": "NA", "utterance": "null", "speaker": "", "reason": "nan", "kbps": math.nan},
    ]
    write_table(tmp_path / "t.csv", pd.DataFrame(rows))
    read = read_table(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(read, pd.DataFrame(rows), check_exact=True)
    assert records(read)[0] == rows[0]


def test_a_column_without_numbers_is_one_of_numbers(tmp_path):
    write_table(tmp_path / "t.csv", pd.DataFrame({"codec": ["a"], "estoi": [None]}))
    assert read_table(tmp_path / "t.csv")["estoi"].dtype == float


def test_digits_are_significant_ones(tmp_path):
    table = pd.DataFrame({"n": [123456789], "kbps": [1234.56789]})
    write_table(tmp_path / "t.csv", table, digits=6)
    assert (tmp_path / "t.csv").read_bytes() == b"n,kbps\n123456789,1234.57\n"


def test_a_table_is_whole_or_not_there(tmp_path):
    write_table(tmp_path / "t.csv", pd.DataFrame({"n": [1]}))
    broken = pd.DataFrame({"n": [2]})
    broken.to_csv = None
    with pytest.raises(TypeError):
        write_table(tmp_path / "t.csv", broken)
    assert read_table(tmp_path / "t.csv")["n"].tolist() == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
