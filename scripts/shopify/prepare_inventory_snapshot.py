"""Saves the inventory of a shop as a snapshot file, with vendor, type, tags, price and collections as attributes.

    python -m scripts.shopify.prepare_inventory_snapshot PATH [--category-from collections|product_type] [--dry-run]

A product in several collections gets the one made first, with a warning; the shop's automatic ones (Home page, All) do
not count. A product in none gets its product type, and without that `Uncategorized`, with a warning. PATH is replaced
only when all products have been read.
"""

import argparse
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tqdm import tqdm

from scripts.shopify.answers import ShopifyError
from scripts.shopify.client import ShopifyClient
from scripts.shopify.populate_inventory import MARK_TAG
from scripts.shopify.settings import Settings, SettingsError
from training.data.inventory import InventoryError, InventoryWarning, inventory_from_records, save_inventory

AUTOMATIC_COLLECTIONS = frozenset({"frontpage", "all"})
"""Handles of collections that every shop has and that say nothing about a product."""


def read_products(client: ShopifyClient, *, progress: bool = False, page_size: int = 250) -> Iterator[dict[str, Any]]:
    """Yields every product of the shop, oldest first, as the document `products_page` selects it.

    Args:
        client: Client of the shop.
        progress: Show a progress bar on standard error.
        page_size: Products a request, 1 to 250.

    Raises:
        ShopifyError: The token may not read products, or Shopify does not answer.
    """
    with tqdm(desc="products", unit="product", disable=not progress) as bar:
        for page in client.pages("products_page", "products", page_size=page_size):
            yield from page
            bar.update(len(page))


def product_record(product: Mapping[str, Any], category_from: str = "collections") -> dict[str, Any]:
    """Returns the inventory record of a product.

    Args:
        product: Node of `products_page`.
        category_from: `collections` (else the product type) or `product_type` (else collections).

    Returns:
        Record `{id, handle, title, category, price, vendor, product_type, status, tags, collections}`; `category` is
        missing where `inventory_from_records` has to choose one of the collections. Of a product that
        `populate_inventory` made, tags `name:value` become attributes again.
    """
    collections = [
        _one_line(node["title"])
        for node in product["collections"]["nodes"]
        if node["handle"] not in AUTOMATIC_COLLECTIONS
    ]
    product_type = _one_line(product["productType"])
    tags, attributes = list(product["tags"]), {}
    if MARK_TAG in tags:
        attributes = dict(tag.split(":", 1) for tag in tags if ":" in tag)
        tags = [tag for tag in tags if ":" not in tag and tag != MARK_TAG]
    record = attributes | {
        "id": product["id"],
        "handle": product["handle"],
        "title": _one_line(product["title"]),
        "price": str(Decimal(product["priceRangeV2"]["minVariantPrice"]["amount"]).quantize(Decimal("0.01"))),
        "vendor": product["vendor"],
        "product_type": product_type,
        "status": product["status"],
        "tags": tags,
        "collections": collections,
    }
    if product_type and (category_from == "product_type" or not collections):
        record["category"] = product_type
    return record


def _one_line(text: str) -> str:
    return re.sub(r"[\x00-\x1f]+", " ", text).strip()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 where the snapshot was written."""
    parser = argparse.ArgumentParser(description="Save the inventory of a shop as a snapshot file.")
    parser.add_argument("path", help="file to write, .pkl or .json")
    parser.add_argument("--category-from", choices=("collections", "product_type"), default="collections")
    parser.add_argument("--active-only", action="store_true", help="leave out drafts and archived products")
    parser.add_argument("--dry-run", action="store_true", help="read everything, write nothing")
    arguments = parser.parse_args(argv)
    try:
        with ShopifyClient(Settings.from_environment()) as client:
            shop = client.require_scopes("read_products")
            products = read_products(client, progress=True)
            records = [product_record(product, arguments.category_from) for product in products]
        inactive = sum(record["status"] != "ACTIVE" for record in records)
        if arguments.active_only:
            records = [record for record in records if record["status"] == "ACTIVE"]
        if not records:
            raise ShopifyError(f"{shop} has no products to save; populate_inventory puts some there")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", InventoryWarning)
            inventory = inventory_from_records(records)
        if not arguments.dry_run:
            save_inventory(inventory, arguments.path)
    except (ShopifyError, SettingsError, InventoryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"Stopped; {arguments.path} is as it was", file=sys.stderr)
        return 130
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    if inactive and not arguments.active_only:
        print(f"warning: {inactive} products are drafts or archived; --active-only leaves them out", file=sys.stderr)
    done = "would be written to" if arguments.dry_run else "written to"
    print(f"{shop}: {len(records)} products in {len(inventory.categories)} categories {done} {arguments.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
