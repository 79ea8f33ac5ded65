"""Figures of the report. They show numbers of the tables and compute none."""

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from ecc.files import atomic_path

METRIC_LABELS = {
    "pesq_wb": "PESQ-WB",
    "visqol": "ViSQOL",
    "estoi": "ESTOI",
    "dnsmos": "DNSMOS",
    "log_mel_distance": "log-mel distance, dB ↓",
}
"""What tables and figures call a metric; an arrow says that less is better."""
TRAINING_METRICS = ("distortion", "kbps")
DPI = 100


class Styles:
    """Colour and marker of each codec, the same in all figures.

    They follow from the place of a codec in `codecs` (the whole catalogue), so that leaving one
    out of a study does not recolour the others. `emphasised` is drawn thick and in front; those
    of `nominal` rate have hollow markers and dotted lines.
    """

    def __init__(
        self,
        codecs: Sequence[str],
        labels: Mapping[str, str],
        emphasised: str,
        nominal: Collection[str] = (),
    ) -> None:
        others = [codec for codec in codecs if codec != emphasised]
        colours = [c for i, c in enumerate(sns.color_palette("tab10")) if i != 3]  # red is taken
        shapes = "sD^vph<>d*XP"
        self.emphasised, self.nominal = emphasised, nominal
        self.labels = {codec: labels.get(codec, codec) for codec in codecs}
        self.colours = {c: colours[i % len(colours)] for i, c in enumerate(others)}
        self.markers = {c: shapes[i % len(shapes)] for i, c in enumerate(others)}
        self.colours[emphasised], self.markers[emphasised] = (0.75, 0.05, 0.1), "o"

    def draw(self, axes: Axes, codec: str, x: pd.Series, y: pd.Series) -> None:
        """A line with markers through the points, labelled with the codec's label."""
        strong, hollow = codec == self.emphasised, codec in self.nominal
        axes.plot(
            x,
            y,
            label=self.labels[codec],
            color=self.colours[codec],
            marker=self.markers[codec],
            linewidth=2.6 if strong else 1.2,
            markersize=8 if strong else 6,
            linestyle=":" if hollow else "-",
            markerfacecolor="white" if hollow else self.colours[codec],
            markeredgecolor=self.colours[codec] if hollow else "white",
            markeredgewidth=1.2 if hollow else 0.6,
            zorder=4 if strong else 3,
        )


def rd_curves(rd: pd.DataFrame, metrics: Sequence[str], styles: Styles) -> Figure:
    """Each metric over the rate for the points of one test set, with 95 % intervals as bands.

    A metric that also scores the references has their mean as a dashed line.
    """
    figure, panels = _panels(len(metrics))
    for axes, metric in zip(panels, metrics, strict=True):
        for codec in styles.labels:
            points = rd[rd["codec"] == codec].dropna(subset=["kbps", metric]).sort_values("kbps")
            if points.empty:
                continue
            styles.draw(axes, codec, points["kbps"], points[metric])
            ends = (points[f"{metric}_low"], points[f"{metric}_high"])
            colour = styles.colours[codec]
            if len(points) > 1:
                axes.fill_between(points["kbps"], *ends, color=colour, alpha=0.13, linewidth=0)
            else:
                axes.vlines(points["kbps"], *ends, color=colour, alpha=0.5)
        axes.set_title(METRIC_LABELS.get(metric, metric))
        reference = rd.get(f"{metric}_reference", pd.Series(dtype=float)).dropna()
        if len(reference):
            axes.axhline(reference.iloc[0], color="0.4", linestyle="--", linewidth=1)
            axes.set_title(f"{METRIC_LABELS.get(metric, metric)} (dashed: the references)")
        _rate_axis(axes, rd["kbps"])
        if rd["codec"].isin(list(styles.nominal)).any():
            axes.set_xlabel("rate (kbps; hollow: nominal)")
    _legend(figure, panels)
    return figure


def rate_overhead(rd: pd.DataFrame, styles: Styles) -> Figure:
    """How far the real rate lies above the model's estimate, a panel for each test set."""
    known = rd.dropna(subset=["kbps", "kbps_estimated"])
    test_sets = list(dict.fromkeys(known["test_set"]))
    figure, panels = _panels(len(test_sets), sharey=True)
    for axes, test_set in zip(panels, test_sets, strict=True):
        of_set = known[known["test_set"] == test_set]
        for codec in styles.labels:
            points = of_set[of_set["codec"] == codec].sort_values("kbps")
            if len(points):
                excess = 100 * (points["kbps"] / points["kbps_estimated"] - 1)
                styles.draw(axes, codec, points["kbps"], excess)
        axes.axhline(0, color="0.4", linewidth=0.8)
        axes.set_title(test_set)
        _rate_axis(axes, known["kbps"])
    panels[0].set_ylabel("real rate above estimate (%)")
    _legend(figure, panels)
    return figure


def training_curves(folder: Path) -> Figure | None:
    """`TRAINING_METRICS` on validation speech for each λ of each model below `folder`, as DVCLive
    logged them; None if nothing.

    Reads `<folder>/<model>/plots/metrics/valid/<λ>/<metric>.tsv`: columns step and the metric.
    """
    runs = sorted(
        {path.parent for path in folder.glob("*/plots/metrics/valid/*/*.tsv")},
        key=lambda run: (run.relative_to(folder).parts[0], float(run.name)),
    )
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
    figure, panels = _panels(len(test_sets), sharey=True)
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
        axes.set_xticks(range(len(kbps)), [f"{value:.2g}" for value in total])
        axes.grid(visible=False)
        axes.set_title(test_set)
        axes.set_xlabel("rate of the symbols (kbps)")
    panels[0].set_ylabel("share of the bits (%)")
    _legend(figure, panels)
    return figure


def skip_sweep(skip: pd.DataFrame) -> Figure:
    """Rate and squared error of the latent over the skip threshold, against no skip."""
    figure, panels = _panels(2)
    columns = {"kbps": "rate", "mse": "squared error of ŷ"}
    for axes, (column, title) in zip(panels, columns.items(), strict=True):
        for (test_set, point), rows in skip.groupby(["test_set", "point"], sort=False):
            change = 100 * (rows[column] / rows[column].iloc[0] - 1)
            axes.plot(rows["threshold"], change, marker="o", label=f"{point} on {test_set}")
        axes.axhline(0, color="0.4", linewidth=0.8)
        axes.set_title(title)
        axes.set_xticks(rows["threshold"][::2])
        axes.set_xlabel("threshold of entropy skip")
    panels[0].set_ylabel("change (%)")
    _legend(figure, panels)
    return figure


def channel_bits(channels: pd.DataFrame) -> Figure:
    """Bits that each channel of z and y takes, beside the entropies of its symbols; of one point
    on one test set. The channels of each part are sorted."""
    figure, (axes,) = _panels(1, size=(10.0, 3.9))
    lines = {"entropy_y": ("y, one table", "_"), "entropy": ("symbols, one table", "x")}
    colours, at = _part_colours(list(channels["part"].unique())), 0
    for part, rows in channels.groupby("part", sort=False):
        rows = rows.sort_values("spent", ascending=False)
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
    # which would change the bytes for nothing.
    image = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
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
        figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
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


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    entries = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(entries.values(), entries.keys(), loc="outside right center", frameon=False)
