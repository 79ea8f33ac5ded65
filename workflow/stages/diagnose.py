"""Stage `diagnose`: take the streams of one codec apart, down to its frames or its symbols."""

import json
from pathlib import Path

import script
from ecc import resolved
from ecc.codecs.base import codec_class
from ecc.codecs.ecc import EccCodec
from ecc.evaluate.codebooks import code_books
from ecc.evaluate.diagnostics import diagnose
from ecc.evaluate.pauses import pauses
from ecc.model.files import ModelError
from ecc.report.pauses import pause_table
from ecc.tables import REPORTED, read_table, write_table


def main(codec: str) -> None:
    """Write reports/diagnostics/CODEC/*.csv and data/diagnostics/CODEC/pauses.csv, and for a codec
    with an entropy model data/diagnostics/CODEC/timeline.csv."""
    streams, test_sets = Path("data/streams") / codec, Path("data/corpus/test_sets")
    workers = resolved.unbound()["workers"]
    coded = read_table(streams / "index.csv")["test_set"].unique()
    clips = {name: read_table(test_sets / f"{name}.csv") for name in coded}
    in_time = pauses(streams, clips, test_sets, workers)
    tables = {"pauses": pause_table(in_time)}
    about = json.loads((streams / "codec.json").read_text(encoding="utf-8"))
    if issubclass(codec_class(about["class"]), EccCodec):
        config = EccCodec(**next(iter(about["points"].values()))).codec.config
        if not config.rvq.stages:
            tables |= diagnose(streams, clips, test_sets, workers)
        elif config.rvq.tokens:
            tables["codebooks"] = code_books(streams, workers)
    # Of single utterances, and what shows speech, is not versioned with the numbers.
    kept = {"pauses": in_time}
    if "timeline" in tables:
        kept["timeline"] = tables.pop("timeline")
    for folder, of_folder in (("data", kept), ("reports", tables)):
        for name, table in of_folder.items():
            write_table(Path(folder) / "diagnostics" / codec / f"{name}.csv", table, REPORTED)


if __name__ == "__main__":
    script.run(main, ValueError, ModelError)
