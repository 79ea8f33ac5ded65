"""workflow/page.py, which serves the page."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

SCRIPT = Path(__file__).parents[2] / "workflow/page.py"


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(SCRIPT), "--no-open", *arguments]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a page that is served, and its folder."""
    folder = tmp_path / "reports/html"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("the page")
    (folder / "page.js").write_text("1")
    (tmp_path / "reports/secret").write_text("beside it")
    server = subprocess.Popen(
        command(),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("The page: http://127.0.0.1:")
    yield line.split()[2], folder
    server.send_signal(signal.SIGINT)
    out, problems = server.communicate(timeout=30)
    assert (server.returncode, out, problems) == (0, "", "")


def test_it_serves_the_page_and_nothing_else(served: tuple[str, Path]) -> None:
    address, _ = served
    assert requests.get(address, timeout=30).text == "the page"
    script = requests.get(f"{address}page.js", timeout=30)
    assert script.headers["content-type"].startswith(("text/javascript", "application/javascript"))
    for path in ("../secret", "%2e%2e/secret", "nothing"):
        assert requests.get(address + path, timeout=30).status_code == 404


def test_a_page_that_was_not_built_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(command(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    expected = "reports/html/index.html is missing; `dvc repro page` builds it"
    assert done.stderr.strip() == expected.replace("/", os.sep)


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "reports/html").mkdir(parents=True)
    (tmp_path / "reports/html/index.html").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = command("--port", port)
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().startswith(f"port {port}: Address already in use; --port 0")
