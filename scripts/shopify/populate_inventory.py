"""Fills a shop with an inventory: collections, products, and their publication to sales channels.

    python -m scripts.shopify.populate_inventory [--inventory training/inventory.pkl] [--channels online_store]
        [--dry-run]

The inventory may be any snapshot file; attributes become tags `name:value`. Every product is looked up by its handle
first and written only where something is lacking, so that the command may be stopped and started again at any point,
and a second run changes nothing. What it makes carries the tag `slirec-demo`. Tags and collections that others gave to
these products stay; a product of the shop's own under the same handle is left as it is, and a collection of its own is
used and not marked.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tqdm import tqdm

from scripts.shopify.answers import ShopifyError
from scripts.shopify.channels import ONLINE_STORE, find_channels, lookup, publish
from scripts.shopify.client import ShopifyClient
from scripts.shopify.marks import MARK_TAG
from scripts.shopify.product_documents import lacking, product_input
from scripts.shopify.settings import Settings, SettingsError
from scripts.shopify.shop_collections import collection_titles, collection_titles_of, ensure_collection
from training.data.inventory import Inventory, InventoryError, load_inventory

SCOPES: Final = ("read_products", "write_products", "read_publications", "write_publications")


@dataclass(frozen=True)
class PopulateResult:
    """What was done, or would be done by a run that is not dry.

    Attributes:
        shop: Domain of the shop.
        channels: App handles of the channels that were published to.
        missing_channels: Those that were asked for and that the shop does not have.
        collections_created: Collections made.
        created: Products made.
        updated: Products of ours that lacked something.
        unchanged: Products that were as wanted.
        published: Products and collections published to at least one channel.
        failed: One line for each product that was refused.
        warnings: One line for each product of which something was left out.
    """

    shop: str
    channels: tuple[str, ...]
    missing_channels: tuple[str, ...] = ()
    collections_created: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    published: int = 0
    failed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def populate(
    client: ShopifyClient,
    inventory: Inventory,
    *,
    channels: Sequence[str] = (ONLINE_STORE,),
    dry_run: bool = False,
    progress: bool = False,
) -> PopulateResult:
    """Brings the shop's collections and products to what the inventory says.

    Args:
        client: Client of the shop.
        inventory: Products to have there.
        channels: App handles of the channels to publish to.
        dry_run: Look everything up, write nothing.
        progress: Show a progress bar on standard error.

    Returns:
        Counts, and the products that were refused.

    Raises:
        InventoryError: Two categories would be one collection.
        ShopifyError: A scope is missing, a collection was refused, or Shopify does not answer.
    """
    titles = collection_titles(inventory)
    shop = client.require_scopes(*SCOPES)
    wanted_channels = find_channels(client, channels)
    publications = wanted_channels.publications
    result = PopulateResult(shop, wanted_channels.found, wanted_channels.missing)
    collection_ids: dict[str, str | None] = {}
    for title in tqdm(titles, desc="collections", unit="collection", disable=not progress):
        collection = ensure_collection(client, title, publications, dry_run=dry_run)
        collection_ids[title] = collection.id
        result = _add(result, collections_created=collection.created, published=collection.published)
    failed: list[str] = []
    warnings: list[str] = []
    for record in tqdm(inventory.products, desc="products", unit="product", disable=not progress):
        try:
            wanted, problems = product_input(record, [collection_ids[title] for title in collection_titles_of(record)])
            outcome, published = _ensure_product(client, wanted, publications, dry_run)
        except (ShopifyError, InventoryError) as error:
            # Any other error of Shopify's would come for the next product as well.
            if isinstance(error, ShopifyError) and error.code != "USER_ERRORS":
                raise
            failed.append(f"{record['handle']}: {error}")
        else:
            result = _add(result, published=published, **{outcome: 1})
            warnings += [f"{record['handle']}: {problem}" for problem in problems]
    return replace(result, failed=tuple(failed), warnings=tuple(warnings))


def _add(result: PopulateResult, **counts: int) -> PopulateResult:
    return replace(result, **{name: getattr(result, name) + count for name, count in counts.items()})


def _ensure_product(
    client: ShopifyClient, wanted: Mapping[str, Any], publications: Sequence[str], dry_run: bool
) -> tuple[str, bool]:
    """Returns `created`, `updated` or `unchanged`, and whether it was published somewhere."""
    handle = wanted["handle"]
    found = lookup(client, "product_by_handle", handle, publications)
    if found is not None and MARK_TAG not in found["tags"]:
        reason = f"the shop has a product of its own under this handle (it lacks the tag {MARK_TAG}); left as it is"
        raise ShopifyError(reason, code="USER_ERRORS")
    document = lacking(found, wanted)
    outcome = "created" if found is None else "unchanged" if document is None else "updated"
    gid = found["id"] if found else None
    if document is not None and not dry_run:
        variables = {"identifier": {"handle": handle}, "input": document}
        product = client.execute("product_set", variables, repeatable=True)["productSet"]["product"]
        gid = product["id"]
        if product["handle"] != handle:  # another run would not find it, and make one more
            reason = f"Shopify changed the handle to {product['handle']}; give the record this one, and start again"
            raise ShopifyError(reason, code="USER_ERRORS")
    missing = found["unpublished"] if found else publications
    if missing and gid and not dry_run:
        publish(client, gid, missing)
    return outcome, bool(missing)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 where every product is as the inventory says."""
    parser = argparse.ArgumentParser(description="Fill a shop with the products of an inventory file.")
    parser.add_argument("--inventory", default="training/inventory.pkl", help="snapshot file, .pkl or .json")
    parser.add_argument(
        "--channels",
        nargs="+",
        default=[ONLINE_STORE],
        metavar="APP",
        help="handles of the apps whose channels show the products (default: online_store)",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, write nothing")
    arguments = parser.parse_args(argv)
    try:
        inventory = load_inventory(arguments.inventory)
        with ShopifyClient(Settings.from_environment()) as client:
            result = populate(client, inventory, channels=arguments.channels, dry_run=arguments.dry_run, progress=True)
    except (ShopifyError, SettingsError, InventoryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; start again to go on where it stopped", file=sys.stderr)
        return 130
    print(
        f"{result.shop}{' (dry run, nothing written)' if arguments.dry_run else ''}: "
        f"{result.collections_created} collections created; products: {result.created} created, "
        f"{result.updated} updated, {result.unchanged} unchanged, {len(result.failed)} refused; "
        f"{result.published} published to {', '.join(result.channels) or 'no channel'}"
    )
    for channel in result.missing_channels:
        print(f"warning: this shop has no channel {channel}: nothing was published to it", file=sys.stderr)
    for line in result.warnings:
        print(f"warning: {line}", file=sys.stderr)
    for line in result.failed:
        print(f"error: {line}", file=sys.stderr)
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
