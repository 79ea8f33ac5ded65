"""Numbers of the README and of other pages, taken from the report's tables and from logs.

A block is what stands between the lines `<!-- begin: NAME -->` and `<!-- end: NAME -->`.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from safetensors import safe_open

from ecc.evaluate.metrics import METRICS
from ecc.files import sha256_of
from ecc.report.bd_rate import bd_rate, pareto
from ecc.report.config import Report
from ecc.report.markdown import markdown
from ecc.report.render import average_pivot, pair_averages, summary_table
from ecc.stream import ID_BYTES
from ecc.tables import read_table

_BLOCK = re.compile(
    r"^<!-- begin: (?P<name>[\w-]+) -->\n.*?^<!-- end: (?P=name) -->$", re.DOTALL | re.MULTILINE
)


def fill(text: str, blocks: Mapping[str, str]) -> str:
    """`text` with the content of each of its blocks replaced by `blocks[name]`.

    Raises `ValueError` for a block that nothing fills, or a mark without its partner.
    """
    marks = len(re.findall(r"^<!-- (?:begin|end): ", text, re.MULTILINE))
    found = [match["name"] for match in _BLOCK.finditer(text)]
    if marks != 2 * len(found):
        raise ValueError("a begin or end mark of a block has no partner")
    unknown = [name for name in found if name not in blocks]
    if unknown:
        raise ValueError(f"no content for block {unknown[0]!r}, only for {', '.join(blocks)}")

    def filled(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- begin: {name} -->\n{blocks[name].strip()}\n<!-- end: {name} -->"

    return _BLOCK.sub(filled, text)


def blocks(
    reports: Path, test_sets: Sequence[str], metrics: Sequence[str], config: Report
) -> dict[str, str]:
    """Contents by name: `rd`, qualities at matched rates on `test_sets`; `bd_rate`, what the codec
    under study saves on average over all test sets; and `pairs`, the same of other pairs.

    Raises `FileNotFoundError` when a table is missing in `reports`.
    """
    codecs, matched = read_table(reports / "codecs.csv"), read_table(reports / "matched_rate.csv")
    summaries = []
    for test_set in test_sets:
        table = summary_table(matched[matched["test_set"] == test_set], codecs, metrics, config)
        table.insert(0, "test set", test_set)
        summaries.append(table)
    labels = dict(zip(codecs["codec"], codecs["label"], strict=True))
    pairs = read_table(reports / "pairs.csv")
    compared = [pair in config.pairs for pair in zip(pairs["codec"], pairs["anchor"], strict=True)]
    averages = average_pivot(read_table(reports / "bd_rate.csv"), codecs, metrics)
    return {
        "rd": markdown(pd.concat(summaries)) or "No speech has been scored yet.",
        "bd_rate": averages or "No two codecs have been compared yet.",
        "pairs": pair_averages(pairs.loc[compared], metrics, labels)
        or "Nothing has been compared yet.",
    }


class Trained(NamedTuple):
    """Where a trained model lies, and how long a stretch of speech each step of it heard."""

    weights: Path
    log: Path  # DVCLive's metrics.json
    step_seconds: float
    before: Sequence[int] = ()  # steps of the models that it begins as


def model_table(models: Mapping[str, Trained]) -> str:
    """A row for each of `models`: the id that streams name it by, what is in its file, and what its
    training took."""
    rows = []
    for name, model in models.items():
        log = json.loads(model.log.read_text(encoding="utf-8"))
        steps = [*model.before, log["step"]]
        with safe_open(model.weights, framework="np") as file:
            slices = [file.get_slice(key) for key in file.keys()]  # noqa: SIM118
            # Parameters are in half precision; what is not are tables that follow from them.
            halves = [part.get_shape() for part in slices if part.get_dtype() == "F16"]
        rows.append(
            {
                "model": f"`{name}`",
                "id": f"`{sha256_of(model.weights)[: 2 * ID_BYTES]}`",
                "parameters": f"{sum(map(math.prod, halves)):,}",
                "file": f"{model.weights.stat().st_size / 1e6:.1f} MB",
                "steps": " + ".join(f"{number:,}" for number in steps),
                "speech heard": f"{sum(steps) * model.step_seconds / 3600:.1f} h",
                "time": f"{log['seconds'] / 60:.0f} min",
                "loss on validation speech": f"{log['valid']['loss']:.4f}",
            }
        )
    return markdown(pd.DataFrame(rows))


def trial_table(trials: Path, metrics: Sequence[str]) -> str:
    """The trials of the recipe, a row for each: rates of its lowest and its highest level, and for
    each of `metrics` the BD-rate against the last trial before it whose name begins with "base".
    Changes of params.yaml that are those of all trials stand once, above the table."""
    if not trials.exists():
        return "No trial has been noted yet."
    table = read_table(trials)
    changes = {str(n): g["changes"].iloc[0].split() for n, g in table.groupby("trial", sort=False)}
    shared = set.intersection(*map(set, changes.values())) if len(changes) > 1 else set()
    own = {name: [c for c in named if c not in shared] for name, named in changes.items()}
    base, rows = None, []
    for name, levels in table.groupby("trial", sort=False):
        against = levels if base is None else base
        row = {
            "trial": name,
            "changes": " ".join(f"`{change}`" for change in own[str(name)]) or "none",
            "steps": levels["steps"].iloc[0],
            "minutes": f"{levels['minutes'].iloc[0]:.1f}",
            "kbps": f"{levels['kbps'].min():.2f} to {levels['kbps'].max():.2f}",
        }
        for metric in metrics:
            ours, theirs = (
                pareto(points["kbps"].to_numpy(), points[metric].to_numpy())
                for points in (levels, against)
            )
            found = bd_rate(ours, theirs)
            rate = "n/a" if math.isnan(found.percent) else f"{found.percent:+.1f} %"
            cell = f"{rate}, overlap {100 * found.overlap:.0f} %"
            row[METRICS[metric].label] = "–" if base is None else cell.replace("-", "−")
        rows.append(row)
        if str(name).startswith("base"):
            base = levels
    common = " ".join(f"`{change}`" for change in next(iter(changes.values())) if change in shared)
    return (f"All with {common}.\n\n" if common else "") + markdown(pd.DataFrame(rows))


def machine_table(table: Path) -> str:
    """Clips that each machine of `workflow/machines.py` codes to the same bits as the first, by
    model: "same files / same decodes of all"."""
    if not table.exists():
        return "No machines have been compared yet."
    counts = read_table(table)
    counts["cell"] = [
        f"{row.same_streams} / {row.same_decodes} of {row.clips}" for row in counts.itertuples()
    ]
    wide = counts.pivot(index="machine", columns="model", values="cell")
    order = [counts[key].unique() for key in ("machine", "model")]
    return markdown(wide.loc[order[0], order[1]].reset_index())


def footprint_table(table: Path) -> str:
    """What `workflow/footprint.py` measured: a row for each environment."""
    if not table.exists():
        return "Nothing has been measured yet."
    rows = []
    for environment, taken in read_table(table).groupby("environment", sort=False):
        row = {"environment": environment, "installed": f"{taken['installed_mb'].iloc[0]:.0f} MB"}
        for one in taken.itertuples():
            cell = f"{one.cpu_seconds:.2f} s, {one.memory_mb:.0f} MB"
            row[f"{one.command} {one.seconds} s"] = cell
        rows.append(row)
    return markdown(pd.DataFrame(rows))


def coding_costs(table: Path, labels: Mapping[str, str]) -> str:
    """What `workflow/costs.py` found of encoding and decoding: a row for each codec that takes a
    minute, and one for all others."""
    if not table.exists():
        return "Nothing has been measured yet."
    costs = read_table(table)
    costs = costs[costs["part"].isin(["encode", "decode"])]
    minutes = costs.pivot(index="name", columns="part", values="core_minutes").fillna(0)
    utterances = costs.groupby("name", sort=False)["utterances"].max()
    long = [name for name in utterances.index if minutes.loc[name].sum() >= 1]
    short = [name for name in utterances.index if name not in long]
    groups = {labels[name]: [name] for name in long}
    groups |= {f"{len(short)} others": short, "all": [*utterances.index]}
    return markdown(
        pd.DataFrame(
            {
                "codec": label,
                "files": utterances[names].sum(),
                "encode, min": f"{minutes.loc[names, 'encode'].sum():.1f}",
                "decode, min": f"{minutes.loc[names, 'decode'].sum():.1f}",
            }
            for label, names in groups.items()
        )
    )


def study_costs(table: Path) -> str:
    """What `workflow/costs.py` found of the whole study, on two cores."""
    if not table.exists():
        return "Nothing has been measured yet."
    minutes = read_table(table).groupby("part")["core_minutes"].sum() / 2
    return (
        f"On two cores the first takes {minutes['encode']:.0f} minutes to encode and "
        f"{minutes['decode']:.0f} to decode, with scores that came with the clone; without those "
        f"{minutes['score']:.0f} more."
    )


def scoring_costs(table: Path) -> str:
    """What `workflow/costs.py` measured of the metrics."""
    if not table.exists():
        return "Nothing has been measured yet."
    costs = read_table(table)
    costs = costs[costs["part"] == "score"]
    return markdown(
        pd.DataFrame(
            {
                "metric": [f"`{name}`" for name in costs["name"]],
                "seconds for an utterance": [f"{each:.3f}" for each in costs["seconds_each"]],
                "utterances": costs["utterances"],
                "minutes": [f"{minutes:.1f}" for minutes in costs["core_minutes"]],
            }
        )
    )
