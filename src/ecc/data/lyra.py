"""The download of the models of Lyra V2, which `ecc.lyra` pins."""

import shutil
from pathlib import Path

from ecc.data.download import cached, download, mirror
from ecc.files import atomic_path, verify
from ecc.lyra.models import COMMIT, SHA256

URL = f"https://raw.githubusercontent.com/google/lyra/{COMMIT}/lyra/model_coeffs"


def fetch_weights(folder: Path) -> None:
    """Put the three models into `folder`: from google-lyra/ in $ECC_MIRROR, or from GitHub.

    Raises `Unreachable` when they cannot be had here and `ChecksumError` when what came is not
    what was pinned.
    """
    copies = mirror("google-lyra")
    for name, sha256 in SHA256.items():
        if cached(folder / name, sha256):
            continue
        if copies and (copies / name).exists():
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(verify(copies / name, sha256), temporary)
        else:
            download(f"{URL}/{name}", folder / name, sha256)
