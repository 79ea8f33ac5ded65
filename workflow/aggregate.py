"""Average the scores into rate-distortion points, BD-rates and qualities at matched rates."""

import json
from pathlib import Path

import pandas as pd

from ecc import params
from ecc.files import atomic_path
from ecc.report import bd_rate, rd


def main() -> None:
    """Write the tables of reports/ from data/scores, data/streams and data/corpus."""
    study = params.load()
    names, test_sets = study.study.codecs, study.study.test_sets
    metrics, config = study.score.metrics, study.report
    kinds = study.kinds()
    codecs = rd.read_codecs(Path("data/streams"), {name: kinds[name] for name in names})
    rated = [name for name in rd.with_rate(codecs) if kinds[name] != "ablation"]
    pairs = [(name, anchor) for name in names if (anchor := study.codecs[name].anchor)]
    pairs += [pair for pair in config.pairs if set(pair) <= set(rated)]
    sources = json.loads(Path("data/corpus/sources.json").read_text("utf-8"))
    scores = rd.read_scores(Path("data/scores"), names, metrics)
    tables = {
        name: rd.mark_rates(table(scores, compared, test_sets, metrics, config), codecs)
        for name, table, compared in (
            ("rd", rd.rd_table, names),
            ("bd_rate", bd_rate.bd_rate_table, rated),
            ("matched_rate", bd_rate.matched_rate_table, rated),
        )
    }
    tables |= {
        "pairs": bd_rate.pair_table(scores, pairs, test_sets, metrics, config),
        "codecs": codecs.drop(columns="reason"),
        "absent": rd.absent_table(codecs, sources, test_sets, scores),
        "failures": rd.failure_table(scores, metrics),
    }
    for name, table in tables.items():
        _write(table, Path("reports") / f"{name}.csv")


def _write(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        # Six digits: enough for any use, few enough that a diff shows no rounding.
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


if __name__ == "__main__":
    main()
