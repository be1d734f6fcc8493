"""A small data set with histories of every length from 1 to 60, for tests of batches, network and trainer."""

from pathlib import Path

import numpy as np
import pandas as pd

from training.data.columns import INTERACTION_COLUMNS
from training.data.inventory import Inventory, inventory_from_records
from training.data.sequences import EncodedSequences, build_dataset, load_dataset

NUM_ITEMS = 100
DAY = 86_400


def small_interactions(num_users: int = 60, seed: int = 7) -> pd.DataFrame:
    """User u has u + 2 interactions, so the history of the last one has u + 1 events; some gaps are days long."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(num_users):
        count = user + 2 if user else 3
        items = rng.choice(NUM_ITEMS - 20, count, replace=True)
        gaps = rng.choice([30, 600, DAY, 9 * DAY], count)
        times = 1_700_000_000 + np.cumsum(gaps)
        rows += [(1, f"u{user:03d}", f"p{i}", int(t), f"c{i % 6}") for i, t in zip(items, times, strict=True)]
    return pd.DataFrame(rows, columns=list(INTERACTION_COLUMNS))


def small_dataset(folder: Path, num_users: int = 60) -> EncodedSequences:
    build_dataset(small_interactions(num_users), folder, rng_seed=1)
    return load_dataset(folder)


def small_inventory() -> Inventory:
    """All items of the interactions, and 20 that nobody ever touched."""
    return inventory_from_records(
        [
            {
                "id": f"gid://shopify/Product/{1000 + i}",
                "handle": f"p{i}",
                "title": f"Product {i}",
                "category": f"c{i % 6}",
            }
            for i in range(NUM_ITEMS)
        ]
    )
