"""What listeners said: who is counted, means with intervals, and whether differences are real.

    read_test ──▶ screen_… ──▶ …_means, …_pairs

The unit of MUSHRA's intervals and tests is the listener: ratings of one person are no independent
samples. So they say what other listeners would say of these items, not of other items. Of ABX the
tests are against guessing, under which each trial is independent.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field
from scipy import stats

from ecc.config import Config
from ecc.listening.key import LOW, MID, OPEN, REFERENCE, Key, ResultError, read_json, read_key
from ecc.tables import Row

HIDDEN_BELOW = 90.0
"""A hidden reference that is rated lower was not recognised (BS.1534-3, 4.1.2)."""
ANCHOR_ABOVE = 90.0
"""A mid-range anchor that is rated higher was taken for the reference (BS.1534-3, 4.1.2)."""
TOLERATED = 0.15
"""The share of the items in which either may happen to a listener who is counted."""
EXCUSED = 0.25
"""An item whose mid-range anchor more than this share of the listeners rate higher than that was
hardly changed by the anchor's filter, and nobody is excluded for it."""
ALPHA = 0.05


class MushraAnswer(Config):
    """One page of MUSHRA: the rating of each sound."""

    trial: str
    ratings: dict[str, Annotated[float, Field(ge=0, le=100)]]
    seconds: float


class AbxAnswer(Config):
    """One page of ABX: which sounds A and B were, which of them X was, and what was answered."""

    trial: str
    a: str
    b: str
    x: Literal["a", "b"]
    answer: Literal["a", "b"]
    seconds: float


class MushraResult(Config):
    """The file that a listener of MUSHRA saves."""

    kit: str
    listener: str
    finished: str
    trials: tuple[MushraAnswer, ...]


class AbxResult(Config):
    """The file that a listener of ABX saves."""

    kit: str
    listener: str
    finished: str
    trials: tuple[AbxAnswer, ...]


class ListeningTest(NamedTuple):
    """A listening test and its answers."""

    key: Key
    answers: pd.DataFrame
    """MUSHRA: listener, item, condition, rating. ABX: listener, item, first, second, right."""


def read_test(folder: Path) -> ListeningTest:
    """The test whose `key.json` lies in `folder`, with the results (all other *.json) beside it.

    Raises `ResultError` for a file that is none or belongs to another test, for two of one
    listener, for answers that are missing or twice there, and where there is no result.
    """
    key = read_key(folder / "key.json")
    rows: list[Row] = []
    files: dict[str, str] = {}
    for path in sorted(folder.glob("*.json")):
        if path.name == "key.json":
            continue
        result = (
            read_json(path, MushraResult) if key.method == "mushra" else read_json(path, AbxResult)
        )
        if result.kit != key.kit:
            raise ResultError(f"{path}: a result of {result.kit}, not of {key.kit}")
        if other := files.get(result.listener):
            raise ResultError(f"{path}: {other} is of the listener {result.listener} too")
        files[result.listener] = path.name
        given = [answer.trial for answer in result.trials]
        if sorted(given) != sorted(key.trials):
            wrong = sorted(set(given) ^ set(key.trials)) or ["one of them twice"]
            raise ResultError(f"{path}: not the answers of this test ({wrong[0]})")
        for answer in result.trials:
            found = (
                _read_mushra(key, answer)
                if isinstance(answer, MushraAnswer)
                else _read_abx(key, answer)
            )
            if found is None:
                raise ResultError(f"{path}: {answer.trial}: not the sounds of key.json")
            rows += [{"listener": result.listener, **row} for row in found]
    if not rows:
        raise ResultError(f"{folder}: no results of listeners beside key.json")
    return ListeningTest(key, pd.DataFrame(rows))


def _read_mushra(key: Key, answer: MushraAnswer) -> list[Row] | None:
    """A row for each rating; None unless each condition of the item is rated once."""
    expected = {n: s for n, s in key.sounds.items() if s.item == answer.trial}
    rated = {name: s for name, s in expected.items() if s.condition != OPEN}
    if answer.ratings.keys() != rated.keys():
        return None
    return [
        {"item": sound.item, "condition": sound.condition, "rating": answer.ratings[name]}
        for name, sound in rated.items()
    ]


def _read_abx(key: Key, answer: AbxAnswer) -> list[Row] | None:
    """One row; None for sounds that the test has not."""
    sounds = [key.sounds.get(name) for name in (answer.a, answer.b)]
    names = [sound.condition for sound in sounds if sound]
    if len(names) < 2 or not set(names) <= key.conditions.keys():
        return None
    first, second = sorted(names, key=list(key.conditions).index)
    item = key.sounds[answer.a].item
    return [{"item": item, "first": first, "second": second, "right": answer.answer == answer.x}]


def screen_mushra(answers: pd.DataFrame) -> pd.DataFrame:
    """Post-screening of BS.1534-3, 4.1.2: a row for each listener.

    Columns listener, items, hidden_below (share of the items whose hidden reference is rated below
    90), anchor_above (share of the items, but for the excused, whose 7 kHz anchor is rated above
    90), kept: neither is above 15 %.
    """
    hidden, above = (
        answers[answers["condition"] == condition].pivot(
            index="listener", columns="item", values="rating"
        )
        for condition in (REFERENCE, MID)
    )
    above = above > ANCHOR_ABOVE
    counted = above.loc[:, above.mean() <= EXCUSED]
    table = pd.DataFrame(
        {
            "items": hidden.shape[1],
            "hidden_below": (hidden < HIDDEN_BELOW).mean(axis=1),
            "anchor_above": counted.mean(axis=1) if counted.shape[1] else 0.0,
        }
    )
    kept = (table["hidden_below"] <= TOLERATED) & (table["anchor_above"] <= TOLERATED)
    return table.assign(kept=kept).reset_index()


def screen_abx(answers: pd.DataFrame) -> pd.DataFrame:
    """Who tells the 3.5 kHz anchor from the reference: a row for each listener.

    Columns listener, controls (trials), right, p (one-sided binomial test against guessing), kept:
    p is below 5 %.
    """
    controls = answers[_is_control(answers)].groupby("listener")["right"]
    table = controls.agg(controls="size", right="sum").reset_index()
    p = [_p_guessing(r, n) for r, n in zip(table["right"], table["controls"], strict=True)]
    return table.assign(p=p, kept=np.array(p) < ALPHA)


def mushra_means(answers: pd.DataFrame, conditions: Sequence[str]) -> pd.DataFrame:
    """Columns condition, listeners, mean, low, high, median of the listeners' means over the items.

    The 95 % interval is Student's; NaN with a single listener.
    """
    per_listener = _per_listener(answers)
    rows = []
    for condition in conditions:
        values = per_listener[condition].to_numpy()
        low, high = _student(values)
        rows.append((condition, len(values), values.mean(), low, high, np.median(values)))
    columns = ["condition", "listeners", "mean", "low", "high", "median"]
    return pd.DataFrame(rows, columns=columns)


def mushra_pairs(answers: pd.DataFrame, conditions: Sequence[str]) -> pd.DataFrame:
    """All pairs of `conditions`: by how much the same listeners rate the first above the second.

    Columns first, second, difference, low, high (95 %, Student's), p_t (paired t test) and
    p_wilcoxon (signed ranks), two-sided and corrected for the number of pairs (Holm). They are NaN
    where listeners are too few, or all differ alike; 1 where all differences are 0.
    """
    per_listener = _per_listener(answers)
    rows = []
    for first, second in itertools.combinations(conditions, 2):
        differences = (per_listener[first] - per_listener[second]).to_numpy()
        low, high = _student(differences)
        p_t = p_wilcoxon = 1.0
        if len(differences) < 2:
            p_t = p_wilcoxon = np.nan
        elif differences.any():
            # All differences equal: no variance to estimate.
            spread = np.ptp(differences) > 0
            p_t = stats.ttest_1samp(differences, 0.0).pvalue if spread else np.nan
            p_wilcoxon = stats.wilcoxon(differences).pvalue
        rows.append((first, second, differences.mean(), low, high, p_t, p_wilcoxon))
    columns = ["first", "second", "difference", "low", "high", "p_t", "p_wilcoxon"]
    table = pd.DataFrame(rows, columns=columns)
    for name in ("p_t", "p_wilcoxon"):
        table[name] = holm(table[name].to_numpy())
    return table


def abx_pairs(answers: pd.DataFrame) -> pd.DataFrame:
    """How often each pair was told apart, the controls left out.

    Columns first, second, listeners, trials, right, share, low, high (95 %, Clopper and Pearson), p
    (one-sided binomial test against guessing, Holm), able (listeners who told it apart by
    themselves, p below 5 %).
    """
    rows = []
    tested = answers[~_is_control(answers)]
    for (first, second), of_pair in tested.groupby(["first", "second"], sort=False):
        right, trials = int(of_pair["right"].sum()), len(of_pair)
        low, high = stats.binomtest(right, trials).proportion_ci(0.95, "exact")
        alone = [one["right"] for _, one in of_pair.groupby("listener")]
        able = sum(_p_guessing(int(one.sum()), len(one)) < ALPHA for one in alone)
        found = (len(alone), trials, right, right / trials, low, high, _p_guessing(right, trials))
        rows.append((first, second, *found, able))
    columns = ["first", "second", "listeners", "trials", "right", "share", "low", "high", "p"]
    table = pd.DataFrame(rows, columns=[*columns, "able"])
    return table.assign(p=holm(table["p"].to_numpy()))


def analyse(test: ListeningTest) -> dict[str, pd.DataFrame]:
    """All tables of a test, by name: `screening`, `means` (of MUSHRA alone) and `pairs`.

    The means and pairs are of the listeners who are kept; where there are none, these are left out.
    """
    mushra = test.key.method == "mushra"
    screening = (screen_mushra if mushra else screen_abx)(test.answers)
    kept = test.answers[test.answers["listener"].isin(screening.loc[screening["kept"], "listener"])]
    tables = {"screening": screening}
    if kept.empty:
        return tables
    if not mushra:
        return tables | {"pairs": abx_pairs(kept)}
    systems = [name for name, condition in test.key.conditions.items() if condition.codec]
    return tables | {
        "means": mushra_means(kept, list(test.key.conditions)),
        "pairs": mushra_pairs(kept, systems),
    }


def labelled(table: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """`table` with the labels of its conditions in the place of their names."""
    names = table.columns.intersection(["condition", "first", "second"])
    return table.assign(**{name: table[name].map(labels) for name in names})


def holm(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`p` [tests] corrected for their number (Holm 1979); NaN stays, and is no test."""
    corrected = np.full(len(p), np.nan)
    order = [number for number in np.argsort(p, kind="stable") if np.isfinite(p[number])]
    largest = 0.0
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[number]))
        corrected[number] = largest
    return corrected


def _per_listener(answers: pd.DataFrame) -> pd.DataFrame:
    """Mean over the items [listeners, conditions]."""
    return answers.pivot_table("rating", "listener", "condition", aggfunc="mean")


def _student(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    if len(values) < 2:
        return np.nan, np.nan
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return values.mean() - half, values.mean() + half


def _is_control(answers: pd.DataFrame) -> pd.Series:
    return answers["second"] == LOW


def _p_guessing(right: int, trials: int) -> float:
    """How likely guessing is right at least so often."""
    return float(stats.binomtest(int(right), int(trials), 0.5, alternative="greater").pvalue)
