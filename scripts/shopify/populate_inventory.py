"""Fills a shop with an inventory: collections, products, and their publication to the Online Store.

    python -m scripts.shopify.populate_inventory [--inventory training/inventory.pkl] [--dry-run]

Every product is looked up by its handle first and written only where it differs, so that the command may be stopped
and started again at any point, and a second run changes nothing. What it makes carries the tag `slirec-demo`; a product
of the shop's own under the same handle is left as it is.
"""

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from tqdm import tqdm

from scripts.shopify.answers import ShopifyError
from scripts.shopify.client import ShopifyClient
from scripts.shopify.inventory import slugify
from scripts.shopify.settings import Settings, SettingsError
from training.data.inventory import Inventory, InventoryError, load_inventory

MARK_TAG = "slirec-demo"
"""Tag on every product that this command makes."""
MARK_METAFIELD = {"namespace": "slirec", "key": "made_by", "type": "single_line_text_field", "value": MARK_TAG}
"""Mark of the collections it makes, which have no tags."""
SCOPES = ("read_products", "write_products", "read_publications", "write_publications")
_OWN_FIELDS = frozenset(
    ("id", "handle", "title", "category", "price", "vendor", "product_type", "status", "tags", "collections")
)


@dataclass(frozen=True)
class PopulateResult:
    """What was done, or would be done by a run that is not dry; `failed` has one line a product."""

    shop: str
    online_store: bool
    collections_created: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    published: int = 0
    failed: tuple[str, ...] = ()


def populate(
    client: ShopifyClient, inventory: Inventory, *, dry_run: bool = False, progress: bool = False
) -> PopulateResult:
    """Brings the shop's collections and products to what the inventory says.

    Args:
        client: Client of the shop.
        inventory: Products to have there.
        dry_run: Look everything up, write nothing.
        progress: Show a progress bar on standard error.

    Returns:
        Counts, and the products that Shopify refused.

    Raises:
        ShopifyError: A scope is missing, a collection was refused, or Shopify does not answer.
    """
    shop = client.require_scopes(*SCOPES)
    publication = find_online_store(client)
    result = PopulateResult(shop, online_store=publication is not None)
    collection_ids: dict[str, str | None] = {}
    for title in _collection_titles(inventory):
        collection_ids[title], created, published = _ensure_collection(client, title, publication, dry_run)
        result = _add(result, collections_created=created, published=published)
    for record in tqdm(inventory.products, desc="products", unit="product", disable=not progress):
        wanted = product_input(record, [collection_ids[title] for title in _titles_of(record)])
        try:
            outcome, published = _ensure_product(client, wanted, publication, dry_run)
        except ShopifyError as error:
            if error.code != "USER_ERRORS":  # anything else would fail for the next product as well
                raise
            result = replace(result, failed=(*result.failed, f"{record['handle']}: {error}"))
        else:
            result = _add(result, published=published, **{outcome: 1})
    return result


def product_input(record: Mapping[str, Any], collection_ids: Sequence[str | None]) -> dict[str, Any]:
    """Returns the `ProductSetInput` of an inventory record.

    The record's `tags` become tags, and every other text or number attribute a tag `name:value`.
    """
    attributes = {key: value for key, value in record.items() if key not in _OWN_FIELDS}
    tags = record.get("tags") or []
    tags = [MARK_TAG, *(tags.split(",") if isinstance(tags, str) else tags)]
    tags += [f"{key}:{value}" for key, value in attributes.items() if isinstance(value, str | int | float)]
    # Shopify splits tags at commas.
    tags = list(dict.fromkeys(" ".join(str(tag).replace(",", " ").split()) for tag in tags))
    document: dict[str, Any] = {
        "handle": record["handle"],
        "title": record["title"],
        "productType": record.get("product_type") or record["category"],
        "status": record.get("status") or "ACTIVE",
        "tags": [tag for tag in tags if tag],
        "collections": list(dict.fromkeys(collection_ids)),
    }
    if record.get("vendor"):
        document["vendor"] = record["vendor"]
    if record.get("price") is not None:
        price = str(Decimal(str(record["price"])).quantize(Decimal("0.01")))
        document["productOptions"] = [{"name": "Title", "position": 1, "values": [{"name": "Default Title"}]}]
        document["variants"] = [{"optionValues": [{"optionName": "Title", "name": "Default Title"}], "price": price}]
    return document


def collection_handle(title: str) -> str:
    """Returns the handle of a collection's title; where no letter or digit is ASCII, one made of a hash."""
    return slugify(title) or f"collection-{hashlib.sha256(title.encode()).hexdigest()[:8]}"


def find_online_store(client: ShopifyClient) -> str | None:
    """Returns the id of the Online Store's publication, or None where the shop has none."""
    for page in client.pages("publications_page", "publications", page_size=25):
        for node in page:
            apps = (node["catalog"] or {}).get("apps") or {"nodes": []}
            if any(app["handle"] == "online_store" for app in apps["nodes"]):
                return node["id"]
    return None


def _add(result: PopulateResult, **counts: int) -> PopulateResult:
    return replace(result, **{name: getattr(result, name) + count for name, count in counts.items()})


def _titles_of(record: Mapping[str, Any]) -> list[str]:
    return list(record.get("collections") or [record["category"]])


def _collection_titles(inventory: Inventory) -> list[str]:
    by_handle: dict[str, str] = {}
    for title in dict.fromkeys(title for record in inventory.products for title in _titles_of(record)):
        other = by_handle.setdefault(collection_handle(title), title)
        if other != title:
            raise InventoryError(f"categories {other!r} and {title!r} have the same collection handle; rename one")
    return list(by_handle.values())


def _lookup(client: ShopifyClient, name: str, handle: str, publication: str | None) -> dict[str, Any] | None:
    variables: dict[str, Any] = {"handle": handle, "withPublication": publication is not None}
    if publication:
        variables["publicationId"] = publication
    (found,) = client.execute(name, variables).values()
    return found


def _publish(client: ShopifyClient, gid: str, publication: str) -> None:
    client.execute("publish", {"id": gid, "publicationId": publication}, repeatable=True)


def _ensure_collection(
    client: ShopifyClient, title: str, publication: str | None, dry_run: bool
) -> tuple[str | None, int, int]:
    """Returns the collection's id (None in a dry run that would make it), and how many were made and published."""
    handle = collection_handle(title)
    found, created = _lookup(client, "collection_by_handle", handle, publication), 0
    if found is None and not dry_run:
        try:
            variables = {"collection": {"title": title, "handle": handle, "metafields": [MARK_METAFIELD]}}
            made = client.execute("collection_create", variables)["collectionCreate"]["collection"]
        except ShopifyError as error:
            # The answer was lost, the collection perhaps not: sending it again could make a second one.
            found = _lookup(client, "collection_by_handle", handle, publication) if error.outcome_unknown else None
            if found is None:
                raise
        else:
            if made["handle"] != handle:
                raise ShopifyError(f"Shopify made collection {title!r} as {made['handle']}, not {handle}; delete it")
            found = {"id": made["id"]}
        created = 1
    if found is None:
        return None, 1, int(publication is not None)
    if publication is None or found.get("publishedOnPublication"):
        return found["id"], created, 0
    if not dry_run:
        _publish(client, found["id"], publication)
    return found["id"], created, 1


def _ensure_product(
    client: ShopifyClient, wanted: Mapping[str, Any], publication: str | None, dry_run: bool
) -> tuple[str, int]:
    """Returns `created`, `updated` or `unchanged`, and how many were published."""
    found = _lookup(client, "product_by_handle", wanted["handle"], publication)
    if found is not None and MARK_TAG not in found["tags"]:
        reason = f"the shop has a product of its own under this handle (it lacks the tag {MARK_TAG}); left as it is"
        raise ShopifyError(reason, code="USER_ERRORS")
    outcome = "created" if found is None else "unchanged" if _is_as_wanted(found, wanted) else "updated"
    gid = found["id"] if found else None
    if outcome != "unchanged" and not dry_run:
        variables = {"identifier": {"handle": wanted["handle"]}, "input": wanted}
        gid = client.execute("product_set", variables, repeatable=True)["productSet"]["product"]["id"]
    if publication is None or (found or {}).get("publishedOnPublication"):
        return outcome, 0
    if not dry_run and gid:
        _publish(client, gid, publication)
    return outcome, 1


def _is_as_wanted(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the shop's product has all that is wanted; tags and collections added by others do not matter."""
    prices = [Decimal(variant["price"]) for variant in found["variants"]["nodes"]]
    return (
        all(found[key] == wanted[key] for key in ("title", "productType", "status", "vendor") if key in wanted)
        and {tag.casefold() for tag in wanted["tags"]} <= {tag.casefold() for tag in found["tags"]}
        and set(wanted["collections"]) <= {node["id"] for node in found["collections"]["nodes"]}
        and ("variants" not in wanted or prices == [Decimal(variant["price"]) for variant in wanted["variants"]])
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0 where every product is as the inventory says."""
    parser = argparse.ArgumentParser(description="Fill a shop with the products of an inventory file.")
    parser.add_argument("--inventory", default="training/inventory.pkl", help="snapshot file, .pkl or .json")
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, write nothing")
    arguments = parser.parse_args(argv)
    try:
        inventory = load_inventory(arguments.inventory)
        with ShopifyClient(Settings.from_environment()) as client:
            result = populate(client, inventory, dry_run=arguments.dry_run, progress=True)
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
        f"{result.published} published to the Online Store"
    )
    if not result.online_store:
        print("warning: this shop has no Online Store publication: nothing was published", file=sys.stderr)
    for line in result.failed:
        print(f"error: {line}", file=sys.stderr)
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
