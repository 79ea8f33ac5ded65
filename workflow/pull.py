"""Pull what came with the clone, trained weights above all, and say what is missing, and why."""

import hashlib
import logging
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo


def main() -> None:
    """Pull, unless a file of the remote is damaged: DVC would delete it there without a word."""
    repo = Repo()
    for name in ("dvc", "dvc_data"):  # what is missing is said below
        logging.getLogger(name).setLevel(logging.ERROR)
    wanted = [out for out in repo.index.outs if out.use_cache and out.hash_info]
    try:
        missing = [out for out in wanted if not repo.cache.local.exists(out.hash_info.value)]
        if damaged := [out for out in missing if is_damaged(source(repo, out))]:
            sys.exit(f"{named(repo, damaged)}: damaged; {remedy(repo, damaged)}")
        repo.pull(allow_missing=True)
    except DvcException as error:
        print(f"dvc pull: {error}", file=sys.stderr)
    if absent := [out for out in wanted if not Path(out.fs_path).exists()]:
        print(f"{named(repo, absent)}: not pulled; {remedy(repo, absent)}", file=sys.stderr)


def source(repo: Repo, out: Output) -> Path | None:
    """The file of the remote that `out` is pulled from; None if that is no local folder."""
    try:
        odb = repo.cloud.get_remote_odb(out.remote)
    except DvcException:  # a remote that is not configured, as pulling will say
        return None
    local = odb.fs.protocol == "local"
    return Path(odb.oid_to_path(out.hash_info.value)) if local else None


def is_damaged(file: Path | None) -> bool:
    """Whether a file whose name is its MD5 holds something else."""
    if file is None or not file.exists():
        return False
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "md5").hexdigest()
    return file.parent.name + file.name.removesuffix(".dir") != digest


def named(repo: Repo, outs: Sequence[Output]) -> str:
    """The first of `outs` with the file of the remote that it comes from, and how many more."""
    file = source(repo, outs[0])
    where = "" if file is None else f" ({relative(file)})"
    return f"{outs[0]}{where}" + (f" and {len(outs) - 1} more" if len(outs) > 1 else "")


def remedy(repo: Repo, outs: Sequence[Output]) -> str:
    """Where to get `outs`: from git if their files in the remote are versioned with it."""
    file = source(repo, outs[0])
    if file is not None:
        command = ["git", "ls-files", "--error-unmatch", str(file)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            store = relative(Path(repo.cloud.get_remote(outs[0].remote).path))
            return f"to have what git has: git checkout -- {store}"
    return "who has it can `dvc push` it"


def relative(path: Path) -> Path:
    """`path` seen from here, if it is in the clone."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    main()
