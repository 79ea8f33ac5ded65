import json

import pytest

from ecc import resolved


def test_a_script_ends_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = r"^encode@x: data/configs/codecs/x\.json is missing\. `dvc repro encode@x` makes .*"
    with pytest.raises(SystemExit, match=missing), resolved.one_line("encode@x"):
        resolved.config("codecs/x")
    with (
        pytest.raises(SystemExit, match=r"^encode@x: no good$"),
        resolved.one_line("encode@x", ValueError),
    ):
        raise ValueError("no good")
    with pytest.raises(KeyError), resolved.one_line("encode@x", ValueError):
        raise KeyError("a mistake of ours")


def test_what_trained_a_model_is_noted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    resolved.note_training("m", {"lmbda": [1.0]}, {"torch": "2"})
    noted = json.loads((tmp_path / "reports/models/m.json").read_text())
    assert noted == {"config": {"lmbda": [1.0]}, "software": {"torch": "2"}}
