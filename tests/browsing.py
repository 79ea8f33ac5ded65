"""A real browser for tests, Debian's chromium or the one in $ECC_BROWSER, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    """The browser, started with `arguments`; without one, or its driver, the test is skipped."""
    drive = pytest.importorskip(
        "playwright.sync_api", reason="no driver of a browser: pip install --editable '.[browser]'"
    )
    program = os.environ.get("ECC_BROWSER") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no browser: apt-get install chromium, or name one in $ECC_BROWSER")
    with drive.sync_playwright() as playwright:
        # Without a sandbox Chromium runs as root too, as in a container.
        started = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", *arguments]
        )
        yield started
        started.close()
