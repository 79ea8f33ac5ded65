"""What shapes the evaluation."""

from typing import Annotated

from pydantic import AfterValidator, Field, PositiveInt

from ecc.config import Config
from ecc.evaluate.metrics import METRICS


def _known(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"no metric {name!r}; known are: {', '.join(METRICS)}")
    return name


MetricName = Annotated[str, AfterValidator(_known)]


class ScoreConfig(Config):
    """The section `score` of `params.yaml`."""

    metrics: tuple[MetricName, ...] = ("pesq_wb", "visqol", "estoi")
    workers: Annotated[int, Field(ge=1)] = 2
    """Processes that encode, decode and score; no result depends on it."""


class UnseenConfig(Config):
    """The section `unseen` of `params.yaml`: metrics that no training heard. They take too long for
    all speech, so that a sample is scored by them."""

    metrics: Annotated[list[MetricName], Field(min_length=1)]
    codecs: Annotated[list[str], Field(min_length=1)]
    test_sets: Annotated[list[str], Field(min_length=1)]
    utterances: PositiveInt
    """Of each test set, speakers in turn."""
