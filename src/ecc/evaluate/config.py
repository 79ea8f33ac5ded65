"""What shapes the evaluation. Kept apart so that reading `params.yaml` imports no metric."""

from typing import Annotated, Literal

from pydantic import Field

from ecc.config import Config

MetricName = Literal["pesq_wb", "visqol", "estoi", "dnsmos", "log_mel_distance"]

LOWER_IS_BETTER: frozenset[str] = frozenset({"log_mel_distance"})
"""Metrics that are distances; of all others more is better."""


class ScoreConfig(Config):
    """The section `score` of `params.yaml`."""

    metrics: tuple[MetricName, ...] = ("pesq_wb", "visqol", "estoi")
    workers: Annotated[int, Field(ge=1)] = 2
    """Processes that encode, decode and score; no result depends on it."""
