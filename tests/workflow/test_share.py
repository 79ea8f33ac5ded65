"""Remotes on this machine and stand-ins for the scripts of stages: what one has pushed, a colleague
does not make again.
"""

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from test_dag import TRAINING, Clone, clone, finished, fresh  # noqa: F401  (fixtures)

ROOT = Path(__file__).parents[2]
SHARE = ("python", str(ROOT / "workflow" / "share.py"))
WEBDAV = ("wsgidav==4.4.0", "cheroot==11.1.2")
S3 = ("moto[server,s3]==5.2.5",)
Remote = list[tuple[str, ...]]  # commands of DVC that add it, as the docs give them


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def served(command: list[str], port: int, log: Path) -> Iterator[None]:
    """A server that answers at a port of this machine."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        for _ in range(300):
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        else:
            raise AssertionError(f"no answer of {command[0]}: {log.read_text()}")
        yield
    finally:
        process.terminate()
        process.wait()


def installed(folder: Path, *packages: str) -> Path:
    """The programs of packages of PyPI in an environment of their own."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin/pip", "install", "--quiet", *packages]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot install {packages[0]}: {done.stderr.splitlines()[-1]}")
    return folder / "bin"


def local(tmp_path: Path) -> Iterator[Remote]:
    yield [("remote", "add", "--local", "--default", "mine", str(tmp_path / "remote"))]


def ssh(tmp_path: Path) -> Iterator[Remote]:
    server = shutil.which("sshd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if server is None:
        pytest.skip("program sshd not found; install openssh-server")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd of root confines what has no rights yet
    for name in ("host", "user"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name]
        subprocess.run(key, check=True)
    port = free_port()
    options = {
        "HostKey": tmp_path / "host",
        "AuthorizedKeysFile": tmp_path / "user.pub",
        "ListenAddress": "127.0.0.1",
        "PidFile": tmp_path / "pid",
        "StrictModes": "no",
        "UsePAM": "no",
        "Subsystem": "sftp internal-sftp",
    }
    arguments = [f"-o{key}={value}" for key, value in options.items()]
    command = [server, "-D", "-e", "-f", "/dev/null", "-p", str(port), *arguments]
    with served(command, port, tmp_path / "sshd.log"):
        url = f"ssh://127.0.0.1:{port}{tmp_path}/remote"
        yield [
            ("remote", "add", "--local", "--default", "mine", url),
            ("remote", "modify", "--local", "mine", "keyfile", str(tmp_path / "user")),
        ]


def webdav(tmp_path: Path) -> Iterator[Remote]:
    programs = installed(tmp_path / "venv", *WEBDAV)
    port, folder = free_port(), tmp_path / "remote"
    folder.mkdir()
    command = [str(programs / "wsgidav"), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--root", str(folder), "--auth", "anonymous", "--server", "cheroot"]
    with served(command, port, tmp_path / "wsgidav.log"):
        yield [("remote", "add", "--local", "--default", "mine", f"webdav://127.0.0.1:{port}")]


def s3(tmp_path: Path) -> Iterator[Remote]:
    programs = installed(tmp_path / "venv", *S3)
    port = free_port()
    command = [str(programs / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with served(command, port, tmp_path / "moto.log"):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("PUT", "/bucket")
        assert connection.getresponse().status == 200
        yield [
            ("remote", "add", "--local", "--default", "mine", "s3://bucket/ecc"),
            ("remote", "modify", "--local", "mine", "endpointurl", f"http://127.0.0.1:{port}"),
            ("remote", "modify", "--local", "mine", "access_key_id", "user"),
            ("remote", "modify", "--local", "mine", "secret_access_key", "secret"),
        ]


@pytest.fixture(params=[local, ssh, webdav, s3], ids=lambda kind: kind.__name__)
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    yield from request.param(tmp_path)


def use(remote: Remote, clone: Clone) -> None:  # noqa: F811
    for command in remote:
        clone("dvc", *command)


def change_a_lambda(clone: Clone) -> str:  # noqa: F811
    """Change the first λ of the first model of ECC in params.yaml; returns the model's name."""
    content = YAML(typ="safe").load(clone.path / "params.yaml")
    model = next(name for name, m in content["models"].items() if m["variant"] == "ecc")
    content["models"][model]["lmbda"][0] *= 1.25
    YAML().dump(content, clone.path / "params.yaml")
    return model


def commit(clone: Clone) -> None:  # noqa: F811
    clone("git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "-a", "-m", "x")


@pytest.mark.slow
def test_what_one_pushed_a_colleague_does_not_make(
    remote: Remote,
    clone: Clone,  # noqa: F811
    tmp_path: Path,
) -> None:
    mine = clone
    use(remote, mine)
    mine("dvc", "push", "--quiet")
    mine(*SHARE, "push")
    mine("git", "clone", "--quiet", ".", str(tmp_path / "colleague"))
    colleague = Clone(tmp_path / "colleague")
    shutil.rmtree(colleague.path / ".dvc" / "store")  # nothing but the remote has the data
    use(remote, colleague)
    colleague("dvc", "pull", "--quiet")
    colleague(*SHARE, "pull")
    assert (colleague.path / "data/decoded/opus/index.csv").exists()
    assert colleague.ran("dvc", "repro", "--quiet") == set()

    model = change_a_lambda(mine)
    assert f"train@{model}" in mine.ran("dvc", "repro", "--quiet")
    commit(mine)
    mine("dvc", "push", "--quiet")
    colleague("git", "checkout", "--quiet", ".")
    colleague("git", "pull", "--quiet")
    colleague("dvc", "pull", "--quiet")
    assert not colleague.ran("dvc", "repro", "--quiet") & TRAINING  # it codes, and trains nothing
    mine(*SHARE, "push", "data/scores", "data/streams")
    assert colleague(*SHARE, "pull", "data/scores") == ""  # the same came out here


@pytest.mark.slow
def test_the_run_cache_knows_what_a_colleague_trained_and_did_not_commit(
    clone: Clone,  # noqa: F811
    tmp_path: Path,
) -> None:
    (remote,) = local(tmp_path)
    use(remote, clone)
    clone("dvc", "push", "--quiet")
    clone("git", "clone", "--quiet", ".", str(tmp_path / "colleague"))
    model = change_a_lambda(clone)
    clone("dvc", "repro", "--quiet")
    clone("dvc", "push", "--quiet", "--run-cache")
    colleague = Clone(tmp_path / "colleague")
    use(remote, colleague)
    colleague("dvc", "pull", "--quiet", "--run-cache")
    change_a_lambda(colleague)
    ran = colleague.ran("dvc", "repro", "--quiet", "corpus")
    ran |= colleague.ran("dvc", "repro", "--quiet", "--pull", "train", "tokens")
    ran |= colleague.ran("dvc", "repro", "--quiet")
    assert "encode@ecc" in ran
    assert not ran & TRAINING
    weights = f"data/models/ecc/{model}.safetensors"
    assert (colleague.path / weights).read_bytes() == (clone.path / weights).read_bytes()


def refused(clone: Clone, *arguments: str) -> str:  # noqa: F811
    """The one line that share.py says when it ends with an error."""
    command = [sys.executable, str(ROOT / "workflow" / "share.py"), *arguments]
    done = subprocess.run(command, cwd=clone.path, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("share: ")]
    assert "Traceback" not in done.stderr
    return line


def test_what_cannot_be_shared_is_said_and_nothing_is_lost(clone: Clone, tmp_path: Path) -> None:  # noqa: F811
    assert "lies in the repository, and git would carry it" in refused(clone, "push")
    (remote,) = local(tmp_path)
    use(remote, clone)
    assert "no stage makes anything in" in refused(clone, "push", "nowhere")
    assert "remote 'other' doesn't exist" in refused(clone, "pull", "--remote", "other")
    assert "no stage makes anything in" in refused(clone, "push", "reports/figures")  # git has it
    clone(*SHARE, "push", "data/streams", "reports/html")
    shutil.rmtree(clone.path / "reports/html")
    clone(*SHARE, "pull", "reports")
    assert (clone.path / "reports/html/index.html").exists()
    streams = clone.path / "data/streams/opus"
    shutil.rmtree(clone.path / "data/decoded/opus")
    shutil.rmtree(streams)
    line = refused(clone, "pull")
    assert line.endswith("the remote does not have all of data/decoded/opus")
    assert streams.is_dir()  # which it has
    changed = streams / "index.csv"
    changed.write_text("half a run")
    assert "data/streams/opus is not what dvc.lock says" in refused(clone, "push")
    assert "without a confirmation" in refused(clone, "pull", "data/streams")
    assert changed.read_text() == "half a run"
    clone(*SHARE, "pull", "data/streams", "--force")
    assert changed.read_text() != "half a run"
