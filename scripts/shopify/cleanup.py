"""Deletes what the other commands made in a shop: products with the tag `slirec-demo`, collections, recommendations.

    python -m scripts.shopify.cleanup                  # says what would be deleted, by name
    python -m scripts.shopify.cleanup --delete         # deletes it
    python -m scripts.shopify.cleanup --everything --shop my-shop.myshopify.com [--delete]

Only what carries our mark is deleted: the tag on products, a metafield on collections, the type of metaobjects.
`--everything` also deletes the shop's own products and collections, and wants the shop's name typed out; it cannot be
undone. The command may be stopped and started again at any point.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tqdm import tqdm

from scripts.shopify.answers import ShopifyError
from scripts.shopify.client import ShopifyClient
from scripts.shopify.payloads import EMPTY
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
SHOWN: Final = 50
"""Names of each kind that a run that deletes nothing lists."""
_KINDS: Final = ("products", "collections", "metaobject_types")


@dataclass
class CleanupResult:
    """What was deleted, or would be.

    Attributes:
        shop: Domain of the shop; empty before it has answered.
        products: Products.
        collections: Collections.
        metaobject_types: 1 where there were metaobjects of ours or their definition.
        names: By the names of these three counts: what was counted, the first `SHOWN` of each.
        notes: One line about each thing that there is something to say about.
        failed: One line for each thing that was refused.
        warnings: What was not looked at, and why.
    """

    shop: str = ""
    products: int = 0
    collections: int = 0
    metaobject_types: int = 0
    names: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in _KINDS})
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
    result: CleanupResult | None = None,
) -> CleanupResult:
    """Deletes what carries our mark, or only counts it.

    Args:
        client: Client of the shop.
        delete: Really delete; otherwise nothing is written.
        everything: Delete the shop's own products and collections as well.
        shop_name: The shop's domain, typed out; needed with `everything`, and must be what the shop answers.
        progress: Show progress bars on standard error.
        result: Is filled as the work goes on, for those who want to know how far it got where an error stops it.

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
    result = CleanupResult() if result is None else result
    result.shop = shop
    metaobjects = None
    if READ_DEFINITIONS in client.scopes:
        metaobjects = metaobjects_to_remove(client)
        if metaobjects and delete:
            client.require_scopes(*WRITE_METAOBJECTS)  # now, rather than when half is deleted
    else:
        result.warnings.append(f"recommendations were not looked for: the token lacks {READ_DEFINITIONS}")

    def run(kind: str, removals: Iterable[Removal], remove: Callable[[ShopifyClient, Removal], None]) -> None:
        label = kind.replace("_", " ")
        for removal in tqdm(removals, desc=label, unit=label.removesuffix("s"), disable=not progress):
            line = f"{removal.name}: {removal.note}" if removal.note else removal.name
            if removal.note:
                result.notes.append(line)
            try:
                if delete:
                    remove(client, removal)
            except ShopifyError as error:
                # Others would come for the next one as well.
                if error.code not in ("USER_ERRORS", "UNFINISHED", EMPTY):
                    raise
                result.failed.append(f"{removal.name}: {error}")
                continue
            setattr(result, kind, getattr(result, kind) + 1)
            if len(result.names[kind]) < SHOWN:
                result.names[kind].append(line)

    run("products", products_to_remove(client, everything=everything, repeat=delete), remove_product)
    run("collections", collections_to_remove(client, everything=everything, repeat=delete), remove_collection)
    if metaobjects:
        run("metaobject_types", [metaobjects], remove_metaobjects)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 where all that was found was deleted, or would be."""
    parser = argparse.ArgumentParser(description="Delete what the other commands made in a shop.")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--dry-run", action="store_true", help="say what would be deleted, write nothing (the default)")
    way.add_argument("--delete", action="store_true", help="really delete")
    parser.add_argument(
        "--everything", action="store_true", help="delete all products and collections, the shop's own too"
    )
    parser.add_argument("--shop", metavar="DOMAIN", help="the shop's name, as in my-shop.myshopify.com")
    arguments = parser.parse_args(argv)
    result, status, last = CleanupResult(), 0, ""
    try:
        with ShopifyClient(Settings.from_environment()) as client:
            cleanup(
                client,
                delete=arguments.delete,
                everything=arguments.everything,
                shop_name=arguments.shop,
                progress=True,
                result=result,
            )
    except (ShopifyError, SettingsError) as error:
        status, last = 1, f"error: {error}"
    except KeyboardInterrupt:
        status, last = 130, "Stopped; start again to go on where it stopped"
    if result.shop:
        _report(result, delete=arguments.delete, stopped=bool(last))
    if last:
        print(last, file=sys.stderr)
    return status or int(bool(result.failed))


def _report(result: CleanupResult, *, delete: bool, stopped: bool) -> None:
    if delete:
        for line in result.notes:
            print(line)
    else:
        for kind, names in result.names.items():
            for line in names:
                print(line)
            if (more := getattr(result, kind) - len(names)) > 0:
                print(f"and {more} more {kind.replace('_', ' ')}")
    print(
        f"{result.shop}{' until it stopped' if stopped else ''}: {result.products} products, "
        f"{result.collections} collections and {result.metaobject_types} metaobject types "
        f"{'deleted' if delete else 'would be deleted'}"
    )
    print(
        "Products made in the last minute may not be listed yet: run again to be sure"
        if delete
        else "Nothing was deleted; --delete does it"
    )
    for line in result.warnings:
        print(f"warning: {line}", file=sys.stderr)
    for line in result.failed:
        print(f"error: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
