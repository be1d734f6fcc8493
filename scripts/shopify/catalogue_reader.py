"""Reads all products of a shop, page by page or, of a large catalogue, in one bulk operation.

Both ways yield the same: oldest product first, the collections of each in the order in which they were made.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tqdm import tqdm

from scripts.shopify.bulk import bulk_query
from scripts.shopify.bulk_choice import Way
from scripts.shopify.client import ShopifyClient
from scripts.shopify.texts import gid_number

BULK_THRESHOLD: Final = 5_000
"""Products above which a bulk operation is used.

Twenty pages of 250 at about 100 points each fit the bucket of the Standard plan (2,000), so that up to here paging does
not wait and is done in seconds, while a bulk operation is queued first. Far above, paging would end at 25,000 objects.
"""


def read_products(
    client: ShopifyClient, *, bulk: Way = "auto", progress: bool = False, page_size: int = 250
) -> Iterator[dict[str, Any]]:
    """Yields every product of the shop, oldest first.

    Args:
        client: Client of the shop; needs `read_products`.
        bulk: Whether to use a bulk operation; `auto` does above `BULK_THRESHOLD` products.
        progress: Show a progress bar on standard error.
        page_size: Products a page, 1 to 250.

    Yields:
        Nodes of `products_page`, `collections.nodes` complete and in order of their numbers.

    Raises:
        ShopifyError: The token may not read products, or Shopify does not answer.
    """
    total = int(client.execute("products_count")["productsCount"]["count"])
    in_bulk = bulk == "always" or (bulk == "auto" and total > BULK_THRESHOLD)
    products = _in_bulk(client, progress) if in_bulk else _in_pages(client, page_size)
    for product in tqdm(products, desc="products", unit="product", total=total, disable=not progress):
        nodes = sorted(product["collections"]["nodes"], key=lambda node: gid_number(node["id"]))
        product["collections"] = {"nodes": nodes}
        yield product


def _in_pages(client: ShopifyClient, page_size: int) -> Iterator[dict[str, Any]]:
    for page in client.pages("products_page", "products", page_size=page_size):
        for product in page:
            if product["collections"]["pageInfo"]["hasNextPage"]:
                product["collections"]["nodes"] += _more_collections(client, product)
            yield product


def _more_collections(client: ShopifyClient, product: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Returns the collections of a product beyond those that its page shows."""
    info, nodes = product["collections"]["pageInfo"], []
    while info["hasNextPage"]:
        variables = {"id": product["id"], "first": 250, "after": info["endCursor"]}
        found = client.execute("product_collections", variables)["product"]
        if found is None:  # deleted meanwhile
            break
        nodes += found["collections"]["nodes"]
        info = found["collections"]["pageInfo"]
    return nodes


def _in_bulk(client: ShopifyClient, progress: bool) -> Iterator[dict[str, Any]]:
    with tqdm(desc="bulk operation", unit="object", disable=not progress) as bar:
        yield from bulk_query(client, "products_bulk", connections={"Collection": "collections"}, progress=bar)
