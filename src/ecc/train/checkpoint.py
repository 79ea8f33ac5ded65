"""The file from which a killed training goes on."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from ecc.files import atomic_path


class CheckpointError(Exception):
    """A checkpoint that cannot be read or written; the message is one line."""


def load(path: Path) -> dict[str, Any] | None:
    """The state in `path`, on the CPU; None where there is none.

    Raises `CheckpointError` for a damaged file, which has another name then.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # which torch writes, and does not check
            whole = archive.testzip() is None
    except FileNotFoundError:
        return None
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError):
        whole = False
    if not whole:
        raise CheckpointError(
            f"{path} is damaged: it is {set_aside(path, 'damaged')} now; put a copy of it in its "
            "place, or run again to train from the beginning"
        )
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def save(state: dict[str, Any], path: Path) -> None:
    """Write `state` to `path`, or leave what is there.

    Raises `CheckpointError` when the disk is full.
    """
    try:
        with atomic_path(path) as temporary:
            torch.save(state, temporary)
    except RuntimeError as error:  # torch's writer says no more
        free = shutil.disk_usage(path.parent).free / 1e6
        raise CheckpointError(
            f"{path} cannot be written, with {free:,.0f} MB left on its disk; make room and run "
            "again, to go on from the checkpoint before"
        ) from error


def set_aside(path: Path, word: str) -> Path:
    """Give `path` a name with `word` in it that no other file has; the new path."""
    number, aside = 1, path.with_stem(f"{path.stem}-{word}")
    while aside.exists():
        number += 1
        aside = path.with_stem(f"{path.stem}-{word}-{number}")
    return path.rename(aside)
