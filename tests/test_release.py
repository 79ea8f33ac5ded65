"""Version, changelog, citation and the page on releases say the same."""

import re
import subprocess
import tomllib
from pathlib import Path

from ruamel.yaml import YAML

from ecc import stream
from ecc.model import files

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
# Headings of Keep a Changelog: "1.2.3 - 2026-01-31"; a version that was not given out has no date.
HEADING = re.compile(r"^## (\d+\.\d+\.\d+)(?: - (\d{4}-\d\d-\d\d))?$", re.MULTILINE)


def test_changelog_and_citation_are_of_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## .*$", text, re.MULTILINE)
    assert headings[0] == "## Unreleased"
    found = HEADING.findall(text)
    assert len(found) == len(headings) - 1, "a heading is neither a version nor Unreleased"
    numbers = [tuple(map(int, number.split("."))) for number, _ in found]
    assert numbers == sorted(set(numbers), reverse=True)
    version, date = found[0]
    assert version == VERSION
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    assert citation["version"] == VERSION
    assert str(citation.get("date-released", "")) == date


def test_a_tag_of_this_commit_is_of_the_version() -> None:
    tags = ["git", "tag", "--points-at", "HEAD", "v*"]
    found = subprocess.run(tags, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert set(found.split()) <= {f"v{VERSION}"}


def test_the_page_on_releases_has_a_row_for_the_formats_of_this_version() -> None:
    page = (ROOT / "docs/release.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+\.\d+)\.x +\| (\d+) +\| ([\d, ]+?) +\| ([\d, ]+?) +\|", page, re.M)
    major_minor = VERSION.rpartition(".")[0]
    (written, read, models) = {row[0]: row[1:] for row in rows}[major_minor]
    assert written == str(stream.VERSION)
    assert str(stream.VERSION) in read.split(", ")
    assert str(files.FORMAT) in models.split(", ")
