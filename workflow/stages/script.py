"""How the script of every stage begins and ends."""

import errno
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import typer

import lock

REMEDIES = {
    errno.ENOSPC: "make room on the disk and run it again",
    errno.EDQUOT: "make room in your quota and run it again",
    errno.EROFS: "the clone must lie where it can be written",
    errno.EACCES: "the clone must be yours to write",
    errno.EPERM: "the clone must be yours to write",
}


def run(main: Callable[..., None], *errors: type[Exception]) -> None:
    """Run `main` with the arguments of the command line, unless dvc.lock was cut short.

    One of `errors` ends it in one line with status 1; so does an error of a file, which names the
    file, and the way out where it is known. `main` has one argument at most that is positional,
    what the stage is of: encode@opus.
    """

    @functools.wraps(main)
    def stage(**arguments: object) -> None:
        kind = Path(sys.argv[0]).stem.replace("_", "-")
        name = "@".join([kind, *map(str, list(arguments.values())[:1])])
        try:
            lock.guard()
            main(**arguments)
        except FileNotFoundError as error:
            sys.exit(
                f"{name}: {error.filename or error} is missing. `dvc repro {name}` makes all that "
                "it needs, and workflow/study the whole study; is the name in params.yaml?"
            )
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            remedy = REMEDIES.get(error.errno or 0)
            sys.exit(f"{name}: {what}" + (f"; {remedy}" if remedy else ""))
        except errors as error:
            sys.exit(f"{name}: {error}")

    typer.run(stage)
