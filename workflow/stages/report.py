"""Draw the figures and write the report from the tables of reports/."""

import json
import shutil
from pathlib import Path

import script
from ecc import resolved
from ecc.files import atomic_path
from ecc.listening.key import ResultError
from ecc.report import ablations, diagnostics, figures, machine, scaling
from ecc.report.config import Report
from ecc.report.render import render
from ecc.tables import read_table

REPORTS = Path("reports")


def main() -> None:
    """Write reports/figures/*.png, reports/report.md, reports/tables.md and reports/machine.md."""
    told = resolved.config("report")
    codecs, rd = read_table(REPORTS / "codecs.csv"), read_table(REPORTS / "rd.csv")
    sources = json.loads(Path("data/corpus/sources.json").read_text("utf-8"))
    metrics, config = told["metrics"], Report.model_validate(told["report"])
    styles = figures.Styles(told["kinds"], told["labels"], codecs, config.codec)
    drawn = {}
    for test_set, of_set in rd.groupby("test_set", sort=False):
        if not (of_set["kbps"] <= figures.HIGHEST_KBPS).any():
            continue
        # Three panels are as many as a page has room for.
        drawn[f"rd_{test_set}"] = figures.rd_curves(of_set, metrics[:3], styles)
        if metrics[3:]:
            drawn[f"rd_{test_set}_more"] = figures.rd_curves(of_set, metrics[3:], styles)
    if rd["kbps_estimated"].notna().any():
        drawn["rate_overhead"] = figures.rate_overhead(rd, styles)
    for compared in ablations.read(REPORTS / "ablations"):
        drawn[f"ablations_{compared.name}"] = figures.ablations(compared.bd_rate, metrics[:3])
        if len(sizes := scaling.scaling(compared, metrics[:2])):
            drawn[f"scaling_{compared.name}"] = figures.scaling(sizes, scaling.fit(sizes))
    codec = config.codec
    training = figures.training_curves(REPORTS / "training", told["models"])
    if training is not None:
        drawn["training"] = training
    for other in told["diagnose"]:
        tables = diagnostics.read(REPORTS / "diagnostics" / other)
        if (codebooks := tables.get("codebooks")) is not None:
            last = diagnostics.last_point(codebooks)
            drawn["codebooks"] = figures.codebook_bits(codebooks, last)
    if codec in told["diagnose"]:
        tables = diagnostics.read(REPORTS / "diagnostics" / codec)
        channels = tables["channels"]
        points = channels["point"].unique()
        middle = (channels["point"] == points[len(points) // 2]) & (
            channels["test_set"] == channels["test_set"].iloc[0]
        )
        drawn |= {
            "bit_shares": figures.bit_shares(tables["parts"]),
            "skip": figures.skip_sweep(tables["skip"]),
            "channels": figures.channel_bits(channels[middle]),
            "timeline": figures.timeline(
                read_table(Path("data/diagnostics") / codec / "timeline.csv")
            ),
        }
    # A figure of a test set that no longer takes part must not stay behind.
    shutil.rmtree(REPORTS / "figures", ignore_errors=True)
    (REPORTS / "figures").mkdir(parents=True)
    for name, figure in drawn.items():
        figures.save(figure, REPORTS / "figures" / f"{name}.png")

    trained = [{"model": name, "software": trained_with(name)} for name in told["trained"]]
    texts = render(REPORTS, sources, metrics, config, told["parameters"], trained)
    for name, content in {**texts, "machine": machine.page(REPORTS)}.items():
        with atomic_path(REPORTS / f"{name}.md") as path:
            path.write_text(content, encoding="utf-8")


def trained_with(model: str) -> str:
    """The versions of the software that trained a model, as far as it was noted."""
    path = resolved.MODELS / f"{model}.json"
    versions = json.loads(path.read_text("utf-8"))["software"] if path.exists() else {}
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or "not noted"


if __name__ == "__main__":
    script.run(main, ResultError)
