"""Choice of a baseline's settings on the validation split, the same way for every baseline."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from training.data.sequences import EncodedSequences
from training.evaluation.metrics import FloatArray
from training.evaluation.protocol import Seen, evaluation_rows, primary_metric, rank_rows

MAX_TUNING_ROWS: Final = 2000  # NDCG@10 is then known to about 0.01, closer than two grid points differ in use


class Baseline(Protocol):
    """A ranker that knows the settings it runs with."""

    @property
    def name(self) -> str:
        """Name of the method in tables."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings that were chosen, empty if the method has none."""
        ...

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64], /) -> FloatArray:
        """Returns (len(rows), num_items) scores, as every `Ranker`."""
        ...


def tuning_rows(dataset: EncodedSequences, seen: Seen, max_rows: int = MAX_TUNING_ROWS) -> NDArray[np.int64]:
    """Returns the validation rows to tune on, at most `max_rows` of them, evenly spaced."""
    rows = evaluation_rows(dataset, "valid", seen)
    if len(rows) <= max_rows:
        return rows
    return rows[np.linspace(0, len(rows) - 1, max_rows).astype(np.int64)]


def tune(
    candidates: Iterable[Callable[[], Baseline]], dataset: EncodedSequences, rows: NDArray[np.int64], seen: Seen
) -> Baseline:
    """Returns the candidate with the highest full-ranking NDCG@10 on the given rows; the first one on a tie.

    Args:
        candidates: Makers of the same method with other settings, called one at a time; the first is the default.
        dataset: Encoded sequences.
        rows: From `tuning_rows`; if there is none, the first candidate is taken.
        seen: Protocol to tune for: whether seen items stay in the ranking.

    Raises:
        ValueError: If there is no candidate.
    """
    best: Baseline | None = None
    best_value = -np.inf
    for make in candidates:
        ranker = make()
        if not len(rows):
            return ranker
        value = float(primary_metric(rank_rows(ranker, dataset, rows, seen=seen)).mean())
        if value > best_value:
            best, best_value = ranker, value
    if best is None:
        raise ValueError("`candidates` should hold at least one. Received: none")
    return best
