"""Build the page, reports/html: the report with curves to point at and decodes to listen to."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

import script
from ecc import resolved
from ecc.evaluate.metrics import METRICS
from ecc.page import build, content
from ecc.page.config import Page
from ecc.report.bd_rate import average_table
from ecc.report.headline import METRICS as HEADLINE
from ecc.report.rd import read_scores
from ecc.speech import SAMPLE_RATE, read_clip
from ecc.tables import read_table, records

REPORTS = Path("reports")
STREAMS, DECODED = Path("data/streams"), Path("data/decoded")
TEST_SETS = Path("data/corpus/test_sets")
OUT = REPORTS / "html"


def main() -> None:
    """Write reports/html, whole or not at all."""
    told = resolved.config("page")
    config = Page.model_validate(told["page"])
    tables = {name: read_table(REPORTS / f"{name}.csv") for name in ("codecs", "rd", "bd_rate")}
    looks = content.codec_looks(told["kinds"], told["labels"], tables["codecs"], told["codec"])
    rd = tables["rd"][tables["rd"]["codec"].isin(list(looks))]
    scores = read_scores(Path("data/scores"), list(looks), told["metrics"])
    by_set = {str(name): scores[scores["test_set"] == name] for name in rd["test_set"].unique()}
    heard = {
        name: content.heard_utterances(rows, told["codec"], told["metrics"][0], config.utterances)
        for name, rows in by_set.items()
    }
    OUT.parent.mkdir(exist_ok=True)
    for unfinished in OUT.parent.glob(".html-*"):  # of a build that was killed
        shutil.rmtree(unfinished)
    with tempfile.TemporaryDirectory(dir=OUT.parent, prefix=".html-") as temporary:
        folder = Path(temporary) / "html"
        folder.mkdir()
        study = {
            "codec": told["codec"],
            "beside": told["beside"],
            "sample_rate": SAMPLE_RATE,
            "rates": config.kbps,
            "metrics": [
                {
                    "name": name,
                    "label": METRICS[name].label,
                    "lower": METRICS[name].lower_is_better,
                    "digits": METRICS[name].digits,
                }
                for name in told["metrics"]
            ],
            "codecs": looks,
            "points": content.point_rows(rd, told["metrics"]),
            "sets": {
                name: content.score_grids(rows, points_of(rd, name), told["metrics"])
                for name, rows in by_set.items()
            },
            "clips": clips(scores, rd, heard, config, build.Audio(folder / "audio")),
        }
        label = looks.get(told["codec"], {"label": told["codec"]})["label"]
        facts = {
            "label": label,
            "measured": measured(rd, by_set),
            "cards": cards(tables["bd_rate"], tables["codecs"], told["codec"], told["beside"]),
            "chosen": f"Of each test set {config.utterances} utterances at most can be heard, from "
            f"the worst to the best by the mean {METRICS[told['metrics'][0]].label} of {label}, "
            "evenly spaced.",
        }
        names = ("report.md", "tables.md", "machine.md")
        texts = {name: (REPORTS / name).read_text("utf-8") for name in names}
        modules = Path("node_modules")
        build.write_page(folder, study, texts, facts, REPORTS / "figures", modules)
        shutil.rmtree(OUT, ignore_errors=True)
        folder.rename(OUT)


def points_of(rd: pd.DataFrame, test_set: str) -> list[tuple[str, str]]:
    """Codec and name of the points of a test set, in order."""
    rows = rd[rd["test_set"] == test_set]
    return list(zip(rows["codec"], rows["point"], strict=True))


def clips(
    scores: pd.DataFrame,
    rd: pd.DataFrame,
    heard: dict[str, list[str]],
    config: Page,
    audio: build.Audio,
) -> dict[str, Any]:
    """What can be heard, by test set: the `nearest` point of each codec to each rate, and of each
    of the utterances its `reference` and `tracks` by codec/point, as names in `audio`."""
    found: dict[str, Any] = {}
    for test_set, names in heard.items():
        references = {
            row["clip"]: row for row in records(read_table(TEST_SETS / f"{test_set}.csv"))
        }
        rows = rd[rd["test_set"] == test_set]
        found[test_set] = {
            "nearest": content.nearest_points(rows, config.kbps),
            "utterances": {
                name: {
                    "reference": audio.add_samples(
                        read_clip(TEST_SETS / f"{test_set}.s16", references[name])
                    ),
                    "tracks": {},
                }
                for name in names
            },
        }
    rates = dict(zip(rd["codec"], rd["rate"], strict=True))
    decodes = content.heard_clips(scores, rd, heard, config.kbps, STREAMS, DECODED)
    for clip in tqdm(decodes, "page: audio", unit="clip", disable=None):
        track = {"clip": audio.add(clip.decoded.read_bytes()), "delay": clip.delay}
        if rates[clip.codec] == "measured":
            track["bytes"] = clip.stream.stat().st_size
        tracks = found[clip.test_set]["utterances"][clip.utterance]["tracks"]
        tracks[f"{clip.codec}/{clip.point}"] = track
    return found


def measured(rd: pd.DataFrame, scores: dict[str, pd.DataFrame]) -> str:
    """What was measured, in a sentence."""
    utterances = sum(rows["utterance"].nunique() for rows in scores.values())
    speakers = {speaker for rows in scores.values() for speaker in rows["speaker"]}
    points = rd[["codec", "point"]].drop_duplicates()
    return (
        f"{int(rd['n'].sum() - rd['failures'].sum()):,} decodes were scored: "
        f"{points['codec'].nunique()} codecs at {len(points)} operating points on {len(scores)} "
        f"test sets with {utterances} utterances of {len(speakers)} speakers."
    )


def cards(
    bd_rate: pd.DataFrame, codecs: pd.DataFrame, codec: str, beside: Sequence[str]
) -> list[dict[str, str]]:
    """The mean BD-rates of `codec` against those of `beside` that one can be given against on every
    test set that both took part in, for the headline."""
    labels = dict(zip(codecs["codec"], codecs["label"], strict=True))
    groups = {anchor: [anchor] for anchor in beside if anchor in labels}
    of_codec = bd_rate[(bd_rate["codec"] == codec) & bd_rate["metric"].isin(HEADLINE)]
    means = average_table(of_codec, groups)
    return [
        {
            "value": f"{row['bd_rate']:+.1f} %".replace("-", "−"),
            "text": f"rate for the {METRICS[row['metric']].label} of {labels[row['group']]}",
            "note": f"mean BD-rate over {row['rates']} test sets",
        }
        for row in records(means)
        if row["rates"] == row["compared"] > 0
    ]


if __name__ == "__main__":
    script.run(main, build.PageError)
