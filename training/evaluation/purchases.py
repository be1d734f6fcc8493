"""Purchases with baskets, and what is known of them before one moment.

A basket is a set: the lines of one basket have no order among themselves. Everything a ranker may learn from is a
`History`, which is made of purchases before the cut and of nothing else.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

IntArray = NDArray[np.int64]

SECONDS_PER_DAY: Final = 86_400
MIN_PURCHASES: Final = 50  # an item bought less often before the cut is no candidate


@dataclass(frozen=True, eq=False)
class Purchases:
    """Lines of purchases, in any order.

    Attributes:
        user: (R,) int64, any numbers.
        item: (R,) int64, any numbers.
        time: (R,) int64, seconds UTC.
        basket: (R,) int64, number of the basket; two shoppers may use the same number.
    """

    user: IntArray
    item: IntArray
    time: IntArray
    basket: IntArray

    def __post_init__(self) -> None:
        shapes = [column.shape for column in (self.user, self.item, self.time, self.basket)]
        if self.user.ndim != 1 or len(set(shapes)) != 1:
            raise ValueError(
                f"`user`, `item`, `time` and `basket` should be 1-dimensional and of one length. Received: {shapes}"
            )

    @classmethod
    def of(cls, user: Any, item: Any, time: Any, basket: Any = None) -> "Purchases":
        """Returns purchases from array-likes of whole numbers, pyarrow columns among them.

        Args:
            user: (R,) shopper of each line.
            item: (R,) item of each line.
            time: (R,) seconds UTC of each line.
            basket: (R,) basket of each line; without it, lines of one shopper at one time are one basket.

        Raises:
            ValueError: If the columns are not whole numbers, without gaps, of one length.
        """
        names = ("user", "item", "time", "basket")
        columns = [np.asarray(column) for column in (user, item, time, time if basket is None else basket)]
        for name, column in zip(names, columns, strict=True):
            if column.dtype.kind not in "iu" and len(column):
                raise ValueError(
                    f"`{name}` should hold whole numbers and no missing ones. Received: {column.dtype}. "
                    "Encode texts to numbers and drop missing values first"
                )
        return cls(*(column.astype(np.int64) for column in columns))

    def __len__(self) -> int:
        return len(self.user)

    def take(self, index: NDArray[Any]) -> "Purchases":
        """Returns the lines of `index` (positions or a boolean mask)."""
        return Purchases(self.user[index], self.item[index], self.time[index], self.basket[index])


@dataclass(frozen=True, eq=False)
class History:
    """All that is known at the cut: purchases of vocabulary items before it, with users and items as indices.

    Rows are sorted by (user, basket, item). All baskets count in `age` and `num_baskets`, those without a vocabulary
    item too; such a basket has no rows.

    Attributes:
        before: Seconds UTC; every row is earlier.
        user_ids: (U,) numbers of the shoppers with a purchase before the cut, sorted.
        item_ids: (I,) numbers of the vocabulary's items, sorted.
        user: (R,) index into `user_ids`.
        item: (R,) index into `item_ids`.
        time: (R,) seconds UTC.
        basket: (R,) number of the basket, counted over all shoppers, rising with (user, time).
        age: (R,) how many baskets ago for this shopper; 0 is the latest one.
        num_baskets: (U,) number of baskets of each shopper.
        basket_time: (B,) seconds UTC of the first line of each basket, by its number; those without rows too.
    """

    before: int
    user_ids: IntArray
    item_ids: IntArray
    user: IntArray
    item: IntArray
    time: IntArray
    basket: IntArray
    age: IntArray
    num_baskets: IntArray
    basket_time: IntArray

    @property
    def num_users(self) -> int:
        """Number of shoppers, U."""
        return len(self.user_ids)

    @property
    def num_items(self) -> int:
        """Number of items of the vocabulary, I."""
        return len(self.item_ids)

    @property
    def firsts(self) -> IntArray:
        """Rows without those that repeat an item within a basket: a basket is a set."""
        repeated = (np.diff(self.basket) == 0) & (np.diff(self.item) == 0)
        return np.flatnonzero(np.concatenate([[True], ~repeated])[: len(self.item)])

    def user_item(self, weights: NDArray[Any] | None = None, rows: NDArray[Any] | None = None) -> sparse.csr_matrix:
        """Returns (U, I) float64: the sum of the rows' weights for each shopper and item.

        Args:
            weights: (R,) weight of each row; 1 by default.
            rows: Rows to take part (positions or a mask); all by default.
        """
        values = np.ones(len(self.user)) if weights is None else np.asarray(weights, dtype=np.float64)
        index = slice(None) if rows is None else rows
        shape = (self.num_users, self.num_items)
        return sparse.csr_matrix((values[index], (self.user[index], self.item[index])), shape=shape)

    def basket_counts(self) -> sparse.csr_matrix:
        """Returns (U, I) float64: in how many baskets of the shopper the item was."""
        return self.user_item(rows=self.firsts)

    def popularity(self, since: int | None = None) -> NDArray[np.float64]:
        """Returns (I,) float64: number of rows of each item, at or after `since` if given."""
        rows = self.item if since is None else self.item[self.time >= since]
        return np.bincount(rows, minlength=self.num_items).astype(np.float64)


def history_before(purchases: Purchases, before: int, min_purchases: int = MIN_PURCHASES) -> History:
    """Returns what is known at the moment `before`.

    Args:
        purchases: All purchases; those at or after `before` change nothing.
        before: Seconds UTC.
        min_purchases: Lines an item needs before the cut to be in the vocabulary.

    Raises:
        ValueError: If no item is left, or `min_purchases` is not positive.
    """
    if min_purchases < 1:
        raise ValueError(f"`min_purchases` should be a positive integer. Received: min_purchases = {min_purchases}")
    known = purchases.take(purchases.time < before)
    item_ids, item_counts = np.unique(known.item, return_counts=True)
    item_ids = item_ids[item_counts >= min_purchases]
    if not len(item_ids):
        raise ValueError(
            f"`min_purchases` should leave at least one item before {before}. Received: min_purchases = "
            f"{min_purchases} and {len(known)} earlier lines; lower it or move the cut"
        )
    user_ids, user = np.unique(known.user, return_inverse=True)
    basket, basket_user, basket_time = _basket_order(user, known.time, known.basket)
    num_baskets = np.bincount(basket_user, minlength=len(user_ids))
    age = np.cumsum(num_baskets)[user] - 1 - basket  # baskets are numbered user by user
    item = np.minimum(np.searchsorted(item_ids, known.item), len(item_ids) - 1)
    rows = np.flatnonzero(item_ids[item] == known.item)
    rows = rows[np.lexsort((known.time[rows], item[rows], basket[rows]))]
    return History(
        before=before,
        user_ids=user_ids,
        item_ids=item_ids,
        user=user[rows],
        item=item[rows],
        time=known.time[rows],
        basket=basket[rows],
        age=age[rows],
        num_baskets=num_baskets,
        basket_time=basket_time,
    )


def _basket_order(user: IntArray, time: IntArray, basket: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Returns each row's basket number, rising with (user, first time of it), and each basket's user and first time."""
    order = np.lexsort((time, basket, user))
    starts = np.concatenate([[True], (np.diff(user[order]) != 0) | (np.diff(basket[order]) != 0)])[: len(order)]
    code = np.empty(len(order), dtype=np.int64)
    code[order] = np.cumsum(starts) - 1
    heads = order[starts]  # the earliest line of each basket
    by_time = np.lexsort((time[heads], user[heads]))
    number = np.empty(len(heads), dtype=np.int64)
    number[by_time] = np.arange(len(heads))
    return number[code], user[heads][by_time], time[heads][by_time]
