"""Fill the marked blocks of README.md and of other pages with the numbers of reports/."""

import json
from pathlib import Path

from ecc import params
from ecc.files import atomic_path
from ecc.report import readme
from ecc.report.paper import LEADING
from ecc.report.render import source_table
from ecc.speech import SAMPLE_RATE

PAGES = (
    "README.md",
    "MODEL_CARD.md",
    "docs/recipe.md",
    "docs/codec.md",
    "docs/cli.md",
    "docs/codecs.md",
    "docs/metrics.md",
)
METRICS = ("pesq_wb", "visqol")
REPORTS = Path("reports")


def main() -> None:
    """Rewrite each page, unless its numbers are already those of the report."""
    study = params.load()
    sources = json.loads(Path("data/corpus/sources.json").read_text("utf-8"))
    leading = study.study.test_sets[:LEADING]
    labels = {name: codec.label for name, codec in study.codecs.items()}
    contents = readme.blocks(REPORTS, leading, METRICS, study.report)
    contents |= {
        "models": readme.model_table(_trained(study)),
        "speech": source_table(sources),
        "trials": readme.trial_table(REPORTS / "trials.csv", METRICS),
        "machines": readme.machine_table(REPORTS / "machines.csv"),
        "footprint": readme.footprint_table(REPORTS / "footprint.csv"),
        "coding-costs": readme.coding_costs(REPORTS / "costs.csv", labels),
        "study-costs": readme.study_costs(REPORTS / "costs.csv"),
        "scoring-costs": readme.scoring_costs(REPORTS / "costs.csv"),
    }
    for page in PAGES:
        text = Path(page).read_text("utf-8")
        filled = readme.fill(text, contents)
        if filled != text:
            with atomic_path(page) as temporary:
                temporary.write_text(filled, encoding="utf-8")


def _trained(study: params.Params) -> dict[str, readme.Trained]:
    found = {}
    for name in (*study.models, *study.token_models):
        resolve = study.model if name in study.models else study.token_model
        model, codec, train = resolve(name)
        smaller = study.models[name].begins_as if name in study.models else []
        frame = codec.transform.hop * codec.transform.stack / SAMPLE_RATE
        found[name] = readme.Trained(
            weights=Path("data/models") / model.variant / f"{name}.safetensors",
            log=REPORTS / "training" / name / "metrics.json",
            step_seconds=train.processes * train.batch * train.crop.frames * frame,
            before=[study.resolved(recipe)[1].all_steps for recipe in smaller],
        )
    return found


if __name__ == "__main__":
    main()
