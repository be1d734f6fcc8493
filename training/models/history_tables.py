"""What the candidate-history ranker knows of the items at a moment: statistics, groups, links by EASE.

Everything is computed from a `History`, so from purchases before its cut only, and is frozen into the graph. Tables
have a row for each id of the graph: row 0 is the unknown product, rows 1..I are the history's items.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from training.evaluation.purchases import SECONDS_PER_DAY, History, IntArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

LONG_AGO: Final = 400.0  # days; what never happened counts as this long ago
POPULARITY_DAYS: Final = (7, 21, 63, 400)
PRIOR_GAP: Final = 20.0  # gaps that a group's, and all items', mean weighs against an item's own
TREND_DAYS: Final = ((7, 28), (14, 84), (28, 84))
LIFT_BINS: Final = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)  # of decayed counts


@dataclass(frozen=True, eq=False)
class Links:
    """A sparse item-item matrix, row by row.

    Attributes:
        starts: (I + 2,) int64, first link of each id; the last entry is their number, L.
        targets: (L,) int64, id that a link goes to.
        weights: (L,) float32.
    """

    starts: IntArray
    targets: IntArray
    weights: Float32


@dataclass(frozen=True, eq=False)
class HistoryTables:
    """Tables of one moment.

    Attributes:
        item_names: Names of the item statistics.
        item: (I + 1, M) float32, the statistics.
        gap: (I + 1,) float32, mean days between a shopper's purchases of the item, shrunk to its group's.
        groups: Name to (I + 1,) int64, code of each item's group, 0 to the number of codes - 1.
        market: Name of the group to (I + 1,) float32, log share of the item in its group's recent purchases.
        links: EASE weights, from each item bought to the items that it speaks for or against.
    """

    item_names: tuple[str, ...]
    item: Float32
    gap: Float32
    groups: Mapping[str, IntArray]
    market: Mapping[str, Float32]
    links: "Links"

    @property
    def num_items(self) -> int:
        """Rows of every table, I + 1."""
        return len(self.gap)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Purchases and (shopper, item) pairs of a history, ages in days before the cut."""

    history: History
    item: IntArray  # of each purchase; an item counts once a basket
    age: Float64
    pair: IntArray  # number of the pair that a purchase belongs to
    pair_item: IntArray
    pair_user: IntArray
    days: IntArray  # different days of the pair
    first: Float64
    last: Float64

    @classmethod
    def of(cls, history: History) -> "_Pairs":
        rows = history.firsts
        user, item = history.user[rows], history.item[rows]
        # A basket that begins before an earlier moment counts as a whole, lines of after it too.
        age = np.maximum(history.before - history.time[rows], 0) / SECONDS_PER_DAY
        keys, pair = np.unique(user * history.num_items + item, return_inverse=True)
        first, last = np.zeros(len(keys)), np.full(len(keys), np.inf)
        np.maximum.at(first, pair, age)
        np.minimum.at(last, pair, age)
        span = int(age.max(initial=0.0)) + 2
        daily = np.unique(pair * span + np.floor(age).astype(np.int64)) // span
        days = np.bincount(daily, minlength=len(keys))
        return cls(history, item, age, pair, keys % history.num_items, keys // history.num_items, days, first, last)

    def count(self, below: float) -> Float64:
        """Returns (I,): purchases of each item less than `below` days ago."""
        return self.by_item(self.item[self.age < below])

    def by_item(self, items: IntArray, weights: NDArray[Any] | None = None) -> Float64:
        """Returns (I,): sum of the weights of each item."""
        return np.bincount(items, weights, self.history.num_items).astype(np.float64)


def history_tables(
    history: History, groups: Mapping[str, IntArray], regularization: float, neighbours: int
) -> HistoryTables:
    """Returns the tables of a history.

    Args:
        history: What is known.
        groups: Name to (I,) whole numbers, the group of each item of the history; negative for none.
        regularization: Lambda of EASE.
        neighbours: Items kept for each one, those with the largest absolute weight.

    Raises:
        ValueError: If a group does not have one number for each item.
    """
    codes = {name: _codes(name, values, history.num_items) for name, values in groups.items()}
    pairs = _Pairs.of(history)
    smallest = next(iter(codes.values()), np.zeros(history.num_items, np.int64))
    gap = _gaps(pairs, smallest)
    statistics = _item_statistics(pairs, gap)
    market: dict[str, Float32] = {}
    for name, code in codes.items():
        found = _group_statistics(pairs, code)
        market[name] = _with_unknown(found["share"]).astype(np.float32)
        statistics |= {f"{name}: {each}": value for each, value in found.items()}
    table = np.stack([_with_unknown(value) for value in statistics.values()], axis=1)
    return HistoryTables(
        item_names=tuple(statistics),
        item=table.astype(np.float32),
        gap=_with_unknown(gap).astype(np.float32),
        groups={name: np.concatenate([[0], code]) for name, code in codes.items()},
        market=market,
        links=ease_links(history, regularization, neighbours),
    )


def _with_unknown(values: Float64) -> Float64:
    return np.concatenate([[0.0], values])


def _codes(name: str, values: IntArray, num_items: int) -> IntArray:
    if values.shape != (num_items,) or values.dtype.kind not in "iu":
        raise ValueError(
            f"group {name!r} should have one whole number for each of {num_items} items. "
            f"Received: {values.dtype} of shape {values.shape}"
        )
    return np.unique(np.maximum(values, -1), return_inverse=True)[1].astype(np.int64)


def _gaps(pairs: _Pairs, group: IntArray) -> Float64:
    """Returns (I,) days; few gaps lean on the group's mean, and a small group's mean on that of all."""
    again = pairs.days > 1
    length = pairs.by_item(pairs.pair_item[again], (pairs.first - pairs.last)[again])
    number = pairs.by_item(pairs.pair_item[again], pairs.days[again] - 1)
    overall = length.sum() / number.sum() if number.sum() else LONG_AGO / 2
    of_group = (np.bincount(group, length) + PRIOR_GAP * overall) / (np.bincount(group, number) + PRIOR_GAP)
    return (length + PRIOR_GAP * of_group[group]) / (number + PRIOR_GAP)


def _item_statistics(pairs: _Pairs, gap: Float64) -> dict[str, Float64]:
    """Returns (I,) statistics by name; counts as log(1 + count), shares as logs with a little added."""
    history = pairs.history
    known_days = max((history.before - int(history.time.min(initial=history.before))) / SECONDS_PER_DAY, 1.0)
    found: dict[str, Float64] = {}
    for days in POPULARITY_DAYS:
        found[f"popularity {days}"] = np.log1p(pairs.count(days) * 21 / min(days, known_days))
    for short, long in ((7, 63), (21, 63), (63, 400)):
        found[f"trend {short}/{long}"] = found[f"popularity {short}"] - found[f"popularity {long}"]
    buyers = pairs.by_item(pairs.pair_item)
    repeated = pairs.by_item(pairs.pair_item, pairs.days > 1)
    found["buyers"] = np.log1p(buyers)
    found["repeat"] = (repeated + 3 * repeated.sum() / max(buyers.sum(), 1)) / (buyers + 3)
    found["per buyer"] = np.log((pairs.by_item(pairs.pair_item, pairs.days) + 3) / (buyers + 3))
    found["gap"] = np.log1p(gap)
    oldest, latest = np.zeros(history.num_items), np.full(history.num_items, LONG_AGO)
    np.maximum.at(oldest, pairs.item, pairs.age)
    np.minimum.at(latest, pairs.item, pairs.age)
    found["age"], found["last sold"] = np.log1p(oldest), np.log1p(latest)
    fresh, active = (pairs.by_item(pairs.pair_item, ages < 28) for ages in (pairs.first, pairs.last))
    found["new buyers"] = np.log1p(fresh)
    found["new buyers' share"] = np.log((fresh + 1) / (active + 3))
    for days in (7, 21):
        found[f"first bought {days}"] = np.log1p(pairs.by_item(pairs.pair_item, pairs.first < days))
    bought, expected = _repurchases(pairs)
    found["repurchase lift"] = np.log((bought + 5) / (expected + 5))
    return found


def _repurchases(pairs: _Pairs, days: int = 21) -> tuple[Float64, Float64]:
    """Returns (I,) pairs bought again in the last `days`, and how many their earlier counts promised on average.

    Only shoppers with a purchase in these days count.
    """
    earlier = pairs.age >= days
    count = np.bincount(pairs.pair[earlier], 0.5 ** ((pairs.age[earlier] - days) / 60), len(pairs.pair_item))
    here = np.bincount(pairs.pair_user[pairs.last < days], minlength=pairs.history.num_users) > 0
    some = (count > 0) & here[pairs.pair_user]
    again = (pairs.last < days)[some].astype(np.float64)
    place = np.digitize(count[some], LIFT_BINS)
    size = len(LIFT_BINS) + 1
    rate = (np.bincount(place, again, size) + 1) / (np.bincount(place, minlength=size) + 10)
    items = pairs.pair_item[some]
    return pairs.by_item(items, again), pairs.by_item(items, rate[place])


def _group_statistics(pairs: _Pairs, code: IntArray) -> dict[str, Float64]:
    """Returns (I,) statistics of the group of each item, and the item's share in it, by name."""
    sums = {days: np.bincount(code, pairs.count(days)) for days in (7, 14, 21, 28, 63, 84, 400)}
    found = {f"popularity {days}": np.log1p(sums[days])[code] for days in POPULARITY_DAYS}
    found["share"] = np.log((pairs.count(63) + 0.5) / (sums[63][code] + 5))
    for short, long in TREND_DAYS:
        of_all = [(sums[days] + 5) / max(sums[days].sum(), 1.0) for days in (short, long)]
        found[f"trend {short}/{long}"] = np.log(of_all[0] / of_all[1])[code]
    bought, expected = (np.bincount(code, each) for each in _repurchases(pairs))
    found["repurchase lift"] = np.log((bought + 5) / (expected + 5))[code]
    return found


def ease_links(history: History, regularization: float, neighbours: int) -> Links:
    """Returns EASE's weights, of which each item keeps those of the items that speak loudest for or against it.

    Source: Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019, eq. 8.

    Args:
        history: Which shopper bought which items.
        regularization: Lambda, above 0.
        neighbours: Weights kept for each item, by their absolute value.
    """
    bought = history.user_item()
    bought.data[:] = 1  # the constructor has summed repeats
    gram = np.asarray((bought.T @ bought).toarray(), np.float32)
    gram[np.diag_indices_from(gram)] += regularization
    # Single precision: the matrix is well conditioned by lambda, and half the time and memory count here.
    factor: Any = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    inverse: Float32 = cho_solve(factor, np.eye(len(gram), dtype=np.float32), overwrite_b=True, check_finite=False)
    weights = (inverse / -np.diag(inverse)).T  # row: the item scored
    np.fill_diagonal(weights, 0.0)
    count = min(neighbours, history.num_items)
    source = np.argpartition(-np.abs(weights), count - 1, axis=1)[:, :count]
    target = np.repeat(np.arange(history.num_items), count)
    order = np.lexsort((target, source.ravel()))
    starts = np.concatenate([[0, 0], np.cumsum(np.bincount(source.ravel(), minlength=history.num_items))])
    kept = np.take_along_axis(weights, source, axis=1).ravel()[order]
    return Links(starts, target[order] + 1, kept.astype(np.float32))
