import math

import numpy as np
import pandas as pd
import pytest

from ecc.report import figures
from ecc.report.ablations import Ablations
from ecc.report.scaling import LOSS, fit, scaling

METRICS = ["pesq_wb", "visqol"]
FULL = {"codec": "full", "label": "Full", "steps": 1000, "hidden": 64, "hours": 8.0, "loss": 2.0}


def study(*others, slope=-0.1):
    """Of a full model and others whose rate and loss follow a power law of their sizes."""
    codecs = pd.DataFrame([FULL, *({**FULL, **other} for other in others)])
    rows = []
    for model in codecs.iloc[1:].to_dict("records"):
        factor = math.prod((model[size] or 1) / FULL[size] for size in ("steps", "hidden", "hours"))
        change = 100 * (factor**slope - 1)
        rows += [
            {
                "codec": model["codec"],
                "anchor": "full",
                "metric": metric,
                "test_set": test_set,
                "bd_rate": change,
                "bd_rate_low": change - 1,
                "bd_rate_high": change + 1,
                "flag": "ok",
            }
            for metric in METRICS
            for test_set in ("valid", "languages")
        ]
    return Ablations("full", codecs.iloc[0], codecs, 1, pd.DataFrame(rows), pd.DataFrame())


HALF = {"codec": "half", "label": "Half", "steps": 500, "loss": 2.0 * 2**0.1}
TWICE = {"codec": "twice", "label": "Twice", "steps": 2000, "loss": 2.0 * 2**-0.1}
NARROW = {"codec": "narrow", "label": "Narrow", "hidden": 16, "loss": 2.2}


def test_models_of_another_size_are_told_by_how_many_times_the_full_ones():
    table = scaling(study(HALF, TWICE, NARROW), METRICS)
    assert list(table["metric"].unique()) == [LOSS, *METRICS]
    of_loss = table[table["metric"] == LOSS].set_index("label")
    assert of_loss["factor"].to_dict() == {"Half": 0.5, "Twice": 2.0, "Narrow": 0.25}
    assert of_loss["size"].to_dict() == {"Half": "steps", "Twice": "steps", "Narrow": "hidden"}
    assert of_loss.loc["Narrow", "change"] == pytest.approx(10)
    rate = table[(table["metric"] == "visqol") & (table["test_set"] == "valid")].set_index("label")
    assert rate.loc["Half", "change"] == pytest.approx(100 * (2**0.1 - 1))
    assert (rate["high"] - rate["low"]).to_numpy() == pytest.approx(np.full(3, 2.0))


def test_what_differs_in_no_size_or_in_two_is_no_part_of_it():
    both = {"codec": "both", "label": "Both", "steps": 500, "hidden": 32}
    seed = {"codec": "seed", "label": "Seed"}
    untrained = {"codec": "skip", "label": "Skip", "steps": 0, "hidden": 0, "hours": 0.0}
    assert scaling(study(both, seed, untrained), METRICS).empty
    assert fit(scaling(study(both, seed, untrained), METRICS)).empty


def test_tables_of_before_sizes_were_noted_have_none():
    old = study(HALF)
    codecs = old.codecs.drop(columns=["hidden", "hours", "loss"])
    before = Ablations("full", codecs.iloc[0], codecs, 1, old.bd_rate, old.rd)
    assert scaling(before, METRICS).empty


def test_points_that_could_not_be_compared_are_left_out():
    found = study(HALF, TWICE)
    found.bd_rate.loc[found.bd_rate["codec"] == "half", "flag"] = "little overlap"
    table = scaling(found, METRICS)
    assert set(table.loc[table["metric"] == "pesq_wb", "label"]) == {"Twice"}


def test_the_law_goes_through_the_full_model_and_says_what_more_would_bring():
    fits = fit(scaling(study(HALF, TWICE), METRICS))
    assert len(fits) == 1 + 2 * 2 and set(fits["size"]) == {"steps"}
    assert fits["slope"].to_numpy() == pytest.approx(np.full(5, -0.1))
    assert fits[10].to_numpy() == pytest.approx(np.full(5, 100 * (10**-0.1 - 1)))
    assert fits[100].to_numpy() == pytest.approx(np.full(5, 100 * (100**-0.1 - 1)))
    assert list(fits["models"].unique()) == [2]


def test_the_figure_has_models_and_a_law_to_a_hundred_times():
    table = scaling(study(HALF, TWICE, NARROW), METRICS)
    figure = figures.scaling(table, fit(table))
    assert [axes.get_title() for axes in figure.axes] == [
        "loss (%)",
        "rate at equal PESQ-WB (%)",
        "rate at equal ViSQOL (%)",
    ]
    for axes in figure.axes:
        lines = axes.get_lines()
        dots = {line.get_label(): list(line.get_xdata()) for line in lines}
        assert dots["steps"] == [0.5, 2.0] and dots["width of the hidden layers"] == [0.25]
        assert dots["the full model"] == [1]
        assert max(max(line.get_xdata()) for line in lines) == pytest.approx(100)
