"""The written report: tables and figures from `reports/`, set in Markdown."""

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from ruamel.yaml import YAML

from ecc.evaluate.metrics import LOWER_IS_BETTER, METRICS
from ecc.report import ablations, diagnostics, listening, scaling
from ecc.report.bd_rate import average_table, join
from ecc.report.config import AnyTarget, GapTarget, LeadTarget, QualityTarget, RateTarget, Report
from ecc.report.figures import HIGHEST_KBPS
from ecc.report.markdown import markdown, number
from ecc.report.paper import LEADING, paper_table
from ecc.report.pauses import pause_pivot, pause_points, speech_pivot
from ecc.report.taxonomy import taxonomy
from ecc.tables import read_table

TABLES = (
    "rd",
    "bd_rate",
    "matched_rate",
    "equal_rate",
    "speech_bd_rate",
    "pairs",
    "targets",
    "runs",
    "unseen",
    "unseen_bd_rate",
    "unseen_equal_rate",
    "codecs",
    "absent",
    "failures",
)


def render(
    reports: Path,
    sources: Sequence[Mapping[str, Any]],
    metrics: Sequence[str],
    config: Report,
    parameters: Mapping[str, Any],
    trained: Sequence[Mapping[str, str]] = (),
) -> dict[str, str]:
    """The texts `report` and `tables`, what it has no room for, on the tables and figures that lie
    in `reports`.

    sources: data/corpus/sources.json; parameters: the sections of params.yaml to print; trained:
    rows of the table of packages behind the models.
    Raises `FileNotFoundError` when a table is missing (an empty one is fine), and `ResultError` for
    a result of a listening test that cannot be read.
    """
    tables = {name: read_table(reports / f"{name}.csv") for name in TABLES}
    codecs = tables["codecs"]
    labels = dict(zip(codecs["codec"], codecs["label"], strict=True))
    unseen = tables["unseen"]
    unheard = [column for column in unseen if column in METRICS]
    figures = sorted(path.stem for path in (reports / "figures").glob("*.png"))
    rd = tables["rd"]
    test_sets = [
        {
            "name": name,
            "utterances": rows["n"].max(),
            "speakers": rows["speakers"].max(),
            "nominal": bool((rows["rate"] == "nominal").any()),
            "ceiling": bool((rows["rate"] == "none").any()),
            "summary": markdown(
                summary_table(_of(tables["matched_rate"], name), codecs, metrics[:3], config)
            ),
            "leading": markdown(
                summary_table(_of(tables["matched_rate"], name), codecs, metrics[:2], config)
            ),
            "points": points_table(rows, metrics, labels),
            **{
                title: bd_pivot(_of(tables["bd_rate"], name), metrics, labels, cell)
                for title, cell in (("bd_rate", bd_rate_cell), ("bd_quality", bd_quality_cell))
            },
            "equal_rate": equal_rate_pivot(
                _of(tables["equal_rate"], name), metrics, labels, config.codec
            ),
            "matched": [
                (METRICS[metric].label, pivot)
                for metric in metrics
                if (pivot := matched_pivot(_of(tables["matched_rate"], name), metric, labels))
            ],
        }
        for name, rows in rd.groupby("test_set", sort=False)
    ]
    akima = (tables["bd_rate"]["bd_rate"] - tables["bd_rate"]["bd_rate_akima"]).abs().max()
    failures = tables["failures"].assign(codec=tables["failures"]["codec"].map(labels))
    ran = codecs[codecs["available"].astype(bool)]
    apart = {
        labels[codec]: diagnostics.read(reports / "diagnostics" / codec)
        for codec in codecs["codec"]
        if (reports / "diagnostics" / codec).is_dir()
    }
    diagnosed = {name: diagnostics.sections(found) for name, found in apart.items()}
    in_time = {
        name: found["pauses"]
        for name, found in apart.items()
        if "pauses" in found and len(found["pauses"])
    }
    leading = [str(found["name"]) for found in test_sets[:LEADING]]
    bd = tables["bd_rate"]
    with_sample = join([bd, tables["unseen_bd_rate"]])
    at_rates = join([tables["equal_rate"], tables["unseen_equal_rate"]])
    beside = (tables["matched_rate"], codecs, metrics[:2], leading[:1], config)
    shown = {
        "config": config,
        "leading": test_sets[:LEADING],
        "leading_names": " and ".join(f"`{name}`" for name in leading),
        "findings": leads(*beside) + findings(bd, metrics[:2], labels, leading, config),
        "imitated": imitated(parameters),
        "led": average_pivot(bd[bd["test_set"].isin(leading)], codecs, metrics[:2]),
        "met": int((tables["targets"]["missed_by"] == 0).sum()),
        "to_meet": int(tables["targets"]["missed_by"].notna().sum()),
        "untold": int(tables["targets"]["missed_by"].isna().sum()),
        "excess": excess_table(rd, labels),
        "label": labels.get(config.codec, config.codec),
        "metrics": [METRICS[metric].label for metric in metrics],
        "definitions": _definitions(metrics),
        "unheard": _definitions(unheard),
        "unheard_beside": [
            METRICS[metric].label for metric in unheard if METRICS[metric].hears_reference
        ],
        "unseen": [
            {
                "name": name,
                "utterances": rows["n"].max(),
                "speakers": rows["speakers"].max(),
                # An ablation has no label among those of the study.
                "points": points_table(
                    rows, unheard, {codec: labels.get(codec, codec) for codec in rows["codec"]}
                ),
                "bd_rate": bd_pivot(
                    _of(tables["unseen_bd_rate"], name), unheard, labels, bd_rate_cell
                ),
            }
            for name, rows in unseen.groupby("test_set", sort=False)
        ],
        "test_sets": test_sets,
        "averages": average_pivot(tables["bd_rate"], codecs, metrics),
        "pauses": pause_pivot(in_time),
        "pause_points": pause_points(in_time),
        "in_speech": speech_pivot(
            tables["bd_rate"],
            tables["speech_bd_rate"],
            {metric: METRICS[metric].label for metric in metrics[:3]},
            labels,
        ),
        "paper": markdown(paper_table(with_sample, at_rates, labels, config)),
        "pairs": pair_pivot(tables["pairs"], metrics, labels),
        "pair_averages": pair_averages(tables["pairs"], metrics, labels),
        "targets": target_pivot(tables["targets"], config.targets, labels),
        "runs": pair_pivot(tables["runs"], metrics, config.runs, ["anchor"]),
        "changes": pair_pivot(tables["runs"], metrics, config.runs, ["anchor"], change_cell),
        "akima": None if pd.isna(akima) else f"{akima:.2g}",
        "ablations": [
            _ablations(study, metrics) for study in ablations.read(reports / "ablations")
        ],
        "listening": listening.sections(reports / "listening"),
        "figures": figures,
        "highest_kbps": HIGHEST_KBPS,
        "estimates": estimate_table(rd, labels),
        "diagnosed": {
            name: {title: markdown(table) for title, table in tables.items()}
            for name, tables in diagnosed.items()
            if "rate" in tables
        },
        "diagnosed_first": {
            name: {title: markdown(_first_set(table)) for title, table in tables.items()}
            for name, tables in diagnosed.items()
            if "rate" in tables
        },
        "codebooks": {
            name: markdown(tables["codebooks"])
            for name, tables in diagnosed.items()
            if "codebooks" in tables
        },
        "absent": markdown(tables["absent"]),
        "failures": markdown(failures),
        "scored": int(rd["n"].sum()),
        "failed": int(rd["failures"].sum()),
        "sources": source_table(sources),
        "codecs": markdown(ran[["codec", "label", "kind", "rate"]]),
        "taxonomy": markdown(taxonomy()),
        "trained": markdown(pd.DataFrame(trained)),
        "parameters": _yaml(parameters),
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return {
        name: environment.get_template(f"{name}.md.jinja").render(shown)
        for name in ("report", "tables")
    }


def _definitions(metrics: Sequence[str]) -> list[str]:
    return [f"{METRICS[metric].label} ({METRICS[metric].reference})" for metric in metrics]


def _ablations(study: ablations.Ablations, metrics: Sequence[str]) -> dict[str, Any]:
    rd, bd = study.rd, study.bd_rate
    labels = dict(zip(rd["codec"], rd["label"], strict=True))
    metrics = [metric for metric in metrics if metric in rd]
    return {
        "figure": f"ablations_{study.name}",
        "scaling_figure": f"scaling_{study.name}",
        "scaling": scaling_pivot(scaling.fit(scaling.scaling(study, metrics[:2]))),
        "full": study.full,
        "seeds": study.seeds,
        "test_sets": [
            {
                "name": name,
                "bd_rate": bd_pivot(rows, metrics, labels, bd_rate_cell, by="codec")
                if study.seeds == 1
                else seeds_pivot(rows, metrics),
                "points": points_table(_of(rd, name), metrics, labels),
            }
            for name, rows in bd.groupby("test_set", sort=False)
        ],
    }


def scaling_pivot(fits: pd.DataFrame) -> str:
    """What the power laws of `scaling.fit` say: a row for each size, and what it would be of."""
    if fits.empty:
        return ""
    of_loss = fits["metric"] == scaling.LOSS
    named = fits["metric"].map(lambda name: name if name == scaling.LOSS else METRICS[name].label)
    rows = pd.DataFrame(
        {
            "what is larger": fits["size"].map(scaling.SIZES),
            "what changes": named.where(of_loss, "rate at equal " + named),
            "test set": fits["test_set"].map(lambda name: f"`{name}`" if name else "validation"),
            "models beside the full one": fits["models"],
            "twice": [f"{100 * (2**slope - 1):+.1f} %" for slope in fits["slope"]],
            **{f"{n} times": [f"{value:+.0f} %" for value in fits[n]] for n in scaling.FACTORS},
        }
    )
    return markdown(rows)


def seeds_pivot(bd: pd.DataFrame, metrics: Sequence[str]) -> str:
    """BD-rates of one test set that several seeds have: a row for each label and a column for each
    metric, the mean over the seeds and between which values they lie."""
    rows = []
    for label, of_label in bd.groupby("label", sort=False):
        row = {"codec": label}
        for metric in metrics:
            seeds = of_label[of_label["metric"] == metric]
            found = seeds.loc[seeds["flag"] == "ok", "bd_rate"]
            cell = "n/a"
            if len(found):
                cell = f"{found.mean():+.1f} % ({found.min():+.1f} to {found.max():+.1f})"
            if len(found) < len(seeds):
                cell += f", {len(found)} of {len(seeds)}"
            row[METRICS[metric].label] = cell.replace("-", "−")
        rows.append(row)
    return markdown(pd.DataFrame(rows))


def points_table(rd: pd.DataFrame, metrics: Sequence[str], labels: Mapping[str, str]) -> str:
    """The points of one test set, one row each, below what a metric says of the references."""
    table: dict[str, Any] = {
        "codec": rd["codec"].map(labels),
        "point": rd["point"],
        "kbps": rd["kbps"].map(lambda value: number(value, "{:.2f}")),
    }
    for metric in metrics:
        rows = zip(rd[metric], rd[f"{metric}_low"], rd[f"{metric}_high"], strict=True)
        table[METRICS[metric].label] = pd.Series(
            [with_interval(*row, digits=METRICS[metric].digits) for row in rows], index=rd.index
        )
    table["failed"] = [f"{a} of {b}" for a, b in zip(rd["failures"], rd["n"], strict=True)]
    found = pd.DataFrame(table)
    scored = [metric for metric in metrics if f"{metric}_reference" in rd]
    if scored and len(rd):
        reference = {
            METRICS[metric].label: number(
                rd[f"{metric}_reference"].iloc[0], f"{{:.{METRICS[metric].digits}f}}"
            )
            for metric in scored
        }
        found = pd.concat([pd.DataFrame([{"codec": "the references", **reference}]), found])
        found = found[list(table)]
    return markdown(found)


def summary_table(
    matched: pd.DataFrame, codecs: pd.DataFrame, metrics: Sequence[str], config: Report
) -> pd.DataFrame:
    """Qualities of one test set at matched rates, a column each: of the codec under study, of the
    best conventional codec at each rate, by name, and of the codecs that `config` sets beside."""
    labels = dict(zip(codecs["codec"], codecs["label"], strict=True))
    conventional = codecs[(codecs["kind"] == "conventional") & (codecs["rate"] == "measured")]
    rates = sorted(matched["kbps"].unique())
    rows = []
    for metric in metrics:
        table = matched.pivot(index="kbps", columns="codec", values=metric)
        values = {str(codec): dict(column) for codec, column in table.items()}
        better = min if metric in LOWER_IS_BETTER else max
        named = {"metric": METRICS[metric].label}
        for codec in (config.codec, *config.beside):
            if codec in values:
                cells = {_kbps(rate): number(values[codec][rate], "{:.2f}") for rate in rates}
                rows.append({**named, "codec": labels[codec], **cells})
        cells = {}
        for rate in rates:
            reached = [
                (values[codec][rate], labels[codec])
                for codec in conventional["codec"]
                if codec in values and pd.notna(values[codec][rate])
            ]
            cells[_kbps(rate)] = "{:.2f} ({})".format(*better(reached)) if reached else "–"
        rows.append({**named, "codec": "best conventional", **cells})
    return pd.DataFrame(rows if rates else [])


def findings(
    bd: pd.DataFrame,
    metrics: Sequence[str],
    labels: Mapping[str, str],
    test_sets: Sequence[str],
    config: Report,
) -> list[str]:
    """What was found, a sentence for each of `test_sets` and each codec of `config.beside`: how
    much less rate `config.codec` needs at equal quality, where that is known."""
    found = []
    for test_set, anchor in product(test_sets, config.beside):
        pair = _of(bd, test_set)
        pair = pair[(pair["codec"] == config.codec) & (pair["anchor"] == anchor)]
        rates = pair[pair["flag"] == "ok"].set_index("metric")["bd_rate"].to_dict()
        parts = [
            f"{abs(rates[metric]):.0f} % {'less' if rates[metric] < 0 else 'more'} rate for the "
            f"same {METRICS[metric].label}"
            for metric in metrics
            if metric in rates
        ]
        if parts:
            codecs = f"{labels[config.codec]} beside {labels[anchor]}"
            found.append(f"On `{test_set}`, {codecs}: {', '.join(parts)}.")
    return found


def leads(
    matched: pd.DataFrame,
    codecs: pd.DataFrame,
    metrics: Sequence[str],
    test_sets: Sequence[str],
    config: Report,
) -> list[str]:
    """How far `config.codec` is ahead of others, a sentence for each of `test_sets` and `metrics`:
    at the lowest rate that is compared and that it reaches, against the highest up to which each
    codec of `config.beside` that is none of this study, and the best other conventional one, is
    behind.

    matched: reports/matched_rate.csv; codecs: the table reports/codecs.csv.
    """
    labels = dict(zip(codecs["codec"], codecs["label"], strict=True))
    measured = codecs[codecs["rate"] == "measured"].set_index("codec")["kind"].to_dict()
    rivals = {labels[c]: [c] for c in config.beside if measured.get(c, "own") != "own"}
    others = [c for c in measured if measured[c] == "conventional" and c not in config.beside]
    rivals["the best conventional codec"] = [str(codec) for codec in others]
    found = []
    for test_set, metric in product(test_sets, metrics):
        known = _of(matched, test_set).dropna(subset=[metric]).sort_values("kbps", kind="stable")
        sign = -1 if metric in LOWER_IS_BETTER else 1
        reached = known[known["codec"] == config.codec]
        if reached.empty:
            continue
        ours = reached.iloc[0]
        behind = []
        for name, members in rivals.items():
            rows = known[known["codec"].isin(members) & (known["kbps"] >= ours["kbps"])]
            best = rows.loc[(sign * rows[metric]).groupby(rows["kbps"]).idxmax()]
            best = best[(sign * best[metric] < sign * ours[metric]).cummin()]
            if len(best):
                last = best.iloc[-1]
                who = "" if len(members) == 1 else f", {labels[last['codec']]}"
                behind.append(f"{name} at {last['kbps']:g} kbps ({last[metric]:.2f}{who})")
        if behind:
            found.append(
                f"On `{test_set}`, {labels[config.codec]} at {ours['kbps']:g} kbps has "
                f"{METRICS[metric].label} {ours[metric]:.2f}, better than {' and '.join(behind)}."
            )
    return found


IMITATED = {"loudness": "PESQ", "structure": "ViSQOL", "naturalness": "DNSMOS"}
"""Metrics that parts of the loss of training imitate."""


def imitated(parameters: Mapping[str, Any]) -> list[str]:
    """The metrics that the loss in the section `train` of params.yaml imitates."""
    loss = parameters.get("train", {}).get("loss", {})
    return [metric for part, metric in IMITATED.items() if loss.get(part)]


def average_pivot(bd: pd.DataFrame, codecs: pd.DataFrame, metrics: Sequence[str]) -> str:
    """Mean BD-rates over test sets and anchors: a row for each group of anchors."""
    measured, nominal = (codecs[codecs["rate"] == rate] for rate in ("measured", "nominal"))
    groups = {
        f"{kind} codecs": list(measured.loc[measured["kind"] == kind, "codec"])
        for kind in ("conventional", "neural")
    }
    groups["published decodes, nominal rate"] = list(nominal["codec"])
    groups = {"all peers": [name for names in groups.values() for name in names], **groups}
    own = measured[measured["kind"] == "own"]
    groups |= {label: [codec] for codec, label in zip(own["codec"], own["label"], strict=True)}
    averages = average_table(bd, groups)
    cells = {(row["group"], row["metric"]): _average_cell(row) for _, row in averages.iterrows()}
    rows = [
        {"against": group, **{METRICS[m].label: cells[group, m] for m in metrics}}
        for group in averages["group"].unique()
    ]
    return markdown(pd.DataFrame(rows))


def _average_cell(row: pd.Series) -> str:
    """ "−40.3 %, +0.31 (4 of 4)": BD-rate, BD-quality, and over how many pairs; apart where the two
    are not over as many."""
    rate, quality = number(row["bd_rate"], "{:+.1f} %"), number(row["bd_quality"], "{:+.2f}")
    of_rate, of_quality = (f" ({row[n]} of {row['compared']})" for n in ("rates", "qualities"))
    if of_rate == of_quality:
        of_rate = ""
    return f"{rate}{of_rate}, {quality}{of_quality}".replace("-", "−")


def bd_pivot(
    bd: pd.DataFrame,
    metrics: Sequence[str],
    labels: Mapping[str, str],
    cell: Callable[[pd.Series], str],
    by: str = "anchor",
) -> str:
    """What `cell` says of one test set: a row for each anchor, or codec, and a column for each
    metric."""
    cells = {(labels.get(row[by], row[by]), row["metric"]): cell(row) for _, row in bd.iterrows()}
    names = list(dict.fromkeys(name for name, _ in cells))
    table = pd.DataFrame(
        {
            METRICS[metric].label: [cells.get((name, metric), "–") for name in names]
            for metric in metrics
        }
    )
    table.insert(0, "against" if by == "anchor" else by, names)
    return markdown(table)


def bd_rate_cell(row: pd.Series) -> str:
    """A BD-rate with interval and overlap, or n/a and why."""
    if row["flag"] != "ok":
        shared = f"overlap {100 * row['overlap']:.0f} %"
        return f"n/a ({shared if row['flag'] == 'low overlap' else row['flag']})"
    value = with_interval(row["bd_rate"], row["bd_rate_low"], row["bd_rate_high"], digits=1)
    return f"{value} %, overlap {100 * row['overlap']:.0f} %".replace("-", "−")


def bd_quality_cell(row: pd.Series) -> str:
    """A BD-quality with interval and overlap of the rates, or n/a and why."""
    shared = f"overlap {100 * row['rate_overlap']:.0f} %"
    if (why := row["quality_flag"]) != "ok":
        return f"n/a ({shared if why == 'low overlap' else why})"
    value, low, high = (row[f"bd_quality{end}"] for end in ("", "_low", "_high"))
    return f"{with_interval(value, low, high, digits=2)}, {shared}".replace("-", "−")


def equal_rate_pivot(
    equal: pd.DataFrame, metrics: Sequence[str], labels: Mapping[str, str], codec: str
) -> str:
    """Codecs of few points on one test set: a row for each point, and for each metric the quality
    of the codec, that of `codec` at its rate, how much more that is, and how much more rate `codec`
    needs for the same quality."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for _, row in equal[equal["metric"].isin(metrics)].iterrows():
        key = (row["anchor"], row["point"])
        spent = "" if row["codec_kbps"] == row["kbps"] else f" ({labels[codec]} {{:.2f}})"
        rate = f"{row['kbps']:.2f}" + spent.format(row["codec_kbps"])
        cells = rows.setdefault(key, {"against": labels[row["anchor"]], "kbps": rate})
        value, low, high = (row[f"difference{end}"] for end in ("", "_low", "_high"))
        more = with_interval(value, low, high, digits=2)
        theirs, ours = (number(row[f"{whose}_quality"], "{:.2f}") for whose in ("anchor", "codec"))
        cell = f"{theirs} → {ours}, {more}"
        value, low, high = (row[f"rate_difference{end}"] for end in ("", "_low", "_high"))
        if pd.notna(value):
            cell += f"; {with_interval(value, low, high, digits=0)} %"
        cells[METRICS[row["metric"]].label] = cell.replace("-", "−")
    return markdown(pd.DataFrame(list(rows.values())))


def change_cell(row: pd.Series) -> str:
    """Change of a curve in units of the metric: mean, least and most, and how many of its points
    have an interval in which it was not before."""
    if pd.isna(row["change"]):
        return "n/a"
    cell = "{:+.2f} ({:+.2f} to {:+.2f})".format(
        *(row[f"change{of}"] for of in ("", "_low", "_high"))
    )
    if row["compared"]:
        cell += f", outside at {row['outside']:.0f} of {row['compared']:.0f}"
    return cell.replace("-", "−")


def pair_pivot(
    pairs: pd.DataFrame,
    metrics: Sequence[str],
    labels: Mapping[str, str],
    sides: Sequence[str] = ("codec", "anchor"),
    cell: Callable[[pd.Series], str] = bd_rate_cell,
) -> str:
    """BD-rates of pairs, or what else `cell` says of them: a row for each pair and test set, a
    column for each metric; of the two codecs of a pair, those in `sides` are named."""
    names = [*({"codec": "codec", "anchor": "against"}[side] for side in sides), "test set"]
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for _, row in pairs[pairs["metric"].isin(metrics)].iterrows():
        key = (*(labels[row[side]] for side in sides), row["test_set"])
        cells = rows.setdefault(key, dict(zip(names, key, strict=True)))
        cells[METRICS[row["metric"]].label] = cell(row)
    return markdown(pd.DataFrame(list(rows.values())))


def pair_averages(pairs: pd.DataFrame, metrics: Sequence[str], labels: Mapping[str, str]) -> str:
    """Mean BD-rates of pairs over test sets: a row for each pair."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for codec in pairs["codec"].unique():
        of_codec = pairs[pairs["codec"] == codec]
        averages = average_table(of_codec, {name: [name] for name in of_codec["anchor"].unique()})
        for _, row in averages[averages["metric"].isin(metrics)].iterrows():
            key = (labels[codec], labels[row["group"]])
            cells = rows.setdefault(key, dict(zip(("codec", "against"), key, strict=True)))
            cells[METRICS[row["metric"]].label] = _average_cell(row)
    return markdown(pd.DataFrame(list(rows.values())))


def target_pivot(
    found: pd.DataFrame,
    targets: Sequence[AnyTarget],
    labels: Mapping[str, str],
) -> str:
    """What became of each target: a row for each of its metrics and test sets, as far as the scores
    tell."""
    told = found.dropna(subset=["found"])
    told = told.sort_values(["target", "metric"], kind="stable")
    rows = []
    for _, row in told.iterrows():
        target = targets[row["target"]]
        rows.append(_goal(target, row, labels) | _reached(target, row, labels))
    return markdown(pd.DataFrame(rows))


def _goal(target: AnyTarget, row: pd.Series, labels: Mapping[str, str]) -> dict[str, str]:
    if isinstance(target, RateTarget):
        what = f"rate against {labels.get(target.against, target.against)}"
        goal = f"{row['goal']:+g} %".replace("-", "−") if row["goal"] else "less"
    elif isinstance(target, QualityTarget):
        what, goal = f"quality at {_kbps(target.kbps)}", f"{row['goal']:g}"
    elif isinstance(target, GapTarget):
        what, goal = f"below the references at {_kbps(target.kbps)}", f"{row['goal']:g}"
    else:
        rivals = labels.get(target.ahead_of, f"all {target.ahead_of} codecs")
        what, goal = f"lead over {rivals}, below {_kbps(target.below_kbps)}", "ahead"
    metric = METRICS[row["metric"]].label
    about = {"codec": labels[row["codec"]], "what": what, "metric": metric}
    return about | {"test set": row["test_set"], "goal": goal}


def _reached(target: AnyTarget, row: pd.Series, labels: Mapping[str, str]) -> dict[str, str]:
    digits = METRICS[row["metric"]].digits
    if isinstance(target, RateTarget):
        form, unit = "{:+.1f} %", "{:.1f}"
    elif isinstance(target, QualityTarget | GapTarget):
        form = unit = f"{{:.{digits}f}}"
    else:
        form, unit = f"{{:+.{digits}f}}", f"{{:.{digits}f}}"
    cell = form.format(row["found"]).replace("-", "−")
    if isinstance(target, LeadTarget):
        codec, _, point = row["at"].partition(" ")
        cell += f" ({point})" if codec == target.ahead_of else f" ({labels[codec]} {point})"
    short = unit.format(row["missed_by"])
    missed = f"missed by {short}" if float(short) else "just missed"
    return {"found": cell, "": missed if row["missed_by"] else "met"}


def matched_pivot(matched: pd.DataFrame, metric: str, labels: Mapping[str, str]) -> str:
    """One metric of one test set: a row for each codec, a column for each rate."""
    rates = sorted(matched["kbps"].unique())
    rows = []
    for codec in matched.dropna(subset=[metric])["codec"].unique():
        of_codec = matched[matched["codec"] == codec].set_index("kbps")
        row = {"codec": labels.get(codec, codec)}
        for kbps in rates:
            found = of_codec.loc[kbps] if kbps in of_codec.index else {}
            value, low, high = (
                found.get(f"{metric}{end}", float("nan")) for end in ("", "_low", "_high")
            )
            row[_kbps(kbps)] = with_interval(value, low, high, digits=2)
        rows.append(row)
    return markdown(pd.DataFrame(rows))


def estimate_table(rd: pd.DataFrame, labels: Mapping[str, str]) -> str:
    """Real rate beside the estimate, for codecs that make one."""
    known = rd.dropna(subset=["kbps_estimated"])
    excess = 100 * (known["kbps"] / known["kbps_estimated"] - 1)
    return markdown(
        pd.DataFrame(
            {
                "test set": known["test_set"],
                "codec": known["codec"].map(labels),
                "point": known["point"],
                "real kbps": known["kbps"].map("{:.3f}".format),
                "estimated kbps": known["kbps_estimated"].map("{:.3f}".format),
                "real above estimated": excess.map("{:+.2f} %".format),
            }
        )
    )


def excess_table(rd: pd.DataFrame, labels: Mapping[str, str]) -> str:
    """How far the real rate lies above the estimate: a row for each codec that makes one and a
    column for each test set, from the least to the most of its points."""
    known = rd.dropna(subset=["kbps_estimated"])
    excess = 100 * (known["kbps"] / known["kbps_estimated"] - 1)
    rows = []
    for codec, of_codec in excess.groupby(known["codec"], sort=False):
        row = {"codec": labels[str(codec)]}
        for test_set, values in of_codec.groupby(known["test_set"], sort=False):
            cell = f"{values.min():+.2f} to {values.max():+.2f} %"
            row[f"`{test_set}`"] = cell.replace("-", "−")
        rows.append(row)
    return markdown(pd.DataFrame(rows))


def source_table(sources: Sequence[Mapping[str, Any]]) -> str:
    """The speech of the study, one row for each source that could be had."""
    rows = []
    for source in sources:
        if source["available"]:
            row = {key: source[key] for key in ("source", "version", "licence", "url")}
            for split in ("train", "valid", "test"):
                part = source["splits"].get(split)
                row[split] = f"{part['hours']:.2f} h, {part['speakers']} sp." if part else "–"
            rows.append(row)
    return markdown(pd.DataFrame(rows))


def with_interval(value: float, low: float, high: float, digits: int) -> str:
    """ "1.23 [1.10, 1.31]"; the interval is left out, or all a dash, where it is NaN."""
    form = f"{{:.{digits}f}}"
    if pd.isna(low) or pd.isna(high):
        return number(value, form)
    return f"{number(value, form)} [{form.format(low)}, {form.format(high)}]"


def _kbps(rate: float) -> str:
    return f"{rate:g} kbps"


def _of(table: pd.DataFrame, test_set: object) -> pd.DataFrame:
    return table[table["test_set"] == test_set]


def _first_set(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first test set of a table."""
    return table[table["test set"] == table["test set"].iloc[0]] if len(table) else table


def _yaml(parameters: Mapping[str, Any]) -> str:
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 1000  # a list or mapping stays on its line
    text = io.StringIO()
    yaml.dump(dict(parameters), text)
    return text.getvalue().rstrip()
