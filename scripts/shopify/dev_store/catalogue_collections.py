"""Collections: how they are found, made and deleted, and what is in them.

https://shopify.dev/docs/api/admin-graphql/latest/objects/Collection
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graphql import GraphQLResolveInfo

from scripts.shopify.dev_store.catalogue_metafields import checked_metafields
from scripts.shopify.dev_store.catalogue_products import sorted_source
from scripts.shopify.dev_store.catalogue_publications import is_published, online_store
from scripts.shopify.dev_store.catalogue_rules import (
    UserErrors,
    checked_title,
    count_of,
    find_object,
    free_handle,
    given,
    shop_of,
    timestamp,
    user_error,
)
from scripts.shopify.dev_store.pagination import Listed, page
from scripts.shopify.dev_store.registry import Context, resolver
from scripts.shopify.dev_store.search import Field, Predicate, compile_search
from scripts.shopify.dev_store.state import Document, State, split_gid
from scripts.shopify.texts import shopify_handle

SORT_FIELDS = {"TITLE": "title", "UPDATED_AT": "updatedAt"}


def _cheapest(product: Document) -> str:
    return f"{min(float(variant['price']) for variant in product['variants']):020.2f}"


PRODUCT_ORDERS: Mapping[str, tuple[Callable[[Document], str] | None, bool]] = {
    "ALPHA_ASC": (lambda product: product["title"].casefold(), False),
    "ALPHA_DESC": (lambda product: product["title"].casefold(), True),
    "TITLE": (lambda product: product["title"].casefold(), False),
    "CREATED": (lambda product: product["createdAt"], False),
    "CREATED_DESC": (lambda product: product["createdAt"], True),
    "PRICE": (_cheapest, False),
    "PRICE_ASC": (_cheapest, False),
    "PRICE_DESC": (_cheapest, True),
}
"""Sort value of a product in a collection, and whether it descends; any other order is the one of adding."""


def collection_search(state: State, query: str | None) -> Predicate:
    """Understands the `query` of a field that lists collections; returns what says whether one is found."""
    fields = {
        "handle": Field(lambda collection: collection["handle"]),
        "id": Field(lambda collection: collection["id"], "number"),
        "published_status": Field(
            lambda collection: (
                "published" if is_published(state, online_store(state), collection["id"]) else "unpublished"
            )
        ),
        "title": Field(lambda collection: collection["title"], "text"),
        "updated_at": Field(lambda collection: collection["updatedAt"], "time"),
    }
    return compile_search(query, fields, ("title",))


@resolver("QueryRoot", "collections", scope="read_products")
def _collections(_: None, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    state: State = info.context.state
    query = arguments.get("query")
    matches = collection_search(state, query) if query else None
    return page(info, sorted_source(state, "Collection", matches, SORT_FIELDS.get(arguments["sortKey"])), arguments)


@resolver("QueryRoot", "collectionsCount", scope="read_products")
def _collections_count(
    _: None, info: GraphQLResolveInfo, limit: int | None = None, query: str | None = None
) -> dict[str, Any]:
    state: State = info.context.state
    matches = collection_search(state, query)
    return count_of(sum(matches(collection) for collection in state.scan("Collection")), limit)


@resolver("QueryRoot", "collection", scope="read_products")
def _collection(_: None, info: GraphQLResolveInfo, id: str) -> Document | None:
    return find_object(info.context.state, "Collection", id)


@resolver("QueryRoot", "collectionByIdentifier", scope="read_products")
def _collection_by_identifier(_: None, info: GraphQLResolveInfo, identifier: Mapping[str, str]) -> Document | None:
    state: State = info.context.state
    if "id" in identifier:
        return find_object(state, "Collection", identifier["id"])
    return state.find("Collection", shopify_handle(identifier["handle"]))


@resolver("Product", "collections")
def _collections_of_product(product: Document, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    state: State = info.context.state
    ids = sorted(state.parents("collection", product["id"]), key=split_gid)
    field, query = SORT_FIELDS.get(arguments["sortKey"]), arguments.get("query")
    if field is None and not query:
        return page(info, Listed(ids, load=lambda id: state.get(id) or {}), arguments)
    matches = collection_search(state, query)
    found = [collection for collection in map(state.get, ids) if collection is not None and matches(collection)]
    return page(info, Listed(found, key=field and (lambda each: each[field].casefold())), arguments)


@resolver("Collection", "products")
def _products_of_collection(collection: Document, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    return in_order_of(collection, info, arguments)


def in_order_of(
    collection: Document,
    info: GraphQLResolveInfo,
    arguments: Mapping[str, Any],
    keep: Callable[[Document], bool] | None = None,
) -> dict[str, Any]:
    """Returns a page of a collection's products in the order that is asked for, else in the collection's own.

    Args:
        collection: The collection.
        info: Of the resolver.
        arguments: Of the resolver.
        keep: Says whether a product belongs; None keeps all.
    """
    state: State = info.context.state
    ids, order = state.children("collection", collection["id"]), arguments["sortKey"]
    if order == "ID":
        ids.sort(key=split_gid)
    wanted = collection["sortOrder"] if order == "COLLECTION_DEFAULT" else order
    key, descending = PRODUCT_ORDERS.get(wanted, (None, False))
    if key is None and keep is None:
        return page(info, Listed(ids, load=lambda id: state.get(id) or {}), arguments)
    found = [product for product in map(state.get, ids) if product is not None and (keep is None or keep(product))]
    return page(info, Listed(found, key=key), {**arguments, "reverse": bool(arguments.get("reverse")) != descending})


@resolver("Collection", "productsCount")
def _products_count(collection: Document, info: GraphQLResolveInfo) -> dict[str, Any]:
    return count_of(len(info.context.state.children("collection", collection["id"])), None)


@resolver("Collection", "hasProduct")
def _has_product(collection: Document, info: GraphQLResolveInfo, id: str) -> bool:
    return info.context.state.linked("collection", collection["id"], id)


@resolver("Mutation", "collectionCreate", scope="write_products")
def _collection_create(
    _: None, info: GraphQLResolveInfo, collection: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    try:
        return {"collection": create_collection(info.context, given(collection or {})), "userErrors": []}
    except UserErrors as refused:
        return {"collection": None, "userErrors": refused.errors}


def create_collection(context: Context, values: Mapping[str, Any]) -> Document:
    """Makes a collection; where its handle is taken it gets `-1` behind it, and nobody is told.

    Args:
        context: Whose state to write to, and the clock.
        values: `CollectionCreateInput`.

    Returns:
        The collection as stored.

    Raises:
        UserErrors: It cannot be made; nothing was written.
    """
    state, now = context.state, timestamp(context)
    with state.transaction():
        title = checked_title(values.get("title"), ["collection", "title"])
        wanted = shopify_handle(values.get("handle", "")) or shopify_handle(title) or "collection"
        texts = {"title": title, "handle": free_handle(state, "Collection", wanted)}
        seo = {name: values.get("seo", {}).get(name) for name in ("title", "description")}
        settings = {"sortOrder": values.get("sortOrder", "BEST_SELLING"), "seo": seo}
        texts["descriptionHtml"] = values.get("descriptionHtml", "")
        made = state.insert("Collection", {**texts, **settings, "updatedAt": now, "metafields": []}, texts["handle"])
        if "metafields" in values:
            field = ["collection", "metafields"]
            made["metafields"] = checked_metafields(values["metafields"], made["id"], [], now, field)
            state.put(made)
    return made


def checked_manual(state: State, id: str, field: Iterable[str | int], code: str | None = None) -> None:
    """Checks that products may be put into a collection and taken out of it one by one.

    A collection with a true `automatic` is one that rules fill; the API of this store makes none.

    Raises:
        UserErrors: There is none of this id, or rules fill it.
    """
    collection = state.get(id) if id.startswith("gid://shopify/Collection/") else None
    if collection is None:
        raise UserErrors(user_error(field, "Collection does not exist", code))
    if collection.get("automatic"):
        raise UserErrors(user_error(field, "Products of an automated collection can't be changed manually", code))


@resolver("Mutation", "collectionDelete", scope="write_products")
def _collection_delete(_: None, info: GraphQLResolveInfo, input: Mapping[str, Any]) -> dict[str, Any]:
    state: State = info.context.state
    collection = find_object(state, "Collection", input["id"])
    payload = {"deletedCollectionId": None, "shop": shop_of(state), "userErrors": []}
    if collection is None:
        return payload | {"userErrors": [user_error(["id"], "Collection does not exist")]}
    state.delete(collection["id"])
    return payload | {"deletedCollectionId": collection["id"]}
