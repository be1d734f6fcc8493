"""Groups of items (category, brand) by the item numbers of `evaluate_future.read_purchases`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.data.columns import CATEGORY, ITEM
from training.data.interactions import read_interactions
from training.data.inventory import load_inventory

DEFAULT_GROUPS = (CATEGORY,)
JOIN = "+"  # maker+category: a group for each maker within each category
_HANDLE = "handle"


def read_groups(
    interactions: Path, groups: Sequence[str] = DEFAULT_GROUPS, items: Path | None = None
) -> dict[str, NDArray[np.int64]]:
    """Returns name to (N,) group number of each item, items in order of the alphabet as in `read_purchases`.

    Args:
        interactions: Interactions (contract 2).
        groups: Columns; several joined by "+" are one group for each combination. An item without a value is in none.
        items: Table of the items, Parquet with `item_handle` or an inventory snapshot (.json, .pkl) with `handle`;
            without it the columns are those of the interactions, and an item has the value it has most often there.

    Raises:
        ValueError: If a column is missing, or an item is in the table twice.
        OSError: If a file cannot be read.
    """
    names = [name for group in groups for name in group.split(JOIN)]
    lines = read_interactions(interactions).select(ITEM).collect()
    handles = np.unique(lines[ITEM].cast(pl.String).to_numpy().astype(np.str_))
    if items is None:
        table = _values_of_lines(interactions, names)
    elif items.suffix == ".parquet":
        table = pl.read_parquet(items)
    else:
        table = pl.DataFrame(list(load_inventory(items).products)).rename({_HANDLE: ITEM})
    missing = [name for name in (ITEM, *names) if name not in table.columns]
    if missing:
        raise ValueError(f"the table of items should have the columns of `groups`. Received: none called {missing}")
    table = table.select(pl.col(ITEM, *names).cast(pl.String))
    if table[ITEM].n_unique() < table.height:
        raise ValueError("the table of items should have each item once. Received: some of them twice")
    joined = pl.DataFrame({ITEM: handles}).join(table, on=ITEM, how="left", maintain_order="left")
    return {
        group: joined.select(
            pl.concat_str(group.split(JOIN), separator="\n").rank("dense").cast(pl.Int64).fill_null(0) - 1
        )
        .to_series()
        .to_numpy()
        for group in groups
    }


def _values_of_lines(interactions: Path, names: Sequence[str]) -> pl.DataFrame:
    """Returns each item with the value of each column that most of its lines have; ties go to the first in order."""
    wanted = list(dict.fromkeys((ITEM, *names)))
    if interactions.suffix == ".parquet":
        known = pl.read_parquet_schema(interactions)
        lines = pl.read_parquet(interactions, columns=[name for name in wanted if name in known])
    else:
        every = read_interactions(interactions).collect()
        lines = every.select([name for name in wanted if name in every.columns])
    found = [name for name in lines.columns if name != ITEM]
    return lines.group_by(ITEM).agg(pl.col(found).drop_nulls().mode().sort().first())
