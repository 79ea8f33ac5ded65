import json
import os
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ecc import params
from ecc.audio import to_int16
from ecc.codecs.base import from_int16, load_codec
from ecc.codecs.published import Published
from ecc.data.corpus import COLUMNS, sample
from ecc.data.fetch import fetch
from ecc.errors import CodecUnavailable
from ecc.evaluate.alignment import estimate_delay, remove_delay
from ecc.evaluate.coding import decode_streams, encode_test_sets, records
from ecc.evaluate.metrics import pesq_wb, visqol
from ecc.evaluate.scores import score_codec
from ecc.speech import read_clip

ROOT = Path(__file__).parents[2]


def write_source(folder: Path, clips: dict[str, np.ndarray], **facts: object) -> pd.DataFrame:
    """A fetched source called "demo"; returns its clips."""
    rows, start = [], 0
    (folder / "demo").mkdir(parents=True, exist_ok=True)
    with (folder / "demo" / "speech.s16").open("wb") as file:
        for name, samples in clips.items():
            split = "test" if name.startswith("target") else "decoded"
            row = (f"demo__{name}", "demo", name[-1], "en", split, "", len(samples) / 16000)
            rows.append((*row, start, len(samples)))
            file.write(samples.astype("<i2").tobytes())
            start += len(samples)
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.to_csv(folder / "demo" / "clips.csv", index=False)
    about = {"source": "demo", "available": True, "reason": None, "version": "0123456789abcdef"}
    (folder / "demo" / "source.json").write_text(json.dumps(about | facts))
    return table


@pytest.fixture
def demo(tmp_path, monkeypatch, voice):
    """Two references, and decodes by codecs "a" (of both, late by 80 samples) and "b" (of one)."""
    monkeypatch.chdir(tmp_path)
    x, y = to_int16(voice(1.5, seed=1)), to_int16(voice(1.25, seed=2))
    clips = {
        "target__x": x,
        "target__y": y,
        "a__x": np.pad(x, (80, 0)) // 2,
        "a__y": np.pad(y, (80, 0))[:-200] // 2,
        "b__y_decoded": y // 4,
    }
    return clips, write_source(tmp_path / "data" / "speech", clips)


def test_a_reference_gives_its_decode_at_the_nominal_rate(demo):
    clips, _ = demo
    codec = Published("demo", "target__{}", "a__{}", 0.5)
    for name in "xy":
        reference = from_int16(clips[f"target__{name}"])
        stream = codec.encode(reference)
        np.testing.assert_array_equal(to_int16(codec.decode(stream)), clips[f"a__{name}"])
        assert codec.bits(stream) == 500 * len(reference) / 16000
    assert (codec.version, codec.rate) == ("demo 0123456789ab", "nominal")


def test_what_was_not_published_is_an_error_of_that_utterance(demo):
    clips, _ = demo
    codec = Published("demo", "target__{}", "b__{}_decoded", 3)
    assert len(codec.decode(codec.encode(from_int16(clips["target__y"])))) == 20000
    for other in (clips["target__x"], clips["target__y"][:-1], clips["a__y"]):
        with pytest.raises(LookupError, match="no decode of this reference"):
            codec.encode(from_int16(other))


def test_a_source_that_is_not_there_makes_the_codec_absent(demo, tmp_path):
    arguments = {"reference": "target__{}", "decoded": "a__{}", "kbps": 1}
    with pytest.raises(CodecUnavailable, match=r"source other was not fetched.*study\.sources"):
        Published("other", **arguments)
    write_source(tmp_path / "data" / "speech", {}, available=False, reason="no route to host")
    with pytest.raises(CodecUnavailable, match="could not be reached: no route to host"):
        Published("demo", **arguments)


@pytest.mark.parametrize("names", ["target", "{}{}"])
def test_names_without_a_place_for_what_is_in_common(demo, names):
    with pytest.raises(ValueError, match=r"must hold \{\} once"):
        Published("demo", "target__{}", names, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(kbps=st.floats(0.1, 100), samples=st.integers(1, 10**8))
def test_the_rate_is_the_nominal_one_to_half_a_bit(demo, kbps, samples):
    bits = Published("demo", "target__{}", "a__{}", kbps).bits(samples.to_bytes(4, "little"))
    assert abs(bits - 1000 * kbps * samples / 16000) <= 0.5


def test_through_files_and_scores_like_any_codec(demo, tmp_path):
    _, table = demo
    entry = {"source": "demo", "reference": "target__{}", "kbps": 1.5}
    points = {"1k": entry | {"decoded": "a__{}"}, "3k": entry | {"decoded": "b__{}_decoded"}}
    config = params.base.CodecConfig(
        **{"class": "ecc.codecs.published:Published", "label": "Demo", "points": points}
    )
    test_sets = {"demo": table[table["split"] == "test"]}
    speech, streams, decoded = Path("data/speech"), tmp_path / "streams", tmp_path / "decoded"
    encode_test_sets("demo", config, points, test_sets, speech, streams, "code", 1)
    decode_streams(streams, decoded, "code", 1)
    out, journal = tmp_path / "scores.csv", tmp_path / "journal"
    score_codec(streams, decoded, test_sets, speech, ("estoi",), out, journal, 1)
    scores = pd.read_csv(out)
    assert json.loads((streams / "codec.json").read_text())["rate"] == "nominal"
    assert list(scores["kbps"][:2]) == [1.5, 1.5] and list(scores["delay"][:2]) == [80, 80]
    assert scores["estoi"][[0, 1, 3]].min() > 0.9
    assert scores["reason"][2] == "encode: LookupError: no decode of this reference was published"


# PESQ-WB and ViSQOL (speech, lattice) of the published decodes, measured once by other code.
MEASURED = {
    "freecodec-demo 0.45k": [(2.06, 2.49), (2.06, 2.90)],
    "dac-demo 0.5k": [(1.81, 2.15), (1.73, 2.18)],
    "ticodec-demo 0.5k": [(1.53, 1.76), (1.40, 1.83)],
    "dac-demo 1k": [(2.30, 2.61), (2.12, 2.81)],
    "ticodec-demo 1k": [(2.22, 2.17), (1.85, 2.38)],
    "supercodec-demo 1k": [(1.70, 2.55), (2.18, 3.36)],
    "encodec-demo 1.5k": [(1.59, 2.02), (1.53, 2.26)],
    "encodec-demo 3k": [(2.12, 3.07), (2.05, 3.03)],
    "lyra-v1-demo 3k": [(1.62, 2.53), (1.49, 2.54)],
    "lyra-v2-demo 3.2k": [(2.38, 3.34), (2.22, 3.26)],
    "opus-demo 6k": [(2.38, 2.40), (2.28, 2.75)],
    "opus-demo 9k": [(3.09, 3.63), (3.10, 3.85)],
    "speex-demo 4k": [(1.54, 1.80), (1.52, 1.79)],
}
MISSING = {("ticodec-demo 0.5k", 0): 1, ("ticodec-demo 1k", 0): 3}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The test sets of the published decodes, fetched from local copies; (params, tables)."""
    copies = Path(os.environ.get("ECC_MIRROR", "/nowhere"), "freecodec-demo")
    if not copies.is_dir():
        pytest.skip("no published decodes: ECC_MIRROR has no folder freecodec-demo")
    folder = tmp_path_factory.mktemp("published")
    shutil.copy(ROOT / "params.yaml", folder)
    study = params.load(folder / "params.yaml")
    source = study.sources["freecodec-demo"]
    assert fetch("freecodec-demo", source, folder / "data/speech", folder / "downloads") is None
    clips = pd.read_csv(folder / "data/speech/freecodec-demo/clips.csv")
    names = ("librispeech-demo", "vctk-demo")
    return folder, study, [records(sample(clips, study.test_sets[name])) for name in names]


def test_the_sets_are_whole_and_train_nothing(published):
    _, study, sets = published
    assert [len(clips) for clips in sets] == [8, 6]
    assert not study.sources["freecodec-demo"].trains
    speakers = {clip["speaker"] for clips in sets for clip in clips}
    # Where LibriTTS and VCTK train, these voices are held out.
    held_out = {f"vctk/{speaker}" for speaker in study.sources["vctk"].test}
    assert {s for s in speakers if s.startswith("vctk/")} <= held_out
    assert all(speaker.split("/")[0] in ("libritts", "vctk") for speaker in speakers)


def test_every_point_finds_all_that_was_published(published, monkeypatch):
    folder, study, sets = published
    monkeypatch.chdir(folder)
    for point in MEASURED:
        codec = make(study, point)
        for number, clips in enumerate(sets):
            found = [len(decodes(codec, [clip])) for clip in clips]
            assert len(clips) - sum(found) == MISSING.get((point, number), 0)


@pytest.mark.slow
@pytest.mark.parametrize("point", MEASURED)
def test_scores_are_those_measured_before(published, monkeypatch, point):
    folder, study, sets = published
    monkeypatch.chdir(folder)
    codec = make(study, point)
    for clips, expected in zip(sets, MEASURED[point], strict=True):
        pairs = decodes(codec, clips)
        delay = estimate_delay(pairs)
        means = defaultdict(list)
        for reference, decoded in pairs:
            # Measured of what both signals cover. The study fills a decode that ends early with
            # zeros, which costs it up to 0.1 of PESQ here.
            covered = min(len(reference), len(decoded) - delay)
            aligned = remove_delay(decoded, delay, covered)
            for metric in (pesq_wb, visqol):
                means[metric].append(metric(reference[:covered], aligned))
        assert [np.mean(means[m]) for m in (pesq_wb, visqol)] == pytest.approx(expected, abs=0.05)


def make(study: params.Params, point: str) -> Published:
    name, _, rate = point.partition(" ")
    config = study.codecs[name]
    codec = load_codec(config.class_, config.resolve_points({})[rate])
    assert isinstance(codec, Published) and codec.kbps == float(rate[:-1])
    return codec


def decodes(codec: Published, clips: list[dict]) -> list[tuple[np.ndarray, np.ndarray]]:
    pairs = []
    for clip in clips:
        reference = from_int16(read_clip(Path("data/speech"), clip))
        try:
            pairs.append((reference, codec.decode(codec.encode(reference))))
        except LookupError:
            continue
    return pairs


def test_the_points_of_the_params_are_the_ones_tested():
    codecs = YAML(typ="safe").load(ROOT / "params.yaml")["codecs"]
    points = {
        f"{name} {point}"
        for name, codec in codecs.items()
        if codec["class"].endswith(":Published")
        for point in codec["points"]
    }
    assert points == set(MEASURED)
