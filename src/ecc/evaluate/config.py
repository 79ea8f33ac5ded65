"""What shapes the evaluation. Kept apart so that reading `params.yaml` imports no metric."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from ecc.config import Config

MetricName = Literal["pesq_wb", "visqol", "estoi", "dnsmos", "log_mel_distance"]


class Metric(NamedTuple):
    """What the study has to know of a metric.

    `distribution` is the package whose version decides whether an old score still holds.
    A metric that is not `intrusive` hears the decoded signal alone, so that references have scores
    too. Of one that is a `distance` less is better.
    """

    distribution: str
    intrusive: bool = True
    distance: bool = False


METRICS: dict[MetricName, Metric] = {
    "pesq_wb": Metric("pesq"),
    "visqol": Metric("visqol-python"),
    "estoi": Metric("pystoi"),
    "dnsmos": Metric("speechmos", intrusive=False),
    "log_mel_distance": Metric("ecc-speech", distance=True),
}
LOWER_IS_BETTER: frozenset[str] = frozenset(
    name for name, metric in METRICS.items() if metric.distance
)
"""Metrics that are distances; of all others more is better."""


class ScoreConfig(Config):
    """The section `score` of `params.yaml`."""

    metrics: tuple[MetricName, ...] = ("pesq_wb", "visqol", "estoi")
    workers: Annotated[int, Field(ge=1)] = 2
    """Processes that encode, decode and score; no result depends on it."""
