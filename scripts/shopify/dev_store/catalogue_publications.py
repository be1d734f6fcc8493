"""Publications, and what is published to them.

https://shopify.dev/docs/api/admin-graphql/latest/mutations/publishablePublish
"""

from collections.abc import Mapping, Sequence
from typing import Any

from graphql import GraphQLError, GraphQLResolveInfo

from scripts.shopify.dev_store.catalogue_rules import find_object, shop_of, timestamp, user_error
from scripts.shopify.dev_store.pagination import Listed, page
from scripts.shopify.dev_store.registry import Context, resolver
from scripts.shopify.dev_store.state import Document, State, gid, split_gid

ONLINE_STORE = "online_store"
"""Handle of the app that the Online Store's publication belongs to."""
PUBLISHABLE = ("Product", "Collection")


def online_store(state: State) -> str | None:
    """Returns the id of the Online Store's publication; None where the shop has none."""
    for publication in state.scan("Publication"):
        if any(app["handle"] == ONLINE_STORE for app in _apps(publication)):
            return publication["id"]
    return None


def is_published(state: State, publication: str | None, id: str) -> bool:
    """Says whether a product or collection is published to a publication."""
    return publication is not None and state.linked("publication", publication, id)


def _apps(publication: Document) -> list[Document]:
    return (publication["catalog"] or {}).get("apps", [])


@resolver("QueryRoot", "publications", scope="read_publications")
def _publications(_: None, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    kind = arguments.get("catalogType")
    # Channels that are older than catalogs have none, and still are the publications of apps.
    found = [each for each in info.context.state.scan("Publication") if kind in (None, "APP", _catalog_type(each))]
    return page(info, found, arguments)


def _catalog_type(publication: Document) -> str:
    return "NONE" if publication["catalog"] is None else "APP"


@resolver("QueryRoot", "publication", scope="read_publications")
def _publication(_: None, info: GraphQLResolveInfo, id: str) -> Document | None:
    return find_object(info.context.state, "Publication", id)


@resolver("Publication", "catalog", scope="read_products")
def _catalog(publication: Document, info: GraphQLResolveInfo) -> Document | None:
    return publication["catalog"] and {"status": "ACTIVE", **publication["catalog"]}


@resolver("AppCatalog", "apps")
def _catalog_apps(catalog: Document, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    return page(info, catalog["apps"], arguments)


@resolver("Publication", "channels")
def _channels(publication: Document, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    channels = [
        {"id": gid("Channel", split_gid(app["id"])[1]), "handle": app["handle"], "name": app["title"]}
        for app in _apps(publication)
    ]
    return page(info, channels, arguments)


@resolver("Publication", "products", scope="read_products")
@resolver("Publication", "collections", scope="read_products")
def _published(publication: Document, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    state: State = info.context.state
    kind = "Product" if info.field_name == "products" else "Collection"
    published = [id for id in state.children("publication", publication["id"]) if split_gid(id)[0] == kind]
    by_number = sorted(published, key=split_gid)
    return page(info, Listed(by_number, load=lambda id: state.get(id) or {}), arguments)


@resolver("Product", "publishedOnPublication")
@resolver("Collection", "publishedOnPublication")
def _published_on_publication(source: Document, info: GraphQLResolveInfo, publicationId: str) -> bool:
    return is_published(info.context.state, publicationId, source["id"])


@resolver("Mutation", "publishablePublish", scope="write_publications")
@resolver("Mutation", "publishableUnpublish", scope="write_publications")
def _publish_or_unpublish(
    _: None, info: GraphQLResolveInfo, id: str, input: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    context: Context = info.context
    state = context.state
    target = _publishable(state, id)
    payload = {"publishable": target, "shop": shop_of(state)}
    if target is None:
        return payload | {"userErrors": [user_error(["id"], "Resource does not exist")]}
    wanted = [entry.get("publicationId") or "" for entry in input]
    if errors := _publication_errors(state, wanted):
        return payload | {"userErrors": errors}
    publish, shop_window, before = info.field_name == "publishablePublish", online_store(state), dict(target)
    for publication in wanted:
        if state.linked("publication", publication, id) == publish:
            continue
        change = state.link if publish else state.unlink
        change("publication", publication, id)
        target["updatedAt"] = timestamp(context)
        if publication == shop_window and split_gid(id)[0] == "Product":
            target["publishedAt"] = timestamp(context) if publish else None
    if target != before:
        state.put(target)
    return payload | {"userErrors": []}


def _publishable(state: State, id: str) -> Document | None:
    for kind in PUBLISHABLE:
        if id.startswith(f"gid://shopify/{kind}/"):
            return find_object(state, kind, id)
    raise GraphQLError(f"Invalid id: {id}", extensions={"code": "RESOURCE_NOT_FOUND"})


def _publication_errors(state: State, wanted: Sequence[str]) -> list[dict[str, Any]]:
    errors, seen = [], set()
    for index, publication in enumerate(wanted):
        message = ""
        if not publication:
            message = "PublicationId cannot be empty"
        elif not publication.startswith("gid://shopify/Publication/") or not state.exists(publication):
            message = "Publication does not exist or is not publishable"
        elif publication in seen:
            message = "The same publication was specified more than once"
        seen.add(publication)
        if message:
            errors.append(user_error(["input", index, "publicationId"], message))
    return errors
