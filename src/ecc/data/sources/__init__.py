"""The kinds of sources that `params.yaml` may declare."""

from typing import Annotated

from pydantic import Field

from ecc.data.sources.debian import Debian
from ecc.data.sources.folder import Folder
from ecc.data.sources.github import GitHub
from ecc.data.sources.libritts import LibriTTS
from ecc.data.sources.vctk import VCTK

AnySource = Annotated[Debian | Folder | GitHub | LibriTTS | VCTK, Field(discriminator="kind")]
