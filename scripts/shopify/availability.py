"""Whether a product can be bought now: the rule behind `available` of a snapshot's records.

A product can be bought where it is `ACTIVE` and one of its variants is `availableForSale`: its stock is not tracked or
not used up, or it is sold all the same (`inventoryPolicy: CONTINUE`). The product's own `tracksInventory` and
`totalInventory` cost nothing and need no scope besides `read_products`. Where they say that nothing is tracked, or that
there is stock in all, a variant can be bought; only where there is none in all are the variants asked for. With the
variants of every product a page of 250 would cost 233 points instead of 112.

What the rule does not see: at which location stock is (units in a shop that does not ship count), what a channel or a
market leaves out (publications, catalogues, regions), and what happens after reading: a snapshot is as old as its file.
https://shopify.dev/docs/api/admin-graphql/latest/objects/Product#field-Product.fields.totalInventory,
https://shopify.dev/docs/api/admin-graphql/latest/objects/ProductVariant#field-ProductVariant.fields.availableForSale
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tqdm import tqdm

from scripts.shopify.client import ShopifyClient

BATCH: Final = 50
"""Products asked for at a time: 12 points, and below the limit of 1,000 even if Shopify counted each of them."""


def has_no_stock(product: Mapping[str, Any]) -> bool:
    """Whether a product's stock is tracked and used up in all, so that only its variants tell if it can be bought.

    Args:
        product: As `read_products` yields it. Sold beyond its stock, its `totalInventory` is below zero.
    """
    return product["tracksInventory"] and product["totalInventory"] <= 0


def sold_without_stock(client: ShopifyClient, gids: Sequence[str], *, progress: bool = False) -> set[str]:
    """Returns which of these products have a variant that can be bought.

    Args:
        client: Client of the shop; needs `read_products`.
        gids: GIDs of products; one that was deleted meanwhile cannot be bought.
        progress: Show a progress bar on standard error.

    Raises:
        ShopifyError: The token may not read products, or Shopify does not answer.
    """
    found: set[str] = set()
    with tqdm(desc="without stock", unit="product", total=len(gids), disable=not (progress and gids)) as bar:
        for start in range(0, len(gids), BATCH):
            batch = list(gids[start : start + BATCH])
            nodes = client.execute("products_for_sale", {"ids": batch})["nodes"]
            found |= {product["id"] for product in nodes if product and _has_variant_for_sale(client, product)}
            bar.update(len(batch))
    return found


def _has_variant_for_sale(client: ShopifyClient, product: Mapping[str, Any]) -> bool:
    variants = product["variants"]
    while not any(variant["availableForSale"] for variant in variants["nodes"]):
        if not variants["pageInfo"]["hasNextPage"]:
            return False
        more = {"id": product["id"], "after": variants["pageInfo"]["endCursor"]}
        found = client.execute("product_variants", more)["product"]
        if found is None:  # deleted meanwhile
            return False
        variants = found["variants"]
    return True
