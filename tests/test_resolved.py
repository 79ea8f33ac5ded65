import json

from ecc import resolved


def test_what_trained_a_model_is_noted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    resolved.note_training("m", {"lmbda": [1.0]}, {"torch": "2"})
    noted = json.loads((tmp_path / "reports/models/m.json").read_text())
    assert noted == {"config": {"lmbda": [1.0]}, "software": {"torch": "2"}}
