"""The colour and the marker of each codec, the same in all figures and on all pages."""

from collections.abc import Mapping
from typing import NamedTuple

EMPHASISED = "#bf0d1a"
PALETTES = {
    "own": ("#1a1a1a", "#808080", "#0d3399", "#598cd9", "#1aa6b3"),
    # Bright, and told apart by the colour-blind: Okabe and Ito, "Color universal design", 2008, and
    # the muted ones of Tol, "Colour schemes", 2021.
    "neural": (
        *("#009e73", "#d55e00", "#7570b3", "#cc79a7", "#999933", "#e69f00"),
        *("#882255", "#117733", "#332288"),
    ),
    "conventional": (
        *("#6b9ec4", "#f2a766", "#7ab97a", "#d98484", "#b39bcb", "#ab8a82"),
        *("#deabce", "#a0a0a0", "#c0c165", "#6fc2cb"),
    ),
}
OTHER = "#737373"
MARKERS = "sD^vph<>d*XP"
FIRST_MARKER = {"own": 0, "neural": 9, "conventional": 0}
"""Where in `MARKERS` those of a kind begin: so that codecs of one marker differ most in colour."""


class Style(NamedTuple):
    """How a codec is drawn."""

    colour: str
    """#rrggbb"""
    marker: str
    """As matplotlib names it."""


def codec_styles(
    kinds: Mapping[str, str], labels: Mapping[str, str], emphasised: str
) -> dict[str, Style]:
    """The style of each codec of the whole catalogue: `emphasised` is red and round, the others of
    this study are dark, neural ones bright, conventional ones pale.

    A codec is known by its label without brackets, so that "Opus" and "Opus (published)" look the
    same. Colours follow from the place in the catalogue, and leaving a codec out of a study
    recolours no other.

    Args:
        kinds: of each codec of the catalogue, as in `ecc.params.Params.kinds`.
        labels: of each codec of the catalogue.
        emphasised: the codec under study.
    """
    found = {labels[emphasised]: Style(EMPHASISED, "o")}
    counts = dict.fromkeys(PALETTES, 0)
    styles = {}
    for codec, kind in kinds.items():
        name = labels[codec] if codec == emphasised else known_as(labels[codec])
        if kind not in PALETTES:
            styles[codec] = found.get(name, Style(OTHER, "x"))
            continue
        if name not in found:
            number, palette = counts[kind], PALETTES[kind]
            counts[kind] += 1
            marker = MARKERS[(FIRST_MARKER[kind] + number) % len(MARKERS)]
            found[name] = Style(palette[number % len(palette)], marker)
        styles[codec] = found[name]
    return styles


def known_as(label: str) -> str:
    """The name of a codec without what its label says of where it comes from: "Opus (published),
    nominal rate" is Opus."""
    return label.partition(" (")[0]
