"""Streams of a small untrained codec, taken apart."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model.conftest import raw_codec

from ecc.audio import to_int16
from ecc.codecs.base import from_int16
from ecc.codecs.ecc import EccCodec
from ecc.evaluate import diagnostics
from ecc.evaluate.coding import encode_test_sets
from ecc.model.weights import save_model
from ecc.speech import read_clip
from ecc.tables import read_table, records

POINTS = (0, 2)  # quality levels


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    codec = raw_codec(skip=12)
    with torch.no_grad():
        for net in codec.entropy.parameter_nets:
            _, index = net[4].bias.chunk(2)
            index -= 2.5  # or no scale would be small enough to skip
    save_model(codec, path, "tiny", [1.0, 2.0, 3.0], {})
    return path


@dataclass
class Study:
    """Three utterances, coded at two levels."""

    model: Path
    speech: Path
    streams: Path
    clips: pd.DataFrame


@pytest.fixture(scope="module")
def study(tmp_path_factory, model, voice):
    root = tmp_path_factory.mktemp("study")
    clips = [to_int16(voice(seconds, seed=number)) for number, seconds in enumerate((1.5, 2, 1.2))]
    path = root / "speech" / "a.s16"
    path.parent.mkdir()
    path.write_bytes(np.concatenate(clips).astype("<i2").tobytes())
    lengths = [len(clip) for clip in clips]
    table = pd.DataFrame(
        {
            "clip": ["001", "002", "003"],
            "source": "synthetic",
            "start": np.cumsum([0, *lengths[:-1]]),
            "samples": lengths,
        }
    )
    points = {f"p{level}": {"model": str(model), "level": level} for level in POINTS}
    spec, speech = "ecc.codecs.ecc:EccCodec", root / "speech"
    encode_test_sets("ecc", spec, points, {"a": table}, speech, root / "streams", "", 1)
    return Study(model, root / "speech", root / "streams", table)


@pytest.fixture(scope="module")
def tables(study):
    return diagnostics.diagnose(study.streams, {"a": study.clips}, study.speech, workers=2)


def test_every_bit_of_the_files_is_accounted_for(tables, study):
    rate = tables["rate"].set_index("point")
    index = read_table(study.streams / "index.csv").groupby("point")
    assert (rate["file"] == index["bits"].sum()).all()
    assert rate["estimated"].to_numpy() == pytest.approx(index["bits_estimated"].sum().to_numpy())
    parts = rate[["header", "framing", "check", "tables", "coder", "rounding"]]
    assert parts.sum(axis=1).to_numpy() == pytest.approx(rate["file"].to_numpy())
    assert (rate["header"] == 3 * 8 * 10).all()
    assert (rate["check"].between(3 * 23, 3 * 24)).all()
    assert (rate["rounding"].between(0, 3 * 8)).all()
    assert (rate["coder"].abs() < 1e-3 * rate["tables"]).all()
    # Far in the tails, where training leaves nothing, a table escapes and the likelihood ends.
    assert (rate["tables"] / rate["estimated"]).between(0.99, 1.05).all()


def test_parts_add_up_to_the_symbols(tables):
    rate = tables["rate"].set_index("point")
    kbps = tables["parts"].groupby("point")["kbps"].sum()
    assert (1000 * kbps * rate["seconds"]).to_numpy() == pytest.approx(rate["tables"].to_numpy())
    assert list(tables["parts"]["part"].unique()) == ["z", *(f"slice {i}" for i in range(1, 5))]
    assert (tables["parts"]["lost"] <= tables["parts"]["skipped"]).all()


def test_channels_add_up_to_the_parts(tables):
    spent = tables["channels"].groupby(["point", "part"])["spent"].sum()
    parts = tables["parts"].set_index(["point", "part"])
    channels = tables["channels"].groupby(["point", "part"]).size()
    seconds = tables["rate"].set_index("point")["seconds"]
    expected = 1000 * parts["kbps"] * seconds / (parts["elements"] / channels)
    assert spent.to_numpy() == pytest.approx(expected.reindex(spent.index).to_numpy())


def test_an_utterance_says_what_its_stream_says(study):
    row = records(read_table(study.streams / "index.csv"))[-1]
    stream = study.streams / row["file"]
    clip = records(study.clips)[-1]
    found = diagnostics.inspect_stream(
        {
            "model": str(study.model),
            "stream": str(stream),
            "clip": clip,
            "speech": str(study.speech / "a.s16"),
            "thresholds": [0, 12],
        }
    )
    codec = EccCodec(study.model, level=POINTS[-1])
    (latent,) = codec.latents(stream.read_bytes())
    assert (found.symbols == latent.symbols).all()
    assert (found.z == latent.z).all()
    assert (found.symbols[~found.coded] == 0).all()
    assert 0 < (~found.coded).sum() < found.coded.size
    assert (found.exact.skipped == (~found.coded).sum(axis=0)).all()
    assert found.exact.bits == found.sweep[12].bits < found.sweep[0].bits
    samples = from_int16(read_clip(study.speech / "a.s16", clip))
    assert found.exact.bits == pytest.approx(codec.encode_estimated(samples)[1])
    (y,) = codec.codec.analyse_chunks(samples, POINTS[-1])
    assert found.exact.error == pytest.approx(np.square(latent.y_hat - y).sum())
    lost = found.exact.lost
    assert 0 < lost.sum() < found.exact.skipped.sum()


def test_fixed_point_costs_little(tables):
    exact = tables["exactness"]
    assert exact["kbps_exact"].to_numpy() == pytest.approx(exact["kbps_unrounded"], rel=5e-3)
    assert exact["mse_exact"].to_numpy() == pytest.approx(exact["mse_unrounded"], rel=3e-2)
    assert (exact["kbps_exact"] != exact["kbps_unrounded"]).all()


def test_skip_trades_rate_for_error(tables):
    for _, rows in tables["skip"].groupby("point"):
        assert list(rows["threshold"]) == list(diagnostics.THRESHOLDS)
        assert rows["skipped"].is_monotonic_increasing
        assert rows["skipped"].iloc[0] == rows["lost"].iloc[0] == 0
        assert rows["kbps"].iloc[-1] < rows["kbps"].iloc[0]
    exactness = tables["exactness"].set_index("point")
    own = tables["skip"].query("threshold == 12").set_index("point")
    assert own["mse"].to_numpy() == pytest.approx(exactness["mse_exact"].to_numpy())


def test_timeline_covers_the_utterance(tables, study):
    timeline = tables["timeline"]
    seconds = study.clips["samples"].iloc[0] / 16000
    step = timeline["seconds"].iloc[1]
    assert len(timeline) * step == pytest.approx(seconds, abs=4 * step)
    parts = tables["parts"]["part"].unique()
    assert timeline[parts].to_numpy().min() >= 0
    spectrum = timeline.drop(columns=["seconds", *parts])
    assert spectrum.to_numpy().max() == 0
    assert spectrum.to_numpy().min() >= diagnostics.SPECTRUM_FLOOR


def test_another_codec_is_refused(study, tmp_path):
    about = json.loads((study.streams / "codec.json").read_text())
    (tmp_path / "codec.json").write_text(json.dumps({**about, "class": "ecc.codecs.opus:Opus"}))
    with pytest.raises(ValueError, match="does not have the entropy model of ECC"):
        diagnostics.diagnose(tmp_path, {}, study.speech, 1)


def test_no_streams_are_an_error(study, tmp_path):
    shutil.copy(study.streams / "codec.json", tmp_path)
    index = pd.read_csv(study.streams / "index.csv")
    index.assign(reason="broken").to_csv(tmp_path / "index.csv", index=False)
    with pytest.raises(ValueError, match="there are no streams"):
        diagnostics.diagnose(tmp_path, {}, study.speech, 1)


# ---------------------------------------------------------------------- entropies


def test_entropy_of_a_fair_coin_given_nothing_and_given_itself():
    coin = np.random.default_rng(0).integers(0, 2, 100_000)
    assert diagnostics.empirical_entropy(coin) == pytest.approx(1, abs=1e-3)
    assert diagnostics.empirical_entropy(coin, coin) == 0
    assert diagnostics.empirical_entropy(coin, np.roll(coin, 1)) == pytest.approx(1, abs=1e-3)


def test_entropy_is_hardly_biased_by_many_small_tables():
    rng = np.random.default_rng(0)
    symbols, contexts = rng.integers(0, 4, 20_000), rng.integers(0, 500, 20_000)
    assert diagnostics.empirical_entropy(symbols, contexts) == pytest.approx(2, abs=0.01)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=50), st.integers(-100, 100))
def test_entropy_is_that_of_the_counts_whatever_the_symbols_are_called(values, shift):
    symbols = np.array(values)
    _, counts = np.unique(symbols, return_counts=True)
    p = counts / counts.sum()
    expected = -(p * np.log2(p)).sum() + (len(p) - 1) / (2 * np.log(2) * len(values))
    assert diagnostics.empirical_entropy(symbols + shift) == pytest.approx(expected, abs=1e-9)


def test_explained_variance():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(5000, 3))
    known = rng.normal(size=(5000, 4))
    values = known[:, :3] + noise + 7
    assert diagnostics._explained(values, known) == pytest.approx(0.5, abs=0.03)
    assert diagnostics._explained(noise, known) == pytest.approx(0, abs=0.01)
    assert np.isnan(diagnostics._explained(noise, known[:, :0]))
