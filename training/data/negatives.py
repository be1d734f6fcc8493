"""Negatives: offline ones for validation and test, in-batch ones for training; all vectorised.

Both draw a few candidates more than are needed, keep the first distinct admissible ones of each row, and settle the
few rows that came out short exactly, by ranking every admissible item by a random key.
"""

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
_CHUNK: Final = 1 << 16  # rows at a time: bounds the memory of the candidates
_DENSE_CELLS: Final = 1 << 24  # rows x items at a time where all items of a row are ranked


class NegativesError(ValueError):
    """There are not enough items to draw negatives from."""


class Touches(Protocol):
    """What offline negatives need of encoded sequences: who touched what, in all splits."""

    @property
    def user(self) -> Ids:
        """(N,) int32 user ids."""
        ...

    @property
    def item(self) -> Ids:
        """(N,) int32 item ids, 0 = unknown."""
        ...

    @property
    def num_items(self) -> int:
        """Size of the item vocabulary, the unknown item included."""
        ...


def sample_offline_negatives(
    dataset: Touches, rows: npt.NDArray[np.int64], num_negatives: int, rng: np.random.Generator
) -> Ids:
    """Draws, for each row, distinct items that the row's user never touched in any split, all equally likely.

    Args:
        dataset: Encoded sequences.
        rows: (n,) row numbers of the positives.
        num_negatives: Number of negatives for each row, k.
        rng: Source of randomness.

    Returns:
        (n, k) int32 item ids between 1 and num_items - 1.

    Raises:
        NegativesError: If a user has touched so many items that fewer than k are left.
    """
    if num_negatives < 0:
        raise ValueError(f"`num_negatives` should not be negative. Received: num_negatives = {num_negatives}")
    num_items = dataset.num_items
    known = dataset.item > 0
    touched = _sorted_distinct(dataset.user[known].astype(np.int64) * num_items + dataset.item[known])
    users = dataset.user[rows].astype(np.int64)
    _require_enough(dataset, touched, users, num_negatives)

    negatives = np.empty((len(rows), num_negatives), dtype=np.int32)
    if not num_negatives:
        return negatives
    for start in range(0, len(rows), _CHUNK):
        chunk = users[start : start + _CHUNK]
        candidates = rng.integers(1, num_items, size=(len(chunk), 2 * num_negatives + 8), dtype=np.int32)
        admissible = ~_contains(touched, chunk[:, None] * num_items + candidates)
        negatives[start : start + _CHUNK], found = _first_distinct(candidates, admissible, num_negatives)
        short = np.flatnonzero(found < num_negatives)
        step = max(1, _DENSE_CELLS // num_items)
        for first in range(0, len(short), step):
            some = short[first : first + step]
            keys = rng.random((len(some), num_items), dtype=np.float32)
            every_item = chunk[some][:, None] * num_items + np.arange(num_items)
            keys[_contains(touched, every_item)] = np.inf
            keys[:, 0] = np.inf
            negatives[start + some] = _smallest(keys, num_negatives)
    return negatives


def _require_enough(dataset: Touches, touched: npt.NDArray[np.int64], users: npt.NDArray[np.int64], k: int) -> None:
    counts = np.bincount(touched // dataset.num_items, minlength=int(users.max(initial=0)) + 1)
    left = dataset.num_items - 1 - counts[users]
    if not len(left) or left.min() >= k:
        return
    user = int(users[int(left.argmin())])
    short = len(np.unique(users[left < k]))
    raise NegativesError(
        f"A user should leave at least {k} items untouched to draw {k} negatives from. "
        f"Received: user {_name_of(dataset, user)} has touched {counts[user]} of {dataset.num_items - 1} items, which "
        f"leaves {left.min()} ({short} users are short of items). Ask for fewer negatives, or leave such users out"
    )


def _name_of(dataset: Touches, user: int) -> str:
    vocabularies: Any = getattr(dataset, "vocabularies", None)
    return repr(vocabularies["user"].decode([user])[0]) if vocabularies else f"with id {user}"


def sample_in_batch_negatives(
    positives: Ids,
    history: Ids,
    num_negatives: int,
    rng: np.random.Generator,
    *,
    num_items: int | None = None,
) -> Ids:
    """Draws, for each row, negatives from the positives of the other rows of the batch.

    A negative of a row is never 0 (unknown), the row's positive or an item of the row's history. The negatives of a
    row are distinct; items that are the positive of more rows are drawn more often, as in recommenders'
    `SequentialIterator`. Where a batch has fewer than k such items for a row, the rest are drawn from the whole
    catalogue (`num_items`), under the same conditions; where even that has fewer than k, they repeat in turn.

    Args:
        positives: (B,) int32 item ids.
        history: (B, T) int32 item ids, padded with 0.
        num_negatives: Number of negatives for each row, k.
        rng: Source of randomness.
        num_items: Size of the item vocabulary, 0 included. None: only items that occur in this batch are known.

    Returns:
        (B, k) int32 item ids.

    Raises:
        NegativesError: If a row has touched every item there is.
    """
    if num_negatives < 1:
        raise ValueError(f"`num_negatives` should be a positive integer. Received: num_negatives = {num_negatives}")
    negatives = np.zeros((len(positives), num_negatives), dtype=np.int32)
    found = np.zeros(len(positives), dtype=np.int64)
    pool = positives[positives > 0]
    if len(pool):
        candidates = pool[rng.integers(0, len(pool), size=(len(positives), 2 * num_negatives + 8))]  # (B, m)
        admissible = candidates != positives[:, None]
        admissible &= ~(history[:, :, None] == candidates[:, None, :]).any(axis=1)
        negatives, found = _first_distinct(candidates, admissible, num_negatives)
    short = np.flatnonzero(found < num_negatives)
    if len(short):
        size = num_items or 1 + int(max(positives.max(), history.max(initial=0)))
        step = max(1, _DENSE_CELLS // size)
        for start in range(0, len(short), step):
            some = short[start : start + step]
            negatives[some] = _rank_all(positives[some], history[some], pool, num_negatives, rng, size, num_items)
    return negatives


def _rank_all(
    positives: Ids,
    history: Ids,
    pool: Ids,
    num_negatives: int,
    rng: np.random.Generator,
    size: int,
    num_items: int | None,
) -> Ids:
    """Draws exactly what `sample_in_batch_negatives` promises, by a key for each of `size` items: smallest first."""
    weights = np.bincount(pool, minlength=size)
    in_batch = weights > 0
    # The k smallest of exponential times, each divided by a weight, are k draws without repetition by weight.
    keys = rng.standard_exponential((len(positives), size))  # (r, items); float32 would tie after the addition below
    keys[:, in_batch] /= weights[in_batch]
    keys[:, ~in_batch] += 1e6 if num_items else np.inf  # the catalogue comes after the batch
    keys[np.arange(len(positives)), positives] = np.inf
    np.put_along_axis(keys, history, np.inf, axis=1)
    keys[:, 0] = np.inf

    available = np.isfinite(keys).sum(axis=1)
    if not available.all():
        row = int(np.flatnonzero(available == 0)[0])
        raise NegativesError(
            "Every row of a batch should leave at least one item that is neither its positive nor in its history. "
            f"Received: a row with positive {positives[row]} and {len(np.unique(history[row][history[row] > 0]))} "
            f"items in its history, of {size - 1} items. Use a shorter history or a larger catalogue"
        )
    ranked = _smallest(keys, min(num_negatives, size))
    # Row by row: the first `available` are admissible; beyond them, start again from the first.
    turns = np.arange(num_negatives) % np.minimum(available, num_negatives)[:, None]
    return np.take_along_axis(ranked, turns, axis=1)


def _sorted_distinct(keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Does what `np.unique` does, ten times as fast on keys that are nearly sorted, as those of a dataset are."""
    ordered = np.sort(keys, kind="stable")
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def _contains(sorted_keys: npt.NDArray[np.int64], keys: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    if not len(sorted_keys):
        return np.zeros(keys.shape, dtype=bool)
    places = np.searchsorted(sorted_keys, keys)
    return sorted_keys[np.minimum(places, len(sorted_keys) - 1)] == keys


def _smallest(keys: npt.NDArray[np.floating[Any]], count: int) -> Ids:
    """Returns the columns of the `count` smallest keys of each row, smallest first, (n, count) int32."""
    columns = np.argpartition(keys, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(keys, columns, axis=1), axis=1)
    return np.take_along_axis(columns, order, axis=1).astype(np.int32)


def _first_distinct(
    candidates: Ids, admissible: npt.NDArray[np.bool_], count: int
) -> tuple[Ids, npt.NDArray[np.int64]]:
    """Returns the first `count` distinct admissible candidates of each row, and how many there are, up to `count`.

    Args:
        candidates: (n, m) int32.
        admissible: (n, m), which of them may be taken.
        count: Number to take, at most m.

    Returns:
        (n, count) int32, meaningful as far as (n,) int64 says.
    """
    order = np.argsort(candidates, axis=1, kind="stable")  # equal candidates keep their order: the first one counts
    ordered = np.take_along_axis(candidates, order, axis=1)
    repeated = np.zeros(candidates.shape, dtype=bool)
    np.put_along_axis(repeated, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    usable = admissible & ~repeated
    first = np.argsort(~usable, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(candidates, first, axis=1), np.minimum(usable.sum(axis=1), count)
