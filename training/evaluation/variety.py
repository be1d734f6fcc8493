"""What is recommended rather than what is hit: coverage and concentration of the lists, novelty."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.metrics import FloatArray


@dataclass(frozen=True)
class Variety:
    """Figures of all lists of one method.

    Attributes:
        coverage: Share of the catalogue that is in at least one list.
        gini: 0 if all items are recommended equally often, near 1 if few items fill all lists.
        novelty: Mean over recommended items of -log2 of their share of the training events, in bits.
    """

    coverage: float
    gini: float
    novelty: float


def variety_of(recommended: NDArray[Any], events: NDArray[Any]) -> Variety:
    """Returns the figures of the lists.

    Args:
        recommended: (I,) in how many lists each item of the catalogue is.
        events: (I,) training events of each item; one without any counts as if it had one.

    Raises:
        ValueError: If the two are not of one length, or nothing is recommended.
    """
    if recommended.shape != events.shape or recommended.sum() <= 0:
        raise ValueError(
            "`recommended` and `events` should be of one length, with at least one item recommended. "
            f"Received: {recommended.shape}, {events.shape}, {recommended.sum()} recommended"
        )
    share = np.maximum(events, 1) / max(float(events.sum()), 1.0)
    novelty = float((recommended * -np.log2(share)).sum() / recommended.sum())
    return Variety(float((recommended > 0).mean()), gini(recommended), novelty)


def gini(counts: NDArray[Any]) -> float:
    """Returns the Gini coefficient of (I,) counts: 0 if all are equal, 1 - 1 / I if one has everything."""
    ordered = np.sort(counts).astype(np.float64)
    size = len(ordered)
    return float(((2 * np.arange(1, size + 1) - size - 1) * ordered).sum() / (size * ordered.sum()))


def top_lists(scores: FloatArray, candidates: NDArray[np.bool_], k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the rows and columns, flat, of the k best candidates of each row; fewer where there are fewer.

    Args:
        scores: (N, C), the larger the better.
        candidates: (N, C) or (1, C) bool, which columns may be recommended.
        k: Length of a list.
    """
    masked = np.where(candidates, scores, -np.inf)
    k = min(k, masked.shape[1])
    columns = np.argpartition(masked, -k, axis=1)[:, -k:]
    kept = np.take_along_axis(np.broadcast_to(candidates, masked.shape), columns, axis=1)
    return np.nonzero(kept)[0].astype(np.int64), columns[kept].astype(np.int64)
