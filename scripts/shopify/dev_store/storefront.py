"""The Storefront API of the local shop: what anybody who visits the shop may read.

Only what is published to the Online Store is there, and only metaobjects whose definition is open to the storefront;
what points at anything else points at nothing. https://shopify.dev/docs/api/storefront
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from graphql import GraphQLResolveInfo

from scripts.shopify.dev_store.catalogue_collections import SORT_FIELDS as COLLECTION_SORT_FIELDS
from scripts.shopify.dev_store.catalogue_collections import in_order_of
from scripts.shopify.dev_store.catalogue_products import SORT_FIELDS, price_range, product_search, sorted_source
from scripts.shopify.dev_store.catalogue_publications import is_published, online_store
from scripts.shopify.dev_store.catalogue_rules import plain_text, shop_of, shop_url
from scripts.shopify.dev_store.pagination import Listed, Scanned, page
from scripts.shopify.dev_store.registry import Context, resolver
from scripts.shopify.dev_store.state import Document, State, split_gid
from scripts.shopify.texts import shopify_handle

API = "storefront"
PRODUCTS, METAOBJECTS = "unauthenticated_read_product_listings", "unauthenticated_read_metaobjects"
STATUSES_SHOWN = ("ACTIVE", "UNLISTED")
"""An unlisted product is found by its handle, its id or a reference, but in no list."""


class Window:
    """What of the shop is to be seen, for one field of one request.

    Args:
        state: The store's state.
    """

    def __init__(self, state: State):
        self._state = state
        self._publication = online_store(state)
        self._open: dict[str, bool] = {}

    def find(self, id: str) -> Document | None:
        """Returns the object under a GID if a visitor may see it."""
        document = self._state.get(id)
        return document if document is not None and self.shows(document) else None

    def shows(self, document: Mapping[str, Any]) -> bool:
        """Whether a visitor may see the object."""
        kind = split_gid(document["id"])[0]
        if kind == "Metaobject":
            return self._is_open(document["type"])
        if kind == "Product" and document["status"] not in STATUSES_SHOWN:
            return False
        return kind in ("Product", "Collection") and is_published(self._state, self._publication, document["id"])

    def lists(self, document: Mapping[str, Any]) -> bool:
        """Whether a visitor may come across the object in a list."""
        return document.get("status") != "UNLISTED" and self.shows(document)

    def _is_open(self, type_name: str) -> bool:
        if type_name not in self._open:
            definition = self._state.find("MetaobjectDefinition", type_name)
            self._open[type_name] = definition is not None and definition["access"]["storefront"] == "PUBLIC_READ"
        return self._open[type_name]


def _by_id_or_key(info: GraphQLResolveInfo, kind: str, id: str | None, key: str | None) -> Document | None:
    state: State = info.context.state
    if id is not None:
        found = Window(state).find(id)
        return found if found is not None and split_gid(id)[0] == kind else None
    found = state.find(kind, key) if key is not None else None
    return found if found is not None and Window(state).shows(found) else None


@resolver("QueryRoot", "shop", api=API)
def _shop(_: None, info: GraphQLResolveInfo) -> dict[str, Any]:
    context: Context = info.context
    url = shop_url(context)
    domain = {"host": urlsplit(url).netloc, "sslEnabled": url.startswith("https:"), "url": url}
    return {**shop_of(context.state), "primaryDomain": domain}


@resolver("QueryRoot", "node", api=API)
def _node(_: None, info: GraphQLResolveInfo, id: str) -> Document | None:
    return _visible_node(Window(info.context.state), info.context, id)


@resolver("QueryRoot", "nodes", api=API)
def _nodes(_: None, info: GraphQLResolveInfo, ids: list[str]) -> list[Document | None]:
    window = Window(info.context.state)
    return [_visible_node(window, info.context, id) for id in ids]


def _visible_node(window: Window, context: Context, id: str) -> Document | None:
    found = window.find(id)
    if found is None:
        return None
    needed = METAOBJECTS if split_gid(id)[0] == "Metaobject" else PRODUCTS
    return found if needed in context.scopes else None


@resolver("QueryRoot", "product", scope=PRODUCTS, api=API)
def _product(_: None, info: GraphQLResolveInfo, id: str | None = None, handle: str | None = None) -> Document | None:
    return _by_id_or_key(info, "Product", id, handle and shopify_handle(handle))


@resolver("QueryRoot", "collection", scope=PRODUCTS, api=API)
def _collection(_: None, info: GraphQLResolveInfo, id: str | None = None, handle: str | None = None) -> Document | None:
    return _by_id_or_key(info, "Collection", id, handle and shopify_handle(handle))


@resolver("QueryRoot", "products", scope=PRODUCTS, api=API)
def _products(_: None, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    state: State = info.context.state
    window, found = Window(state), product_search(state, arguments.get("query"))
    source = sorted_source(
        state,
        "Product",
        lambda product: found(product) and window.lists(product),
        SORT_FIELDS.get(arguments["sortKey"]),
    )
    return page(info, source, arguments)


@resolver("QueryRoot", "collections", scope=PRODUCTS, api=API)
def _collections(_: None, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    state: State = info.context.state
    field = COLLECTION_SORT_FIELDS.get(arguments["sortKey"])
    return page(info, sorted_source(state, "Collection", Window(state).lists, field), arguments)


@resolver("Product", "collections", api=API)
def _collections_of_product(product: Document, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    state: State = info.context.state
    window = Window(state)
    found = [window.find(id) for id in sorted(state.parents("collection", product["id"]), key=split_gid)]
    return page(info, [collection for collection in found if collection is not None], arguments)


@resolver("Collection", "products", api=API)
def _products_of_collection(collection: Document, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    return in_order_of(collection, info, arguments, Window(info.context.state).lists)


@resolver("Product", "description", api=API)
@resolver("Collection", "description", api=API)
def _description(source: Document, info: GraphQLResolveInfo, truncateAt: int | None = None) -> str:
    return plain_text(source["descriptionHtml"], truncateAt)


@resolver("Product", "featuredImage", api=API)
def _featured_image(product: Document, info: GraphQLResolveInfo) -> Document | None:
    return product.get("image")


@resolver("Product", "priceRange", api=API)
def _price_range(product: Document, info: GraphQLResolveInfo) -> dict[str, Any]:
    return price_range(info.context.state, product)


@resolver("Product", "publishedAt", api=API)
def _published_at(product: Document, info: GraphQLResolveInfo) -> str:
    return product["publishedAt"] or product["createdAt"]


@resolver("Product", "onlineStoreUrl", api=API)
@resolver("Collection", "onlineStoreUrl", api=API)
def _online_store_url(source: Document, info: GraphQLResolveInfo) -> str:
    folder = "products" if split_gid(source["id"])[0] == "Product" else "collections"
    return f"{shop_url(info.context)}/{folder}/{source['handle']}"


@resolver("QueryRoot", "metaobject", scope=METAOBJECTS, api=API)
def _metaobject(
    _: None, info: GraphQLResolveInfo, id: str | None = None, handle: Mapping[str, str] | None = None
) -> Document | None:
    return _by_id_or_key(info, "Metaobject", id, handle and f"{handle['type']}/{handle['handle']}")


@resolver("QueryRoot", "metaobjects", scope=METAOBJECTS, api=API)
def _metaobjects(_: None, info: GraphQLResolveInfo, type: str, **arguments: Any) -> dict[str, Any]:
    state: State = info.context.state
    window = Window(state)

    def belongs(entry: Mapping[str, Any]) -> bool:
        return entry["type"] == type and window.shows(entry)

    if arguments.get("sortKey") == "updated_at":
        return page(info, sorted_source(state, "Metaobject", belongs, "updatedAt"), arguments)
    return page(info, Scanned(state, "Metaobject", belongs), arguments)


@resolver("Metaobject", "field", api=API)
def _field(entry: Document, info: GraphQLResolveInfo, key: str) -> Document | None:
    return next((field for field in entry["fields"] if field["key"] == key), None)


@resolver("MetaobjectField", "reference", api=API)
def _reference(field: Document, info: GraphQLResolveInfo) -> Document | None:
    if not field["type"].endswith("_reference") or field["type"].startswith("list.") or not field["value"]:
        return None
    return Window(info.context.state).find(field["value"])


@resolver("MetaobjectField", "references", api=API)
def _references(field: Document, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any] | None:
    """Where a referenced object is gone or not to be seen, the list is shorter."""
    if not (field["type"].startswith("list.") and field["type"].endswith("_reference")):
        return None
    window = Window(info.context.state)
    found = [window.find(id) for id in json.loads(field["value"] or "[]")]
    return page(info, Listed([document for document in found if document is not None]), arguments)
