"""Share what the study rebuilds, so that a colleague fetches, encodes and decodes nothing again:

    python workflow/share.py push            # to the default remote of DVC
    python workflow/share.py pull

`dvc push` carries the weights and the journals of scores, and git the reports. This carries the
rest: speech, streams, decoded audio, scores and the page, as dvc.lock says that they are. PATHS
name a part of it: `push data/streams data/scores`.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from dvc.exceptions import DvcException
from dvc.fs.callbacks import TqdmCallback
from dvc.output import Output
from dvc.repo import Repo
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB
from dvc_data.hashfile.transfer import transfer

app = typer.Typer(add_completion=False, help=__doc__)
Paths = Annotated[list[Path] | None, typer.Argument(help="What to share; all if none is named.")]
RemoteName = Annotated[str | None, typer.Option("--remote", "-r", help="Not the default remote.")]


@app.command()
def push(paths: Paths = None, remote: RemoteName = None) -> None:
    """Send to the remote what is not there yet; what differs from dvc.lock is an error."""
    with Repo() as repo, repo.lock:
        objects = objects_of(repo, remote)
        for out in outs(repo, paths):
            if not out.exists or out.changed_checksum():
                sys.exit(f"share: {out} is not what dvc.lock says: first run dvc repro")
            source, _, _ = build(objects, out.fs_path, out.fs, "md5", ignore=repo.dvcignore)
            with TqdmCallback(desc=f"Sending {out}", unit="file") as bar:
                done = transfer(
                    source, objects, {out.hash_info}, jobs=objects.fs.jobs, shallow=False,
                    callback=bar,
                )  # fmt: skip
            if done.failed:
                sys.exit(
                    f"share: {len(done.failed)} files of {out} could not be sent: run it again"
                )


@app.command()
def pull(
    paths: Paths = None,
    remote: RemoteName = None,
    force: Annotated[bool, typer.Option(help="Overwrite what no remote has.")] = False,
) -> None:
    """Get from the remote what differs from dvc.lock; the cache keeps a copy or a link of it."""
    missing = []
    with Repo() as repo, repo.lock:
        objects, cache = objects_of(repo, remote), repo.cache.local
        for out in outs(repo, paths):
            if not out.hash_info or (out.exists and not out.changed_checksum()):
                continue
            with (
                TqdmCallback(desc=f"Getting {out}", unit="file") as bar,
                contextlib.suppress(FileNotFoundError),  # what the cache then does not have
            ):
                transfer(
                    objects, cache, {out.hash_info}, jobs=objects.fs.jobs, shallow=False,
                    callback=bar,
                )  # fmt: skip
            out.use_cache = True
            if out.changed_cache():
                missing.append(str(out))
            else:
                out.checkout(force=force)
    if missing:
        sys.exit(f"share: the remote does not have all of {', '.join(missing)}")


def objects_of(repo: Repo, remote: str | None) -> HashFileDB:
    """The objects of a remote; the one inside the repository is refused, for git carries it."""
    objects = repo.cloud.get_remote_odb(remote)
    if objects.fs.protocol == "local" and Path(objects.path).is_relative_to(repo.root_dir):
        sys.exit(
            f"share: the remote {objects.path} lies in the repository, and git would carry it all: "
            "add one of your own, dvc remote add --local --default mine URL"
        )
    return objects


def outs(repo: Repo, paths: list[Path] | None) -> Iterator[Output]:
    """What stages make below these paths and `dvc push` leaves out, but not what git has."""
    within = [path.absolute() for path in paths] if paths else [Path(repo.root_dir)]
    every = [  # a folder that is not there yet is told by its slash
        out
        for out in repo.index.outs
        if not out.use_cache and repo.scm.is_ignored(f"{out.fs_path}/")
    ]
    for path in within:
        if not any(Path(out.fs_path).is_relative_to(path) for out in every):
            sys.exit(f"share: no stage makes anything in {path} that dvc push leaves out")
    for out in every:
        if any(Path(out.fs_path).is_relative_to(path) for path in within):
            yield out


if __name__ == "__main__":
    try:
        app()
    except (DvcException, OSError) as error:
        sys.exit(f"share: {error}")
