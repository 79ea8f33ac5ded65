import hashlib
import re
import threading
from collections import defaultdict

import pytest
import requests
import soundfile

from ecc.data.download import Unreachable
from ecc.data.fetch import fetch
from ecc.data.sources import github
from ecc.data.sources.github import GitHub
from ecc.files import ChecksumError

from ..conftest import sha256, tone, write


def source(table="picovoice.csv") -> GitHub:
    return GitHub.model_validate(
        {
            "kind": "github",
            "licence": "Apache-2.0",
            "repository": "someone/speech",
            "commit": "abc",
            "folder": "data",
            "table": table,
            "language": "en",
        }
    )


@pytest.fixture
def two_files(tmp_path, monkeypatch):
    """A table of two recordings in place of the package's; returns their bytes."""
    files = {"a.wav": tone(0.5, 1), "b.wav": tone(0.5, 2)}
    rows = ["file,speaker,split,sha256,pcm16_sha256"]
    for name, data in files.items():
        pcm, _ = soundfile.read(write(tmp_path / name, data), dtype="int16")
        rows.append(f"{name},c1,test,{sha256(data)},{hashlib.sha256(pcm.tobytes()).hexdigest()}")
    write(tmp_path / "two.csv", "\n".join(rows).encode())
    monkeypatch.setattr(github.resources, "files", lambda package: tmp_path)
    return files


def test_the_declared_table():
    files = source().files()
    splits = defaultdict(set)
    for file in files:
        splits[file.speaker].add(file.split)
    assert len(files) == len({file.file for file in files}) == 619
    assert len({file.pcm16_sha256 for file in files}) == 619
    assert all(len(of_speaker) == 1 for of_speaker in splits.values())
    assert set().union(*splits.values()) == {"train", "valid", "test"}


def test_the_published_decodes():
    demo = source("freecodec-demo.csv")
    files = demo.files()
    assert len(files) == len({file.file for file in files}) == 192
    assert not demo.trains and source().trains
    references = [file for file in files if file.split == "test"]
    assert len(references) == 14 and all(f.file.startswith("target/") for f in references)
    assert {f.split for f in files} == {"test", "decoded"}
    speakers = {f.speaker for f in references}
    assert {f.speaker for f in files} == speakers


@pytest.mark.parametrize(
    ("name", "references", "speakers", "decodes"),
    [
        ("languagecodec-demo", 76, 17, 40),
        ("wavtokenizer-demo", 20, 14, 40),
        ("funcodec-demo", 8, 8, 64),
        ("cotatron-demo", 40, 34, 0),
    ],
)
def test_the_sources_of_test_sets(name, references, speakers, decodes):
    files = source(f"{name}.csv").files()
    assert len(files) == len({file.pcm16_sha256 for file in files}) == references + decodes
    test = [file for file in files if file.split == "test"]
    assert len(test) == references and len({file.speaker for file in test}) == speakers
    assert {file.speaker for file in files} == {file.speaker for file in test}
    assert {file.split for file in files} <= {"test", "decoded"}
    assert all(re.fullmatch(r"(libritts/\d+|vctk/p\d+|aishell/S\d+)", f.speaker) for f in files)
    assert {file.language for file in files if file.speaker.startswith("aishell/")} <= {"zh"}
    assert {f.language for f in files if not f.speaker.startswith("aishell/")} <= {"", "en"}


def test_a_speaker_of_another_source_keeps_its_name(tmp_path, monkeypatch, server, two_files):
    path = github.resources.files("") / "two.csv"
    path.write_text(path.read_text().replace("b.wav,c1", "b.wav,vctk/p225"))
    server.files.update(two_files)
    monkeypatch.setattr(
        requests.Session,
        "get",
        lambda self, url, **options: requests.get(
            f"{server.url}/{url.rsplit('/', 1)[-1]}", **options
        ),
    )
    recordings = source("two.csv").recordings("speech", tmp_path / "down")
    assert [r.speaker for r in recordings] == ["speech/c1", "vctk/p225"]


def test_identity_covers_the_table(two_files):
    with_two = source("two.csv").identity()
    assert with_two["commit"] == "abc"
    assert "licence" not in with_two
    path = github.resources.files("") / "two.csv"
    path.write_text(path.read_text().replace(",test,", ",train,"))
    assert source("two.csv").identity() != with_two


def test_from_a_mirror_of_flac_copies(tmp_path, monkeypatch, two_files):
    for name in two_files:
        samples, rate = soundfile.read(tmp_path / name, dtype="int16")
        copy = tmp_path / "mirror" / "speech" / name.replace(".wav", ".flac")
        copy.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(copy, samples, rate)
    monkeypatch.setenv("ECC_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setattr(requests.Session, "get", lambda *a, **k: pytest.fail("asked the net"))
    assert fetch("speech", source("two.csv"), tmp_path / "out", tmp_path / "downloads") is None
    clips = (tmp_path / "out" / "speech" / "clips.csv").read_text()
    assert "speech__a,speech,speech/c1,en,test,Apache-2.0,0.5,0,8000" in clips
    soundfile.write(tmp_path / "mirror" / "speech" / "b.flac", samples[::-1], rate)
    with pytest.raises(ChecksumError, match=r"b\.wav"):
        fetch("speech", source("two.csv"), tmp_path / "out", tmp_path / "downloads")


def test_from_github(tmp_path, monkeypatch, server, two_files):
    asked = []

    def get(self, url, **options):
        asked.append(url)
        name = url.rsplit("/", 1)[-1]
        return requests.get(f"{server.url}/{name}", **options)

    monkeypatch.setattr(requests.Session, "get", get)
    server.files.update(two_files)
    read = {r.path: r.data for r in source("two.csv").recordings("speech", tmp_path / "down")}
    assert read == two_files
    assert asked[0] == "https://raw.githubusercontent.com/someone/speech/abc/data/a.wav"


def test_many_files_at_once_come_in_the_order_of_the_table(tmp_path, monkeypatch, server):
    files = {f"{i:02}.wav": tone(0.1, i) for i in range(20)}
    rows = ["file,speaker,language,split,sha256,pcm16_sha256"]
    rows += [
        f"{name},a,{'' if i else 'zh'},test,{sha256(files[name])},0" for i, name in enumerate(files)
    ]
    write(tmp_path / "many.csv", "\n".join(rows).encode())
    monkeypatch.setattr(github.resources, "files", lambda package: tmp_path)
    server.files.update(files)
    server.busy = [(429, None)]  # of the first file
    together = threading.Barrier(2, timeout=10)
    ask = requests.Session.get

    def get(self, url, **options):
        name = url.rsplit("/", 1)[-1]
        if name in ("05.wav", "06.wav"):  # neither comes before the other was asked for
            together.wait()
        return ask(self, f"{server.url}/{name}", **options)

    monkeypatch.setattr(requests.Session, "get", get)
    read = list(source("many.csv").recordings("speech", tmp_path / "down"))
    assert [r.path for r in read] == list(files) and [r.data for r in read] == [*files.values()]
    assert [r.language for r in read] == ["zh", *["en"] * 19]


def test_what_cannot_be_had_stops_the_others(tmp_path, monkeypatch, server, two_files):
    server.files["a.wav"] = two_files["a.wav"]
    monkeypatch.setattr(
        requests.Session,
        "get",
        lambda self, url, **options: requests.get(
            f"{server.url}/{url.rsplit('/', 1)[-1]}", **options
        ),
    )
    with pytest.raises(Unreachable, match="404"):
        list(source("two.csv").recordings("speech", tmp_path / "down"))


def test_without_a_connection_one_file_is_tried(tmp_path, monkeypatch):
    asked = []

    def get(self, url, **options):
        asked.append(url)
        raise requests.ConnectionError("no route to host")

    monkeypatch.setattr(requests.Session, "get", get)
    with pytest.raises(Unreachable, match="no route to host"):
        list(source().recordings("speech", tmp_path))
    assert len(asked) == 1
