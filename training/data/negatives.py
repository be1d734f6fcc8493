"""Negatives: offline ones for validation and test, in-batch ones for training; all vectorised.

Both draw a few candidates more than are needed, keep the first distinct admissible ones of each row, and settle the
few rows that came out short exactly, by ranking every admissible item by a random key.
"""

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
_CHUNK: Final = 1 << 16  # rows at a time: bounds the memory of the candidates
_DENSE_CELLS: Final = 1 << 24  # rows x items at a time where all items of a row are ranked, users x items in a table
_TABLE_ITEMS: Final = 1 << 14  # above it, a search for each candidate costs less than a row of all items


class NegativesError(ValueError):
    """There are not enough items to draw negatives from."""


class Touches(Protocol):
    """What offline negatives need of encoded sequences: who touched what, in all splits."""

    @property
    def user(self) -> Ids:
        """(N,) int32 user ids, ascending."""
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
    users = dataset.user[rows]
    _require_enough(dataset, users, num_negatives)
    negatives = np.empty((len(rows), num_negatives), dtype=np.int32)
    if not num_negatives:
        return negatives
    num_items = dataset.num_items
    touches = _Touched(dataset)
    for start in range(0, len(rows), _CHUNK):
        chunk = users[start : start + _CHUNK]
        candidates = rng.integers(1, num_items, size=(len(chunk), 2 * num_negatives + 8), dtype=np.int32)
        drawn, found = _first_distinct(candidates, ~touches.contain(chunk, candidates), num_negatives)
        short = np.flatnonzero(found < num_negatives)
        step = max(1, _DENSE_CELLS // num_items)
        for first in range(0, len(short), step):
            some = short[first : first + step]
            keys = rng.random((len(some), num_items), dtype=np.float32)
            every_item = np.broadcast_to(np.arange(num_items, dtype=np.int32), keys.shape)
            keys[touches.contain(chunk[some], every_item)] = np.inf
            keys[:, 0] = np.inf
            drawn[some] = _smallest(keys, num_negatives)
        negatives[start : start + _CHUNK] = drawn
    return negatives


class _Touched:
    """Says which items users have touched: from a table of some users' items, or where items are many, by search."""

    def __init__(self, dataset: Touches) -> None:
        self._dataset = dataset
        self._keys = _keys(dataset) if dataset.num_items > _TABLE_ITEMS else None

    def contain(self, users: Ids, items: Ids) -> npt.NDArray[np.bool_]:
        """Returns (n, m), whether each of `users` (n,) has touched each of its `items` (n, m)."""
        num_items = self._dataset.num_items
        if self._keys is not None:
            return _contains(self._keys, users.astype(np.int64)[:, None] * num_items + items)
        answer = np.empty(items.shape, dtype=bool)
        step = max(1, _DENSE_CELLS // num_items)
        order = np.argsort(users, kind="stable")
        sorted_users = users[order]
        start = 0
        while start < len(order):
            lowest = int(sorted_users[start])
            end = int(np.searchsorted(sorted_users, lowest + step))
            first, last = np.searchsorted(self._dataset.user, [lowest, sorted_users[end - 1] + 1])
            table = np.zeros((int(sorted_users[end - 1]) + 1 - lowest) * num_items, dtype=bool)
            table[(self._dataset.user[first:last] - lowest) * num_items + self._dataset.item[first:last]] = True
            some = order[start:end]
            answer[some] = table[(users[some, None] - lowest) * num_items + items[some]]
            start = end
        return answer


def _keys(dataset: Touches, among: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.int64]:
    """Returns user * num_items + item of what is known to be touched, sorted and distinct; `among` selects rows."""
    known = dataset.item > 0 if among is None else (dataset.item > 0) & among
    return _sorted_distinct(dataset.user[known].astype(np.int64) * dataset.num_items + dataset.item[known])


def _require_enough(dataset: Touches, users: Ids, k: int) -> None:
    if not len(users):
        return
    events = np.bincount(dataset.user, minlength=int(users.max()) + 1)
    many = events > dataset.num_items - 1 - k  # only they can have touched too many different items
    if not many[users].any():
        return
    counts = np.bincount(_keys(dataset, many[dataset.user]) // dataset.num_items, minlength=len(events))
    left = dataset.num_items - 1 - counts[users]
    if left.min() >= k:
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

    Column by column, which is faster than sorting where there are many rows.

    Args:
        candidates: (n, m) int32, never 0.
        admissible: (n, m), which of them may be taken.
        count: Number to take, at most m.

    Returns:
        (n, count) int32, meaningful as far as (n,) int64 says.
    """
    taken = np.zeros((count, len(candidates)), dtype=np.int32)
    found = np.zeros(len(candidates), dtype=np.int64)
    for column, usable in zip(np.ascontiguousarray(candidates.T), np.ascontiguousarray(admissible.T), strict=True):
        new = usable & (found < count)
        for earlier in taken:
            new &= earlier != column
        rows = np.flatnonzero(new)
        taken[found[rows], rows] = column[rows]
        found[rows] += 1
    return np.ascontiguousarray(taken.T), found
