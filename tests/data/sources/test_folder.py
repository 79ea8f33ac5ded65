import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from ecc import params
from ecc.audio import AudioError
from ecc.data.corpus import TestSet, build, identity
from ecc.data.fetch import fetch
from ecc.data.sources.base import SourceError
from ecc.data.sources.folder import Folder

from ..conftest import tone, write

ROOT = Path(__file__).parents[3]


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Three speakers in a folder."""
    for i, name in enumerate(("anna/one.wav", "anna/more/two.FLAC", "ben/one.flac", "eva/one.wav")):
        format = "WAV" if name.endswith("wav") else "FLAC"
        write(tmp_path / "speech" / name, tone(2.5, i, rate=24000, format=format))
    write(tmp_path / "speech" / ".DS_Store", b"?")
    return tmp_path / "speech"


def source(folder: Path, **more: object) -> Folder:
    declared = {"kind": "folder", "licence": "own", "language": "en", "folder": str(folder)}
    return Folder.model_validate(declared | more)


def test_a_sub_folder_is_a_speaker_and_all_are_for_tests(speech):
    own = source(speech)
    read = list(own.recordings("own", speech))
    assert [(r.path, r.speaker, r.language, r.split) for r in read] == [
        ("anna/more/two.FLAC", "own/anna", "en", "test"),
        ("anna/one.wav", "own/anna", "en", "test"),
        ("ben/one.flac", "own/ben", "en", "test"),
        ("eva/one.wav", "own/eva", "en", "test"),
    ]
    assert not own.trains


def test_patterns_split_the_speakers(speech):
    own = source(speech, splits={"train": "anna|dora", "valid": "b.*"})
    splits = {r.speaker: r.split for r in own.recordings("own", speech)}
    assert splits == {"own/anna": "train", "own/ben": "valid"}  # eva is left out
    assert own.trains
    both = source(speech, splits={"train": "anna", "test": ".+"})
    with pytest.raises(SourceError, match="speaker anna is in train and test"):
        list(both.recordings("own", speech))
    with pytest.raises(ValueError, match="valid: not a regular expression"):
        source(speech, splits={"valid": "("})


def test_through_the_corpus_into_a_test_set(speech, tmp_path):
    own = source(speech)
    assert fetch("own", own, tmp_path / "fetched", tmp_path / "downloads") is None
    settings = {"utterances": 2, "min_seconds": 2, "max_seconds": 9, "seed": 1}
    test_set = TestSet.model_validate({"sources": ["own"], **settings})
    build({"own": own}, {"mine": test_set}, {}, tmp_path / "fetched", tmp_path / "corpus")
    drawn = pd.read_csv(tmp_path / "corpus/test_sets/mine.csv")
    assert len(drawn) == drawn["speaker"].nunique() == 2
    assert list(drawn["samples"]) == [40000, 40000]
    assert not (tmp_path / "downloads").exists()


def test_identity_follows_the_content_and_not_the_place(speech, tmp_path):
    before = source(speech, splits={"train": ".+"})
    before.identity()
    (speech / "ben/one.flac").touch()
    write(speech / ".DS_Store", b"!")
    speech = speech.rename(tmp_path / "moved")
    moved = source(speech, splits={"train": ".+"})
    assert moved.identity() == before.identity()
    assert identity({"own": moved}) == identity({"own": before})
    write(speech / "ben/one.flac", tone(2.5, 9, format="FLAC"))
    changed = source(speech, splits={"train": ".+"})
    assert changed.identity() != before.identity() and changed.version != before.version
    (speech / "anna/one.wav").rename(speech / "anna/three.wav")
    assert source(speech, splits={"train": ".+"}).identity() != changed.identity()
    source(tmp_path / "nowhere").identity()  # that it is missing is for the fetch to say


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("anna/notes.txt", b"text", "anna/notes.txt: not a WAV or FLAC file"),
        ("anna/text.wav", b"text", "anna/text.wav: no audio that can be read"),
        ("anna/empty.wav", b"", "anna/empty.wav: empty file"),
        ("loose.wav", tone(1, 1), "loose.wav: in no speaker's folder"),
        ("anna/one.flac", tone(1, 1), "two clips called own__anna__one"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(speech, tmp_path, name, data, message):
    write(speech / name, data)
    with pytest.raises((SourceError, AudioError), match=re.escape(message)) as error:
        fetch("own", source(speech), tmp_path / "fetched", tmp_path / "downloads")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "fetched/own/source.json").exists()


def test_a_folder_without_speech(tmp_path):
    with pytest.raises(SourceError, match=r"no folder .*nowhere; set sources\.own\.folder"):
        list(source(tmp_path / "nowhere").recordings("own", tmp_path))
    (tmp_path / "empty" / "anna").mkdir(parents=True)
    with pytest.raises(SourceError, match="empty: no WAV or FLAC file in it"):
        list(source(tmp_path / "empty").recordings("own", tmp_path))


def test_declared_as_the_docs_say(speech, tmp_path):
    """The block of docs/data.md, with the folder that it names."""
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(sources:\n  my-speech:.*?)```", text, re.DOTALL)
    assert block
    yaml = YAML(typ="safe")
    declared, content = yaml.load(block[1]), yaml.load(ROOT / "params.yaml")
    for section in ("sources", "test_sets"):
        content[section] |= declared[section]
    yaml.dump(content, tmp_path / "params.yaml")
    own = params.load(tmp_path / "params.yaml").sources["my-speech"]
    told = tmp_path / "data/configs/sources/my-speech.json"  # by the stage `validate`
    told.parent.mkdir(parents=True)
    told.write_text(json.dumps({"declared": own.model_dump(mode="json")}))
    script = [sys.executable, str(ROOT / "workflow/stages/fetch.py"), "my-speech"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    folder = declared["sources"]["my-speech"]["folder"]
    assert done.stderr.startswith(f"fetch@my-speech: no folder {folder}")
    (tmp_path / folder).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / folder).symlink_to(speech)
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    clips = pd.read_csv(tmp_path / "data/speech/my-speech/clips.csv")
    assert set(clips["speaker"]) == {"my-speech/anna", "my-speech/ben", "my-speech/eva"}
    assert np.isclose(clips["seconds"], 2.5).all()
