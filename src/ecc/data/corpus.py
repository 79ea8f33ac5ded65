"""The corpus: all sources together, and its test sets."""

import json
import random
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Self, cast

import pandas as pd
from pydantic import Field, PositiveInt, field_validator, model_validator

from ecc.config import Config
from ecc.data import repeats
from ecc.data.sources.base import Source
from ecc.files import atomic_path
from ecc.speech import read_clip

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
    codecs: list[str] | None = None  # that code it beside those that name it; None: all that do not
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
    sources: Mapping[str, Source],
    test_sets: Mapping[str, TestSet],
    training: Mapping[str, Collection[str]],
    speech: Path,
    folder: Path,
) -> pd.DataFrame:
    """Write `folder` from `speech`; `training` names the sources that each model is trained on.

    manifest.csv: all clips. sources.json: what became of each source. training/MODEL.json: the
    `identity` of what the model hears. test_sets/NAME.csv and .s16: the clips of a test set and
    their samples; NAME.dropped.csv: what was left out of it and why. decodes/SOURCE.csv, .s16 and
    .json: the decodes that a source publishes, their references, and what became of it.

    Returns the manifest. Raises `CorpusError` when a source was not fetched, or was when declared
    otherwise, and when a speaker is in two splits.
    """
    for part in ("training", "test_sets", "decodes"):
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).mkdir(parents=True)
    tables, facts = [], []
    for name, source in sources.items():
        if not (speech / name / "source.json").exists():
            raise CorpusError(f"{name}: not fetched yet; run workflow/stages/fetch.py {name}")
        about = json.loads((speech / name / "source.json").read_text(encoding="utf-8"))
        if about.pop("identity", None) != source.identity():
            raise CorpusError(
                f"{name}: declared otherwise than when it was fetched; "
                f"run workflow/stages/fetch.py {name}"
            )
        # Speakers and languages such as "no" are text, whatever they look like.
        clips = pd.read_csv(
            speech / name / "clips.csv", dtype={"speaker": str, "language": str}, na_filter=False
        )
        tables.append(clips[clips["split"].isin(SPLITS)])  # decodes are no speech of the corpus
        facts.append(about | {"splits": _summary(clips)})
        if not about["available"] or (clips["split"] == "decoded").any():
            _write_json(folder / "decodes" / f"{name}.json", about)
            published = clips[clips["split"].isin(["test", "decoded"])]
            write_clips(folder / "decodes" / name, published, speech)
    manifest = pd.concat([table for table in tables if len(table)] or [empty()], ignore_index=True)
    check_speakers(manifest)
    _write_table(folder / "manifest.csv", manifest)
    _write_json(folder / "sources.json", facts)
    for model, names in training.items():
        heard = {name: source for name, source in sources.items() if name in names}
        _write_json(folder / "training" / f"{model}.json", identity(heard))
    for name, test_set in test_sets.items():
        left_out = dropped(manifest, test_set, speech)
        rest = manifest[~manifest["clip"].isin(left_out["clip"])]
        write_clips(folder / "test_sets" / name, sample(rest, test_set), speech)
        _write_table(folder / "test_sets" / f"{name}.dropped.csv", left_out, DROPPED_COLUMNS)
    return manifest


def identity(sources: Mapping[str, Source]) -> dict[str, Any]:
    """What decides the training data: the pins and the rules of the sources that training hears.

    The same on every machine, whether or not a source could be reached there. The order counts: it
    is that of the manifest, by which clips are drawn.
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


def write_clips(path: Path, clips: pd.DataFrame, speech: Path) -> None:
    """Write `path`.s16, the samples of `clips` (rows of the manifest) one after the other, and
    `path`.csv, which says where in it each of them is."""
    starts, total = [], 0
    with atomic_path(path.with_name(f"{path.name}.s16")) as temporary, temporary.open("wb") as file:
        for row in cast(list[dict[str, Any]], clips.to_dict("records")):
            file.write(read_clip(speech / row["source"] / "speech.s16", row).tobytes())
            starts.append(total)
            total += row["samples"]
    _write_table(path.with_name(f"{path.name}.csv"), clips.assign(start=starts))


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
