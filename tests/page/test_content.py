import base64
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecc.page.content import codec_looks, heard_utterances, nearest_points, score_grids
from ecc.report.figures import Styles
from ecc.report.styles import codec_styles


@pytest.fixture
def rates() -> pd.DataFrame:
    """Two codecs at rates that are not in order, and one without a rate."""
    points = [("a", "high", 4.0), ("a", "low", 1.0), ("b", "only", 16.0), ("c", "pcm", np.nan)]
    return pd.DataFrame(points, columns=["codec", "point", "kbps"])


def test_nearest_is_by_the_ratio_of_rates_and_the_lower_of_two(rates: pd.DataFrame) -> None:
    found = nearest_points(rates, [0.5, 2.0, 2.1])  # 2 is twice 1 and half of 4
    assert found["a"] == ["low", "low", "high"]
    assert found["b"] == ["only"] * 3
    assert found["c"] == ["pcm"] * 3


@pytest.mark.parametrize(("metric", "worst"), [("pesq_wb", "u9"), ("log_mel_distance", "u0")])
def test_what_is_heard_goes_from_the_worst_to_the_best(metric: str, worst: str) -> None:
    names = [f"u{number}" for number in range(10)]
    scores = pd.DataFrame({"codec": "a", "utterance": names * 2, metric: [*range(10, 0, -1)] * 2})
    heard = heard_utterances(scores, "a", metric, 4)
    assert len(heard) == 4
    assert {heard[0], heard[-1]} == {"u0", "u9"}
    assert heard[0] == worst
    assert heard_utterances(scores, "a", metric, 99) == heard_utterances(scores, "a", metric, 10)
    assert heard_utterances(scores, "absent", metric, 2) == ["u0", "u9"]


def test_grids_hold_all_scores() -> None:
    rng = np.random.default_rng(0)
    points, names = [("a", "p0"), ("b", "p0")], ["x", "y", "z"]
    rows = [
        {"codec": c, "point": p, "utterance": u, "speaker": "s", "seconds": 2.0,
         "kbps": rng.uniform(33, 40), "estoi": rng.uniform(-1, 1), "dnsmos": 2.0,
         "dnsmos_reference": 3.0}
        for c, p in points for u in names
    ]  # fmt: skip
    scores = pd.DataFrame(rows[:-1]).sample(frac=1, random_state=0)  # one is missing
    grids = score_grids(scores, points, ["estoi", "dnsmos"])
    order = [utterance["name"] for utterance in grids["utterances"]]
    assert sorted(order) == names
    assert grids["references"] == {"dnsmos": 3.0}
    for column in ("kbps", "estoi"):
        packed = grids["columns"][column]
        units = np.frombuffer(base64.b64decode(packed["values"]), "<i2").reshape(2, 3)
        for row in rows:
            place = points.index((row["codec"], row["point"])), order.index(row["utterance"])
            if row is rows[-1]:
                assert units[place] == -32768
            else:
                assert abs(units[place] * packed["unit"] - row[column]) <= 0.51 * packed["unit"]
        assert packed["unit"] == (0.01 if column == "kbps" else 0.0001)


def test_codecs_look_as_in_the_figures() -> None:
    kinds = {"ecc": "own", "absent": "neural", "lyra": "neural", "port": "control"}
    rows = [
        {"codec": c, "label": c, "kind": kinds[c], "rate": "measured", "available": c != "absent"}
        for c in kinds
    ]
    codecs = pd.DataFrame(rows)
    labels = {codec: codec for codec in kinds}
    looks = codec_looks(kinds, labels, codecs, "ecc")
    styles = Styles(kinds, labels, codecs, "ecc")
    assert list(looks) == ["ecc", "lyra", "port"]  # controls too, which figures leave out
    for codec in ("ecc", "lyra"):
        assert looks[codec]["colour"] == styles.colours[codec]
        assert looks[codec]["marker"] == styles.markers[codec]


def test_every_marker_of_the_figures_is_drawn() -> None:
    page = Path(__file__).parents[2] / "src/ecc/page/page.js"
    drawn = page.read_text("utf-8").partition("const MARKERS = {")[2].partition("};")[0]
    kinds = {f"c{number}": "neural" for number in range(12)} | {"ecc": "own"}
    styles = codec_styles(kinds, {codec: codec for codec in kinds}, "ecc")
    markers = {style.marker for style in styles.values()}
    assert len(markers) == 13
    for marker in markers:
        assert f"{marker}: " in drawn or f'"{marker}": ' in drawn
