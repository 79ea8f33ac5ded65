"""Streams of a small untrained codec with residual vector quantization, taken apart."""

import json

import numpy as np
import pandas as pd
import pytest
from model.test_rvq import BITS, STAGES, TOKENS, raw_codec

from ecc.codecs.ecc import EccCodec
from ecc.evaluate.codebooks import code_books, stage_rows
from ecc.model.weights import save_model


@pytest.fixture(scope="module")
def streams(tmp_path_factory, voice):
    root = tmp_path_factory.mktemp("streams")
    model = root / "rvq.safetensors"
    save_model(raw_codec(TOKENS), model, "rvq", [], {})
    rows = []
    for level in range(len(STAGES)):
        codec = EccCodec(model, level)
        for name, seconds in (("a", 1.0), ("b", 1.5)):
            stream = codec.encode(voice(seconds, seed=len(name)))
            path = root / f"{level}-{name}.bin"
            path.write_bytes(stream)
            rows.append(
                {
                    "test_set": "set",
                    "point": f"p{level}",
                    "utterance": name,
                    "file": path.name,
                    "bits": 8 * len(stream),
                    "reason": "",
                }
            )
    pd.DataFrame(rows).to_csv(root / "index.csv", index=False)
    points = {f"p{level}": {"model": str(model), "level": level} for level in range(len(STAGES))}
    (root / "codec.json").write_text(json.dumps({"points": points}))
    return root


def test_there_is_a_row_for_each_stage_and_its_bits_are_those_of_the_files(streams):
    table = code_books(streams, workers=2)
    assert table.groupby("point")["stage"].max().tolist() == STAGES
    index = pd.read_csv(streams / "index.csv")
    for point, rows in table.groupby("point"):
        files = index[index["point"] == point]
        spent = (rows["tokens"] * rows["spent"]).sum()
        # A file has 17 bytes at most besides its tokens: header, framing, check.
        assert 0 < files["bits"].sum() - spent < 8 * 17 * len(files)
    assert (table["entries"] == 1 << BITS).all()
    assert (table["used"] <= table["entries"]).all()


def test_perplexity_of_uniform_and_of_constant_tokens():
    even = np.tile(np.arange(16, dtype=np.int32), 500)
    tokens = np.stack([even, np.zeros_like(even)], axis=1)
    rows = stage_rows([(tokens, np.full(tokens.shape, 4.0), 16)])
    assert rows[0]["perplexity"] == pytest.approx(16, rel=0.01)
    assert rows[1]["perplexity"] == pytest.approx(1, rel=0.01)
    assert [row["used"] for row in rows] == [16, 1]
    assert rows[0]["spent"] == 4.0


def test_no_streams_are_an_error(tmp_path):
    (tmp_path / "codec.json").write_text(json.dumps({"points": {}}))
    columns = ["test_set", "point", "utterance", "file", "bits", "reason"]
    pd.DataFrame(columns=columns).to_csv(tmp_path / "index.csv", index=False)
    with pytest.raises(ValueError, match="no streams"):
        code_books(tmp_path, workers=1)
