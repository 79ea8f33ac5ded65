import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from data.conftest import server  # noqa: F401  (a fixture)
from model.conftest import LEVELS, raw_codec
from test_cli import invoke, run

import ecc
from ecc import shipped as module
from ecc.data.download import Unreachable
from ecc.files import ChecksumError
from ecc.model.files import ModelError, find_model_by_id
from ecc.model.weights import save_model
from ecc.shipped import Shipped, fetch, find, shipped, with_bases

ROOT = Path(__file__).parents[1]
STORE = ROOT / ".dvc/store"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "ecc.safetensors"
    save_model(raw_codec(), path, "ecc", [1.0] * LEVELS, {})
    return path.read_bytes()


@pytest.fixture(autouse=True)
def table(monkeypatch, tmp_path, model) -> dict[str, Shipped]:
    """What is shipped is a tiny model, and another that stands on it; and nobody has any yet."""
    monkeypatch.delenv("ECC_MODELS", raising=False)
    monkeypatch.delenv("ECC_MODELS_FROM", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("ecc.model.files.data_folder", lambda *names: tmp_path / "no/models")
    monkeypatch.chdir(tmp_path)

    def row(name: str, data: bytes, base: str) -> Shipped:
        hashes = hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()
        return Shipped(name, len(data), *hashes, base)

    rows = {"ecc": row("ecc", model, ""), "on": row("on", b"on it", "ecc")}
    monkeypatch.setattr(module, "shipped", lambda: rows)
    return rows


@pytest.fixture
def fetched(tmp_path) -> Path:
    """Where fetched models are."""
    return tmp_path / "home/ecc/models"


def put(source: Path, name: str, data: bytes) -> None:
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_bytes(data)


# ---------------------------------------------------------------------- the table


def test_the_table_is_of_the_models_in_the_lock_of_the_study():
    lock = (ROOT / "dvc.lock").read_text(encoding="utf-8")
    for name, row in shipped().items():
        out = rf"data/models/[\w-]+/{name}\.safetensors\n +hash: md5\n +md5: (\w+)\n +size: (\d+)\n"
        locked = set(re.findall(out, lock))
        assert locked == {(row.md5, str(row.bytes))}, "python workflow/shipped.py"


@pytest.mark.parametrize("name", shipped())
def test_hashes_are_those_of_the_files_that_come_with_a_clone(name):
    row = shipped()[name]
    data = (STORE / row.places[1]).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (row.bytes, row.sha256)
    base = re.search(rb'\\"base\\": ?\\"([0-9a-f]{64})\\"', data[:100_000])
    assert (base[1].decode() if base else "") == (shipped()[row.base].sha256 if row.base else "")


def test_the_model_card_is_of_the_same_models():
    block = re.search(r"<!-- begin: models -->\n(.*?)<!-- end", card(), re.DOTALL)[1]
    row = r"^\| `([\w-]+)` +\| `([0-9a-f]{6})` +\|[^|]*\| ([\d.]+) MB"
    found = set(re.findall(row, block, re.MULTILINE))
    rows = shipped().values()
    assert found == {(row.name, row.sha256[:6], f"{row.bytes / 1e6:.1f}") for row in rows}
    first = re.findall(r"^\| `([\w-]+)` \|", card().partition("## Use")[0], re.MULTILINE)
    assert sorted(first) == sorted(shipped())


def card() -> str:
    return (ROOT / "MODEL_CARD.md").read_text(encoding="utf-8")


# ---------------------------------------------------------------------- fetching


@pytest.mark.parametrize("place", ["by name", "remote", "data/models"])
def test_a_model_from_a_folder_is_found_by_all_commands(table, model, tmp_path, fetched, place):
    by_name, remote = table["ecc"].places
    named = {"by name": by_name, "remote": remote, "data/models": f"variant/{by_name}"}
    put(tmp_path / "there", named[place], model)
    assert "0.0 MB" not in run("models", "fetch", "--from", "there")
    assert [path.name for path in fetched.iterdir()] == ["ecc.safetensors"]
    assert hashlib.sha256(model).hexdigest()[:6] in run("models")
    samples = np.zeros(1000, np.float32)
    assert ecc.load().decode(ecc.load("ecc").encode(samples)).shape == (1000,)
    (tmp_path / "a.ecc").write_bytes(ecc.load().encode(samples))
    run("inspect", "a.ecc")
    run("decode", "a.ecc", "a.wav")


def test_a_model_from_an_address_with_what_it_stands_on(server, table, model, fetched):  # noqa: F811
    server.files["x/ecc.safetensors"] = model
    server.files[f"x/{table['on'].places[1]}"] = b"on it"
    server.broken = 1  # cut off once, and resumed
    output = run("models", "fetch", "on", "--from", f"{server.url}/x/")
    assert [line.split(":")[1].strip() for line in output.splitlines()] == [
        str(fetched / "ecc.safetensors"),
        str(fetched / "on.safetensors"),
    ]
    assert server.ranges[1].startswith("bytes=")
    requests = len(server.ranges)
    run("models", "fetch", "on", "ecc", "--from", server.url)  # all is there
    assert len(server.ranges) == requests


def test_it_goes_where_it_is_told(table, model, tmp_path, monkeypatch):
    put(tmp_path / "there", "ecc.safetensors", model)
    monkeypatch.setenv("ECC_MODELS_FROM", "there")
    run("models", "fetch", "--models", "a")
    run("models", "--models", "b", "fetch")
    monkeypatch.setenv("ECC_MODELS", "c")
    run("models", "fetch")
    for folder in "abc":
        assert (tmp_path / folder / "ecc.safetensors").read_bytes() == model


def test_errors_are_one_line_and_lose_nothing(server, table, model, tmp_path, fetched):  # noqa: F811
    put(tmp_path / "there", "ecc.safetensors", b"another")
    put(tmp_path / "own", "ecc.safetensors", b"my own")
    (tmp_path / "file").touch()
    server.files["ecc.safetensors"] = b"another"
    for arguments, message in {
        (): "give --from DIR|URL, or set $ECC_MODELS_FROM",
        ("huge", "--from", "there"): "no model 'huge' can be fetched; there are: ecc, on",
        ("--from", "nowhere"): "nowhere: holds neither ecc.safetensors nor files/md5/",
        ("--from", "there"): "there/ecc.safetensors: SHA-256 is ",
        ("--from", server.url): f"{server.url}/ecc.safetensors: ecc.safetensors.part: SHA-256 is ",
        ("--from", f"{server.url}/x"): f"{server.url}/x/ecc.safetensors: the server says 404 Not",
        ("--from", "http://127.0.0.1:1"): "http://127.0.0.1:1/ecc.safetensors: ",
        ("--from", "there", "--models", "own"): "own/ecc.safetensors: is another model; remove it",
        ("--from", "there", "--models", "file/x"): "file",
    }.items():
        result = invoke("models", "fetch", *arguments, code=1)
        assert not result.stdout
        (line,) = result.stderr.splitlines()
        assert line.startswith("ecc: ") and message in line, line
    assert (tmp_path / "own/ecc.safetensors").read_bytes() == b"my own"
    assert not fetched.exists() or not list(fetched.iterdir())


def test_python_raises_what_it_says(table, tmp_path):
    put(tmp_path / "there", "ecc.safetensors", b"another")
    with pytest.raises(ChecksumError):
        fetch(table["ecc"], "there", tmp_path / "x")
    with pytest.raises(Unreachable):
        fetch(table["on"], "there", tmp_path / "x")
    with pytest.raises(ModelError):
        list(with_bases(["none"]))


# ---------------------------------------------------------------------- and finding


def test_what_is_missing_and_shipped_is_named(table, tmp_path):
    model_id = bytes.fromhex(table["on"].sha256)[:3]
    with pytest.raises(ModelError, match="that the stream names; `ecc models fetch on` brings it"):
        find(find_model_by_id, model_id)
    with pytest.raises(ModelError, match=r"that the stream names$"):
        find(find_model_by_id, b"???")
    with pytest.raises(ModelError, match="`ecc models fetch ecc` brings it"):
        ecc.load()
    with pytest.raises(ModelError, match=r"dvc pull` fetches the trained ones$"):
        ecc.load("mine")


def test_all_models_there_are_are_named(model, tmp_path, fetched, monkeypatch):
    monkeypatch.setattr(module, "BROUGHT", tmp_path / "brought")
    put(tmp_path / "brought", "ecc.safetensors", model)
    put(fetched, "other.safetensors", model)
    with pytest.raises(ModelError, match=r"brought; there are: ecc; .*models; there are: other$"):
        ecc.load("mine")


def test_a_folder_of_models_comes_before_fetched_ones(table, model, tmp_path, fetched, monkeypatch):
    put(fetched, "ecc.safetensors", b"fetched, and damaged")
    put(tmp_path / "own", "ecc.safetensors", model)
    monkeypatch.setattr("ecc.model.files.data_folder", lambda *names: tmp_path / "own")
    assert ecc.load().trained.path == tmp_path / "own/ecc.safetensors"
    assert module.folders() == [tmp_path / "own", module.BROUGHT, fetched]
    assert module.folders(tmp_path) == [tmp_path]
