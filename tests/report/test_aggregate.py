"""The script behind the stage `aggregate`, on scores of no codec."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from ecc.params import apply_patch, load
from ecc.tables import write_table

ROOT = Path(__file__).parents[2]

SOURCES: list[dict[str, Any]] = [
    {
        "source": "festvox-ru",
        "available": True,
        "splits": {"train": {"hours": 1.5}, "test": {"hours": 4.0}},
    },
    {
        "source": "picovoice-speech-to-intent",
        "available": True,
        "splits": {"train": {"hours": 2.0}},
    },
    {"source": "freecodec-demo", "available": True, "splits": {"test": {"hours": 8.0}}},
    {"source": "resemblyzer-librispeech", "available": False, "reason": "no network"},
]


@pytest.fixture
def aggregate(tmp_path, monkeypatch, make_scores):
    """aggregate(codec, ...) -> the rows of reports/rd.csv, of a study with these codecs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "workflow" / "stages")
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    apply_patch(content, YAML(typ="safe").load(ROOT / "workflow/presets/ablations.yaml"))
    content["study"]["test_sets"] = ["english"]
    content["score"]["metrics"] = ["pesq_wb", "visqol", "estoi"]
    content["unseen"] |= {"metrics": ["dnsmos_ovrl"], "test_sets": ["english"]}
    content["report"] |= {"bootstrap": 100, "runs": {}}
    main = runpy.run_path(str(ROOT / "workflow/stages/aggregate.py"))["main"]
    configs = runpy.run_path(str(ROOT / "workflow/stages/validate.py"))["configs"]

    def write(path, text):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")

    def run(*codecs, diagnose=("ecc",)):
        content["study"] |= {"codecs": list(codecs), "diagnose": list(diagnose)}
        YAML().dump(content, Path("params.yaml"))
        write("data/configs/aggregate.json", json.dumps(configs(load(), {})["aggregate"]))
        write("data/corpus/sources.json", json.dumps(SOURCES))
        write("reports/training/ablation-full/metrics.json", json.dumps({"valid": {"loss": 0.9}}))
        for number, codec in enumerate(codecs):
            about = {"codec": codec, "version": "1", "available": True}
            about |= {"rate": "measured", "reason": None}
            write(f"data/streams/{codec}/codec.json", json.dumps(about))
            points = [(kbps * (1 + number), kbps) for kbps in (1.0, 2.0, 4.0)]
            table = make_scores(codec, points, test_set="english")
            write(f"data/scores/{codec}.csv", table.to_csv(index=False))
            sample = table[table["utterance"].str.endswith("-0")]
            sample = sample.assign(dnsmos_ovrl=sample["pesq_wb"], dnsmos_ovrl_reference=3.5)
            write(f"data/unseen/{codec}.csv", sample.to_csv(index=False))
            # All of the speech is speech, but for the pauses of the second codec.
            table["bits"] = 1000 * table["kbps"] * table["seconds"]
            table = table.assign(speech_seconds=table["seconds"] / (1 + number))
            table = table.assign(speech_bits=table["bits"] / (1 + number))
            write(f"data/diagnostics/{codec}/pauses.csv", table.to_csv(index=False))
        main()
        return pd.read_csv("reports/rd.csv")

    run.main = main
    return run


def test_ablations_are_compared_with_their_full_model_alone(aggregate):
    rd = aggregate("ecc", "ablation-full", "ablation-no-lrp", "ablation-skip-9")
    assert set(rd["codec"]) == {"ecc"}
    assert pd.read_csv("reports/bd_rate.csv").empty
    folder = Path("reports/ablations/ablation-full")
    bd = pd.read_csv(folder / "bd_rate.csv").query("metric == 'pesq_wb'").set_index("codec")
    assert list(bd["anchor"].unique()) == ["ablation-full"]
    # Twice the rate of ECC's points is 2, three times 3: half as much again, and twice as much.
    assert bd["bd_rate"].to_dict() == pytest.approx({"ablation-no-lrp": 50, "ablation-skip-9": 100})
    assert set(pd.read_csv(folder / "rd.csv")["codec"]) == {"ablation-full", *bd.index}
    codecs = pd.read_csv(folder / "codecs.csv").set_index("codec")
    sizes = codecs.loc["ablation-full", ["steps", "crops", "lmbda", "hidden", "hours"]]
    assert sizes.tolist() == [1500, 8, "4 16 64 256", 768, 3.5]
    assert codecs["loss"].to_dict() == pytest.approx(
        {"ablation-full": 0.9, "ablation-no-lrp": np.nan, "ablation-skip-9": np.nan}, nan_ok=True
    )
    assert codecs.loc["ablation-skip-9", "steps"] == 0  # the full model's own, with other arguments


def test_a_study_without_ablations_keeps_what_came_of_them(aggregate):
    aggregate("ecc", "ablation-full", "ablation-no-lrp")
    before = Path("reports/ablations/ablation-full/bd_rate.csv").read_text()
    assert set(aggregate("ecc", "opus")["codec"]) == {"ecc", "opus"}
    assert Path("reports/ablations/ablation-full/bd_rate.csv").read_text() == before


def test_what_is_the_machines_is_in_tables_of_its_own(aggregate):
    def tables():
        paths = [path for path in Path("reports").rglob("*.csv") if path.parent.name != "machine"]
        return {path: path.read_bytes() for path in paths}

    aggregate("ecc", "ablation-full", "ablation-no-lrp")
    before = tables()
    assert len(before) == 17
    speed = Path("reports/machine/speed.csv").read_text()
    for path in Path("data/scores").glob("*.csv"):
        table = pd.read_csv(path)
        write_table(path, table.assign(encode_seconds=7.0 * table["seconds"]))
    for path in Path("data/streams").glob("*/codec.json"):
        about = json.loads(path.read_text()) | {"version": "of another machine"}
        path.write_text(json.dumps(about))
    aggregate.main()
    assert tables() == before
    assert Path("reports/machine/speed.csv").read_text() != speed
    assert "of another machine" in Path("reports/machine/versions.csv").read_text()


def test_what_no_training_heard_has_a_table_of_its_own(aggregate):
    rd = aggregate("ecc", "opus")
    unseen = pd.read_csv("reports/unseen.csv")
    assert list(unseen["codec"]) == ["ecc"] * 3  # of two codecs the one that was sampled
    assert list(unseen["n"]) == [4] * 3 and list(rd["n"]) == [8] * 6
    assert unseen["dnsmos_ovrl"].tolist() == pytest.approx([1.0, 2.0, 4.0])
    assert (unseen["dnsmos_ovrl_low"] < unseen["dnsmos_ovrl"]).all()
    assert set(unseen["dnsmos_ovrl_reference"]) == {3.5}
    assert "pesq_wb" not in unseen and "dnsmos_ovrl" not in rd
    assert set(unseen["rate"]) == {"measured"}
    assert pd.read_csv("reports/failures.csv").empty

    # What a missing package leaves out of the sample is a failure with its reason.
    sample = pd.read_csv("data/unseen/ecc.csv")
    why = "dnsmos_ovrl: speechmos not installed"
    sample.assign(dnsmos_ovrl=float("nan"), reason=why).to_csv("data/unseen/ecc.csv", index=False)
    aggregate.main()
    failures = pd.read_csv("reports/failures.csv")
    assert set(failures["reason"]) == {why} and list(failures["utterances"]) == [4] * 3


def test_the_numbers_of_the_study_are_a_metric(aggregate):
    aggregate("ecc", "rvq")
    numbers = json.loads(Path("reports/metrics.json").read_text())
    assert numbers["quality"]["english"]["pesq_wb"] == pytest.approx(2.0)
    # At twice the rate of ECC's points, RVQ has the same quality.
    assert numbers["bd_rate"]["pesq_wb"]["rvq"] == pytest.approx(-50.0)
    assert numbers["loss"] == {"ablation-full": 0.9}


def test_bd_rates_in_speech_alone_are_of_the_codecs_that_are_taken_apart(aggregate):
    aggregate("ecc", "rvq", diagnose=["ecc"])
    assert pd.read_csv("reports/speech_bd_rate.csv").empty
    aggregate("ecc", "rvq", diagnose=["ecc", "rvq"])
    found = pd.read_csv("reports/speech_bd_rate.csv")
    assert found["anchor"].tolist() == ["rvq"] * 3
    assert found["bd_rate"].tolist() == pytest.approx([-50] * 3)
