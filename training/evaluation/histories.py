"""Histories of shoppers as sparse matrices: what the baselines count, and which items a shopper has seen."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from training.data.sequences import EncodedSequences


@dataclass(frozen=True)
class EarlierEvents:
    """Events before given rows, flat: one entry an event, most recent first within a row.

    Attributes:
        index: (E,) int64, which of the given rows the event belongs to.
        event: (E,) int64, row number of the event in the dataset.
        age: (E,) int64, 0 for the event just before the row, 1 for the one before that.
    """

    index: NDArray[np.int64]
    event: NDArray[np.int64]
    age: NDArray[np.int64]


def earlier_events(dataset: EncodedSequences, rows: NDArray[Any], last: int | None = None) -> EarlierEvents:
    """Returns the history of each row (see `dataset.same_time`), of all splits, at most the `last` latest events.

    Args:
        dataset: Encoded sequences; rows of one user are adjacent and `position` counts them from 0.
        rows: (B,) row numbers.
        last: How many events at most; None for all of them.
    """
    ends, counts = dataset.history_ends(rows), dataset.history_lengths(rows)
    if last is not None:
        counts = np.minimum(counts, last)
    index = np.repeat(np.arange(len(rows), dtype=np.int64), counts)
    starts = np.cumsum(counts) - counts
    age = np.arange(len(index), dtype=np.int64) - starts[index]
    return EarlierEvents(index, ends.astype(np.int64)[index] - 1 - age, age)


def history_matrix(
    dataset: EncodedSequences, rows: NDArray[Any], events: EarlierEvents, weights: NDArray[Any] | None = None
) -> sparse.csr_matrix:
    """Returns the (B, num_items) sum of the events' weights (1 each by default) by row and item."""
    values = np.ones(len(events.index)) if weights is None else weights
    shape = (len(rows), dataset.num_items)
    return sparse.csr_matrix((values, (events.index, dataset.item[events.event])), shape=shape)


def seen_mask(dataset: EncodedSequences, rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns (B, num_items) bool: items among all earlier events of the row's shopper, not only the latest ones."""
    events = earlier_events(dataset, rows)
    mask = np.zeros((len(rows), dataset.num_items), dtype=np.bool_)
    mask[events.index, dataset.item[events.event]] = True
    return mask


def training_events(dataset: EncodedSequences) -> NDArray[np.int64]:
    """Returns the row numbers of all training events, first events of their users included."""
    return np.flatnonzero(dataset.split == 0)
