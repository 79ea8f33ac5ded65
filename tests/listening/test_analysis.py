import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ecc.listening.analysis import (
    abx_pairs,
    analyse,
    holm,
    mushra_means,
    mushra_pairs,
    read_test,
    screen_abx,
    screen_mushra,
)
from ecc.listening.key import LOW, MID, REFERENCE, Key, ResultError

ITEMS = [f"item{number}" for number in range(1, 8)]
TYPICAL = {REFERENCE: 100.0, "a": 60.0, "b": 40.0, MID: 80.0, LOW: 20.0}


def mushra(listeners: dict[str, Callable[[str, str], float]]) -> pd.DataFrame:
    """Answers: what each listener rates an item under a condition."""
    rows = [
        {"listener": name, "item": item, "condition": condition, "rating": rate(item, condition)}
        for name, rate in listeners.items()
        for item in ITEMS
        for condition in TYPICAL
    ]
    return pd.DataFrame(rows)


def typical(shift: float = 0.0, **changes: float) -> Callable[[str, str], float]:
    """Rates as `TYPICAL`, codecs higher by `shift`; {condition_item: rating} otherwise."""

    def rate(item: str, condition: str) -> float:
        usual = TYPICAL[condition] + (shift if condition in "ab" else 0.0)
        return changes.get(f"{condition}_{item}", usual)

    return rate


def test_who_misses_the_hidden_reference_too_often_is_not_counted():
    # 1 of 7 is 14 %, 2 of 7 are 29 %; a rating of 90 is none below.
    answers = mushra(
        {
            "once": typical(reference_item1=89),
            "twice": typical(reference_item1=89, reference_item2=10),
            "just": typical(**{f"reference_{item}": 90 for item in ITEMS}),
        }
    )
    table = screen_mushra(answers).set_index("listener")
    assert table["kept"].to_dict() == {"just": True, "once": True, "twice": False}
    assert table.loc["twice", "hidden_below"] == pytest.approx(2 / 7)
    assert table.loc["just", "hidden_below"] == 0


def test_who_rates_the_mid_range_anchor_too_high_is_not_counted():
    high = {f"{MID}_item1": 95.0, f"{MID}_item2": 95.0}
    listeners = {f"l{number}": typical() for number in range(4)} | {"deaf": typical(**high)}
    table = screen_mushra(mushra(listeners)).set_index("listener")
    assert table["kept"].to_dict() == {f"l{n}": True for n in range(4)} | {"deaf": False}
    # Where more than a quarter of the listeners do, the anchor was no anchor there.
    listeners["l3"] = typical(**high)
    table = screen_mushra(mushra(listeners)).set_index("listener")
    assert table["kept"].all() and (table["anchor_above"] == 0).all()


def test_an_anchor_that_nobody_hears_excludes_nobody():
    high = {f"{MID}_{item}": 100.0 for item in ITEMS}
    assert screen_mushra(mushra({"one": typical(**high), "two": typical(**high)}))["kept"].all()


def test_means_are_over_listeners():
    answers = mushra({"one": typical(-9), "two": typical(0), "three": typical(6, a_item1=100)})
    table = mushra_means(answers, ["a", "b"]).set_index("condition")
    values = [51.0, 60.0, 66 + 34 / 7]
    assert table.loc["a", "mean"] == pytest.approx(np.mean(values))
    assert table.loc["a", "median"] == 60.0
    found = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert table.loc["a", ["low", "high"]].tolist() == pytest.approx([found.low, found.high])
    assert (table["listeners"] == 3).all()
    alone = mushra_means(mushra({"one": typical()}), ["a"])
    assert alone[["low", "high"]].isna().all(axis=None) and alone["mean"][0] == 60


def test_pairs_are_tested_within_listeners():
    shifts = [-30, -12, -5, 0, 8, 14, 25]
    answers = mushra(
        # Listeners differ much, and all rate `a` some 20 above `b`.
        {f"l{n}": typical(shift, b_item1=40 + shift - n) for n, shift in enumerate(shifts)}
    )
    (row,) = mushra_pairs(answers, ["a", "b"]).to_dict("records")
    differences = [20 + n / 7 for n in range(7)]
    assert row["difference"] == pytest.approx(np.mean(differences))
    assert row["p_t"] == pytest.approx(stats.ttest_rel(differences, np.zeros(7)).pvalue)
    assert row["p_wilcoxon"] == pytest.approx(2 / 2**7)
    assert 19 < row["low"] < row["difference"] < row["high"] < 22
    (backwards,) = mushra_pairs(answers, ["b", "a"]).to_dict("records")
    assert backwards["difference"] == pytest.approx(-row["difference"])
    assert backwards["p_t"] == pytest.approx(row["p_t"])


def test_pairs_without_anything_to_test():
    same = {f"l{n}": typical(n) for n in range(3)}
    (row,) = mushra_pairs(mushra(same), ["a", "b"]).to_dict("records")
    assert row["difference"] == 20 and np.isnan(row["p_t"]) and row["p_wilcoxon"] == 0.25
    equal = {f"l{n}": typical(**{f"b_{item}": 60 for item in ITEMS}) for n in range(3)}
    (row,) = mushra_pairs(mushra(equal), ["a", "b"]).to_dict("records")
    assert row["difference"] == 0 and row["p_t"] == row["p_wilcoxon"] == 1
    (row,) = mushra_pairs(mushra({"one": typical()}), ["a", "b"]).to_dict("records")
    assert np.isnan([row["p_t"], row["p_wilcoxon"], row["low"]]).all()


def test_holm():
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(holm(np.array([0.01, np.nan, 0.9])), [0.02, np.nan, 0.9])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1, 1])


def abx(right: dict[str, tuple[int, int, int]]) -> pd.DataFrame:
    """Answers: of each listener how many of 8 controls, 10 of `a` and 10 of `b` are right."""
    rows = []
    for listener, counts in right.items():
        for second, trials, count in zip((LOW, "a", "b"), (8, 10, 10), counts, strict=True):
            rows += [
                {"listener": listener, "item": "item1", "first": REFERENCE, "second": second}
                | {"right": number < count}
                for number in range(trials)
            ]
    return pd.DataFrame(rows)


def test_who_guesses_the_controls_is_not_counted():
    table = screen_abx(abx({"ears": (8, 0, 0), "slip": (7, 0, 0), "guess": (6, 10, 10)}))
    assert table.set_index("listener")["kept"].to_dict() == {
        "ears": True,
        "slip": True,
        "guess": False,
    }
    assert table.set_index("listener").loc["slip", "p"] == pytest.approx(9 / 2**8)


def test_pairs_of_abx_are_held_against_guessing():
    table = abx_pairs(abx({"one": (8, 9, 5), "two": (8, 6, 5)})).set_index("second")
    assert table.index.tolist() == ["a", "b"]
    assert table["right"].tolist() == [15, 10] and table["share"].tolist() == [0.75, 0.5]
    p = stats.binomtest(15, 20, alternative="greater").pvalue
    assert table.loc["a", "p"] == pytest.approx(2 * p)  # Holm, two pairs
    assert table.loc["b", "p"] == pytest.approx(stats.binom.sf(9, 20, 0.5))
    low, high = stats.beta.ppf([0.025, 0.975], [15, 16], [6, 5])
    assert table.loc["a", ["low", "high"]].tolist() == pytest.approx([low, high])
    assert table["able"].tolist() == [1, 0]


def answer(key: Key, rate: Callable[[str, str], float]) -> list[dict[str, Any]]:
    """The trials of a listener who rates items and conditions so."""
    return [
        {
            "trial": item,
            "seconds": 9.5,
            "ratings": {
                name: rate(item, sound.condition)
                for name, sound in key.sounds.items()
                if sound.item == item and sound.condition in key.conditions
            },
        }
        for item in key.trials
    ]


@pytest.fixture
def study(kits: dict[str, Path], tmp_path: Path) -> Callable[..., tuple[Path, Key]]:
    """study(ratings of each listener): a folder with the key of a small MUSHRA test and results."""

    def make(**listeners: dict[str, float]) -> tuple[Path, Key]:
        text = (kits["mushra"] / "key.json").read_text()
        key = Key.model_validate_json(text)
        (tmp_path / "key.json").write_text(text)
        for name, ratings in listeners.items():
            content = {"kit": key.kit, "listener": name, "finished": "2026-01-01T00:00:00Z"}
            trials = answer(key, lambda _, condition, ratings=ratings: ratings[condition])
            (tmp_path / f"{name}.json").write_text(json.dumps(content | {"trials": trials}))
        return tmp_path, key

    return make


RATINGS = {REFERENCE: 100.0, "late:good": 70.0, LOW: 20.0, MID: 85.0}


def test_results_are_read_by_the_key(study):
    folder, key = study(one=RATINGS, two=RATINGS | {"late:good": 60.0})
    test = read_test(folder)
    assert test.key == key
    assert len(test.answers) == 2 * 2 * len(key.conditions)
    tables = analyse(test)
    means = tables["means"].set_index("condition")["mean"]
    assert means.to_dict() == RATINGS | {"late:good": 65.0}
    assert tables["pairs"].empty  # of one system


def test_where_nobody_is_counted_there_are_no_means(study):
    folder, _ = study(one=RATINGS | {REFERENCE: 50.0})
    tables = analyse(read_test(folder))
    assert list(tables) == ["screening"] and not tables["screening"]["kept"].any()


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(kit="other"), r"one\.json: a result of other, not of mushra-talk"),
        (lambda c: c.update(listener="two"), r"two\.json: one\.json is of the listener two too"),
        (lambda c: c["trials"].pop(), r"one\.json: not the answers of this test \(item2\)"),
        (lambda c: c["trials"].append(c["trials"][0]), r"of this test \(one of them twice\)"),
        (lambda c: c["trials"][0]["ratings"].popitem(), r"one\.json: item1: not the sounds of"),
        (lambda c: c["trials"][0]["ratings"].update(s1=1), r"one\.json: item1: not the sounds of"),
        (lambda c: c.pop("listener"), r"one\.json: listener: Field required"),
        (lambda c: c["trials"][0].update(seconds="x"), r"one\.json: trials\.0\.seconds: Input"),
    ],
)
def test_a_result_that_cannot_be_used_is_named_in_one_line(study, edit, message):
    folder, _ = study(one=RATINGS, two=RATINGS)
    change(folder / "one.json", edit)
    with pytest.raises(ResultError, match=message) as error:
        read_test(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rating", "message"), [(101, "less than or equal to 100"), (-1, "greater than or equal to 0")]
)
def test_ratings_are_those_of_the_scale(study, rating, message):
    folder, key = study(one=RATINGS)
    name = next(n for n, s in key.sounds.items() if s.condition == LOW and s.item == "item1")
    change(folder / "one.json", lambda c: c["trials"][0]["ratings"].update({name: rating}))
    with pytest.raises(ResultError, match=rf"ratings\.{name}: Input should be {message}"):
        read_test(folder)


def test_a_folder_without_a_key_or_results_is_named(study, tmp_path):
    with pytest.raises(ResultError, match=r"key\.json: No such file or directory"):
        read_test(tmp_path)
    folder, _ = study()
    with pytest.raises(ResultError, match=r"no results of listeners beside key\.json"):
        read_test(folder)
    (folder / "one.json").write_bytes(b"\xff")
    with pytest.raises(ResultError, match=r"one\.json: not a text in UTF-8"):
        read_test(folder)
    (folder / "one.json").write_text("{")
    with pytest.raises(ResultError, match=r"one\.json: Invalid JSON"):
        read_test(folder)


def test_sounds_of_abx_that_the_test_has_not_are_named(kits, tmp_path):
    text = (kits["abx"] / "key.json").read_text()
    key = Key.model_validate_json(text)
    (tmp_path / "key.json").write_text(text)
    trials = [
        {"trial": trial, "a": "s0", "b": "s1", "x": "a", "answer": "b", "seconds": 1.0}
        for trial in key.trials
    ]
    content = {"kit": key.kit, "listener": "one", "finished": "", "trials": trials}
    (tmp_path / "one.json").write_text(json.dumps(content))
    with pytest.raises(ResultError, match=r"one\.json: trial1: not the sounds of key\.json"):
        read_test(tmp_path)
