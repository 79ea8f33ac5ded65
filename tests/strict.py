"""$ECC_TEST_STRICT makes a skipped test a failed one, so that where all is installed that tests
need, as in CI, none is skipped unseen.
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest

# What may still be missing: the processor, system or browser that a test is about (but not what
# drives the browser),
EXCUSES = [
    *("no instruction sets to cap", "ru_maxrss is in KiB on Linux"),
    *("no browser: apt-get", r"no Python 3\.\d+ here", "no mount namespaces here"),
]
# The packages that run the codecs of others, which the study does without, and their weights,
EXCUSES += [r"ecc-speech\[peers\]", "run hf download"]
if not Path("data/corpus").exists():
    # what the study makes where it has run,
    EXCUSES += ["data/models holds no", r"no model '\S+' in", "data/corpus holds no"]
    EXCUSES += ["was not fetched: "]
if not os.environ.get("ECC_MIRROR"):
    # and public files that neither a package nor this repository brings.
    EXCUSES += ["ECC_MIRROR", r"run python \S*fetch_lyra"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Under $ECC_TEST_STRICT a skip without an excuse is a failure that gives its reason."""
    report = yield
    if os.environ.get("ECC_TEST_STRICT") and report.skipped and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr
        if not re.search("|".join(EXCUSES), reason):
            report.outcome = "failed"
            report.longrepr = f"{reason} (a failure because of ECC_TEST_STRICT)"
    return report
