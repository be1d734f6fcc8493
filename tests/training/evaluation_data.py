"""Tiny encoded sequences from literal lists, for the tests of metrics, protocols and baselines."""

from collections.abc import Mapping, Sequence

import numpy as np

from training.data.sequences import EncodedSequences
from training.data.vocabulary import Vocabulary

HOUR = 3600


def vocabulary(size: int, counts: np.ndarray | None = None) -> Vocabulary:
    counted = np.zeros(size, np.int64) if counts is None else counts.astype(np.int64)
    return Vocabulary(np.array(["", *(f"v{number}" for number in range(1, size))]), counted)


def encoded(
    histories: Sequence[Sequence[int]],
    num_items: int,
    times: Sequence[Sequence[int]] | None = None,
    negatives: Mapping[str, Sequence[Sequence[int]]] | None = None,
) -> EncodedSequences:
    """One list of item ids a user (from user 1); last = test, last but one = valid from 3 events on; an hour apart."""
    lengths = [len(history) for history in histories]
    position = np.concatenate([np.arange(length) for length in lengths])
    left = np.concatenate([np.arange(length)[::-1] for length in lengths])
    long = np.repeat([length >= 3 for length in lengths], lengths)
    split = np.where(long & (left == 0), 2, np.where(long & (left == 1), 1, 0))
    item = np.concatenate([np.asarray(history) for history in histories]).astype(np.int32)
    clock = np.concatenate([np.asarray(time) for time in times]) if times is not None else position * HOUR
    counts = np.bincount(item[split == 0], minlength=num_items)
    counts[0] = 0
    given = negatives or {}
    empty = {name: np.ones((int(((split == n) & (position > 0)).sum()), 2)) for name, n in (("valid", 1), ("test", 2))}
    return EncodedSequences(
        user=np.repeat(np.arange(1, len(histories) + 1), lengths).astype(np.int32),
        item=item,
        category=np.zeros(len(item), np.int32),
        timestamp=clock.astype(np.int64),
        position=position.astype(np.int32),
        split=split.astype(np.int8),
        vocabularies={
            "user": vocabulary(len(histories) + 1),
            "item": vocabulary(num_items, counts),
            "category": vocabulary(1),
        },
        item_category=np.zeros(num_items, np.int32),
        negatives={name: np.asarray(given.get(name, empty[name]), np.int32) for name in empty},
        metadata={"fingerprint": "abc"},
    )


class Fixed:
    """Ranker that gives the same scores to every row."""

    def __init__(self, scores: Sequence[float], name: str = "fixed"):
        self.scores = np.asarray(scores, np.float64)
        self.name = name

    def score(self, dataset: EncodedSequences, rows: np.ndarray) -> np.ndarray:
        return np.tile(self.scores, (len(rows), 1))
