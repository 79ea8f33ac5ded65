import re

from ecc.report.markdown import markdown
from ecc.report.taxonomy import HEADINGS, taxonomy


def test_every_codec_has_a_name_and_a_reference_of_its_own():
    table = taxonomy()
    assert list(table.columns) == list(HEADINGS.values())
    assert len(table) >= 20
    assert table["codec"].is_unique and table["codec"].notna().all()
    others = table[table["codec"] != "ECC (this study)"]
    assert len(others) == len(table) - 1
    assert others["reference"].notna().all() and others["reference"].is_unique
    arxiv = others["reference"].str.extract(r"^\[arXiv (.*?)\]\(https://arxiv\.org/abs/(.*)\)$")
    for named, linked in arxiv.dropna().to_numpy():
        assert named == linked and re.fullmatch(r"\d{4}\.\d{5}", named)
    # A preprint is not older than its number says.
    years = others["year"].astype(float)
    numbers = 2000 + arxiv[0].str[:2].astype(float)
    assert (years - numbers).dropna().eq(0).all()


def test_it_makes_a_table_whose_cells_stay_in_their_columns():
    lines = markdown(taxonomy()).splitlines()
    assert len(lines) == len(taxonomy()) + 2
    assert {line.count("|") for line in lines} == {len(HEADINGS) + 1}
    assert not any(word in line for line in lines for word in (" nan ", "None"))
