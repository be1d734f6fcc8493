"""Paired bootstrap: whether one ranker's lead over another is more than luck of the test rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from training.evaluation.metrics import FloatArray, Metric, Ranks

SAMPLES: Final = 2000


@dataclass(frozen=True)
class Lead:
    """Lead of ranker a over ranker b on the same rows, with 95 % intervals.

    Attributes:
        difference: Mean of a minus mean of b.
        low: Lower end of the interval of the difference.
        high: Upper end of the interval of the difference.
        relative: Difference divided by the mean of b; None where that mean is 0.
        relative_low: Lower end of the interval of the relative lead.
        relative_high: Upper end of the interval of the relative lead.
    """

    difference: float
    low: float
    high: float
    relative: float | None
    relative_low: float | None
    relative_high: float | None

    @property
    def is_real(self) -> bool:
        """Whether the whole interval of the difference lies above 0."""
        return self.low > 0


def paired_bootstrap(
    ranks_a: Ranks,
    ranks_b: Ranks,
    metric: Metric,
    rng: np.random.Generator,
    samples: int = SAMPLES,
    level: float = 0.95,
) -> Lead:
    """Resamples rows with replacement, the same ones for both rankers, and returns the percentile interval of the lead.

    Source: Efron and Tibshirani, "An introduction to the bootstrap" (1993), chapter 13; paired as in Sakai, SIGIR 2006.

    Args:
        ranks_a: Ranks of the one ranker.
        ranks_b: Ranks of the other, of the same rows in the same order.
        metric: Ranks to a value for each row, such as `protocol.primary_metric`.
        rng: Source of the resamples.
        samples: Number of resamples.
        level: Coverage of the interval.

    Raises:
        ValueError: If the two do not have the same number of rows, at least one.
    """
    if len(ranks_a) != len(ranks_b) or not len(ranks_a):
        raise ValueError(
            "`ranks_a` and `ranks_b` should be of the same rows, at least one. "
            f"Received: {len(ranks_a)} and {len(ranks_b)}"
        )
    values = np.stack([metric(ranks_a), metric(ranks_b)], axis=1)  # (N, 2)
    rows = len(values)
    chunk = max(1, 4_000_000 // rows)
    means = np.concatenate(
        [
            values[rng.integers(rows, size=(min(chunk, samples - start), rows))].mean(axis=1)
            for start in range(0, samples, chunk)
        ]
    )  # (samples, 2)
    mean_a, mean_b = (float(value) for value in values.mean(axis=0))
    return lead_of(mean_a, mean_b, means[:, 0], means[:, 1], level)


def bootstrap_means(
    values: Mapping[str, FloatArray], rng: np.random.Generator, samples: int = SAMPLES
) -> dict[str, FloatArray]:
    """Returns the mean of each array over the same resamples of shoppers, so that differences are paired.

    Source: Efron and Tibshirani, "An introduction to the bootstrap" (1993), chapter 13; paired as in Sakai, SIGIR 2006.

    Args:
        values: Name to (N,) values of the same shoppers.
        rng: Source of the resamples.
        samples: Number of resamples.

    Returns:
        Name to (samples,) means.

    Raises:
        ValueError: If the arrays are not of one length, at least 1.
    """
    lengths = {len(value) for value in values.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"`values` should be of the same shoppers, at least one. Received: lengths {sorted(lengths)}")
    count = lengths.pop()
    table = np.stack(list(values.values()), axis=1)  # (N, M)
    chunk = max(1, 4_000_000 // count)
    means = np.concatenate(
        [
            rng.multinomial(count, np.full(count, 1 / count), size=min(chunk, samples - start)) @ table / count
            for start in range(0, samples, chunk)
        ]
    )
    return {name: means[:, place] for place, name in enumerate(values)}


def interval(values: FloatArray, level: float = 0.95) -> tuple[float, float]:
    """Returns the percentile interval of (samples,) values with this coverage."""
    low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def lead_of(mean_a: float, mean_b: float, means_a: FloatArray, means_b: FloatArray, level: float = 0.95) -> Lead:
    """Returns the lead of a over b.

    Args:
        mean_a: Mean of a.
        mean_b: Mean of b.
        means_a: (samples,) means of a over resamples.
        means_b: (samples,) means of b over the same resamples.
        level: Coverage of the intervals.
    """
    low, high = interval(means_a - means_b, level)
    if mean_b == 0 or (means_b == 0).any():
        return Lead(mean_a - mean_b, low, high, None, None, None)
    return Lead(mean_a - mean_b, low, high, mean_a / mean_b - 1, *interval(means_a / means_b - 1, level))
