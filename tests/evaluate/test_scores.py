import json
import math
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from ecc.evaluate import scores
from ecc.evaluate.coding import decode_streams, encode_test_sets
from ecc.evaluate.metrics import METRICS
from ecc.evaluate.scores import DELAY, Job, Signals, sample, score_codec, score_pair
from ecc.report.config import Report
from ecc.report.rd import rd_table, read_scores
from ecc.report.render import points_table
from ecc.tables import read_table, write_table


def score(study, metrics=("pesq_wb", "estoi"), codec="toy"):
    score_codec(
        study.root / "streams",
        study.root / "decoded",
        study.test_sets,
        study.root / "speech",
        metrics,
        study.root / "scores.csv",
        study.root / "cache" / f"{codec}.jsonl",
        workers=2,
    )
    names = dict.fromkeys(["point", "test_set", "utterance"], str)
    return pd.read_csv(study.root / "scores.csv", dtype=names)


@pytest.fixture
def coded(study):
    encode_test_sets(
        "toy",
        study.config.class_,
        study.config.points,
        study.test_sets,
        study.root / "speech",
        study.root / "streams",
        "code",
        workers=2,
    )
    decode_streams(study.root / "streams", study.root / "decoded", "code", workers=2)
    return study


def test_one_row_for_every_utterance(coded):
    table = score(coded)
    assert list(table.columns) == [
        *("codec", "point", "test_set", "utterance", "speaker", "seconds", "kbps"),
        *("kbps_estimated", "delay", "pesq_wb", "estoi", "encode_seconds", "decode_seconds"),
        "reason",
    ]
    assert len(table) == 10
    good = table[table["reason"].isna()]
    assert len(good) == 8
    assert set(good["delay"]) == {25}
    kbps = 8 * (good["seconds"] * 16000 + 25) / good["seconds"] / 1000
    np.testing.assert_allclose(good["kbps"], kbps)
    np.testing.assert_allclose(good["kbps_estimated"], 112)
    means = good.groupby("point")[["pesq_wb", "estoi"]].mean()
    assert (means.loc["fine"] > means.loc["coarse"]).all()
    failed = table[table["reason"].notna()]
    assert list(failed["utterance"]) == ["001", "001"]
    assert failed[["kbps", "pesq_wb", "estoi"]].isna().all(axis=None)
    assert set(failed["reason"]) == {"encode: RuntimeError: too short for me"}


def test_nothing_is_scored_twice(coded):
    table = score(coded)
    journal = coded.root / "cache" / "toy.jsonl"
    before = journal.read_text()
    lines = before.splitlines()
    delays = [line for line in lines if '"delay ' in line]
    assert len(delays) == 4  # of two points on two test sets
    assert len(lines) == 8 + len(delays)
    # As a killed run leaves it. A remembered score is believed: one is made a wrong one.
    wrong = next(n for n, line in enumerate(lines) if line not in delays)
    entry = json.loads(lines[wrong])
    (value, key) = min((value, key) for key, value in entry["scores"].items())
    entry["scores"][key] = 4.5678
    expected = [*lines[:wrong], json.dumps(entry), *lines[wrong + 1 :]]
    others = expected[:wrong] + expected[wrong + 1 :]
    journal.write_text("\n".join([others[3], json.dumps(entry), others[1], others[2][:20]]))
    again = score(coded)
    after = journal.read_text().splitlines()
    assert after == expected
    metrics = ["pesq_wb", "estoi"]
    differences = (again[metrics] - table[metrics]).abs().fillna(0).to_numpy()
    assert np.count_nonzero(differences) == 1
    assert math.isclose(differences.max(), abs(4.5678 - value))
    score(coded, metrics=("estoi",))
    assert journal.read_text().splitlines() == after


def entries(path):
    """What a journal holds but for delays: scores by metric and version, by signals."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    found = {line["signals"]: line["scores"] for line in lines}
    assert len(found) == len(lines)
    return {signals: scores for signals, scores in found.items() if scores.keys() != {DELAY}}


def test_a_metric_that_is_added_is_all_that_is_scored(coded):
    table = score(coded, metrics=("pesq_wb",))
    journal = coded.root / "cache" / "toy.jsonl"
    before = entries(journal)
    both = score(coded, metrics=("pesq_wb", "log_mel_distance"))
    after = entries(journal)
    assert before.keys() == after.keys()
    for signals, found in after.items():
        assert [key.split()[0] for key in found] == ["pesq_wb", "log_mel_distance"]
        assert found.items() > before[signals].items()
    pd.testing.assert_series_equal(both["pesq_wb"], table["pesq_wb"])


def test_a_metric_of_ours_that_changed_is_scored_again(coded, monkeypatch):
    table = score(coded, metrics=("pesq_wb", "log_mel_distance"))
    journal = coded.root / "cache" / "toy.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        line["scores"] |= dict.fromkeys(line["scores"].keys() - {DELAY}, -1.0)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    now = replace(METRICS["log_mel_distance"], revision=METRICS["log_mel_distance"].revision + 1)
    monkeypatch.setitem(METRICS, "log_mel_distance", now)
    again = score(coded, metrics=("pesq_wb", "log_mel_distance"))
    pd.testing.assert_series_equal(again["log_mel_distance"], table["log_mel_distance"])
    assert set(again["pesq_wb"].dropna()) == {-1.0}  # which has not changed, and is believed


def test_equal_decodes_are_scored_once(coded):
    for path in (coded.root / "decoded").glob("*/coarse/*.flac"):
        shutil.copy(path.parents[1] / "fine" / path.name, path)
    table = score(coded, metrics=("pesq_wb",)).set_index(["test_set", "utterance"])
    journal = coded.root / "cache" / "toy.jsonl"
    assert len(entries(journal)) == 4
    fine, coarse = (table.loc[table["point"] == point, "pesq_wb"] for point in ("fine", "coarse"))
    pd.testing.assert_series_equal(fine, coarse)
    assert fine.notna().sum() == 4


def test_what_another_codec_was_scored_for_is_known(coded, monkeypatch):
    def nothing(work, jobs, *_):
        assert not jobs
        return []

    table = score(coded, codec="one")
    (coded.root / "cache" / "half.jsonl").write_text('{"signals": "12')
    monkeypatch.setattr(scores, "spread", nothing)
    again = score(coded, codec="other")
    one, other = (coded.root / "cache" / f"{name}.jsonl" for name in ("one", "other"))
    assert one.read_text() == other.read_text()
    assert (coded.root / "cache" / "half.jsonl").read_text() == '{"signals": "12'
    pd.testing.assert_frame_equal(again, table)


def test_a_sample_is_scored_beside_the_whole_and_neither_journal_loses_anything(coded):
    whole = score(coded, metrics=("pesq_wb",))
    journal, other = (coded.root / "cache" / f"{name}.jsonl" for name in ("toy", "unseen-toy"))
    before = journal.read_text()
    every = dict(coded.test_sets)
    coded.test_sets = {"a": sample(every["a"], 1)}
    part = score(coded, metrics=("log_mel_distance", "dnsmos"), codec="unseen-toy")
    assert part[["point", "test_set", "utterance"]].to_numpy().tolist() == [
        ["fine", "a", "000"],
        ["coarse", "a", "000"],
    ]
    assert part["dnsmos_reference"].notna().all()
    assert journal.read_text() == before
    kept = entries(other)
    assert sorted(map(len, kept.values())) == [1, 2, 2]  # the reference, and two points
    # What each holds does not follow from the other, in whichever order they are written.
    sampled = other.read_text()
    coded.test_sets = every
    assert score(coded, metrics=("pesq_wb",)).equals(whole)
    assert (journal.read_text(), other.read_text()) == (before, sampled)


def test_a_sample_takes_speakers_in_turn():
    clips = pd.DataFrame({"clip": list("abcdefg"), "speaker": list("xxxyzzz")})
    turns = {n: "".join(sample(clips, n)["clip"]) for n in (1, 2, 3, 4, 5, 6, 9)}
    assert list(turns.values()) == ["a", "ad", "ade", "abde", "abdef", "abcdef", "abcdefg"]


def test_references_are_scored_once_by_a_metric_that_hears_no_reference(coded):
    table = score(coded, metrics=("dnsmos", "log_mel_distance"))
    found = entries(coded.root / "cache" / "toy.jsonl").values()
    assert sorted(map(len, found)) == [1] * 4 + [2] * 8
    good = table[table["reason"].isna()]
    assert good["dnsmos_reference"].nunique() == 4
    assert good.groupby(["test_set", "utterance"])["dnsmos_reference"].nunique().eq(1).all()
    assert "log_mel_distance_reference" not in table


def test_what_was_not_decoded_has_no_scores(coded):
    path = coded.root / "decoded" / "index.csv"
    lines = path.read_text().splitlines()
    broken = [*lines[:1], lines[1] + "bad stream", *lines[3:]]
    path.write_text("\n".join(broken) + "\n")
    reasons = score(coded)["reason"].to_list()
    assert reasons[:2] == ["decode: bad stream", "decode: missing"]


def test_an_absent_codec_has_an_empty_table(study):
    encode_test_sets(
        *("toy", study.config.class_, {"none": {"step": 0}}, study.test_sets),
        *(study.root / "speech", study.root / "streams", "code", 2),
    )
    decode_streams(study.root / "streams", study.root / "decoded", "code", workers=2)
    assert score(study).empty


@dataclass(frozen=True)
class Heard:
    """A pair that is not read from files."""

    reference: np.ndarray
    decoded: np.ndarray

    def read(self):
        return self.reference, self.decoded


def result(reference, decoded, metrics=tuple(METRICS)):
    return score_pair(Job(Signals(Heard(reference, decoded), "digest", 0), metrics))


@pytest.mark.parametrize(
    ("reference", "decoded", "reason"),
    [
        ("silence", "speech", "the reference is silent"),
        ("silence", "silence", "the reference is silent"),
        ("hush", "speech", "the reference holds 0.00 s of speech, less than 0.5 s"),
        ("offset", "speech", "the reference holds 0.00 s of speech, less than 0.5 s"),
        ("snippet", "snippet", "the reference holds 0.00 s of speech, less than 0.5 s"),
        ("word", "word", "the reference holds 0.18 s of speech, less than 0.5 s"),
        ("speech", "silence", "the decode is silent"),
    ],
)
def test_what_cannot_be_judged_has_no_score_by_any_metric(voice, reference, decoded, reason):
    signals = {
        "speech": voice(2),
        "silence": np.zeros(32000, np.float32),
        "hush": np.float32(1e-4) * voice(2),
        "offset": np.full(32000, 0.5, np.float32),
        "snippet": voice(2)[:100],
        "word": voice(2)[8000:14400],
    }
    found = result(signals[reference], signals[decoded])
    assert found.scores == {}
    assert found.reason == reason


def test_a_failed_score_is_left_out_with_its_reason(monkeypatch, voice):
    def fails(reference, decoded):
        raise RuntimeError("no\n luck")

    monkeypatch.setitem(METRICS, "stoi", replace(METRICS["stoi"], function=fails))
    monkeypatch.setitem(METRICS, "estoi", replace(METRICS["estoi"], function=lambda r, d: math.nan))
    found = result(voice(1), voice(1), ("stoi", "estoi", "log_mel_distance"))
    assert found.scores == {"log_mel_distance": 0}
    assert found.reason == (
        "stoi: RuntimeError: no luck; estoi: ValueError: the score is not finite"
    )


def test_a_metric_whose_package_is_missing_is_nan_with_the_reason(coded, monkeypatch):
    score(coded, metrics=("stoi", "log_mel_distance"))
    journal = coded.root / "cache" / "toy.jsonl"
    before = journal.read_text()
    there = replace(METRICS["stoi"], packages=("no-such-package", "pystoi"))
    monkeypatch.setitem(METRICS, "stoi", there)
    table = score(coded, metrics=("stoi", "log_mel_distance"))
    assert table["stoi"].isna().all()
    good = table[table["log_mel_distance"].notna()]
    assert len(good) == 8
    assert set(good["reason"]) == {"stoi: no-such-package not installed"}
    assert journal.read_text() == before  # where it is installed, its scores hold


def test_metrics_that_are_not_asked_for_are_not_imported(coded):
    script = (
        "import sys; from ecc.evaluate.scores import Job, Pair, Signals, score_pair; "
        "assert not {'torch', 'visqol', 'pesq', 'pystoi', 'onnxruntime', 'scipy'} & {*sys.modules};"
        "import numpy as np; from ecc.evaluate.metrics import METRICS;"
        "x = np.random.default_rng(0).standard_normal(32000).astype(np.float32);"
        "METRICS['stoi'].function(x, x);"
        "assert 'pystoi' in sys.modules;"
        "assert not {'torch', 'visqol', 'pesq', 'onnxruntime'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_point_called_na_and_a_speaker_called_no_are_in_the_report(study):
    for table in study.test_sets.values():
        table["speaker"] = "no"
    folders = study.root / "streams", study.root / "decoded"
    points = {"NA": {"step": 1 / 127}, "null": {"step": 1 / 10}}
    encode_test_sets(
        *("toy", study.config.class_, points, study.test_sets),
        *(study.root / "speech", folders[0], "code", 2),
    )
    decode_streams(*folders, "code", workers=2)
    score(study, metrics=("log_mel_distance",))
    (study.root / "scores.csv").rename(study.root / "toy.csv")
    metrics = ["log_mel_distance"]
    scores = read_scores(study.root, ["toy"], metrics)
    assert set(scores["speaker"]) == {"no"}
    write_table(study.root / "rd.csv", rd_table(scores, ["toy"], ["a"], metrics, Report()))
    rd = read_table(study.root / "rd.csv")
    assert set(rd["point"]) == {"NA", "null"}
    assert rd[["kbps", "log_mel_distance"]].notna().all(axis=None)
    text = points_table(rd, metrics, {"toy": "Toy"})
    assert "| NA " in text and "| null " in text
