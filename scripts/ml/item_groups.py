"""Groups of items (category, brand), by the item numbers of whoever asks: for evaluations and for fits alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.data.columns import CATEGORY, ITEM
from training.data.interactions import read_interactions
from training.data.inventory import Inventory, load_inventory

DEFAULT_GROUPS: Final = (CATEGORY,)
JOIN: Final = "+"  # maker+category: a group for each maker within each category
_OF_INVENTORY: Final = {CATEGORY: "category"}  # what interactions call otherwise


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
    names = _columns(groups)
    lines = read_interactions(interactions).select(ITEM).collect()
    handles = np.unique(lines[ITEM].cast(pl.String).to_numpy().astype(np.str_))
    if items is None:
        table = _values_of_lines(interactions, names)
    elif items.suffix == ".parquet":
        table = pl.read_parquet(items)
    else:
        table = _values_of_products(load_inventory(items), names)
    return _numbered(table, handles, groups)


def inventory_groups(
    inventory: Inventory, handles: Sequence[str], groups: Sequence[str] = DEFAULT_GROUPS
) -> dict[str, NDArray[np.int64]]:
    """Returns name to (N,) group number of each item, -1 where it has none.

    Args:
        inventory: Products with the attributes.
        handles: (N,) handle of each item, each once.
        groups: As in `read_groups`: attributes of the products.

    Raises:
        ValueError: If no product has such an attribute.
    """
    return _numbered(_values_of_products(inventory, _columns(groups)), handles, groups)


def _columns(groups: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group.split(JOIN)))


def _numbered(table: pl.DataFrame, handles: Any, groups: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    names = _columns(groups)
    missing = [name for name in (ITEM, *names) if name not in table.columns]
    if missing:
        raise ValueError(f"the table of items should have the columns of `groups`. Received: none called {missing}")
    table = table.select(pl.col(ITEM, *names).cast(pl.String))
    if table[ITEM].n_unique() < table.height:
        raise ValueError("the table of items should have each item once. Received: some of them twice")
    items = pl.DataFrame({ITEM: list(handles)}, schema={ITEM: pl.String})
    joined = items.join(table, on=ITEM, how="left", maintain_order="left")
    return {
        group: joined.select(
            pl.concat_str(group.split(JOIN), separator="\n").rank("dense").cast(pl.Int64).fill_null(0) - 1
        )
        .to_series()
        .to_numpy()
        for group in groups
    }


def _values_of_products(inventory: Inventory, names: Sequence[str]) -> pl.DataFrame:
    """Returns the products with those of the attributes that any of them has, as text."""
    columns: dict[str, list[str | None]] = {ITEM: [str(product["handle"]) for product in inventory.products]}
    for name in names:
        values = [product.get(name, product.get(_OF_INVENTORY.get(name, name))) for product in inventory.products]
        if any(value is not None for value in values):
            columns[name] = [None if value is None else str(value) for value in values]
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def _values_of_lines(interactions: Path, names: Sequence[str]) -> pl.DataFrame:
    """Returns each item with the value of each column that most of its lines have; ties go to the first in order."""
    wanted = [ITEM, *(name for name in names if name != ITEM)]
    if interactions.suffix == ".parquet":
        known = pl.read_parquet_schema(interactions)
        lines = pl.read_parquet(interactions, columns=[name for name in wanted if name in known])
    else:
        every = read_interactions(interactions).collect()
        lines = every.select([name for name in wanted if name in every.columns])
    found = [name for name in lines.columns if name != ITEM]
    return lines.group_by(ITEM).agg(pl.col(found).drop_nulls().mode().sort().first())
