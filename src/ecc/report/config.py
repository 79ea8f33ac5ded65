"""The section `report` of `params.yaml`."""

from pydantic import Field, PositiveFloat

from ecc.config import Config
from ecc.evaluate.config import MetricName


class Target(Config):
    """Something that `codec` was meant to reach on each of `test_sets`, or on all of the study."""

    codec: str
    test_sets: tuple[str, ...] | None = None


class RateTarget(Target):
    """A BD-rate against another codec, in percent, of each metric: that or less."""

    against: str
    bd_rate: dict[MetricName, float]


class QualityTarget(Target):
    """A quality at a rate, of each metric: that or better."""

    kbps: PositiveFloat
    quality: dict[MetricName, float]


class GapTarget(Target):
    """A quality at a rate, of each metric that scores the references too: no further below theirs
    than that."""

    kbps: PositiveFloat
    below_reference: dict[MetricName, float]


class LeadTarget(Target):
    """More quality at equal rate than another codec, or all codecs of a kind (conventional,
    neural), has at any of its points below a rate."""

    ahead_of: str
    below_kbps: PositiveFloat
    metrics: tuple[MetricName, ...]


AnyTarget = RateTarget | QualityTarget | GapTarget | LeadTarget


class Report(Config):
    """How scores become a report."""

    codec: str = "ecc"
    """The codec under study: drawn in front, and compared with every other one."""
    bootstrap: int = Field(default=1000, ge=100, le=100_000)
    """Resamples of the speakers for each interval."""
    seed: int = Field(default=0, ge=0)
    min_overlap: float = Field(default=0.5, ge=0, le=1)
    """A BD-rate over less than this share of the two quality ranges is not given."""
    matched_kbps: tuple[PositiveFloat, ...] = (0.8, 1.2, 2.0, 3.2, 6.0)
    """Rates at which the codecs' qualities are interpolated."""
    beside: tuple[str, ...] = ()
    """Codecs that the summary shows beside `codec` and the best conventional one."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Codecs that are compared besides: the first of each pair against the second."""
    paper: tuple[str, ...] = ()
    """Codecs against which `codec` is set beside the paper's figures against its own anchor."""
    runs: dict[str, str] = Field(default_factory=dict)
    """Other long runs of `codec` in reports/runs/, and what sets each apart."""
    targets: tuple[AnyTarget, ...] = ()
    """What was to be reached: the report says by how much it was missed."""
