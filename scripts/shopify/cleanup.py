"""Deletes what the other commands made in a shop: products with the tag `slirec-demo`, collections, recommendations.

    python -m scripts.shopify.cleanup                  # says what would be deleted
    python -m scripts.shopify.cleanup --delete         # deletes it
    python -m scripts.shopify.cleanup --everything --shop my-shop.myshopify.com [--delete]

Only what carries our mark is deleted: the tag on products, a metafield on collections, the type of metaobjects.
`--everything` also deletes the shop's own products and collections, and wants the shop's name typed out; it cannot be
undone. The command may be stopped and started again at any point.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tqdm import tqdm

from scripts.shopify.answers import ShopifyError
from scripts.shopify.client import ShopifyClient
from scripts.shopify.removals import (
    Removal,
    collections_to_remove,
    metaobjects_to_remove,
    products_to_remove,
    remove_collection,
    remove_metaobjects,
    remove_product,
)
from scripts.shopify.settings import Settings, SettingsError

READ_DEFINITIONS: Final = "read_metaobject_definitions"
WRITE_METAOBJECTS: Final = ("write_metaobjects", "write_metaobject_definitions")


@dataclass
class CleanupResult:
    """What was deleted, or would be.

    Attributes:
        shop: Domain of the shop.
        products: Products.
        collections: Collections.
        metaobject_types: 1 where there were metaobjects of ours or their definition.
        notes: One line about each thing that there is something to say about.
        failed: One line for each thing that was refused.
        warnings: What was not looked at, and why.
    """

    shop: str
    products: int = 0
    collections: int = 0
    metaobject_types: int = 0
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def cleanup(
    client: ShopifyClient,
    *,
    delete: bool = False,
    everything: bool = False,
    shop_name: str | None = None,
    progress: bool = False,
) -> CleanupResult:
    """Deletes what carries our mark, or only counts it.

    Args:
        client: Client of the shop.
        delete: Really delete; otherwise nothing is written.
        everything: Delete the shop's own products and collections as well.
        shop_name: The shop's domain, typed out; needed with `everything`, and must be what the shop answers.
        progress: Show progress bars on standard error.

    Returns:
        Counts, and what was refused.

    Raises:
        ShopifyError: A scope is missing, the shop is another one, or Shopify does not answer.
    """
    shop = client.require_scopes("write_products" if delete else "read_products")
    if (everything or shop_name is not None) and shop_name != shop:
        raise ShopifyError(
            f"To delete everything, type out the shop's name: --everything --shop {shop}. Received: {shop_name}"
            if everything
            else f"`--shop` should be {shop}, the shop of this token. Received: {shop_name}",
            code="SHOP",
        )
    result = CleanupResult(shop)
    metaobjects = None
    if READ_DEFINITIONS in client.scopes:
        metaobjects = metaobjects_to_remove(client)
        if metaobjects and delete:
            client.require_scopes(*WRITE_METAOBJECTS)  # now, rather than when half is deleted
    else:
        result.warnings.append(f"recommendations were not looked for: the token lacks {READ_DEFINITIONS}")

    def run(kind: str, removals: Iterable[Removal], remove: Callable[[ShopifyClient, Removal], None]) -> int:
        count = 0
        for removal in tqdm(removals, desc=kind, unit=kind.removesuffix("s"), disable=not progress):
            if removal.note:
                result.notes.append(f"{removal.name}: {removal.note}")
            try:
                if delete:
                    remove(client, removal)
                count += 1
            except ShopifyError as error:
                if error.code not in ("USER_ERRORS", "UNFINISHED"):  # others would come for the next one as well
                    raise
                result.failed.append(f"{removal.name}: {error}")
        return count

    result.products = run("products", _flat(products_to_remove(client, everything=everything)), remove_product)
    result.collections = run("collections", collections_to_remove(client, everything=everything), remove_collection)
    if metaobjects:
        result.metaobject_types = run("metaobject types", [metaobjects], remove_metaobjects)
    return result


def _flat(batches: Iterable[list[Removal]]) -> Iterator[Removal]:
    for batch in batches:
        yield from batch


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 where all that was found was deleted, or would be."""
    parser = argparse.ArgumentParser(description="Delete what the other commands made in a shop.")
    parser.add_argument("--delete", action="store_true", help="really delete; without it nothing is written")
    parser.add_argument(
        "--everything", action="store_true", help="delete all products and collections, the shop's own too"
    )
    parser.add_argument("--shop", metavar="DOMAIN", help="the shop's name, as in my-shop.myshopify.com")
    arguments = parser.parse_args(argv)
    try:
        with ShopifyClient(Settings.from_environment()) as client:
            result = cleanup(
                client,
                delete=arguments.delete,
                everything=arguments.everything,
                shop_name=arguments.shop,
                progress=True,
            )
    except (ShopifyError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; start again to go on where it stopped", file=sys.stderr)
        return 130
    for line in result.notes:
        print(line)
    print(
        f"{result.shop}: {result.products} products, {result.collections} collections and "
        f"{result.metaobject_types} metaobject types {'deleted' if arguments.delete else 'would be deleted'}"
    )
    for line in result.warnings:
        print(f"warning: {line}", file=sys.stderr)
    for line in result.failed:
        print(f"error: {line}", file=sys.stderr)
    if not arguments.delete:
        print("Nothing was deleted; --delete does it")
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
