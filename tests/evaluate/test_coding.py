import json
import os

import numpy as np
import pytest

from ecc import audio
from ecc.codecs.base import CodecEntry
from ecc.evaluate.coding import decode_streams, encode_test_sets
from ecc.tables import read_table


def encode(study, points=None, code="code", test_sets=None):
    return encode_test_sets(
        name="toy",
        spec=study.config.class_,
        points=points or study.config.points,
        test_sets=test_sets or study.test_sets,
        speech=study.root / "speech",
        out=study.root / "streams",
        code=code,
        workers=2,
    )


def decode(study, code="code"):
    return decode_streams(study.root / "streams", study.root / "decoded", code, workers=2)


def written(folder):
    """When each file of utterances below `folder` was written."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.glob("*/*/*")
    }


def test_streams_and_audio_of_every_utterance_at_every_point(study):
    assert encode(study) is None
    assert decode(study) is None
    streams = read_table(study.root / "streams" / "index.csv")
    assert list(streams["point"]) == ["fine"] * 5 + ["coarse"] * 5
    assert list(streams["utterance"][:5]) == ["000", "001", "002", "000", "001"]
    good = streams[streams["reason"] == ""]
    samples = (good["seconds"] * 16000).round()
    assert list(good["bits"]) == list(8 * (samples + 25))
    assert list(good["bits_estimated"]) == list(7 * samples)
    assert (good["encode_seconds"] > 0).all()

    about = json.loads((study.root / "streams" / "codec.json").read_text())
    assert about["available"] and about["version"] == "1"
    assert about["points"] == study.config.points

    decoded = read_table(study.root / "decoded" / "index.csv")
    assert list(decoded["file"]) == [f.replace(".bin", ".flac") for f in good["file"]]
    clip = study.test_sets["a"].iloc[1]
    speech = np.fromfile(study.root / "speech/a.s16", dtype="<i2")
    expected = speech[clip["start"] :][: clip["samples"]] / 32768
    samples = audio.read(study.root / "decoded/a/fine/001.flac")
    np.testing.assert_allclose(samples[25:], expected, atol=0.5 / 127 + 1e-4)


def test_an_utterance_that_fails_is_a_row_with_its_reason(study):
    encode(study)
    streams = read_table(study.root / "streams" / "index.csv")
    failed = streams[streams["reason"] != ""]
    assert list(failed["test_set"]) == ["b", "b"] and list(failed["utterance"]) == ["001"] * 2
    assert set(failed["reason"]) == {"RuntimeError: too short for me"}
    assert failed["bits"].isna().all()
    (study.root / "streams" / "a/fine/000.bin").write_bytes(b"")
    decode(study)
    decoded = read_table(study.root / "decoded" / "index.csv").set_index("file")
    assert "shape (0,)" in decoded.loc["a/fine/000.flac", "reason"]
    assert (decoded["reason"] == "").sum() == 7


def test_what_is_there_is_not_done_again(study):
    encode(study)
    index = (study.root / "streams" / "index.csv").read_text()
    before = written(study.root / "streams")
    encode(study)
    assert written(study.root / "streams") == before
    assert (study.root / "streams" / "index.csv").read_text() == index
    decode(study)
    before = written(study.root / "decoded")
    decode(study)
    assert written(study.root / "decoded") == before


def test_a_killed_run_goes_on_where_it_stopped(study):
    out = study.root / "streams"
    encode(study)
    # As a killed run leaves it: a journal with half a line at its end, and no index.
    rows = [r for r in read_table(out / "index.csv").to_dict("records") if not r["reason"]]
    lines = [json.dumps(row) for row in rows[:3]]
    (out / "journal.jsonl").write_text("\n".join([*lines, '{"test_set": "b", "po']))
    (out / "index.csv").unlink()
    before = written(out)
    encode(study)
    again = {name for name, time in written(out).items() if time != before[name]}
    assert again == {row["file"] for row in rows[3:]}
    assert len(read_table(out / "index.csv")) == 10
    assert not (out / "journal.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"points": {"fine": {"step": 1 / 127}, "coarse": {"step": 0.2}}}, {"coarse"}),
        ({"points": {"fine": {"step": 1 / 127}}}, set()),
        ({"points": {"fine": {"step": 1 / 127, "version": "2"}}}, {"fine"}),
        ({"code": "other"}, {"fine", "coarse"}),
    ],
)
def test_what_has_changed_is_done_again_and_what_is_stale_removed(study, change, again):
    encode(study)
    decode(study)
    before = {name: written(study.root / name) for name in ("streams", "decoded")}
    encode(study, **change)
    decode(study)
    points = change.get("points", study.config.points)
    after = written(study.root / "streams")
    assert {name.split("/")[1] for name in after} == set(points)
    changed = {name for name in after if after[name] != before["streams"][name]}
    assert {name.split("/")[1] for name in changed} == again
    assert {name.split("/")[1] for name in written(study.root / "decoded")} == set(points)


def test_changed_weights_at_the_same_path_are_other_weights(study):
    model = study.root / "model.safetensors"
    points = {"m": {"step": 0.01, "model": str(model)}}
    model.write_bytes(b"first")
    encode(study, points=points)
    before = written(study.root / "streams")
    model.write_bytes(b"second")
    encode(study, points=points)
    after = written(study.root / "streams")
    assert all(after[name] != before[name] for name in after)


def test_changed_speech_and_a_removed_test_set(study):
    encode(study)
    path = study.root / "speech/a.s16"
    first = study.test_sets["a"].iloc[0]
    content = bytearray(path.read_bytes())
    content[2 * first["start"] + 1] ^= 1
    path.write_bytes(content)
    before = written(study.root / "streams")
    encode(study)
    after = written(study.root / "streams")
    assert {n[0] for n in after if after[n] != before[n]} == {"a"}
    encode(study, test_sets={"a": study.test_sets["a"]})
    assert not (study.root / "streams" / "b").exists()


def test_an_absent_codec_leaves_an_empty_index_and_the_reason(study):
    reason = encode(study, points={"fine": {"step": 0.1}, "none": {"step": 0}})
    assert reason == "libtoy not found; install toys"
    about = json.loads((study.root / "streams" / "codec.json").read_text())
    assert not about["available"] and about["reason"] == reason
    assert decode(study) == reason
    for name in ("streams", "decoded"):
        assert read_table(study.root / name / "index.csv").empty
        assert not written(study.root / name)


def test_a_wrong_class_is_an_error(study):
    study.module = "no_such_module_anywhere"
    with pytest.raises(ValueError, match="no_such_module_anywhere"):
        encode(study)


def test_a_variant_has_models_for_points():
    config = CodecEntry(**{"class": "a:B", "label": "B", "variant": "v"})
    assert list(config.resolve_points({"v-1": ("v", 1), "w-1": ("w", 1)})) == ["v-1"]
    assert list(config.resolve_points({"v": ("v", 2)})) == ["v.0", "v.1"]


def test_workers_do_not_change_this_environment(study):
    before = dict(os.environ)
    encode(study)
    assert dict(os.environ) == before
