"""From orders as Shopify answers them to rows of what shoppers bought.

An order is left out as a whole where it is a test, was cancelled or has no customer (guests, most sales at a till); a
line where nothing of it is left after refunds and removals (`currentQuantity` 0), or where its product is gone or never
was one (custom items, tips). See https://shopify.dev/docs/api/admin-graphql/2026-10/objects/Order.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from scripts.shopify.shopper_ids import ShopperIds
from scripts.shopify.texts import gid_number
from training.data.columns import ITEM, TIMESTAMP, USER
from training.data.event_columns import QUANTITY

ORDER: Final = "order"
PRODUCT: Final = "product"
PRODUCT_TYPE: Final = "product_type"
LINE: Final = "line"

# Texts that repeat on many rows are held once each, so that a row takes some 80 bytes.
ROW_SCHEMA: Final = pl.Schema(
    {
        ORDER: pl.String,  # HMAC of the order's GID
        USER: pl.Categorical(),  # HMAC of the customer's GID
        PRODUCT: pl.Int64,  # number in the product's GID
        ITEM: pl.Categorical(),
        PRODUCT_TYPE: pl.Categorical(),
        TIMESTAMP: pl.Int64,  # processedAt, UNIX seconds
        LINE: pl.Int32,  # place within the order
        QUANTITY: pl.Int64,
    }
)
_CHUNK = 50_000  # rows gathered as Python objects before they become columns


@dataclass
class OrderCounts:
    """What was read, and what was left out of it; orders by the first reason that applies.

    `lines` are those of the orders that count: lines == rows + refunded + without_product + repeated.
    """

    orders: int = 0
    early: int = 0
    test: int = 0
    cancelled: int = 0
    guests: int = 0
    lines: int = 0
    refunded: int = 0
    without_product: int = 0
    repeated: int = 0
    rows: int = 0

    def summary(self) -> str:
        """Returns one line for people."""
        left_out = f"{self.test} test, {self.cancelled} cancelled, {self.guests} without a customer"
        early = f", {self.early} processed before --since" if self.early else ""
        return (
            f"{self.orders} orders read; left out {left_out}{early}; of {self.lines} lines left out {self.refunded} "
            f"refunded, {self.without_product} without a product, {self.repeated} joined with another of the same "
            "product"
        )


@dataclass(frozen=True)
class OrdersRead:
    """The outcome of one reading of orders.

    Attributes:
        rows: Columns of `ROW_SCHEMA`, in the order in which they were read.
        orders: Keys of all orders read, those without rows too.
        latest_update: The newest `updatedAt`, UNIX seconds; 0 where there were no orders.
        counts: What was read and left out.
    """

    rows: pl.DataFrame
    orders: pl.Series
    latest_update: int
    counts: OrderCounts


@dataclass
class _Rows:
    """Gathers tuples and turns them into columns chunk by chunk."""

    chunks: list[pl.DataFrame] = field(default_factory=list)
    waiting: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self.waiting.extend(rows)
        if len(self.waiting) >= _CHUNK:
            self.flush()

    def flush(self) -> None:
        self.chunks.append(pl.DataFrame(self.waiting, schema=ROW_SCHEMA, orient="row"))
        self.waiting.clear()

    def frame(self) -> pl.DataFrame:
        self.flush()
        return pl.concat(self.chunks)


def rows_of_orders(nodes: Iterable[Mapping[str, Any]], ids: ShopperIds, since: int = 0) -> OrdersRead:
    """Turns orders into rows, one an order and product, with the quantity that the shopper kept.

    Args:
        nodes: Orders as `queries/orders_bulk.graphql` selects them, lines under `lineItems.nodes`.
        ids: Makes the opaque ids.
        since: Orders processed before this moment, in UNIX seconds, are left out.

    Returns:
        Rows, keys and counts.
    """
    rows, counts, latest = _Rows(), OrderCounts(), 0
    keys: list[pl.Series] = []
    waiting: list[str] = []
    for node in nodes:
        key = ids.order_key_of(node["id"])
        waiting.append(key)
        if len(waiting) >= _CHUNK:
            keys.append(pl.Series(ORDER, waiting, pl.String))
            waiting = []
        latest = max(latest, unix_seconds(node["updatedAt"]))
        rows.add(_rows_of_order(node, key, ids, since, counts))
    keys.append(pl.Series(ORDER, waiting, pl.String))
    return OrdersRead(rows.frame(), pl.concat(keys), latest, counts)


def _rows_of_order(
    node: Mapping[str, Any], key: str, ids: ShopperIds, since: int, counts: OrderCounts
) -> Iterator[tuple[Any, ...]]:
    counts.orders += 1
    timestamp = unix_seconds(node["processedAt"])
    if timestamp < since:
        counts.early += 1
        return
    if node["test"]:
        counts.test += 1
        return
    if node["cancelledAt"] is not None:
        counts.cancelled += 1
        return
    if node["customer"] is None:
        counts.guests += 1
        return
    user = ids.user_id_of(node["customer"]["id"])
    bought: dict[int, list[Any]] = {}
    # A bulk query's lines come in any order; their numbers grow as they stand in the order.
    for line in sorted(node["lineItems"]["nodes"], key=lambda line: gid_number(line["id"])):
        counts.lines += 1
        if line["currentQuantity"] <= 0:
            counts.refunded += 1
        elif (product := line["product"]) is None:
            counts.without_product += 1
        elif (number := gid_number(product["id"])) in bought:
            counts.repeated += 1
            bought[number][-1] += line["currentQuantity"]
        else:
            bought[number] = [product["handle"], product["productType"] or "", line["currentQuantity"]]
    counts.rows += len(bought)
    for place, (number, (handle, product_type, quantity)) in enumerate(bought.items()):
        yield key, user, number, handle, product_type, timestamp, place, quantity


def unix_seconds(text: str) -> int:
    """Returns the UNIX seconds of a date or date and time in ISO 8601; UTC where it names no zone.

    Raises:
        ValueError: It is neither.
    """
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def iso_time(seconds: int) -> str:
    """Returns UNIX seconds as `2026-01-31T12:00:00Z`, the form that Shopify's search takes."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
