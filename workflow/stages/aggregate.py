"""Average the scores into rate-distortion points, BD-rates and qualities at matched rates."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

import script
from ecc import resolved
from ecc.files import atomic_path
from ecc.report import bd_rate, rd
from ecc.report.config import Report
from ecc.report.headline import headline
from ecc.report.machine import speed_table, version_table
from ecc.report.paper import LEADING
from ecc.report.pauses import speech_scores
from ecc.report.runs import run_table
from ecc.report.targets import target_table
from ecc.tables import REPORTED, write_table

LOGS = Path("reports/training")


def main() -> None:
    """Write the tables of reports/ from data/scores, data/streams and data/corpus."""
    told = resolved.config("aggregate")
    names, test_sets, metrics = told["codecs"], told["test_sets"], told["metrics"]
    kinds, anchors = told["kinds"], told["anchors"]
    config = Report.model_validate(told["report"])
    taking_part = {name: kinds[name] for name in names}
    every = rd.read_codecs(Path("data/streams"), taking_part, told["labels"])
    sources = json.loads(Path("data/corpus/sources.json").read_text("utf-8"))
    scores = rd.read_scores(Path("data/scores"), names, metrics)

    codecs = every[every["kind"] != "ablation"]
    rated = rd.with_rate(codecs)
    pairs = [pair for pair in config.pairs if set(pair) <= set(rated)]
    tables = {
        name: rd.mark_rates(table(scores, compared, test_sets, metrics, config), codecs)
        for name, table, compared in (
            ("rd", rd.rd_table, list(codecs["codec"])),
            ("bd_rate", bd_rate.bd_rate_table, rated),
            ("matched_rate", bd_rate.matched_rate_table, rated),
            ("equal_rate", bd_rate.equal_rate_table, rated),
        )
    }
    # A codec that is compared by its bits in speech alone has the same quality as ever.
    apart = [name for name in told["diagnose"] if name in rated]
    in_speech = speech_scores(scores, Path("data/diagnostics"), apart)
    found = bd_rate.bd_rate_table(in_speech, apart, test_sets, metrics, config)
    tables["speech_bd_rate"] = rd.mark_rates(found, codecs)
    tables["pairs"] = bd_rate.pair_table(scores, pairs, test_sets, metrics, config)
    saved = bd_rate.join([tables["bd_rate"], tables["pairs"]])
    targets = [target for target in config.targets if target.codec in names]
    told_unseen = told["unseen"]
    sampled = rd.read_scores(Path("data/unseen"), told_unseen["codecs"], told_unseen["metrics"])
    of_sample = told_unseen["test_sets"], told_unseen["metrics"], config
    unseen = rd.mark_rates(rd.rd_table(sampled, told_unseen["codecs"], *of_sample), every)
    heard = [name for name in told_unseen["codecs"] if name in rated]
    for name, found in (
        ("unseen_bd_rate", bd_rate.bd_rate_table(sampled, heard, *of_sample)),
        ("unseen_equal_rate", bd_rate.equal_rate_table(sampled, heard, *of_sample)),
    ):
        tables[name] = rd.mark_rates(found, codecs)
    of_targets = (tables["rd"], unseen, saved, tables["equal_rate"])
    tables |= {
        "targets": target_table(targets, test_sets, *of_targets, kinds),
        "runs": run_table(scores, Path("reports/runs"), test_sets, metrics, config),
        "unseen": unseen,
        "codecs": codecs.drop(columns=["reason", "version"]),
        "machine/speed": speed_table(scores, codecs, test_sets),
        "machine/versions": version_table(codecs, told["software"]),
        "absent": rd.absent_table(every, sources, test_sets, scores),
        "failures": pd.concat(
            [
                rd.failure_table(scores, metrics),
                rd.failure_table(sampled, told_unseen["metrics"]),
            ]
        ).drop_duplicates(["codec", "point", "test_set", "reason"]),
    }
    # Those of a study without ablations are left as they are: its report shows them again.
    for full in dict.fromkeys(anchors.values()):
        ablations = [name for name in names if anchors.get(name) == full]
        compared = [full, *ablations]
        found = every[every["codec"].isin(compared)]
        points = rd.rd_table(scores, compared, test_sets, metrics, config)
        pairs = [(name, full) for name in ablations]
        tables |= {
            f"ablations/{full}/rd": rd.mark_rates(points, found),
            f"ablations/{full}/bd_rate": bd_rate.pair_table(
                scores, pairs, test_sets, metrics, config
            ),
            f"ablations/{full}/codecs": found[["codec", "label"]].merge(
                pd.DataFrame([size_of(name, told["budgets"][name], sources) for name in compared])
            ),
        }
    Path("reports/ablations").mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_table(Path("reports") / f"{name}.csv", table, REPORTED)
    logs = [LOGS / name for name in told["trained"]]
    trained = [log for log in logs if (log / "metrics.json").exists()]
    numbers = headline(
        tables["matched_rate"], tables["bd_rate"], trained, metrics, test_sets[:LEADING], config
    )
    with atomic_path("reports/metrics.json") as path:
        path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


def size_of(codec: str, budget: dict[str, Any], sources: list[dict[str, Any]]) -> dict[str, Any]:
    """`Params.budget` of a codec with hours of speech for the names of `sources`, as data/corpus
    has them, and for those of models the mean of their last losses on validation speech."""
    budget = dict(budget)
    models, heard = budget.pop("models"), budget.pop("sources")
    splits = [source.get("splits", {}) for source in sources if source["source"] in heard]
    logs = [LOGS / model / "metrics.json" for model in models]
    losses = [json.loads(log.read_text("utf-8"))["valid"]["loss"] for log in logs if log.exists()]
    return (
        {"codec": codec}
        | budget
        | {
            "hours": sum(split["train"]["hours"] for split in splits if "train" in split),
            "loss": sum(losses) / len(losses) if losses else math.nan,
        }
    )


if __name__ == "__main__":
    script.run(main)
