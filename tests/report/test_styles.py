from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from ecc.params import load
from ecc.report.styles import codec_styles

ROOT = Path(__file__).parents[2]
KINDS = {"ecc": "own", "opus": "conventional", "evs": "conventional", "dac": "neural"}
LABELS = {"ecc": "ECC", "opus": "Opus", "evs": "EVS", "dac": "DAC (published)"}


@pytest.fixture(scope="module")
def catalogue():
    study = load(ROOT / "params.yaml")
    labels = {name: codec.label for name, codec in study.codecs.items()}
    return study, codec_styles(study.kinds(), labels, study.report.codec)


def test_a_codec_that_is_added_last_recolours_no_other():
    more = codec_styles(KINDS | {"new": "neural"}, LABELS | {"new": "New"}, "ecc")
    assert len(set(more.values())) == 5
    for codec, style in codec_styles(KINDS, LABELS, "ecc").items():
        assert more[codec] == style


def test_a_published_decode_looks_like_the_codec_itself():
    labels = LABELS | {"opus-demo": "Opus (published)", "dac-demo": "DAC (published by FunCodec)"}
    kinds = KINDS | {"opus-demo": "neural", "dac-demo": "neural"}
    styles = codec_styles(kinds, labels, "ecc")
    assert styles["opus-demo"] == styles["opus"] != styles["evs"]
    assert styles["dac-demo"] == styles["dac"]


def test_controls_and_ablations_are_grey():
    styles = codec_styles(KINDS | {"opus": "control", "evs": "ablation"}, LABELS, "ecc")
    assert styles["opus"] == styles["evs"] != styles["dac"]


def test_codecs_of_the_catalogue_are_told_apart(catalogue):
    study, styles = catalogue
    drawn = {}
    for name, kind in study.kinds().items():
        if kind in ("own", "neural", "conventional"):
            drawn.setdefault(styles[name], set()).add(study.codecs[name].label.partition(" (")[0])
    assert all(len(names) == 1 for names in drawn.values()), drawn
    ours = [styles[name].colour for name, kind in study.kinds().items() if kind == "own"]
    assert len(set(ours)) == len(ours) > 1


def lab(colour):
    """CIELAB of #rrggbb in sRGB (IEC 61966-2-1), D65."""
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ linear / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_codecs_of_one_marker_differ_in_colour(catalogue):
    study, styles = catalogue
    kinds = study.kinds()
    drawn = {styles[name] for name in kinds if kinds[name] in ("own", "neural", "conventional")}
    for one, other in combinations(drawn, 2):
        if one.marker == other.marker:
            assert np.linalg.norm(lab(one.colour) - lab(other.colour)) > 30, (one, other)
