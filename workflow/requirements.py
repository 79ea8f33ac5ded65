"""Write requirements.lock: every package that the study and its tests need, direct or not, with the
hash of its file, as pip chooses them today.

    python workflow/requirements.py

The files are those of CPython 3.11 on x86-64 Linux; elsewhere the versions hold, not the hashes.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from ecc.files import atomic_path

LOCK = Path("requirements.lock")
# Packages of which the weights are read and the code is not run: what that needs is not installed.
BARE = ["resemblyzer==0.1.4"]
HEADER = """\
# Written by workflow/requirements.py: CPython 3.11 on x86-64 Linux, with PyTorch's build for CUDA.
# The hashes: pip install --no-deps --require-hashes -r requirements.lock
# The versions alone, for any machine: workflow/install.
"""


def main() -> None:
    """Ask pip what it would install into an empty environment, and write that down."""
    found = [*installed(".[dev]"), *installed("--no-deps", *BARE)]
    lines = sorted(line(package) for package in found if pinned(package))
    with atomic_path(LOCK) as path:
        path.write_text(HEADER + "".join(lines), encoding="utf-8")
    print(f"{LOCK}: {len(lines)} packages")


def installed(*arguments: str) -> list[dict[str, Any]]:
    """What pip would install into an empty environment, given these arguments."""
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    done = subprocess.run([*pip, "--report", "-", *arguments], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"requirements: pip cannot install {' '.join(arguments)}")
    found: list[dict[str, Any]] = json.loads(done.stdout)["install"]
    return found


def pinned(found: dict[str, Any]) -> bool:
    """Whether it comes as a file with a hash, as all do but the study itself."""
    return "archive_info" in found["download_info"]


def line(found: dict[str, Any]) -> str:
    """One package of pip's report, as a line of a requirements file."""
    name = re.sub("[-_.]+", "-", found["metadata"]["name"]).lower()
    sha256 = found["download_info"]["archive_info"]["hashes"]["sha256"]
    return f"{name}=={found['metadata']['version']} --hash=sha256:{sha256}\n"


if __name__ == "__main__":
    main()
