"""Which product of an inventory a name in somebody's data means."""

import polars as pl

from training.data.columns import CATEGORY, ITEM
from training.data.inventory import UNCATEGORIZED, Inventory


def lookup_table(inventory: Inventory) -> pl.DataFrame:
    """Returns the names by which data may call a product: its handle, its GID and the number in the GID.

    A handle goes before a number: a product with the handle `12` is what `12` means, whatever another one's number is.

    Returns:
        Columns `name` (unique), `item_handle` and `item_category`.
    """
    handles = list(inventory.handles)
    ids = [record["id"] for record in inventory.products]
    names = [*handles, *ids, *(gid.rsplit("/", 1)[1] for gid in ids)]
    return pl.DataFrame(
        {
            "name": names,
            ITEM: handles * 3,
            CATEGORY: [inventory.category_of[handle] for handle in handles] * 3,
        }
    ).unique("name", keep="first", maintain_order=True)


def with_products(table: pl.DataFrame, inventory: Inventory | None) -> pl.DataFrame:
    """Gives the products in `item_handle` the handles and the categories that the inventory has for them.

    Args:
        table: With the text column `item_handle`; names that the inventory does not have stay as they are.
        inventory: None leaves all names as they are.

    Returns:
        The table, in its order, with `item_category` added or replaced: the inventory's, else what the table had, else
        `Uncategorized`.
    """
    own = pl.col(CATEGORY) if CATEGORY in table.columns else pl.lit(None, pl.String)
    if inventory is None:
        return table.with_columns(pl.coalesce(own, pl.lit(UNCATEGORIZED)).alias(CATEGORY))
    found = lookup_table(inventory).rename({ITEM: "_handle", CATEGORY: "_category"})
    return (
        table.join(found, left_on=ITEM, right_on="name", how="left", maintain_order="left")
        .with_columns(
            pl.coalesce("_handle", ITEM).alias(ITEM),
            pl.coalesce(pl.col("_category"), own, pl.lit(UNCATEGORIZED)).alias(CATEGORY),
        )
        .drop("_handle", "_category")
    )
