"""The corpus: all sources together, and its test sets."""

import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
from pydantic import Field, PositiveInt, field_validator, model_validator

from ecc.config import Config
from ecc.data import repeats
from ecc.data.sources.base import Source
from ecc.files import atomic_path

COLUMNS = [
    "clip", "source", "speaker", "language", "split", "licence", "seconds", "start", "samples",
]  # fmt: skip

DROPPED_COLUMNS = ["clip", "source", "speaker", "seconds", "reason"]

MIN_SECONDS = 0.3  # shorter clips are letters cut off, not speech

SPLITS = ("train", "valid", "test")


class CorpusError(ValueError):
    """Sources that do not make a corpus; the message is one line."""


class TestSet(Config):
    """Utterances sampled from the speakers of some sources who are in one split."""

    __test__ = False  # no test case, whatever pytest makes of the name

    sources: list[str]
    split: Literal["valid", "test"] = "test"
    speakers: str | None = None  # a pattern that their whole names match; None takes all
    utterances: PositiveInt
    min_seconds: float = Field(ge=1.0)  # the metrics need a second
    max_seconds: float
    seed: int

    @field_validator("speakers")
    @classmethod
    def _is_a_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _seconds_in_order(self) -> Self:
        if self.max_seconds < self.min_seconds:
            raise ValueError("max_seconds is below min_seconds")
        return self


def build(
    sources: Mapping[str, Source], test_sets: Mapping[str, TestSet], speech: Path, folder: Path
) -> pd.DataFrame:
    """Write `folder`/{manifest.csv,identity.json,sources.json,test_sets/*.csv} from `speech`.

    Beside a test set, SET.dropped.csv says what was left out of it and why. Returns the manifest.
    Raises `CorpusError` when a source was not fetched or a speaker is in two splits.
    """
    tables, facts = [], []
    for name in sources:
        if not (speech / name / "source.json").exists():
            raise CorpusError(f"{name}: not fetched yet; run workflow/stages/fetch.py {name}")
        # Speakers and languages such as "no" are text, whatever they look like.
        clips = pd.read_csv(
            speech / name / "clips.csv", dtype={"speaker": str, "language": str}, na_filter=False
        )
        tables.append(clips[clips["split"].isin(SPLITS)])  # decodes are no speech of the corpus
        facts.append(
            json.loads((speech / name / "source.json").read_text(encoding="utf-8"))
            | {"splits": _summary(clips)}
        )
    manifest = pd.concat([table for table in tables if len(table)] or [empty()], ignore_index=True)
    check_speakers(manifest)
    _write_table(folder / "manifest.csv", manifest)
    _write_json(folder / "identity.json", identity(sources))
    _write_json(folder / "sources.json", facts)
    for name, test_set in test_sets.items():
        left_out = dropped(manifest, test_set, speech)
        rest = manifest[~manifest["clip"].isin(left_out["clip"])]
        _write_table(folder / "test_sets" / f"{name}.csv", sample(rest, test_set))
        _write_table(folder / "test_sets" / f"{name}.dropped.csv", left_out, DROPPED_COLUMNS)
    return manifest


def identity(sources: Mapping[str, Source]) -> dict[str, Any]:
    """What decides the training data: the pins and the rules of the sources that training hears.

    The same on every machine, whether or not a source could be reached there.
    """
    return {
        "min_seconds": MIN_SECONDS,
        "sources": {name: source.identity() for name, source in sources.items() if source.trains},
    }


def check_speakers(manifest: pd.DataFrame) -> None:
    """Raise `CorpusError`, naming the speaker, if someone speaks in two splits."""
    for speaker, splits in manifest.groupby("speaker")["split"].unique().items():
        if len(splits) > 1:
            raise CorpusError(f"speaker {speaker} is in {' and '.join(sorted(splits))}")


def sample(manifest: pd.DataFrame, test_set: TestSet) -> pd.DataFrame:
    """The rows of a test set: [at most `utterances`, columns of the manifest], by clip.

    Speakers take turns, in an order drawn by the seed, until there are enough utterances or no
    more. What is drawn for a speaker does not depend on the other speakers.
    """
    pool = _of_speakers(manifest, test_set)
    pool = pool[pool["seconds"].between(test_set.min_seconds, test_set.max_seconds)]
    speakers = sorted(pool["speaker"].unique())
    random.Random(test_set.seed).shuffle(speakers)
    turns: list[tuple[int, int, str]] = []
    for place, speaker in enumerate(speakers):
        clips = sorted(pool.loc[pool["speaker"] == speaker, "clip"])
        random.Random(f"{test_set.seed} {speaker}").shuffle(clips)
        turns += [(turn, place, clip) for turn, clip in enumerate(clips)]
    chosen = [clip for _, _, clip in sorted(turns)[: test_set.utterances]]
    return pool[pool["clip"].isin(chosen)].sort_values("clip")


def dropped(manifest: pd.DataFrame, test_set: TestSet, speech: Path) -> pd.DataFrame:
    """What the speakers of a test set say that cannot be drawn: [clips, `DROPPED_COLUMNS`].

    These are clips shorter or longer than its limits, and all but the longest clip of a recording
    that lies in two of its sources.
    """
    pool = _of_speakers(manifest, test_set)
    short = pool["seconds"] < test_set.min_seconds
    long = pool["seconds"] > test_set.max_seconds
    repeated = repeats.find(pool[~short & ~long], speech)
    reasons = dict.fromkeys(pool.loc[short, "clip"], f"shorter than {test_set.min_seconds:g} s")
    reasons |= dict.fromkeys(pool.loc[long, "clip"], f"longer than {test_set.max_seconds:g} s")
    reasons |= {
        clip: f"{seconds:.2f} s of it are in {kept}" for clip, (kept, seconds) in repeated.items()
    }
    table = pool[pool["clip"].isin(reasons)].sort_values("clip")
    return table.assign(reason=table["clip"].map(reasons))


def _of_speakers(manifest: pd.DataFrame, test_set: TestSet) -> pd.DataFrame:
    return manifest[
        (manifest["split"] == test_set.split)
        & manifest["source"].isin(test_set.sources)
        & manifest["speaker"].str.fullmatch(test_set.speakers or ".*")
    ]


def empty() -> pd.DataFrame:
    """A manifest without clips."""
    return pd.DataFrame(columns=COLUMNS).astype({"seconds": float, "start": int, "samples": int})


def _summary(clips: pd.DataFrame) -> dict[str, dict[str, float]]:
    parts = {split: clips[clips["split"] == split] for split in SPLITS}
    return {
        split: {
            "clips": len(part),
            "hours": round(float(part["seconds"].sum()) / 3600, 4),
            "speakers": int(part["speaker"].nunique()),
        }
        for split, part in parts.items()
        if len(part)
    }


def _write_table(path: Path, table: pd.DataFrame, columns: list[str] = COLUMNS) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, columns=columns, index=False, lineterminator="\n")


def _write_json(path: Path, content: Any) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
