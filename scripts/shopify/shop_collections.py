"""The collections that the products of an inventory go into: looked up by handle, made where missing."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.shopify.answers import ShopifyError
from scripts.shopify.channels import Channels, lookup, publish
from scripts.shopify.client import ShopifyClient
from scripts.shopify.inventory import slugify
from scripts.shopify.marks import MARK_METAFIELD, is_marked
from scripts.shopify.payloads import returned
from training.data.inventory import Inventory, InventoryError

_ATTEMPTS = 5


@dataclass(frozen=True)
class CollectionResult:
    """A collection that was looked up or made.

    Attributes:
        id: GID; None in a dry run that would make it.
        created: Whether it was made.
        published: Whether it was published to some channel.
        warning: What was left undone, and why; empty where nothing was.
    """

    id: str | None
    created: bool
    published: bool
    warning: str = ""


def collection_handle(title: str) -> str:
    """Returns the handle of a collection's title; where no letter or digit is ASCII, one made of a hash."""
    return slugify(title) or f"collection-{hashlib.sha256(title.encode()).hexdigest()[:8]}"


def collection_titles_of(record: Mapping[str, Any]) -> list[str]:
    """Returns the titles of a record's collections, or else its category."""
    return list(dict.fromkeys(record.get("collections") or [record["category"]]))


def collection_titles(inventory: Inventory) -> list[str]:
    """Returns the titles of all collections of an inventory, in order of first appearance.

    Raises:
        InventoryError: Two titles lead to one handle, so that one collection would hold the products of both.
    """
    by_handle: dict[str, str] = {}
    for title in dict.fromkeys(title for record in inventory.products for title in collection_titles_of(record)):
        other = by_handle.setdefault(collection_handle(title), title)
        if other != title:
            raise InventoryError(f"categories {other!r} and {title!r} have the same collection handle; rename one")
    return list(by_handle.values())


def ensure_collection(
    client: ShopifyClient, title: str, channels: Channels, *, dry_run: bool = False
) -> CollectionResult:
    """Makes sure that a collection is there and, where it is ours, published.

    One of the shop's own under this handle is used, but neither marked as ours nor published: whether shoppers may see
    it is the merchant's decision.

    Args:
        client: Client of the shop.
        title: Title of the collection; its handle is made from it.
        channels: Channels that it should be published to.
        dry_run: Look it up, write nothing.

    Returns:
        Its id, and what was done.

    Raises:
        ShopifyError: It was refused, or Shopify does not answer.
    """
    handle = collection_handle(title)
    found, created = lookup(client, "collection_by_handle", handle, channels.publications), False
    if found is None and not dry_run:
        found = _create(client, title, handle, channels.publications)
        created = is_marked(found)  # else the merchant has just made one
    if found is None:
        return CollectionResult(None, created=True, published=bool(channels.publications))
    missing = found["unpublished"]
    if missing and not is_marked(found):
        warning = f"own collection {handle} is not on channel {channels.names(missing)}; left as it is"
        return CollectionResult(found["id"], created=False, published=False, warning=warning)
    if missing and not dry_run:
        publish(client, found["id"], missing)
    return CollectionResult(found["id"], created=created, published=bool(missing))


def _create(client: ShopifyClient, title: str, handle: str, publications: Sequence[str]) -> dict[str, Any]:
    """Returns the new collection as a look-up would."""
    variables = {"collection": {"title": title, "handle": handle, "metafields": [MARK_METAFIELD]}}
    attempts = 0
    while True:
        attempts += 1
        try:
            made = returned(client.execute("collection_create", variables), "collectionCreate", "collection")
        except ShopifyError as error:
            if not error.outcome_unknown:
                raise
            # The answer was lost, the collection perhaps not: sent again unseen, it could make a second one.
            found = lookup(client, "collection_by_handle", handle, publications)
            if found is not None:
                return found
            if attempts == _ATTEMPTS:
                raise
            continue
        if made["handle"] != handle:
            raise ShopifyError(f"Shopify made collection {title!r} as {made['handle']}, not {handle}; delete it")
        return {"id": made["id"], "metafield": MARK_METAFIELD, "unpublished": list(publications)}
