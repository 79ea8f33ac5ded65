"""Figures of the report. They show numbers of the tables and compute none."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from ecc.evaluate.metrics import METRICS
from ecc.files import atomic_path
from ecc.report.scaling import FACTORS, LOSS, SIZES
from ecc.report.styles import codec_styles, known_as

TRAINING_METRICS = ("distortion", "kbps")
HIGHEST_KBPS = 17.0
"""Figures of quality over rate end here; what lies above is in the tables."""
WIDTH = 12.3
"""Inches, of a figure of quality over rate: its legend needs them, however few the panels are."""
LEGEND_COLUMNS = 6
LEGEND_GROUPS = (  # heading, kind, rate
    ("this study", "own", "measured"),
    ("neural", "neural", "measured"),
    ("conventional", "conventional", "measured"),
    ("published decodes, nominal rate", "", "nominal"),
)
LEVEL = "level"
"""Of lines that are at no rate."""
DPI = 100


class Styles:
    """How each codec looks, the same in all figures.

    kinds and labels: of each codec of the whole catalogue, as for `ecc.report.styles.codec_styles`,
    which gives the colours. codecs: what `ecc.report.rd.read_codecs` says of those that take part.
    Controls are not drawn.

    `emphasised` is thick and in front, other codecs of this study next, conventional ones behind. A
    nominal rate is hollow and dotted.
    """

    def __init__(
        self,
        kinds: Mapping[str, str],
        labels: Mapping[str, str],
        codecs: pd.DataFrame,
        emphasised: str,
    ) -> None:
        self.emphasised, self.kinds = emphasised, kinds
        codecs = codecs[codecs["codec"].map(kinds) != "control"]
        self.rates = dict(zip(codecs["codec"], codecs["rate"], strict=True))
        # Hollow markers say that a rate is nominal; words are for the tables.
        self.labels = {
            codec: known_as(label) if self.rates[codec] == "nominal" else label
            for codec, label in zip(codecs["codec"], codecs["label"], strict=True)
        }
        styles = codec_styles(kinds, labels, emphasised)
        self.colours = {codec: style.colour for codec, style in styles.items()}
        self.markers = {codec: style.marker for codec, style in styles.items()}

    def draw(self, axes: Axes, codec: str, x: pd.Series, y: pd.Series) -> None:
        """A line with markers through the points, labelled with the codec's label."""
        strong, own = codec == self.emphasised, self.kinds[codec] == "own"
        hollow = self.rates[codec] == "nominal"
        axes.plot(
            x,
            y,
            label=self.labels[codec],
            gid=codec,
            color=self.colours[codec],
            marker=self.markers[codec],
            linewidth=2.6 if strong else 1.8 if own else 1.1,
            markersize=7 if strong else 6,
            linestyle=":" if hollow else "-",
            markerfacecolor="white" if hollow else self.colours[codec],
            markeredgecolor=self.colours[codec] if hollow else "white",
            markeredgewidth=1.2 if hollow else 0.5,
            zorder=5 if strong else 4 if own else 2 if self.kinds[codec] == "conventional" else 3,
        )


def rd_curves(rd: pd.DataFrame, metrics: Sequence[str], styles: Styles) -> Figure:
    """Each metric over the rate for the points of one test set, up to `HIGHEST_KBPS`.

    The codec under study has its 95 % intervals as a band. A horizontal line is what has no rate: a
    ceiling, and the mean of the references where the metric scores them. All names are in the
    legend, where they cover nothing.
    """
    figure, panels = _panels(len(metrics), size=(WIDTH / min(len(metrics), 3), 4.1))
    shown = rd[rd["kbps"] <= HIGHEST_KBPS].sort_values("kbps", kind="stable")
    for axes, metric in zip(panels, metrics, strict=True):
        for codec in styles.labels:
            points = shown[shown["codec"] == codec].dropna(subset=[metric])
            if points.empty:
                continue
            styles.draw(axes, codec, points["kbps"], points[metric])
            if codec == styles.emphasised:
                ends = (points[f"{metric}_low"], points[f"{metric}_high"])
                colour = styles.colours[codec]
                axes.fill_between(points["kbps"], *ends, color=colour, alpha=0.15, linewidth=0)
        axes.set_title(METRICS[metric].label)
        _rate_axis(axes, shown["kbps"])
        if shown["codec"].map(styles.rates).eq("nominal").any():
            axes.set_xlabel("rate (kbps; hollow: nominal)")
        level: dict[str, Any] = {"color": "0.45", "linewidth": 1, "zorder": 1}
        for _, ceiling in rd[rd["codec"].map(styles.rates) == "none"].iterrows():
            name = styles.labels[ceiling["codec"]]
            axes.axhline(ceiling[metric], linestyle="-.", gid=LEVEL, label=name, **level)
        for value in rd.get(f"{metric}_reference", pd.Series(dtype=float)).dropna()[:1]:
            axes.axhline(value, linestyle="--", gid=LEVEL, label="the references", **level)
    _legend_below(figure, panels, styles)
    return figure


def ablations(table: pd.DataFrame, metrics: Sequence[str]) -> Figure:
    """BD-rate of each ablation, by its label, with its 95 % interval, a panel for each metric and a
    colour for each test set; of several seeds each has a dot."""
    names, test_sets = (list(table[key].unique()) for key in ("label", "test_set"))
    height = 1.2 + 0.1 * len(names) * (1 + len(test_sets))
    figure, panels = _panels(len(metrics), size=(4.1, height), sharey=True)
    colours = sns.color_palette("Dark2", len(test_sets))
    for axes, metric in zip(panels, metrics, strict=True):
        for number, (test_set, colour) in enumerate(zip(test_sets, colours, strict=True)):
            rows = table[(table["metric"] == metric) & (table["test_set"] == test_set)]
            rows = rows[rows["flag"] == "ok"]
            lift = 0.7 * ((number + 0.5) / len(test_sets) - 0.5)
            place = rows["label"].map(names.index) + lift
            ends = rows[["bd_rate_low", "bd_rate_high"]].to_numpy().T
            axes.plot(rows["bd_rate"], place, "o", color=colour, markersize=5, label=test_set)
            axes.hlines(place, *ends, color=colour, linewidth=1.2)
        axes.axvline(0, color="0.4", linewidth=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.set_title(METRICS[metric].label)
        axes.set_xlabel("rate against the full model (%)")
    panels[0].invert_yaxis()
    _legend(figure, panels)
    return figure


def scaling(table: pd.DataFrame, fits: pd.DataFrame) -> Figure:
    """What `ecc.report.scaling` says: a panel for the loss and for each metric on the first test
    set, a colour for each size; models with their 95 % intervals, and the power law through them,
    dotted beyond the largest."""
    first = table.loc[table["metric"] != LOSS, "test_set"].head(1)
    table, fits = (rows[rows["test_set"].isin(["", *first])] for rows in (table, fits))
    names = table["metric"].unique()
    figure, panels = _panels(len(names), size=(4.1, 3.6))
    colours = dict(zip(SIZES, sns.color_palette("Dark2", len(SIZES)), strict=True))
    for axes, metric in zip(panels, names, strict=True):
        for fitted in fits[fits["metric"] == metric].to_dict("records"):
            size, slope = fitted["size"], fitted["slope"]
            rows = table[(table["metric"] == metric) & (table["size"] == size)]
            smallest, largest = (find(1.0, *rows["factor"]) for find in (min, max))
            for span, line in (((smallest, largest), "-"), ((largest, max(FACTORS)), ":")):
                x = np.geomspace(*span)
                axes.plot(x, 100 * (x**slope - 1), line, color=colours[size], linewidth=1.2)
            ends = rows["low"], rows["high"]
            axes.plot(rows["factor"], rows["change"], "o", color=colours[size], label=SIZES[size])
            axes.vlines(rows["factor"], *ends, color=colours[size], linewidth=1.2)
        axes.plot(1, 0, "o", color="0.4", label="the full model")
        axes.set_xscale("log")
        axes.set_xlabel("times the full model's")
        title = "loss" if metric == LOSS else f"rate at equal {METRICS[metric].label}"
        axes.set_title(f"{title} (%)")
    _legend(figure, panels)
    return figure


def rate_overhead(rd: pd.DataFrame, styles: Styles) -> Figure:
    """How far the real rate lies above the model's estimate, a panel for each test set."""
    known = rd.dropna(subset=["kbps", "kbps_estimated"])
    test_sets = list(dict.fromkeys(known["test_set"]))
    figure, panels = _panels(len(test_sets), columns=5, size=(2.5, 2.6), sharey=True)
    for axes, test_set in zip(panels, test_sets, strict=True):
        of_set = known[known["test_set"] == test_set]
        for codec in styles.labels:
            points = of_set[of_set["codec"] == codec].sort_values("kbps", kind="stable")
            if len(points):
                excess = 100 * (points["kbps"] / points["kbps_estimated"] - 1)
                styles.draw(axes, codec, points["kbps"], excess)
        axes.axhline(0, color="0.4", linewidth=0.8)
        axes.set_title(test_set, fontsize=10)
        _rate_axis(axes, known["kbps"])
        axes.set_xlabel("real rate (kbps)", fontsize=9)
    figure.supylabel("real rate above estimate (%)", fontsize=10)
    _legend_below(figure, panels, styles)
    return figure


def training_curves(folder: Path, models: Sequence[str]) -> Figure | None:
    """`TRAINING_METRICS` on validation speech for each λ of each of the `models` below `folder`,
    as DVCLive logged them; None if nothing.

    Reads `<folder>/<model>/plots/metrics/valid/<λ>/<metric>.tsv`: columns step and the metric.
    """
    runs = [
        run
        for model in models
        for run in sorted(
            {path.parent for path in folder.glob(f"{model}/plots/metrics/valid/*/*.tsv")},
            key=lambda run: float(run.name),
        )
    ]
    if not runs:
        return None
    figure, panels = _panels(len(TRAINING_METRICS))
    for axes, metric in zip(panels, TRAINING_METRICS, strict=True):
        for run, colour in zip(runs, sns.color_palette("viridis", len(runs)), strict=True):
            table = pd.read_csv(run / f"{metric}.tsv", sep="\t")
            label = f"{run.relative_to(folder).parts[0]}, λ = {run.name}"
            axes.plot(table["step"], table[metric], color=colour, label=label)
        axes.set_title(metric)
        axes.set_xlabel("step")
    _legend(figure, panels)
    return figure


def bit_shares(parts: pd.DataFrame) -> Figure:
    """The share of z and of each slice in the bits of every point, a panel for each test set."""
    test_sets = list(dict.fromkeys(parts["test_set"]))
    colours = _part_colours(list(parts["part"].unique()))
    figure, panels = _panels(len(test_sets), columns=5, size=(2.5, 2.6), sharey=True)
    for axes, test_set in zip(panels, test_sets, strict=True):
        table = parts[parts["test_set"] == test_set]
        kbps = table.pivot(index="point", columns="part", values="kbps")
        kbps = kbps.loc[table["point"].unique()]
        total, below = kbps.sum(axis=1), 0.0
        for part, colour in colours.items():
            if part in kbps:
                share = 100 * kbps[part] / total
                axes.bar(range(len(kbps)), share, bottom=below, label=part, color=colour)
                below = below + share
        names = [f"{value:.2g}" for value in total]
        axes.set_xticks(range(len(kbps)), names, rotation=90, fontsize=8)
        axes.grid(visible=False)
        axes.set_title(test_set, fontsize=10)
        axes.set_xlabel("rate of the symbols (kbps)", fontsize=9)
    figure.supylabel("share of the bits (%)", fontsize=10)
    _legend(figure, panels, below=True)
    return figure


def skip_sweep(skip: pd.DataFrame) -> Figure:
    """Rate and squared error of the latent over the skip threshold, against no skip: a colour for
    each point, a line for each test set."""
    figure, panels = _panels(2)
    points = list(dict.fromkeys(skip["point"]))
    colours = dict(zip(points, sns.color_palette("Dark2", len(points)), strict=True))
    columns = {"kbps": "rate", "mse": "squared error of ŷ"}
    for axes, (column, title) in zip(panels, columns.items(), strict=True):
        for (test_set, point), rows in skip.groupby(["test_set", "point"], sort=False):
            change = 100 * (rows[column] / rows[column].iloc[0] - 1)
            style: dict[str, Any] = {"color": colours[point], "linewidth": 1.1, "markersize": 3}
            axes.plot(rows["threshold"], change, "o-", label=point, gid=test_set, **style)
        axes.axhline(0, color="0.4", linewidth=0.8)
        axes.set_title(title)
        axes.set_xticks(rows["threshold"][::2])
        axes.set_xlabel("threshold of entropy skip")
    panels[0].set_ylabel("change (%)")
    _legend(figure, panels)
    return figure


def codebook_bits(codebooks: pd.DataFrame, point: str) -> Figure:
    """Bits of a token of each stage at one point, a panel for each test set."""
    rows = codebooks[codebooks["point"] == point]
    test_sets = list(dict.fromkeys(rows["test_set"]))
    figure, panels = _panels(len(test_sets), sharey=True)
    for axes, test_set in zip(panels, test_sets, strict=True):
        stages = rows[rows["test_set"] == test_set]
        axes.plot(stages["stage"], np.log2(stages["entries"]), color="0.6", label="as sent")
        axes.plot(stages["stage"], stages["entropy"], marker="x", label="entropy, one table")
        axes.plot(stages["stage"], stages["spent"], marker="o", label="by the model of the tokens")
        axes.set_title(test_set)
        axes.set_xlabel("stage")
    panels[0].set_ylabel("bits of a token")
    _legend(figure, panels)
    return figure


def channel_bits(channels: pd.DataFrame) -> Figure:
    """Bits that each channel of z and y takes, beside the entropies of its symbols; of one point
    on one test set. The channels of each part are sorted."""
    figure, (axes,) = _panels(1, size=(10.0, 3.9))
    lines = {"entropy_y": ("y, one table", "_"), "entropy": ("symbols, one table", "x")}
    colours, at = _part_colours(list(channels["part"].unique())), 0
    for part, rows in channels.groupby("part", sort=False):
        rows = rows.sort_values("spent", ascending=False, kind="stable")
        place = range(at, at + len(rows))
        axes.bar(place, rows["spent"], width=1.0, label=f"spent, {part}", color=colours[str(part)])
        for column, (label, marker) in lines.items():
            axes.plot(place, rows[column], marker, color="0.15", markersize=4, label=label)
        at += len(rows) + 1
    axes.set_xticks([])
    axes.set_xlabel("channel")
    axes.set_ylabel("bits per symbol")
    _legend(figure, [axes])
    return figure


def timeline(table: pd.DataFrame) -> Figure:
    """The spectrogram of an utterance and, below it, the bits of each latent frame by part."""
    names = [str(name) for name in table.columns]
    parts = [name for name in names if name == "z" or name.startswith("slice")]
    hertz = [name for name in names if name != "seconds" and name not in parts]
    seconds = table["seconds"]
    figure, (above, below) = _panels(2, size=(10.0, 2.9), columns=1, sharex=True)
    end = seconds.iloc[-1] + (seconds.iloc[1] if len(seconds) > 1 else 0)
    above.imshow(
        table[hertz].to_numpy().T,
        origin="lower",
        aspect="auto",
        extent=(0, end, 0, float(hertz[-1]) / 1000),
        cmap="magma",
    )
    above.grid(visible=False)
    above.set_ylabel("frequency (kHz)")
    colours = _part_colours(parts)
    below.stackplot(
        seconds,
        *(table[part] for part in parts),
        labels=parts,
        colors=[colours[part] for part in parts],
        step="post",
        linewidth=0,
    )
    below.set_ylabel("bits in a latent frame")
    below.set_xlabel("time (s)")
    _legend(figure, [below])
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write `figure` as PNG; equal figures give equal bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI, format="png")
    # A palette makes the file three times smaller, and saving anew drops matplotlib's version,
    # which would change the bytes for nothing. The colours of the lines are in it as they are, or a
    # codec would look otherwise in another figure.
    image = Image.open(drawn).convert("RGB")
    lines = {to_rgb(line.get_color()) for axes in figure.axes for line in axes.lines}
    exact = np.array(sorted(lines)).reshape(-1, 3) * 255
    exact = exact.round().astype(np.uint8)
    mixed = image.quantize(256 - len(exact), dither=Image.Dither.NONE)
    entries = np.array(mixed) + len(exact)
    for entry, colour in enumerate(exact):
        entries[(np.asarray(image) == colour).all(axis=-1)] = entry
    image = Image.fromarray(entries, "P")
    image.putpalette([*exact.ravel().tolist(), *(mixed.getpalette() or [])])
    with atomic_path(path) as temporary:
        image.save(temporary, optimize=True)


def _panels(
    count: int,
    columns: int = 3,
    size: tuple[float, float] = (4.1, 3.9),
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, list[Axes]]:
    """`count` panels of `size` inches, at most `columns` side by side."""
    columns = min(count, columns)
    rows = -(-count // columns)
    with mpl.rc_context({**sns.axes_style("whitegrid"), **sns.plotting_context("notebook", 0.9)}):
        # Not pyplot: its figures live in a global register until they are closed.
        figure = Figure((size[0] * columns, size[1] * rows), DPI, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
        panels = list(grid.flat)
    for spare in panels[count:]:
        spare.remove()
    return figure, panels[:count]


def _part_colours(parts: Sequence[str]) -> dict[str, Any]:
    """Grey for z, and a palette from dark to light for the slices, in order."""
    slices = [part for part in parts if part != "z"]
    return {"z": "0.6", **dict(zip(slices, sns.color_palette("viridis", len(slices)), strict=True))}


def _rate_axis(axes: Axes, kbps: pd.Series) -> None:
    low, high = 0.85 * kbps.min(), 1.18 * kbps.max()
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if high / low > 10 else (1, 1.5, 2, 3, 4, 5, 6, 8))
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("rate of the real streams (kbps)")


def _legend(figure: Figure, panels: Sequence[Axes], below: bool = False) -> None:
    """A legend of what the panels draw, right of them or below them in one row."""
    entries = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    drawn = {"handles": list(entries.values()), "labels": list(entries), "frameon": False}
    if below:
        columns = min(len(entries), LEGEND_COLUMNS)
        figure.legend(loc="outside lower center", ncols=columns, **drawn)
    else:
        figure.legend(loc="outside right center", **drawn)


def _legend_below(figure: Figure, panels: Sequence[Axes], styles: Styles) -> None:
    """A legend below the panels: a group of columns with a heading for each kind of codec, one for
    those of nominal rate, and one for what has no rate; in as few rows as the figure is wide
    enough for."""
    drawn = {line.get_gid(): line for axes in panels for line in axes.get_lines()}
    groups: list[tuple[str, dict[str, Line2D]]] = []
    for heading, kind, rate in LEGEND_GROUPS:
        of_group = {
            codec: drawn[codec]
            for codec in styles.labels
            if codec in drawn
            and (styles.rates[codec] == "nominal") == (rate == "nominal")
            and (rate == "nominal" or styles.kinds[codec] == kind)
        }
        groups.append((heading, of_group))
    lines = [line for axes in panels for line in axes.get_lines() if line.get_gid() == LEVEL]
    groups.append(("without a rate", {str(line.get_label()): line for line in lines}))
    groups = [group for group in groups if group[1]]
    if not groups:
        return
    renderer = FigureCanvasAgg(figure).get_renderer()
    for rows in range(2, 2 + max(len(lines) for _, lines in groups)):
        legend = _legend_of(figure, groups, rows)
        fits = legend.get_window_extent(renderer).width <= figure.bbox.width
        if fits and sum(-(-(1 + len(lines)) // rows) for _, lines in groups) <= LEGEND_COLUMNS:
            break
        legend.remove()
    else:
        legend = _legend_of(figure, groups, rows)
    figure.set_figheight(figure.get_figheight() + 0.19 * rows)


def _legend_of(
    figure: Figure, groups: Sequence[tuple[str, dict[str, Line2D]]], rows: int
) -> Legend:
    blank = Line2D([], [], alpha=0)
    handles: list[Line2D] = []
    names: list[str] = []
    headings: list[int] = []
    for heading, lines in groups:
        headings.append(len(names))
        handles += [blank, *lines.values()]
        names += [heading, *(str(line.get_label()) for line in lines.values())]
        spare = -len(names) % rows
        handles += [blank] * spare
        names += [""] * spare
    legend = figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=len(names) // rows,
        frameon=False,
        fontsize=9,
    )
    for number in headings:
        legend.get_texts()[number].set_fontweight("bold")
    return legend
