"""Listening tests in the report, from results that were made up here."""

import json
from pathlib import Path

import pytest

from ecc.listening.key import ResultError
from ecc.report.listening import sections

CONDITIONS = {
    "reference": {"label": "hidden reference"},
    "ecc:ecc.3": {"label": "ECC 1.50 kbps", "codec": "ecc", "point": "ecc.3", "kbps": 1.5},
    "opus:6k": {"label": "Opus 5.10 kbps", "codec": "opus", "point": "6k", "kbps": 5.1},
    "anchor35": {"label": "anchor, 3.5 kHz"},
    "anchor70": {"label": "anchor, 7 kHz"},
}
RATINGS = {"reference": 100, "ecc:ecc.3": 70, "opus:6k": 40, "anchor35": 20, "anchor70": 85}


def write(folder: Path, method: str, listeners: dict[str, list[dict[str, object]]]) -> None:
    """A test of two items, and results."""
    folder.mkdir(parents=True)
    conditions = {k: v for k, v in CONDITIONS.items() if method == "mushra" or k != "anchor70"}
    items = ("item1", "item2")
    trials = items if method == "mushra" else tuple(f"trial{n}" for n in range(16))
    key = {
        "kit": "k",
        "method": method,
        "test_set": "english",
        "seed": 0,
        "conditions": conditions,
        "items": {i: {"utterance": i, "speaker": "s", "training": False} for i in items},
        "sounds": {f"{i} {c}": {"item": i, "condition": c} for i in items for c in conditions},
        "trials": trials,
    }
    (folder / "key.json").write_text(json.dumps(key))
    for name, answers in listeners.items():
        result = {"kit": "k", "listener": name, "finished": "", "trials": answers}
        (folder / f"{name}.json").write_text(json.dumps(result))


def mushra(shift: float, hidden: float = 100) -> list[dict[str, object]]:
    ratings = RATINGS | {"ecc:ecc.3": 70 + shift, "reference": hidden}
    return [
        {"trial": i, "seconds": 1, "ratings": {f"{i} {c}": r for c, r in ratings.items()}}
        for i in ("item1", "item2")
    ]


def abx(right: int) -> list[dict[str, object]]:
    """Eight controls, all right, and eight of ECC."""
    pairs = ["anchor35"] * 8 + ["ecc:ecc.3"] * 8
    return [
        {"trial": f"trial{n}", "a": "item1 reference", "b": f"item1 {second}", "seconds": 1}
        | {"x": "b", "answer": "b" if n < 8 + right else "a"}
        for n, second in enumerate(pairs)
    ]


def test_no_test_no_section(tmp_path):
    assert sections(tmp_path) == []
    (tmp_path / "README.md").touch()
    assert sections(tmp_path) == []


def cells(table: str) -> list[list[str]]:
    return [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_mushra(tmp_path):
    listeners = {"one": mushra(-1), "two": mushra(0), "three": mushra(1), "deaf": mushra(0, 50)}
    write(tmp_path / "first", "mushra", listeners)
    (found,) = sections(tmp_path)
    assert (found["name"], found["items"], found["listeners"], found["kept"]) == ("first", 2, 4, 3)
    means = {row[0]: row[1] for row in cells(found["means"])}
    assert means["ECC 1.50 kbps"] == "70.0 [67.5, 72.5]"
    assert list(means) == [condition["label"] for condition in CONDITIONS.values()]
    (pair,) = cells(found["pairs"])
    assert pair == [
        "ECC 1.50 kbps", "Opus 5.10 kbps", "+30.0 [+27.5, +32.5]", "0.00037", "0.25",
    ]  # fmt: skip
    screening = {row[0]: row[1:] for row in cells(found["screening"])}
    assert screening["deaf"] == ["100%", "0%", "no"] and screening["one"] == ["0%", "0%", "yes"]


def test_abx(tmp_path):
    write(tmp_path / "second", "abx", {"one": abx(8), "two": abx(4)})
    (found,) = sections(tmp_path)
    assert found["means"] == "" and found["kept"] == 2
    (pair,) = cells(found["pairs"])
    assert pair == [
        "hidden reference", "ECC 1.50 kbps", "12 of 16", "0.75 [0.48, 0.93]", "0.038", "1 of 2",
    ]  # fmt: skip
    assert cells(found["screening"])[0] == ["one", "8 of 8", "0.0039", "yes"]


def test_nobody_counted_is_said(tmp_path):
    write(tmp_path / "third", "mushra", {"deaf": mushra(0, 50)})
    (found,) = sections(tmp_path)
    assert found["kept"] == 0 and found["means"] == found["pairs"] == ""


def test_a_result_that_cannot_be_read_is_named(tmp_path):
    write(tmp_path / "fourth", "mushra", {"one": mushra(0)[:1]})
    with pytest.raises(ResultError, match=r"fourth/one\.json: not the answers of this test"):
        sections(tmp_path)
