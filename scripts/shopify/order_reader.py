"""Reads orders: a few page by page, many by a bulk operation."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tqdm import tqdm

from scripts.shopify.answers import ShopifyError
from scripts.shopify.bulk import bulk_query
from scripts.shopify.bulk_choice import Way
from scripts.shopify.client import ShopifyClient

BULK_ABOVE: Final = 400
"""Orders up to which they are read page by page: 16 pages of 110 points fit into the full bucket of the smallest plan
(2,000 points), and are there before a bulk operation has started."""
PAGE_SIZE: Final = 25


def read_orders(
    client: ShopifyClient, query: str, *, bulk: Way = "auto", progress: bool = False
) -> Iterator[dict[str, Any]]:
    """Yields the orders that a search finds, each once, with all its lines.

    Nothing of a customer is asked for but the id.

    Args:
        client: Client of the shop; needs `read_orders`, `read_customers` and `read_products`.
        query: Search term, such as `updated_at:>='2026-01-01T00:00:00Z'`.
        bulk: Whether to use a bulk operation; `auto` does above `BULK_ABOVE` orders.
        progress: Show progress bars on standard error.

    Yields:
        Orders as `queries/orders_bulk.graphql` selects them, lines under `lineItems.nodes`.

    Raises:
        ShopifyError: The token may not read orders, or Shopify does not answer.
    """
    total = int(client.execute("orders_count", {"query": query})["ordersCount"]["count"])
    in_bulk = bulk == "always" or (bulk == "auto" and total > BULK_ABOVE)
    orders = _in_bulk(client, query, progress) if in_bulk else _in_pages(client, query)
    yield from tqdm(orders, desc="orders", unit="order", total=total, disable=not progress)


def _in_bulk(client: ShopifyClient, query: str, progress: bool) -> Iterator[dict[str, Any]]:
    with tqdm(desc="bulk operation", unit="object", disable=not progress) as bar:
        yield from bulk_query(
            client, "orders_bulk", {"query": query}, connections={"LineItem": "lineItems"}, progress=bar
        )


def _in_pages(client: ShopifyClient, query: str) -> Iterator[dict[str, Any]]:
    for page in client.pages("orders_page", "orders", {"query": query}, page_size=PAGE_SIZE):
        for order in page:
            order["lineItems"]["nodes"] += _more_lines(client, order)
            yield order


def _more_lines(client: ShopifyClient, order: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the lines of an order beyond those that its page shows."""
    info, nodes = order["lineItems"]["pageInfo"], []
    while info["hasNextPage"]:
        found = client.execute("order_line_items", {"id": order["id"], "after": info["endCursor"]})["order"]
        if found is None:
            raise ShopifyError(f"{order['id']} was deleted while it was read; start again")
        nodes += found["lineItems"]["nodes"]
        info = found["lineItems"]["pageInfo"]
    return nodes
