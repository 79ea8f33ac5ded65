"""The section `page` of `params.yaml`."""

from typing import Annotated

from pydantic import Field, PositiveFloat

from ecc.config import Config


class Page(Config):
    """What can be heard on the page."""

    kbps: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.5, 1.0, 1.5, 3.0, 6.0)
    """Rates at which codecs are heard beside each other: each at its point nearest to them."""
    utterances: int = Field(default=8, ge=1)
    """Utterances of each test set that can be heard."""
