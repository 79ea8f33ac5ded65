import os
from pathlib import Path

import numpy as np
import pytest
from visqol import VisqolApi

from ecc import audio
from ecc.evaluate.config import ScoreConfig
from ecc.evaluate.metrics import (
    METRICS,
    dnsmos,
    dnsmos_ovrl,
    estoi,
    log_mel_distance,
    missing_package,
    pesq_wb,
    stoi,
    visqol,
)

# Noises are no words: what hears words has tests of its own.
INSTALLED = [
    metric
    for name, metric in METRICS.items()
    if not missing_package(name) and "jiwer" not in metric.packages
]


def test_the_best_and_something_worse(voice):
    samples = voice(4)
    worse = samples + 0.02 * np.random.default_rng(0).standard_normal(64000).astype(np.float32)
    assert pesq_wb(samples, samples) == pytest.approx(4.64, abs=0.01)
    assert estoi(samples, samples) == pytest.approx(1, abs=1e-6)
    assert stoi(samples, samples) == pytest.approx(1, abs=1e-6)
    assert estoi(samples, worse) < stoi(samples, worse)
    # Of identical speech the lattice says 4.5 and more, by the speech; without it 5.0.
    assert 4.3 < visqol(samples, samples) < 4.9
    assert log_mel_distance(samples, samples) == 0
    for metric in INSTALLED:
        gain = metric.function(samples, samples) - metric.function(samples, worse)
        assert (-gain if metric.lower_is_better else gain) > (
            0.02 if metric.name == "stoi" else 0.05
        )


def test_log_mel_distance_is_in_decibels_and_knows_no_level(voice):
    samples = voice(2)
    noise = np.random.default_rng(0).standard_normal(32000).astype(np.float32)
    assert log_mel_distance(noise, noise / 2) == pytest.approx(20 * np.log10(2), abs=0.01)
    assert log_mel_distance(noise, np.zeros_like(noise)) > 30
    distance = log_mel_distance(samples, samples + noise / 100)
    # Another value is another definition: raise the version of the package, or journals keep this.
    assert distance == pytest.approx(13.456, abs=0.01)
    assert log_mel_distance(samples / 8, (samples + noise / 100) / 8) == pytest.approx(distance)
    with pytest.raises(ValueError, match="silent"):
        log_mel_distance(np.zeros_like(noise), noise)


@pytest.mark.parametrize(("seconds", "expected"), [(2.25, 2.44683), (7, 2.48922), (26, 2.55438)])
def test_dnsmos_agrees_with_speechmos(voice, seconds, expected):
    # `p808_mos` of speechmos 0.0.1.1 with librosa 0.11.0: a repeated signal and long ones.
    assert dnsmos(np.zeros(0), voice(seconds, seed=1)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("seconds", "expected"), [(2.25, 1.80868), (7, 1.75475), (26, 1.77690)])
def test_dnsmos_ovrl_agrees_with_speechmos(voice, seconds, expected):
    # `ovrl_mos` of speechmos 0.0.1.1, which needs no librosa for it.
    decoded = voice(seconds, seed=1)
    assert dnsmos_ovrl(np.zeros(0), decoded) == pytest.approx(expected, abs=1e-4)
    with pytest.raises(ValueError, match="silent"):
        dnsmos_ovrl(decoded, np.zeros_like(decoded))


VISQOL = Path(os.environ.get("ECC_MIRROR", "")) / "google-visqol"


@pytest.mark.parametrize(
    ("decoded", "lattice", "expected"),
    [
        ("transcoded_CA01_01.wav", True, 3.3129),
        ("transcoded_CA01_01.wav", False, 3.3745),
        ("CA01_01.wav", True, 4.5056),
    ],
)
def test_visqol_conforms_to_googles(decoded, lattice, expected):
    """Against the values of Google's own conformance test."""
    if not (VISQOL / decoded).is_file():
        pytest.skip("no google-visqol/ in $ECC_MIRROR")
    signals = [audio.read(VISQOL / name) for name in ("CA01_01.wav", decoded)]
    if lattice:
        score = visqol(*signals)
    else:
        api = VisqolApi()
        api.create(mode="speech", use_lattice_model=False)
        score = api.measure_from_arrays(*[x.astype(np.float64) for x in signals], 16000).moslqo
    # At 16 kHz, where the study works; the recordings, and the values of Google, are at 48 kHz.
    assert score == pytest.approx(expected, abs=0.015)


def test_scores_are_the_same_every_time(voice):
    noisy = voice(2) + 0.01 * voice(2, seed=5)
    for metric in INSTALLED:
        assert metric.function(voice(2), noisy) == metric.function(voice(2), noisy)


def test_an_unknown_metric_is_an_error_that_names_the_others():
    with pytest.raises(ValueError, match="no metric 'mos'; known are: pesq_wb, visqol, stoi"):
        ScoreConfig(metrics=("mos",))


def test_what_the_docs_say_of_each_metric():
    table = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = {
        cells[1]: cells
        for line in table.splitlines()
        if line.startswith("| `") and len(cells := [c.strip(" `") for c in line.split("|")]) == 8
    }
    assert set(rows) == set(METRICS)
    for name, metric in METRICS.items():
        _, _, what, implementation, _, better, hears, _ = rows[name]
        assert metric.reference in what
        assert better == ("less" if metric.lower_is_better else "more")
        assert hears == ("yes" if metric.hears_reference else "no")
        assert metric.packages[0].replace("ecc-speech", "ecc.evaluate.metrics") in implementation
