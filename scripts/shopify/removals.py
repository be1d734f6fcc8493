"""What `cleanup` may delete: things that carry our mark, or all of a kind; and the deleting of each.

Search results may lag behind what is so; therefore every product is read again, as a node, just before it is deleted.
Who deletes what is found asks for it with `repeat`: after every batch the first page is read again, so that no cursor
has to point at what is gone, nor beyond the 25,000th object, where Shopify's paging ends.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from scripts.shopify.answers import ShopifyError
from scripts.shopify.client import ShopifyClient
from scripts.shopify.marks import MARK_KEYS, MARK_TAG, METAOBJECT_TYPE, is_marked
from scripts.shopify.payloads import payload_of, returned

BATCH: Final = 50
"""Products a request of reading; few, so that little time passes between reading one and deleting it."""
JOB_WAITS: Final = (0.5, 1.0, 2.0, *[5.0] * 720)
"""Seconds between questions about the deletion of metaobjects: an hour in all."""


@dataclass(frozen=True)
class Removal:
    """Something to delete.

    Attributes:
        id: GID.
        name: What to call it in messages.
        note: What else to know about it; empty where there is nothing.
    """

    id: str
    name: str
    note: str = ""


def products_to_remove(client: ShopifyClient, *, everything: bool = False, repeat: bool = False) -> Iterator[Removal]:
    """Yields the products with our tag, or all of the shop's, each read just now.

    Args:
        client: Client of the shop; needs `read_products`.
        everything: Yield the merchant's own as well.
        repeat: Start from the first page again after each batch, until a pass finds nothing new.

    Raises:
        ShopifyError: Shopify does not answer.
    """
    query = None if everything else f"tag:{MARK_TAG}"

    def batches(seen: set[str]) -> Iterator[list[Removal]]:
        for page in client.pages("products_tagged_page", "products", {"query": query}, page_size=BATCH):
            ids = [node["id"] for node in page if node["id"] not in seen]
            nodes = client.execute("products_by_id", {"ids": ids})["nodes"] if ids else []
            # None stands for a product that is gone, though the search still found it.
            yield [
                Removal(node["id"], f"product {node['handle']}")
                for node in nodes
                if node and (everything or MARK_TAG in node["tags"])
            ]

    return _each_once(batches, repeat)


def collections_to_remove(
    client: ShopifyClient, *, everything: bool = False, repeat: bool = False
) -> Iterator[Removal]:
    """Yields the collections with our metafield, or all of the shop's.

    Args:
        client: Client of the shop; needs `read_products`.
        everything: Yield the merchant's own as well.
        repeat: Start from the first page again after each batch, until a pass finds nothing new.

    Raises:
        ShopifyError: Shopify does not answer.
    """

    def batches(seen: set[str]) -> Iterator[list[Removal]]:
        for page in client.pages("collections_page", "collections", MARK_KEYS, page_size=100):
            nodes = [node for node in page if node["id"] not in seen and (everything or is_marked(node))]
            yield [
                Removal(
                    node["id"],
                    f"collection {node['handle']}",
                    "" if everything else _own_products(client, node["id"]),
                )
                for node in nodes
            ]

    return _each_once(batches, repeat)


def _each_once(batches: Callable[[set[str]], Iterator[list[Removal]]], repeat: bool) -> Iterator[Removal]:
    """Yields what is in the batches, which leave out what is in the set that they get."""
    seen: set[str] = set()
    found = True
    while found:
        found = False
        for batch in batches(seen):
            yield from batch
            seen.update(removal.id for removal in batch)
            if batch and repeat:
                found = True
                break


def metaobjects_to_remove(client: ShopifyClient) -> Removal | None:
    """Returns the definition of our metaobjects, which stands for all of them, or None where there is none.

    Args:
        client: Client of the shop; needs `read_metaobject_definitions`.

    Raises:
        ShopifyError: Shopify does not answer.
    """
    found = client.execute("metaobject_count", {"type": METAOBJECT_TYPE})["metaobjectDefinitionByType"]
    if found is None:
        return None
    count = found["metaobjectsCount"]
    return Removal(found["id"], f"metaobject definition {METAOBJECT_TYPE}", f"with its {count} entries")


def remove_product(client: ShopifyClient, removal: Removal) -> None:
    """Deletes a product; one that is gone already is as good.

    Raises:
        ShopifyError: It was refused, or Shopify does not answer.
    """
    if answer := _remove(client, "product_delete", {"id": removal.id}):
        returned(answer, "productDelete", "deletedProductId")


def remove_collection(client: ShopifyClient, removal: Removal) -> None:
    """Deletes a collection, not its products; one that is gone already is as good.

    Raises:
        ShopifyError: It was refused, or Shopify does not answer.
    """
    if answer := _remove(client, "collection_delete", {"id": removal.id}):
        returned(answer, "collectionDelete", "deletedCollectionId")


def remove_metaobjects(client: ShopifyClient, removal: Removal) -> None:
    """Deletes our metaobjects, waits until they are gone, then deletes their definition.

    Args:
        client: Client of the shop; needs `write_metaobjects` and `write_metaobject_definitions`.
        removal: Result of `metaobjects_to_remove`.

    Raises:
        ShopifyError: It was refused, took too long, or Shopify does not answer.
    """
    answer = _remove(client, "metaobject_bulk_delete", {"type": METAOBJECT_TYPE})
    job = payload_of(answer, "metaobjectBulkDelete")["job"] if answer else None
    for wait in JOB_WAITS:
        if job is None or job["done"]:
            if answer := _remove(client, "metaobject_definition_delete", {"id": removal.id}):
                returned(answer, "metaobjectDefinitionDelete", "deletedId")
            return
        client.sleep(wait)
        job = client.execute("job", {"id": job["id"]})["job"]
    raise ShopifyError(f"{removal.name}: its entries are still being deleted; start again later", code="UNFINISHED")


def _own_products(client: ShopifyClient, gid: str) -> str:
    """Says how many products of the merchant's own a collection holds."""
    found = client.execute("collection_products", {"id": gid, "first": 250})["collection"]
    if found is None:
        return ""
    own = sum(MARK_TAG not in node["tags"] for node in found["products"]["nodes"])
    more = "or more " if found["products"]["pageInfo"]["hasNextPage"] else ""
    return f"{own} {more}products without our tag are in it; they stay in the shop" if own or more else ""


def _remove(client: ShopifyClient, name: str, variables: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the answer, or None where there was nothing to delete (any more)."""
    try:
        return client.execute(name, variables, repeatable=True)
    except ShopifyError as error:
        gone = (
            item.get("code") == "RECORD_NOT_FOUND" or "does not exist" in item["message"] for item in error.user_errors
        )
        if not error.user_errors or not all(gone):
            raise
        return None
