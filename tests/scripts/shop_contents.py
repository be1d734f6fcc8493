"""What a local shop holds, seen from outside the code under test, and a merchant who adds to it."""

from typing import Any

from scripts.shopify.dev_store import ALL_SCOPES, DevStore

CHANGES = ("ProductSet", "ProductTagsAdd", "ProductTagsRemove", "ProductCollectionsChange")
MUTATIONS = ("CollectionCreate", *CHANGES, "Publish", "ProductDelete", "CollectionDelete")

RECORDS = [
    {"id": "gid://shopify/Product/91", "handle": "hat", "title": "Hat", "category": "Clothing", "price": "9.90"}
    | {"vendor": "Plainweave", "audience": "everyone", "tags": ["winter", "wool, felt"]},
    {"id": "gid://shopify/Product/92", "handle": "sock", "title": "Sock", "category": "Clothing", "price": "4.00"},
    {"id": "gid://shopify/Product/93", "handle": "ball", "title": "Ball", "category": "Toys & Games"},
]

_PRODUCTS = """
query ($first: Int!, $after: String) {
  products(first: $first, after: $after, sortKey: ID) {
    nodes {
      id handle title vendor productType status tags
      variants(first: 10) { nodes { price } }
      collections(first: 250) { nodes { title } }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""
_COLLECTIONS = """
query ($first: Int!, $after: String) {
  collections(first: $first, after: $after, sortKey: ID) {
    nodes { id handle title metafield(namespace: "slirec", key: "made_by") { value } }
    pageInfo { hasNextPage endCursor }
  }
}
"""
_PRODUCT_SET = """
mutation ($identifier: ProductSetIdentifiers!, $input: ProductSetInput!) {
  productSet(identifier: $identifier, input: $input, synchronous: true) {
    product { id }
    userErrors { field message }
  }
}
"""
_COLLECTION_CREATE = """
mutation ($collection: CollectionCreateInput!) {
  collectionCreate(collection: $collection) { collection { id } userErrors { field message } }
}
"""


def run(store: DevStore, document: str, **variables: Any) -> dict[str, Any]:
    """Carries out a document past all HTTP, faults and scopes; returns the value of its one field."""
    answer = store.execute(document, variables, scopes=ALL_SCOPES)
    assert "errors" not in answer, answer
    (value,) = answer["data"].values()
    assert not value.get("userErrors"), value
    return value


def channel(store: DevStore, app: str) -> str:
    """Returns the GID of an app's publication."""
    for publication in store.state.scan("Publication"):
        if any(entry["handle"] == app for entry in (publication["catalog"] or {"apps": []})["apps"]):
            return publication["id"]
    raise KeyError(app)


def products(store: DevStore) -> dict[str, dict[str, Any]]:
    """Returns all products by handle; `published` names the apps of their channels."""
    return {
        node["handle"]: node
        | {
            "tags": sorted(node["tags"]),
            "prices": [variant["price"] for variant in node.pop("variants")["nodes"]],
            "collections": [collection["title"] for collection in node["collections"]["nodes"]],
            "published": _published(store, node["id"]),
        }
        for node in _all(store, _PRODUCTS)
    }


def collections(store: DevStore) -> dict[str, dict[str, Any]]:
    """Returns all collections by handle."""
    return {node["handle"]: node | {"published": _published(store, node["id"])} for node in _all(store, _COLLECTIONS)}


def contents(store: DevStore) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns products and collections without their ids, which differ from run to run."""
    without_id = [
        {handle: {key: value for key, value in entry.items() if key != "id"} for handle, entry in entries.items()}
        for entries in (products(store), collections(store))
    ]
    return without_id[0], without_id[1]


def clear(store: DevStore) -> None:
    """Takes all products and collections away."""
    for kind in ("Product", "Collection"):
        for document in list(store.state.scan(kind)):
            store.state.delete(document["id"])


def add_collection(store: DevStore, title: str, handle: str | None = None) -> str:
    """Makes a collection of the merchant's own; returns its GID."""
    given = {"title": title} | ({"handle": handle} if handle else {})
    return run(store, _COLLECTION_CREATE, collection=given)["collection"]["id"]


def fill_by_rules(store: DevStore, gid: str, *products: str) -> None:
    """Makes a collection one that rules fill, with these products in it."""
    store.state.put({**store.state.get(gid), "automatic": True})
    for product in products:
        store.state.link("collection", gid, product)


def set_product(store: DevStore, handle: str, price: str | None = None, **fields: Any) -> str:
    """Makes or changes a product as a merchant would; returns its GID."""
    given: dict[str, Any] = {"handle": handle, **fields}
    if price is not None:
        given["productOptions"] = [{"name": "Title", "position": 1, "values": [{"name": "Default Title"}]}]
        values = [{"optionName": "Title", "name": "Default Title"}]
        given["variants"] = [{"optionValues": values, "price": price}]
    return run(store, _PRODUCT_SET, identifier={"handle": handle}, input=given)["product"]["id"]


def operations(store: DevStore, *names: str) -> list[dict[str, Any]]:
    """Returns the variables of all requests for these operations, in order."""
    return [dict(request.variables or {}) for request in store.requests if request.operation in names]


def _all(store: DevStore, document: str) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = []
    info: dict[str, Any] = {"hasNextPage": True, "endCursor": None}
    while info["hasNextPage"]:
        page = run(store, document, first=250, after=info["endCursor"])
        nodes += page["nodes"]
        info = page["pageInfo"]
    return nodes


def _published(store: DevStore, gid: str) -> set[str]:
    catalogs = [store.state.get(parent)["catalog"] for parent in store.state.parents("publication", gid)]
    return {app["handle"] for catalog in catalogs for app in catalog["apps"]}
