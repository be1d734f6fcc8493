"""A local shop with three products and two customers, whose orders the tests make."""

from pathlib import Path

from scripts.shopify.dev_store.orders import add_customer, add_order
from scripts.shopify.order_lines import iso_time, unix_seconds

SINCE = unix_seconds("2026-01-01")
FEB = unix_seconds("2026-02-01T12:00:00Z")
DAY = 86_400


class Shop:
    """Products hat (Clothing), sock (Clothing), ball (no type); customers ann and bob."""

    def __init__(self, store):
        self.store = store
        types = {"hat": "Clothing", "sock": "Clothing", "ball": ""}
        self.products = {
            handle: store.state.insert("Product", {"handle": handle, "title": handle, "productType": kind}, key=handle)
            for handle, kind in types.items()
        }
        self.customers = {name: add_customer(store)["id"] for name in ("ann", "bob")}

    def order(self, who, *lines, at=FEB, **fields):
        """Adds an order; a line is a handle, or a handle and fields, or None."""
        items = []
        for line in lines:
            handle, more = line if isinstance(line, tuple) else (line, {})
            items.append({"product": self.products[handle]["id"] if handle else None, **more})
        customer = self.customers[who] if who else None
        return add_order(self.store, customer=customer, processedAt=at, lineItems=items, **fields)

    def change(self, order, **fields):
        self.store.state.put(order | {"updatedAt": iso_time(int(self.store.clock()))} | fields)


def lines_of(path: Path):
    return [tuple(line.split("\t")) for line in path.read_text().splitlines()]
