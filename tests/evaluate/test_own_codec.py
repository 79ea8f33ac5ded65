"""Both ways in which docs/codecs.md says that a codec of one's own joins, from its examples."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from ecc.codecs.base import CodecEntry
from ecc.evaluate.coding import decode_streams, encode_test_sets
from ecc.evaluate.scores import score_codec

DOCUMENT = (Path(__file__).parents[2] / "docs" / "codecs.md").read_text(encoding="utf-8")


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, flags=re.DOTALL)


ENTRIES = {
    name: entry
    for text in examples("yaml")
    for name, entry in YAML(typ="safe").load(text)["codecs"].items()
}


@pytest.mark.parametrize(
    ("name", "kbps", "estoi"),
    # GSM 06.10 makes 33 bytes of 20 ms.
    [("gsm", 13.2, 0.6), ("mulaw", 128.0, 0.9)],
)
def test_the_examples_are_encoded_decoded_and_scored(study, monkeypatch, name, kbps, estoi):
    if name == "gsm" and not shutil.which("sox"):
        pytest.skip("program sox not found; install sox (Debian sox)")
    (source,) = examples("python")
    (study.root / "my_codec.py").write_text(source)
    monkeypatch.chdir(study.root)
    config = CodecEntry(**ENTRIES[name])
    streams, decoded, speech = (study.root / part for part in ("streams", "decoded", "speech"))
    sets = {"a": study.test_sets["a"]}
    points = config.resolve_points({})
    assert encode_test_sets(name, config.class_, points, sets, speech, streams, "code", 1) is None
    assert decode_streams(streams, decoded, "code", 1) is None
    scores = study.root / "scores.csv"
    score_codec(streams, decoded, sets, speech, ("estoi",), scores, study.root / "journal", 1)
    table = pd.read_csv(scores)
    assert len(table) == 3 and table["reason"].isna().all()
    np.testing.assert_allclose(table["kbps"], kbps, rtol=0.02)
    assert table["estoi"].min() > estoi
