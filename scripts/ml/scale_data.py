"""Interactions of any number for measuring at scale: drawn in one vectorised pass, written in parts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.data.columns import CATEGORY, INTERACTION_COLUMNS, ITEM, LABEL, TIMESTAMP, USER

START = 1_700_000_000
SECONDS = 365 * 86_400
CATEGORIES = 200
ACTIVITY_SPREAD = 1.2  # of the logarithm of users' activity: the busiest percent has a ninth of all interactions
POPULARITY_EXPONENT = 0.9  # of the products' rank
PART_ROWS = 1_000_000


def write_scale_data(
    folder: Path,
    interactions: int,
    users: int,
    products: int,
    rng: np.random.Generator,
    progress: Callable[[int], object] = lambda rows: None,
) -> None:
    """Writes exactly so many interactions (contract 2) as a folder of Parquet parts, by time as a log has them.

    Users are heavy-tailed (log-normal activity), products skewed (a power of their rank, whose order is random), times
    uniform over a year. Who buys what is independent: nothing can be learned from these rows.

    Args:
        folder: New folder.
        interactions: Rows.
        users: Users drawn from; the least active may occur in no row.
        products: Products drawn from.
        rng: Source of all randomness.
        progress: Told of rows as they are written.

    Raises:
        ValueError: If a number is not positive.
    """
    if min(interactions, users, products) < 1:
        raise ValueError(
            "`interactions`, `users` and `products` should be positive. "
            f"Received: {interactions}, {users} and {products}"
        )
    activity = np.cumsum(rng.lognormal(sigma=ACTIVITY_SPREAD, size=users))
    popularity = np.cumsum(np.arange(1, products + 1, dtype=float) ** -POPULARITY_EXPONENT)
    order = rng.permutation(products)
    names = {
        USER: pa.array([f"shopper-{number:07}" for number in range(users)]),
        ITEM: pa.array([f"product-{number:06}" for number in range(products)]),
        CATEGORY: pa.array([f"category {number % CATEGORIES}" for number in range(products)]),
    }
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, interactions, PART_ROWS)):
        end = min(start + PART_ROWS, interactions)
        rows = end - start
        product = pa.array(order[_drawn(popularity, rows, rng)])
        first, last = (START + SECONDS * place // interactions for place in (start, end))
        columns = {
            LABEL: pa.array(np.ones(rows, np.int64)),
            USER: names[USER].take(pa.array(_drawn(activity, rows, rng))),
            ITEM: names[ITEM].take(product),
            TIMESTAMP: pa.array(np.sort(rng.integers(first, max(last, first + 1), rows))),
            CATEGORY: names[CATEGORY].take(product),
        }
        table = pa.table({name: columns[name] for name in INTERACTION_COLUMNS})
        pq.write_table(table, folder / f"part-{number:05}.parquet", compression="zstd")
        progress(rows)


def _drawn(cumulated: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Returns places, each as likely as its share of the sum."""
    return np.searchsorted(cumulated, rng.random(rows) * cumulated[-1], side="right").clip(max=len(cumulated) - 1)
