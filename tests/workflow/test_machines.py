import os
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from golden.conftest import golden_model

ROOT = Path(__file__).parents[2]


@pytest.fixture
def main(tmp_path, monkeypatch, voice):
    """`workflow/machines.py` where there are three clips of speech and a small model."""
    (tmp_path / "data/speech/toy").mkdir(parents=True)
    (tmp_path / "data/corpus").mkdir()
    clips = [(voice(2.5, seed) * 32767).astype("<i2") for seed in range(4)]
    np.concatenate(clips).tofile(tmp_path / "data/speech/toy/speech.s16")
    rows = [
        {"clip": f"c{i}", "source": "toy", "split": split, "seconds": 2.5}
        | {"start": i * 40000, "samples": 40000}
        for i, split in enumerate(["valid", "train", "test", "test"])
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "data/corpus/manifest.csv", index=False)
    (tmp_path / "data/models").mkdir()
    golden_model(tmp_path / "data/models")
    monkeypatch.chdir(tmp_path)
    return runpy.run_path(str(ROOT / "workflow/machines.py"), run_name="machines")["main"]


def test_the_clips_that_are_the_same_are_counted(main, monkeypatch):
    given = []

    def code(jobs, paths, machine, own, progress):
        given.append((machine, own is None))
        make = main.__globals__["Coded"]
        return [{"golden": make(bytes([machine == "sse" and i > 0]), "same")} for i in range(3)]

    monkeypatch.setitem(main.__globals__, "_code", code)
    main(["golden"], clips=9)
    table = pd.read_csv("reports/machines.csv").set_index("machine")
    assert table.index.tolist() == ["two threads", "avx2", "sse"]
    assert (table["clips"] == 3).all()  # those of training are not in it
    assert table["same_streams"].tolist() == [3, 3, 1]
    assert table["same_decodes"].tolist() == [3, 3, 3]
    assert given[0] == ("own", True) and not any(first for _, first in given[1:])


def test_a_machine_codes_at_all_levels_in_turn(main, monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ | {"OMP_NUM_THREADS": "1"})
    work = main.__globals__
    work["_load"]({"golden": "data/models/golden.safetensors"})
    jobs = pd.read_csv("data/corpus/manifest.csv").to_dict("records")
    first = [work["_code_clip"](i, job, None)["golden"] for i, job in enumerate(jobs)]
    assert [coded.stream[3] for coded in first] == [0, 1, 0, 1]
    assert len({coded.decode for coded in first}) == len(jobs)
    # A second machine decodes what the first one encoded.
    other = {"golden": first[2]}
    (coded,) = work["_code_clip"](0, jobs[0], other).values()
    assert coded.stream == first[0].stream
    assert coded.decode == first[2].decode


def test_without_speech_one_line_says_so(main):
    Path("data/corpus/manifest.csv").unlink()
    with pytest.raises(SystemExit, match=r"machines: .*manifest\.csv"):
        main(["golden"])
