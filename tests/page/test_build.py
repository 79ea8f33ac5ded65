import base64
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from ecc import audio
from ecc.evaluate.metrics import METRICS
from ecc.page.build import PageError, document
from ecc.tables import read_table
from page.conftest import FAILED, NAMES, ROOT, SETS, build_page, make_study, voice
from page.conftest import METRICS as TAKEN

LIMIT = 3_000_000  # bytes, without audio


def flac(html: Path, name: str) -> bytes:
    """The file that a script in audio/ hands over."""
    text = (html / "audio" / f"{name}.js").read_text("ascii")
    found = re.fullmatch(r'clip\("(\w+)","([\w+/=]+)"\)\n', text)
    assert found
    assert found[1] == name
    return base64.b64decode(found[2])


def test_what_is_heard_is_what_was_scored_byte_for_byte(study: Path, shown: dict[str, Any]) -> None:
    html, compared = study / "reports/html", 0
    for test_set, of_set in shown["clips"].items():
        for name, utterance in of_set["utterances"].items():
            for track, clip in utterance["tracks"].items():
                codec, point = track.split("/")
                decoded = study / "data/decoded" / codec / test_set / point / f"{name}.flac"
                assert flac(html, clip["clip"]) == decoded.read_bytes()
                assert clip["delay"] == (40 if codec == "opus" else 0)
                compared += 1
    assert compared > 30


def test_references_are_the_samples_of_the_test_set(study: Path, shown: dict[str, Any]) -> None:
    heard = shown["clips"]["first"]["utterances"]
    assert len(heard) == 3 < SETS["first"]
    for name, utterance in heard.items():
        file = study / "reference.flac"
        file.write_bytes(flac(study / "reports/html", utterance["reference"]))
        assert (audio.to_int16(audio.read(file)) == voice(NAMES.index(name))).all()


def test_each_codec_is_heard_at_its_nearest_points_with_its_real_bytes(
    study: Path, shown: dict[str, Any]
) -> None:
    clips = shown["clips"]["first"]
    assert shown["rates"] == [0.5, 1.0, 3.0]
    assert clips["nearest"]["ecc"] == ["ecc.0", "ecc.1", "ecc.2"]
    assert clips["nearest"]["opus"] == ["6k"] * 3
    tracks = clips["utterances"]["u0__a"]["tracks"]
    assert set(tracks) == {
        *(f"ecc/ecc.{point}" for point in range(3)),
        *("opus/6k", "demo/1k", "narrowband/pcm", "port/1k"),
    }
    stream = study / "data/streams/ecc/first/ecc.1/u0__a.bin"
    assert tracks["ecc/ecc.1"]["bytes"] == stream.stat().st_size
    assert "bytes" not in tracks["demo/1k"]  # published without its streams
    assert "bytes" not in tracks["narrowband/pcm"]


def test_a_metric_has_the_digits_of_the_report(shown: dict[str, Any]) -> None:
    assert {m["name"]: m["digits"] for m in shown["metrics"]} == {
        name: METRICS[name].digits for name in TAKEN
    }


def test_what_failed_is_not_heard(study: Path, shown: dict[str, Any]) -> None:
    test_set, codec, point, name = FAILED
    row = next(p for p in shown["points"] if (p["test_set"], p["codec"], p["point"]) == FAILED[:3])
    assert row["failures"] == 1
    tracks = shown["clips"][test_set]["utterances"].get(name, {"tracks": {}})["tracks"]
    assert f"{codec}/{point}" not in tracks


def test_it_is_small_and_asks_for_nothing_from_elsewhere(study: Path) -> None:
    html = study / "reports/html"
    files = [path for path in html.rglob("*") if path.is_file() and path.parent.name != "audio"]
    assert sum(path.stat().st_size for path in files) < LIMIT
    text = (html / "index.html").read_text("utf-8")
    asked = re.findall(r'<(?:script|img|link)[^>]* (?:src|href)="([^"]+)"', text)
    assert {"data.js", "page.css", "figures/rd_first.png"} <= set(asked)
    for name in (*asked, "page.js"):
        assert name == "data:," or (html / name).is_file()
    assert not (html / "figures/unused.png").exists()
    assert "url(" not in (html / "page.css").read_text("utf-8")


def test_the_report_as_it_is_has_whole_links_and_stays_small() -> None:
    names = ("report.md", "tables.md", "machine.md")
    texts = {name: (ROOT / "reports" / name).read_text("utf-8") for name in names}
    _, intro, body, _ = document(texts)
    found = set(re.findall(r'href="(?!https?:)([^"]+)"', intro + body))
    anchors = re.findall(r' id="([^"]+)"', body)
    assert found <= {"#top"} | {f"#{name}" for name in anchors}
    template = (ROOT / "src/ecc/page/page.html.jinja").read_text("utf-8")
    assert not set(anchors) & set(re.findall(r' id="([^"]+)"', template))
    figures = set(re.findall(r'src="figures/([^"/]+)"', body))
    pictures = sum((ROOT / "reports/figures" / name).stat().st_size for name in figures)
    own, libraries = 60_000, 500_000
    decodes = read_table(ROOT / "reports/rd.csv")["n"].sum()
    packed = 22 * decodes  # bytes of data.js: 19.7 for each decode, with 22,000 of them
    assert len(body.encode()) + pictures + own + libraries + packed < LIMIT


def test_a_second_build_takes_the_place_of_the_first(study: Path) -> None:
    html = study / "reports/html"
    (html / "left-over").touch()
    (study / "reports/.html-killed/html").mkdir(parents=True)
    before = {path: path.read_bytes() for path in html.rglob("*.js")}
    build_page(study)
    assert not (html / "left-over").exists()
    assert {path: path.read_bytes() for path in html.rglob("*.js")} == before
    assert {path.name for path in (study / "reports").glob(".*")} == set()


def test_a_study_in_which_nothing_was_scored_has_a_page_too(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "empty", symlinks=True)
    for table in (
        *(tmp_path / "empty").glob("data/scores/*.csv"),
        *(tmp_path / "empty/reports" / f"{name}.csv" for name in ("rd", "bd_rate")),
    ):
        table.write_text(table.read_text("utf-8").splitlines()[0] + "\n")
    build_page(tmp_path / "empty")
    text = (tmp_path / "empty/reports/html/index.html").read_text("utf-8")
    assert "0 decodes were scored" in text


def test_a_missing_library_is_one_line_and_leaves_what_was_there(tmp_path: Path) -> None:
    make_study(tmp_path)
    (tmp_path / "reports/html").mkdir()
    (tmp_path / "reports/html/index.html").write_text("the one before")
    with pytest.raises(PageError, match=r"node_modules/d3/dist/d3.min.js is missing; `npm ci`"):
        build_page(tmp_path)
    assert [path.name for path in (tmp_path / "reports").glob("*html*")] == ["html"]
    assert (tmp_path / "reports/html/index.html").read_text() == "the one before"


def test_documents_become_one_with_contents_and_anchors() -> None:
    report = "# A & B\n\nIntro.\n\n## Of `x`: 5 %\n\n### Part\n\n[go](machine.md)\n\n## Part\n"
    title, intro, body, contents = document(
        {"report.md": report, "machine.md": "# The machine\n\n## Codecs\n"}
    )
    assert (title, intro) == ("A & B", "<p>Intro.</p>\n")
    assert contents == [
        {"id": "of-x-5-", "title": "Of x: 5 %", "parts": [{"id": "part", "title": "Part"}]},
        {"id": "part-1", "title": "Part", "parts": []},
        {"id": "the-machine", "title": "The machine", "parts": [
            {"id": "codecs", "title": "Codecs"}]},
    ]  # fmt: skip
    assert '<a href="#the-machine">go</a>' in body
    assert '<h2 id="the-machine">The machine</h2>' in body


def test_every_link_within_the_page_has_its_target(study: Path) -> None:
    text = (study / "reports/html/index.html").read_text("utf-8")
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_tables_in_a_fold_are_tables_that_can_be_scrolled() -> None:
    fold = "<details><summary>All</summary>\n\n| a | b |\n|:--|:--|\n| 1 | 2 |\n\n</details>\n"
    _, _, body, _ = document({"report.md": f"# T\n\n## S\n\n{fold}"})
    assert '<div class="wide" tabindex="0"><table>' in body
    assert "<details><summary>All</summary>" in body
    assert "style=" not in body
