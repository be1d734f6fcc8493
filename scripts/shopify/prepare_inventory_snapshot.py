"""Saves the inventory of a shop as a snapshot file, with attributes that may serve as features.

    python -m scripts.shopify.prepare_inventory_snapshot PATH [--attributes price vendor ...]
        [--category-from collections|product_type] [--bulk auto|always|never] [--active-only] [--dry-run]

A product in several collections gets the one made first, with a warning; the shop's automatic ones (Home page, All) do
not count. A product in none gets its product type, and without that `Uncategorized`, with a warning. `available` says
whether a product can be bought (`scripts.shopify.availability`), for the serving rule `exclude_out_of_stock`. PATH is
replaced only when all products have been read.
"""

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from scripts.shopify.answers import ShopifyError
from scripts.shopify.availability import has_no_stock, sold_without_stock
from scripts.shopify.bulk_choice import BULK_CHOICES, Way
from scripts.shopify.catalogue_reader import read_products
from scripts.shopify.client import ShopifyClient
from scripts.shopify.marks import MARK_TAG
from scripts.shopify.price_bands import price_bands
from scripts.shopify.product_documents import RECORD_FIELDS
from scripts.shopify.settings import Settings, SettingsError
from scripts.shopify.texts import gid_number, one_line
from training.data.inventory import (
    SUFFIXES,
    Inventory,
    InventoryError,
    InventoryWarning,
    inventory_from_records,
    save_inventory,
)

AUTOMATIC_COLLECTIONS: Final = frozenset({"frontpage", "all"})
"""Handles of collections that every shop has and that say nothing about a product."""

ATTRIBUTES: Final = ("price", "price_band", "vendor", "product_type", "status", "available", "tags", "collections")
"""What records may have besides id, handle, title and category."""
NAMED_TAGS: Final = "named_tags"
"""Stands for the attributes that `populate_inventory` wrote as tags `name:value`."""

DEFAULT_ATTRIBUTES: Final = (*(name for name in ATTRIBUTES if name != "price_band"), NAMED_TAGS)
"""All but the price band: it depends on all other prices, and can be had from `price` at any time."""

_KEYS: Final = frozenset(("id", "handle", "title", "category"))


def read_inventory(
    client: ShopifyClient,
    *,
    attributes: Collection[str] = DEFAULT_ATTRIBUTES,
    category_from: str = "collections",
    bulk: Way = "auto",
    active_only: bool = False,
    progress: bool = False,
) -> Inventory:
    """Reads the inventory of a shop.

    What was decided on the way, about products in several collections or in none, drafts and titles that repeat, is an
    `InventoryWarning` each.

    Args:
        client: Client of the shop; needs `read_products`.
        attributes: Names of `ATTRIBUTES`, and `named_tags`; which attributes the records have.
        category_from: As for `product_record`.
        bulk: As for `read_products`.
        active_only: Leave out products that are drafts, archived or unlisted.
        progress: Show a progress bar on standard error.

    Returns:
        Inventory, oldest product first.

    Raises:
        ShopifyError: The token may not read products, Shopify does not answer, or there are no products.
        InventoryError: The shop says something that no snapshot can hold.
        ValueError: An attribute is unknown.
    """
    if unknown := sorted(set(attributes) - {*ATTRIBUTES, NAMED_TAGS}):
        known = ", ".join((*ATTRIBUTES, NAMED_TAGS))
        raise ValueError(f"`attributes` should be among {known}. Received: {', '.join(unknown)}")
    records: dict[str, dict[str, Any]] = {}  # by id, so that one that a page repeats counts once
    in_doubt: set[str] = set()
    inactive = 0
    for product in read_products(client, bulk=bulk, progress=progress):
        inactive += product["status"] != "ACTIVE"
        if product["status"] == "ACTIVE" or not active_only:
            records[product["id"]] = product_record(product, category_from)
            if product["status"] == "ACTIVE" and has_no_stock(product):
                in_doubt.add(product["id"])
    if not records:
        raise ShopifyError("the shop has no products to save; populate_inventory puts some there")
    if "available" in attributes:
        for gid in sold_without_stock(client, sorted(in_doubt, key=gid_number), progress=progress):
            records[gid]["available"] = True
    inventory = inventory_from_records(sorted(records.values(), key=lambda record: gid_number(record["id"])))
    if inactive and not active_only:
        message = f"{inactive} products are drafts, archived or unlisted; --active-only leaves them out"
        warnings.warn(message, InventoryWarning, stacklevel=2)
    return _with_attributes(inventory, attributes)


def product_record(product: Mapping[str, Any], category_from: str = "collections") -> dict[str, Any]:
    """Returns the inventory record of a product.

    Args:
        product: As `read_products` yields it.
        category_from: `collections` (else the product type) or `product_type` (else collections).

    Returns:
        Record `{id, handle, title, category, price, vendor, product_type, status, available, tags, collections}`;
        `category` is missing where `inventory_from_records` has to choose one of the collections. `available` is false
        without stock, even where a variant is sold all the same, which only `sold_without_stock` tells. Of a product
        that `populate_inventory` made, tags `name:value` become attributes again; where a name occurs twice, as in
        `colour:red` and `colour:blue`, they stay tags, since an attribute has one value.
    """
    titles = (node["title"] for node in product["collections"]["nodes"] if node["handle"] not in AUTOMATIC_COLLECTIONS)
    collections = list(dict.fromkeys(filter(None, map(one_line, titles))))
    product_type = one_line(product["productType"])
    tags, attributes = list(product["tags"]), {}
    if MARK_TAG in tags:
        count = Counter(tag.partition(":")[0] for tag in tags if _is_named(tag))
        named = [tag for tag in tags if _is_named(tag) and count[tag.partition(":")[0]] == 1]
        attributes = dict(tag.split(":", 1) for tag in named)
        tags = [tag for tag in tags if tag not in named and tag != MARK_TAG]
    record = attributes | {
        "id": product["id"],
        "handle": product["handle"],
        "title": one_line(product["title"]) or product["handle"],
        "price": str(Decimal(product["priceRangeV2"]["minVariantPrice"]["amount"]).quantize(Decimal("0.01"))),
        "vendor": product["vendor"],
        "product_type": product_type,
        "status": product["status"],
        "available": product["status"] == "ACTIVE" and not has_no_stock(product),
        "tags": tags,
        "collections": collections,
    }
    if product_type and (category_from == "product_type" or not collections):
        record["category"] = product_type
    return record


def _with_attributes(inventory: Inventory, attributes: Collection[str]) -> Inventory:
    """Returns the inventory with the chosen attributes only; prices become bands here, where all are known."""
    own = _KEYS | set(ATTRIBUTES)
    left_out = set(ATTRIBUTES) - set(attributes)
    bands = price_bands([record["price"] for record in inventory.products]) if "price_band" in attributes else None
    records: list[dict[str, Any]] = []
    for number, record in enumerate(inventory.products):
        full = record | ({"price_band": bands[number]} if bands else {})
        named = NAMED_TAGS in attributes
        records.append({key: value for key, value in full.items() if key not in left_out and (named or key in own)})
    return replace(inventory, products=tuple(records))


def _is_named(tag: str) -> bool:
    """Whether a tag `name:value` can be an attribute: not one that would stand in the place of a record's own."""
    name, _, value = tag.partition(":")
    return bool(name and value.strip()) and name not in RECORD_FIELDS


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 where the snapshot was written."""
    parser = argparse.ArgumentParser(description="Save the inventory of a shop as a snapshot file.")
    parser.add_argument("path", help="file to write, .pkl or .json")
    parser.add_argument(
        "--attributes",
        nargs="*",
        choices=(*ATTRIBUTES, NAMED_TAGS),
        default=DEFAULT_ATTRIBUTES,
        metavar="NAME",
        help=f"which attributes come along, of {', '.join((*ATTRIBUTES, NAMED_TAGS))} (default: all but price_band)",
    )
    parser.add_argument(
        "--category-from",
        choices=("collections", "product_type"),
        default="collections",
        help="what a product's category is, where it has both (default: the collection made first)",
    )
    parser.add_argument(
        "--bulk",
        choices=BULK_CHOICES,
        default="auto",
        help="read in one bulk operation rather than in pages (default: by the number of products)",
    )
    parser.add_argument("--active-only", action="store_true", help="leave out drafts, archived and unlisted products")
    parser.add_argument("--dry-run", action="store_true", help="read everything, write nothing")
    arguments = parser.parse_args(argv)
    try:
        if not arguments.path.endswith(SUFFIXES):
            raise InventoryError(f"`path` should end with .pkl or .json. Received: {arguments.path}")
        with ShopifyClient(Settings.from_environment()) as client, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", InventoryWarning)
            shop = client.require_scopes("read_products")
            inventory = read_inventory(
                client,
                attributes=arguments.attributes,
                category_from=arguments.category_from,
                bulk=arguments.bulk,
                active_only=arguments.active_only,
                progress=True,
            )
        if not arguments.dry_run:
            save_inventory(inventory, arguments.path)
    except (ShopifyError, SettingsError, InventoryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"Stopped; {arguments.path} is as it was. Start again to read everything anew", file=sys.stderr)
        return 130
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    done = "would be written to" if arguments.dry_run else "written to"
    count = len(inventory.products)
    print(f"{shop}: {count} products in {len(inventory.categories)} categories {done} {arguments.path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
