"""What the trials run on: an inventory of any size, recommendations, past orders; always the same."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scripts.shopify.dev_store import DevStore
from scripts.shopify.dev_store.past_orders import make_orders
from scripts.shopify.dev_store.state import gid
from scripts.shopify.dev_store.trial_run import Step
from scripts.shopify.inventory import catalogue_inventory
from training.data.inventory import Inventory, inventory_from_records, save_inventory

UNKNOWN_PRODUCT = gid("Product", 999_999_999)
ORDERS_UNTIL = 1_790_000_000.0
"""Moment of the newest past order, UNIX seconds: two shops that are compared have the same ones."""
_ORDERS = 400
_BATCH = 10_000


def inventory_of(num_products: int) -> Inventory:
    """Returns an inventory of so many products: the provided catalogue, and beyond it numbered variations."""
    catalogue = catalogue_inventory().products
    records: list[dict[str, Any]] = []
    for number in range(num_products):
        edition, place = divmod(number, len(catalogue))
        record = dict(catalogue[place])
        if edition:
            record |= {"title": f"{record['title']} No. {edition + 1}", "handle": f"{record['handle']}-{edition + 1}"}
        records.append(record | {"id": gid("Product", number + 1)})
    return inventory_from_records(records)


def recommendations(num_shoppers: int, num_products: int) -> Iterator[dict[str, Any]]:
    """Yields rows of recommendations for products 1 to `num_products`.

    Every fiftieth shopper has a product among them that the shop does not have, and every thousandth only that one.
    """
    for shopper in range(num_shoppers):
        items = [gid("Product", (7 * shopper + 13 * place) % num_products + 1) for place in range(16)]
        if shopper % 1000 == 999:
            items = [UNKNOWN_PRODUCT]
        elif shopper % 50 == 49:
            items[shopper % 16] = UNKNOWN_PRODUCT
        yield {"userId": f"shopper-{shopper}", "itemIds": list(dict.fromkeys(items))}


def write_inputs(folder: Path, *, num_products: int, num_shoppers: int) -> None:
    """Makes the folder, with inventory.json and recommendations.jsonl in it."""
    folder.mkdir(parents=True)
    save_inventory(inventory_of(num_products), folder / "inventory.json")
    lines = (json.dumps(row) + "\n" for row in recommendations(num_shoppers, num_products))
    (folder / "recommendations.jsonl").write_text("".join(lines), encoding="utf-8")


def write_parquet(path: Path, *, num_products: int, num_shoppers: int) -> None:
    """Writes recommendations as Parquet, a batch of shoppers at a time."""
    schema = pa.schema({"userId": pa.string(), "itemIds": pa.list_(pa.string())})
    rows = recommendations(num_shoppers, num_products)
    with pq.ParquetWriter(path, schema) as writer:
        while batch := list(islice(rows, _BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def prepare(store: DevStore, step: Step) -> None:
    """Puts into the shop what a step needs and no earlier one makes: past orders, always at the same moments."""
    if step.module == "export_orders":
        clock, store.clock = store.clock, lambda: ORDERS_UNTIL
        try:
            make_orders(store, catalogue_inventory(), orders=_ORDERS, seed=7)
        finally:
            store.clock = clock
