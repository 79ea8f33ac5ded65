import json
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecc import params
from ecc.data.corpus import COLUMNS, CorpusError, TestSet, build, check_speakers, identity, sample
from ecc.data.download import Unreachable
from ecc.data.fetch import fetch
from ecc.data.sources import vctk
from ecc.data.sources.debian import Debian
from ecc.data.sources.github import GitHub
from ecc.speech import read_clip

from .test_fetch import Given, recording

ROOT = Path(__file__).parents[2]
COPIES = os.environ.get("ECC_MIRROR", "/nowhere")  # which no other test here sees


def manifest(counts: dict[str, int], split: str = "test") -> pd.DataFrame:
    """So many clips of a second and more for each speaker, all of one source."""
    rows = [
        (f"{speaker}-{i:03}", "one", speaker, "en", split, "CC0", 1.0 + i / 100, 0, 16000)
        for speaker, count in counts.items()
        for i in range(count)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_set(**changes) -> TestSet:
    defaults = {
        "sources": ["one"], "utterances": 10, "min_seconds": 1.0, "max_seconds": 12.0, "seed": 3,
    }  # fmt: skip
    return TestSet.model_validate(defaults | changes)


test_set.__test__ = False  # type: ignore[attr-defined]


@given(
    counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 20), min_size=1),
    utterances=st.integers(1, 60),
    seed=st.integers(0, 5),
)
def test_speakers_take_turns(counts, utterances, seed):
    table = manifest(counts)
    drawn = sample(table, test_set(utterances=utterances, seed=seed))
    assert len(drawn) == min(utterances, sum(counts.values()))
    assert drawn["clip"].is_unique
    per_speaker = drawn["speaker"].value_counts().reindex(list(counts), fill_value=0)
    most = per_speaker.max()
    # Nobody is more than a turn behind, unless there was no more to take.
    assert all(per_speaker[s] >= min(most - 1, counts[s]) for s in counts)
    shuffled = table.sample(frac=1, random_state=seed)
    again = sample(shuffled, test_set(utterances=utterances, seed=seed))
    assert list(again["clip"]) == list(drawn["clip"])


def test_the_seed_decides():
    table = manifest({"a": 50, "b": 50})
    drawn = [tuple(sample(table, test_set(seed=seed))["clip"]) for seed in range(4)]
    assert len(set(drawn)) == 4


def test_only_test_speakers_of_the_sources_in_the_limits():
    table = pd.concat([manifest({"a": 30}), manifest({"b": 30}, split="train")])
    drawn = sample(table, test_set(min_seconds=1.1, max_seconds=1.12, utterances=99))
    assert list(drawn["clip"]) == ["a-010", "a-011", "a-012"]
    assert sample(table, test_set(sources=["other"])).empty


def test_a_set_for_validation_hears_only_its_speakers():
    parts = [manifest({name: 5}, split=name) for name in ("train", "valid", "test")]
    assert set(sample(pd.concat(parts), test_set(split="valid"))["speaker"]) == {"valid"}
    with pytest.raises(ValueError, match="split"):
        test_set(split="train")


def test_speakers_by_their_whole_names():
    table = manifest({"vctk/p1": 2, "vctk/p2": 2, "libritts/1": 2, "1": 2})
    drawn = sample(table, test_set(speakers="vctk/p1|libritts/.+"))
    assert set(drawn["speaker"]) == {"vctk/p1", "libritts/1"}
    assert len(sample(table, test_set())) == 8
    with pytest.raises(ValueError, match="not a regular expression"):
        test_set(speakers="(")


def test_limits_in_order():
    with pytest.raises(ValueError, match="below min_seconds"):
        test_set(min_seconds=3, max_seconds=2)


def test_a_speaker_in_two_splits_is_named():
    table = pd.concat([manifest({"a": 2, "b": 2}), manifest({"b": 1}, split="train")])
    with pytest.raises(CorpusError, match="speaker b is in test and train"):
        check_speakers(table)
    check_speakers(manifest({"a": 2, "b": 2}))


def test_no_test_speaker_of_any_source_trains_or_validates():
    """Of those whose speakers are listed; the archives of LibriTTS have its own splits."""
    sources = params.load(ROOT / "params.yaml").sources
    splits: dict[str, set[str]] = defaultdict(set)
    for name, source in sources.items():
        if isinstance(source, GitHub):
            for row in source.files():
                speaker = row.speaker if "/" in row.speaker else f"{name}/{row.speaker}"
                splits[speaker].add(row.split.replace("decoded", "test"))
        elif isinstance(source, Debian):
            for rule in source.rules:
                splits[f"{rule.speaker} {rule.pattern if '{' in rule.speaker else ''}"].add(
                    rule.split
                )
    held_out = sources["vctk"]
    assert isinstance(held_out, vctk.VCTK)
    for speaker in [speaker for speaker in splits if speaker.startswith("vctk/")]:
        splits[speaker].add(held_out._split(speaker.removeprefix("vctk/")))
    assert sum(found == {"test"} for found in splits.values()) > 60
    assert {speaker: found for speaker, found in splits.items() if len(found) > 1} == {}
    assert not set(held_out.test) & set(held_out.valid)


def fetched(tmp_path: Path, splits: dict[str, str], **sources: list) -> dict[str, Given]:
    """Sources of given recordings, fetched; the file name's first letter is the speaker."""
    declared = {}
    for name, recorded in sources.items():
        recorded = [
            r._replace(speaker=r.path[0], split=splits[r.path[0]])
            if not isinstance(r, Exception)
            else r
            for r in recorded
        ]
        declared[name] = Given.model_construct(licence="CC0", recorded=tuple(recorded))
        fetch(name, declared[name], tmp_path / "speech", tmp_path / "downloads")
    return declared


SPLITS = {"a": "train", "b": "test"}


def test_builds_a_corpus(tmp_path):
    one = [recording("a1.wav", 1.0, 1), recording("b1.wav", 2.0, 2)]
    two = [recording("a2.wav", 1.5, 3)]
    sources = fetched(tmp_path, SPLITS, one=one, two=two)
    build(sources, {"all": test_set()}, {}, tmp_path / "speech", tmp_path / "corpus")
    table = pd.read_csv(tmp_path / "corpus" / "manifest.csv")
    assert list(table["clip"]) == ["one__a1", "one__b1", "two__a2"]
    drawn = pd.read_csv(tmp_path / "corpus" / "test_sets" / "all.csv")
    assert list(drawn["clip"]) == ["one__b1"]
    facts = json.loads((tmp_path / "corpus" / "sources.json").read_text())
    assert [fact["source"] for fact in facts] == ["one", "two"]
    assert facts[0]["splits"]["test"] == {"clips": 1, "hours": 0.0006, "speakers": 1}
    for row in table.to_dict("records"):
        samples = read_clip(tmp_path / "speech" / row["source"] / "speech.s16", row)
        assert samples.dtype == np.int16 and samples.shape == (row["samples"],)
    expected = np.random.default_rng(2).uniform(-0.5, 0.5, 32000)
    test_set_file = tmp_path / "corpus" / "test_sets" / "all.s16"
    clip = read_clip(test_set_file, drawn.to_dict("records")[0])
    assert np.abs(clip / 32768 - expected).max() < 1 / 32768
    assert test_set_file.stat().st_size == 2 * 32000


def test_a_recording_in_two_sources_is_in_a_test_set_once(tmp_path):
    """And the table beside the set says of all that was left out why."""
    one = [recording("b1.wav", 3.0, 1), recording("b2.wav", 9.5, 2)]
    two = [recording("b1.wav", 2.0, 1), recording("b3.wav", 0.9, 3), recording("a1.wav", 3.0, 1)]
    sources = fetched(tmp_path, SPLITS, one=one, two=two)
    drawn_from = test_set(sources=["one", "two"], max_seconds=9)
    build(sources, {"all": drawn_from}, {}, tmp_path / "speech", tmp_path / "corpus")
    folder = tmp_path / "corpus" / "test_sets"
    assert list(pd.read_csv(folder / "all.csv")["clip"]) == ["one__b1"]
    assert (folder / "all.dropped.csv").read_text().splitlines() == [
        "clip,source,speaker,seconds,reason",
        "one__b2,one,b,9.5,longer than 9 s",
        "two__b1,two,b,2.0,2.00 s of it are in one__b1",
        "two__b3,two,b,0.9,shorter than 1 s",
    ]


def test_decodes_are_no_speech_of_the_corpus(tmp_path):
    one = [recording("b1.wav", 1.0, 1), recording("c1.wav", 1.0, 2)]
    sources = fetched(tmp_path, {"b": "test", "c": "decoded"}, one=one)
    table = build(sources, {"all": test_set()}, {}, tmp_path / "speech", tmp_path)
    assert list(table["clip"]) == ["one__b1"]
    assert (tmp_path / "test_sets" / "all.csv").read_text().count("\n") == 2


def test_decodes_are_kept_with_their_references(tmp_path):
    recorded = [recording(f"{name}.wav", 1.0, seed) for seed, name in enumerate(["a1", "b1", "c1"])]
    splits = {"a": "train", "b": "test", "c": "decoded"}
    sources = fetched(tmp_path, splits, one=recorded, two=recorded[:2], far=[Unreachable("gone")])
    build(sources, {}, {}, tmp_path / "speech", tmp_path)
    decodes = tmp_path / "decodes"
    assert {path.name for path in decodes.glob("*.csv")} == {"one.csv", "far.csv"}
    table = pd.read_csv(decodes / "one.csv")
    assert list(table["clip"]) == ["one__b1", "one__c1"]
    for row, seed in zip(table.to_dict("records"), (1, 2), strict=True):
        expected = np.random.default_rng(seed).uniform(-0.5, 0.5, 16000)
        clip = read_clip(decodes / "one.s16", row)
        assert np.abs(clip / 32768 - expected).max() < 1 / 32768
    assert json.loads((decodes / "far.json").read_text())["reason"] == "gone"


def test_a_source_declared_otherwise_must_be_fetched_again(tmp_path, monkeypatch):
    sources = fetched(tmp_path, SPLITS, one=[recording("a1.wav", 1.0)])
    build(sources, {}, {}, tmp_path / "speech", tmp_path)
    monkeypatch.setattr(Given, "identity", lambda self: {"table_sha256": "of a row that moved"})
    with pytest.raises(CorpusError, match=r"one: declared otherwise .*fetch\.py one"):
        build(sources, {}, {}, tmp_path / "speech", tmp_path)


def test_a_model_that_names_its_sources_hears_of_no_other(tmp_path):
    one, two = ([recording(f"{name}.wav", 1.0, seed)] for seed, name in enumerate(["a1", "a2"]))
    sources = fetched(tmp_path, SPLITS, one=one, two=two)
    training = {"all": ["one", "two"], "choosy": ["two"]}
    build(sources, {}, training, tmp_path / "speech", tmp_path)
    heard = {m: json.loads((tmp_path / "training" / f"{m}.json").read_text()) for m in training}
    assert {model: list(of["sources"]) for model, of in heard.items()} == training


def test_identity_does_not_depend_on_what_was_reached(tmp_path):
    recorded = [recording("a1.wav", 1.0)]
    for folder, last in (("reached", recorded), ("not", [Unreachable("gone")])):
        sources = fetched(tmp_path / folder, SPLITS, one=recorded, two=last)
        training = {"model": ["one", "two"]}
        build(sources, {}, training, tmp_path / folder / "speech", tmp_path / folder)
    path = "training/model.json"
    read = [(tmp_path / folder / path).read_bytes() for folder in ("reached", "not")]
    assert read[0] == read[1]
    assert (tmp_path / "not" / "manifest.csv").read_text().count("\n") == 2


def test_nothing_reached_is_an_empty_corpus(tmp_path):
    sources = fetched(tmp_path, SPLITS, one=[Unreachable("gone")])
    build(sources, {"all": test_set()}, {}, tmp_path / "speech", tmp_path)
    header = ",".join(COLUMNS) + "\n"
    assert (tmp_path / "manifest.csv").read_text() == header
    assert (tmp_path / "test_sets" / "all.csv").read_text() == header
    assert (tmp_path / "test_sets" / "all.dropped.csv").read_text().count("\n") == 1


def test_identity_changes_with_the_split_and_not_with_the_licence():
    pins = {"kind": "vctk", "url": "u", "sha256": "0", "valid": [], "licence": "CC-BY-4.0"}
    one = vctk.VCTK.model_validate(pins | {"test": ["p225"]})
    assert one.identity() != vctk.VCTK.model_validate(pins | {"test": ["p226"]}).identity()
    assert one.identity() == one.model_copy(update={"licence": "other"}).identity()


def test_identity_leaves_out_what_only_tests_hear():
    rule = {"pattern": "x", "speaker": "s", "language": "en"}
    pins = {
        "kind": "debian",
        "licence": "CC0",
        "package": "p",
        "package_version": "1",
        "sha256": "0",
        "pool_path": "pool/p.deb",
        "root": "",
    }
    one, two = (
        Debian.model_validate(pins | {"rules": [rule | {"split": split}]})
        for split in ("valid", "test")
    )
    assert list(identity({"one": one, "two": two})["sources"]) == ["one"]


@pytest.mark.slow
def test_the_main_test_sets_are_as_large_as_the_docs_say(tmp_path, monkeypatch):
    study = params.load(ROOT / "params.yaml")
    names = {name for key in ("libri", "vctk-voices") for name in study.test_sets[key].sources}
    if not all(Path(COPIES, name).is_dir() for name in names):
        pytest.skip("ECC_MIRROR does not have all their sources")
    monkeypatch.setenv("ECC_MIRROR", COPIES)
    sources = {name: source for name, source in study.sources.items() if name in names}
    for name, source in sources.items():
        assert fetch(name, source, tmp_path / "speech", tmp_path / "downloads") is None
    sets = {name: study.test_sets[name] for name in ("libri", "vctk-voices")}
    build(sources, sets, {}, tmp_path / "speech", tmp_path)
    docs = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    for name, utterances, speakers in (("libri", 180, 35), ("vctk-voices", 36, 30)):
        table = pd.read_csv(tmp_path / "test_sets" / f"{name}.csv")
        assert len(table) >= utterances and table["speaker"].nunique() >= speakers
        minutes = table["seconds"].sum() / 60
        row = f"| {name} | {len(table)} | {table['speaker'].nunique()} | {minutes:.1f} |"
        assert row in docs
    reasons = pd.read_csv(tmp_path / "test_sets" / "libri.dropped.csv")["reason"]
    counts = [reasons.str.contains(text).sum() for text in ("are in", "shorter", "longer")]
    assert counts == [2, 14, 1]


def test_a_source_that_was_not_fetched(tmp_path):
    sources = {"one": Given.model_construct(licence="CC0")}
    with pytest.raises(CorpusError, match="one: not fetched"):
        build(sources, {}, {}, tmp_path, tmp_path)
