"""From rows of what shoppers bought to interactions (contract 2)."""

from typing import Final

import polars as pl

from scripts.shopify.order_lines import LINE, ORDER, PRODUCT, PRODUCT_TYPE
from scripts.shopify.texts import one_line
from training.data.columns import CATEGORY, INTERACTION_COLUMNS, ITEM, LABEL, TIMESTAMP, USER
from training.data.event_columns import KIND, QUANTITY
from training.data.inventory import UNCATEGORIZED, Inventory

PURCHASE: Final = "purchase"


def interactions_of_rows(
    rows: pl.DataFrame, since: int = 0, inventory: Inventory | None = None
) -> tuple[pl.DataFrame, int]:
    """Returns interactions and how many of their products the inventory does not have.

    A product is looked up in the inventory by its id, and has the handle and category that it has there; else by its
    handle, for a shop that was filled from that inventory. In neither case, or without an inventory, its category is
    its product type, or `Uncategorized`. All rows of one handle have one category.

    Args:
        rows: Columns of `order_lines.ROW_SCHEMA`, one handle and one type a product.
        since: Earliest moment, UNIX seconds.
        inventory: The snapshot that the model will be trained with.

    Returns:
        Columns `INTERACTION_COLUMNS`, `kind` and `quantity`, sorted by time; products of one order as they stand in it.
    """
    rows = rows.filter(pl.col(TIMESTAMP) >= since)
    by_id = {record["id"]: record for record in inventory.products} if inventory else {}
    category_of = dict(inventory.category_of) if inventory else {}
    products: list[tuple[int, str, str]] = []
    unknown = 0
    table = rows.select(PRODUCT, ITEM, PRODUCT_TYPE).unique(PRODUCT, keep="last", maintain_order=True)
    for number, handle, product_type in table.iter_rows():
        if (record := by_id.get(f"gid://shopify/Product/{number}")) is not None:
            handle = record["handle"]
        elif inventory is not None and handle not in inventory.category_of:
            unknown += 1
        category = category_of.setdefault(handle, one_line(product_type) or UNCATEGORIZED)
        products.append((number, handle, category))
    known = pl.DataFrame(products, schema={PRODUCT: pl.Int64, ITEM: pl.String, CATEGORY: pl.String}, orient="row")
    interactions = (
        rows.drop(ITEM, PRODUCT_TYPE)
        .join(known, on=PRODUCT, how="left")
        .sort(TIMESTAMP, ORDER, LINE)
        .with_columns(pl.lit(1, pl.Int64).alias(LABEL), pl.lit(PURCHASE).alias(KIND), pl.col(USER).cast(pl.String))
        .select(*INTERACTION_COLUMNS, KIND, QUANTITY)
    )
    return interactions, unknown
