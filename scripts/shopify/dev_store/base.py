"""Resolvers of what is common to all parts: the shop, the app, its scopes, the API versions, `node`."""

from typing import Any
from urllib.parse import urlsplit

from graphql import GraphQLError

from scripts.shopify.dev_store.access import SUPPORTED_VERSIONS
from scripts.shopify.dev_store.catalogue_rules import shop_of, shop_url
from scripts.shopify.dev_store.registry import NODE_LOADERS, Context, resolver
from scripts.shopify.dev_store.state import gid, split_gid
from scripts.shopify.dev_store.wording import access_denied

_NODE_SCOPES = {
    "Collection": "read_products",
    "Customer": "read_customers",
    "LineItem": "read_orders",
    "Metaobject": "read_metaobjects",
    "MetaobjectDefinition": "read_metaobject_definitions",
    "Order": "read_orders",
    "Product": "read_products",
    "ProductVariant": "read_products",
    "Publication": "read_publications",
}
_QUARTERS = {"01": "January", "04": "April", "07": "July", "10": "October"}


@resolver("QueryRoot", "shop")
def shop(_source: Any, info: Any) -> dict[str, Any]:
    """The shop, with the address of its storefront page."""
    context: Context = info.context
    url = shop_url(context)
    plus = context.store.plan in ("plus", "enterprise")
    plan = {"partnerDevelopment": False, "publicDisplayName": context.store.plan.title(), "shopifyPlus": plus}
    domain = {"id": gid("Domain", 1), "host": urlsplit(url).netloc, "url": url}
    return {**shop_of(context.state), "url": url, "plan": plan, "primaryDomain": domain}


@resolver("QueryRoot", "currentAppInstallation")
def current_app_installation(_source: Any, info: Any) -> dict[str, Any]:
    """The app that asks, and what it may do; a read scope that a write scope includes is not listed."""
    scopes = info.context.scopes
    listed = sorted(scope for scope in scopes if not scope.startswith("read_") or "write_" + scope[5:] not in scopes)
    described = [{"handle": scope, "description": scope.replace("_", " ").capitalize()} for scope in listed]
    app = {"id": gid("App", 3), "handle": "local-app", "title": "Local app"}
    return {"id": gid("AppInstallation", 1), "accessScopes": described, "app": app}


@resolver("QueryRoot", "app")
def app(_source: Any, info: Any, id: str | None = None) -> dict[str, Any] | None:
    """An app by its id, by default the one that asks."""
    own = current_app_installation(None, info)["app"]
    apps = [own]
    for publication in info.context.state.scan("Publication"):
        apps += (publication.get("catalog") or {}).get("apps", [])
    return next((found for found in apps if found["id"] == (id or own["id"])), None)


@resolver("QueryRoot", "publicApiVersions")
def public_api_versions(_source: Any, _info: Any) -> list[dict[str, Any]]:
    """The versions that the shop serves."""
    named = [(handle, f"{handle[:4]} {_QUARTERS[handle[5:]]}", True) for handle in SUPPORTED_VERSIONS]
    versions = [*named, ("unstable", "unstable", False)]
    return [{"handle": handle, "displayName": name, "supported": supported} for handle, name, supported in versions]


@resolver("QueryRoot", "node")
def node(_source: Any, info: Any, id: str) -> dict[str, Any] | None:
    """Any object by its global id; null where there is none."""
    context: Context = info.context
    try:
        kind, _ = split_gid(id)
    except ValueError as error:
        raise GraphQLError(f"Invalid global id '{id}'", extensions={"code": "argumentLiteralsIncompatible"}) from error
    if (scope := _NODE_SCOPES.get(kind)) and scope not in context.scopes:
        raise access_denied(info.field_name, (scope,))
    if kind == "Shop":
        return shop(None, info)
    loader = NODE_LOADERS.get(kind)
    found = loader(context, id) if loader else context.state.get(id)
    known = getattr(info.schema.type_map.get(kind), "interfaces", ())
    return found if any(interface.name == "Node" for interface in known) else None


@resolver("QueryRoot", "nodes")
def nodes(_source: Any, info: Any, ids: list[str]) -> list[dict[str, Any] | None]:
    """Objects by their global ids, in the order asked for."""
    return [node(None, info, one) for one in ids]
