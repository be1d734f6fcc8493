"""Fills a shop with an inventory: collections, products, and their publication to sales channels.

    python -m scripts.shopify.populate_inventory [--inventory training/inventory.pkl] [--channels online_store]
        [--dry-run]

The inventory may be any snapshot file; attributes become tags `name:value`. Every product is looked up by its handle
first and written only where something is lacking, so that the command may be stopped and started again at any point,
and a second run changes nothing. What it makes carries the tag `slirec-demo`. Tags and collections that others gave to
these products stay, but earlier values of an attribute and earlier collections of ours go. A product of the shop's own
under the same handle is left as it is; a collection of its own is used, and neither marked nor published.

Without `--channels`, a shop that has no Online Store gets its products unpublished, with a warning.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tqdm import tqdm

from scripts.shopify.answers import ShopifyError
from scripts.shopify.channels import ONLINE_STORE, find_channels
from scripts.shopify.client import ShopifyClient
from scripts.shopify.payloads import EMPTY
from scripts.shopify.product_documents import wanted_product
from scripts.shopify.settings import Settings, SettingsError
from scripts.shopify.shop_collections import collection_titles, collection_titles_of, ensure_collection
from scripts.shopify.shop_products import ensure_product
from training.data.inventory import Inventory, InventoryError, load_inventory

SCOPES: Final = ("read_products", "write_products", "read_publications", "write_publications")


@dataclass
class PopulateResult:
    """What was done, or would be done by a run that is not dry.

    Attributes:
        shop: Domain of the shop; empty before it has answered.
        channels: App handles of the channels that were published to.
        missing_channels: Those that were asked for by name and that the shop does not have.
        collections_created: Collections made.
        created: Products made.
        updated: Products of ours that lacked something.
        unchanged: Products that were as wanted.
        published: Products and collections published to at least one channel.
        failed: One line for each product that was refused.
        warnings: One line for each thing that was left out or left as it is.
    """

    shop: str = ""
    channels: tuple[str, ...] = ()
    missing_channels: tuple[str, ...] = ()
    collections_created: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    published: int = 0
    failed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def populate(
    client: ShopifyClient,
    inventory: Inventory,
    *,
    channels: Sequence[str] | None = None,
    dry_run: bool = False,
    progress: bool = False,
    result: PopulateResult | None = None,
) -> PopulateResult:
    """Brings the shop's collections and products to what the inventory says.

    Args:
        client: Client of the shop.
        inventory: Products to have there.
        channels: App handles of the channels to publish to; None for the Online Store, if there is one.
        dry_run: Look everything up, write nothing.
        progress: Show a progress bar on standard error.
        result: Is filled as the work goes on, for those who want to know how far it got where an error stops it.

    Returns:
        Counts, and the products that were refused.

    Raises:
        InventoryError: Two categories would be one collection.
        ShopifyError: A scope is missing, the shop has none of the channels, a collection was refused, or Shopify does
            not answer.
    """
    result = PopulateResult() if result is None else result
    titles = collection_titles(inventory)
    shop = client.require_scopes(*SCOPES)
    found = find_channels(client, channels)
    result.shop, result.channels = shop, found.found
    if channels is not None:
        result.missing_channels = found.missing
    elif found.missing:
        warning = f"this shop has no channel {ONLINE_STORE}: nothing is published without --channels; {found.there}"
        result.warnings.append(warning)
    collection_ids: dict[str, str | None] = {}
    for title in tqdm(titles, desc="collections", unit="collection", disable=not progress):
        collection = ensure_collection(client, title, found, dry_run=dry_run)
        collection_ids[title] = collection.id
        result.collections_created += collection.created
        result.published += collection.published
        result.warnings += filter(None, [collection.warning])
    for record in tqdm(inventory.products, desc="products", unit="product", disable=not progress):
        handle = record["handle"]
        try:
            wanted = wanted_product(record, [collection_ids[title] for title in collection_titles_of(record)])
            outcome, published = ensure_product(client, wanted, found.publications, collection_ids, dry_run=dry_run)
        except (ShopifyError, InventoryError) as error:
            # Any other error of Shopify's would come for the next product as well.
            if isinstance(error, ShopifyError) and error.code not in ("USER_ERRORS", EMPTY):
                raise
            result.failed.append(f"{handle}: {error}")
        else:
            setattr(result, outcome, getattr(result, outcome) + 1)
            result.published += published
            result.warnings += [f"{handle}: {problem}" for problem in wanted.problems]
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 where every product is as the inventory says, on all channels asked for."""
    parser = argparse.ArgumentParser(description="Fill a shop with the products of an inventory file.")
    parser.add_argument("--inventory", default="training/inventory.pkl", help="snapshot file, .pkl or .json")
    parser.add_argument(
        "--channels",
        nargs="+",
        metavar="APP",
        help="handles of the apps whose channels show the products (default: online_store, if there is one)",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, write nothing")
    arguments = parser.parse_args(argv)
    result, status, last = PopulateResult(), 0, ""
    try:
        inventory = load_inventory(arguments.inventory)
        with ShopifyClient(Settings.from_environment()) as client:
            populate(
                client,
                inventory,
                channels=arguments.channels,
                dry_run=arguments.dry_run,
                progress=True,
                result=result,
            )
    except (ShopifyError, SettingsError, InventoryError, OSError) as error:
        status, last = 1, f"error: {error}"
    except KeyboardInterrupt:
        status, last = 130, "Stopped; start again to go on where it stopped"
    if result.shop:
        _report(result, dry_run=arguments.dry_run, stopped=bool(last))
    if last:
        print(last, file=sys.stderr)
    return status or int(bool(result.failed or result.missing_channels))


def _report(result: PopulateResult, *, dry_run: bool, stopped: bool) -> None:
    print(
        f"{result.shop}{' (dry run, nothing written)' if dry_run else ''}{' until it stopped' if stopped else ''}: "
        f"{result.collections_created} collections created; products: {result.created} created, "
        f"{result.updated} updated, {result.unchanged} unchanged, {len(result.failed)} refused; "
        f"{result.published} published to {', '.join(result.channels) or 'no channel'}"
    )
    for line in result.warnings:
        print(f"warning: {line}", file=sys.stderr)
    for channel in result.missing_channels:
        print(f"error: this shop has no channel {channel}: nothing was published to it", file=sys.stderr)
    for line in result.failed:
        print(f"error: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
