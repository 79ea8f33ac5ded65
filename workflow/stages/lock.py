"""Keep dvc.lock whole: `python workflow/stages/lock.py` repairs one that an interrupt cut short.

DVC rewrites this file in place after most stages, and needs about a second for it. What a kill or a
Ctrl-C leaves of it in that time is empty, or only its beginning, which DVC may take for the whole.
So a copy of the last lock that was whole is kept in .dvc/tmp, out of git.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from ecc.files import atomic_path

LOCK = Path("dvc.lock")
FOLDER = Path(".dvc/tmp")
CUT = FOLDER / "dvc.lock.cut"
PATIENCE = 10.0  # seconds in which another process ends writing


def main() -> None:
    """Keep a copy of dvc.lock, or bring the copy back if dvc.lock is cut short."""
    text = read()
    if text is None:
        return
    committed = _committed()
    before = _before(committed)
    if text == committed or whole(text, before):
        keep(text, committed)
        return
    if not before:
        sys.exit(f"{LOCK} is cut short, and there is neither a copy of it nor one in git")
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.copy(LOCK, CUT)
    with atomic_path(LOCK) as path:
        path.write_text(before, encoding="utf-8")
    left = f"{len(stages(text))} of {len(stages(before))} stages"
    print(
        f"{LOCK} was cut short by an interrupt: the last whole one is back, and what was left "
        f"({left}) is {CUT}",
        file=sys.stderr,
    )


def guard() -> str:
    """What dvc.lock holds, kept as the last whole one; empty if there is none.

    For a stage before it does anything: exits if dvc.lock is cut short."""
    committed = _committed()
    before = _before(committed)
    end = time.monotonic() + PATIENCE
    while (text := read()) is not None:
        if text == committed or whole(text, before):
            keep(text, committed)
            return text
        if time.monotonic() > end:  # no, it is not that another stage ended and writes it now
            sys.exit(f"{LOCK} was cut short by an interrupt: python {__file__} repairs it")
        time.sleep(0.2)
    return ""


def whole(text: str, before: str) -> bool:
    """Whether `text` is a whole lock, as far as can be told from `before`, an earlier one.

    DVC takes no stage away and keeps their order. So of a lock that was cut a stage is missing, or
    the last stage has no end: the hash and the size of an output. Whether that was to be followed
    by more outputs cannot be told, and does no harm: DVC runs that one stage again.
    """
    last = re.split(r"^  (?=\S)", text, flags=re.MULTILINE)[-1]
    ended = re.search(r"^    outs:\n(?:.*\n)*      (?:size|nfiles): \d+\n\Z", last, re.MULTILINE)
    return ended is not None and stages(before) <= stages(text)


def stages(text: str) -> set[str]:
    """Names of the stages of a lock, or of what is left of one."""
    return set(re.findall(r"^  (\S+):$", text, re.MULTILINE))


def keep(text: str, committed: str) -> None:
    """Keep `text` as the last whole lock."""
    kept = _kept(committed)
    if kept.exists() and kept.read_text(encoding="utf-8") == text:
        return
    with atomic_path(kept) as path:
        path.write_text(text, encoding="utf-8")
    for other in FOLDER.glob("dvc.lock-*"):
        if other != kept:
            other.unlink(missing_ok=True)


def read() -> str | None:
    """What dvc.lock holds; None where there is none, or one in which git left a conflict."""
    if not LOCK.exists():
        return None
    text = LOCK.read_text(encoding="utf-8", errors="replace")  # a cut may go through a letter
    return None if re.search(r"^<<<<<<< ", text, re.MULTILINE) else text


def _before(committed: str) -> str:
    """An earlier lock that was whole: the copy, or else the one in git; empty if there is none."""
    kept = _kept(committed)
    return kept.read_text(encoding="utf-8") if kept.exists() else committed


def _kept(committed: str) -> Path:
    """Where the copy lies: it is of use only as long as git has the same lock as then, since that
    of another branch may have fewer stages."""
    return FOLDER / f"dvc.lock-{hashlib.sha256(committed.encode()).hexdigest()[:12]}"


def _committed() -> str:
    """The lock of git's last commit; empty without one."""
    command = ["git", "show", f"HEAD:./{LOCK}"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    main()
