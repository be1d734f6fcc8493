"""Products: how they are found, searched, sorted, and what their fields say.

https://shopify.dev/docs/api/admin-graphql/latest/objects/Product
"""

from collections.abc import Callable, Mapping
from typing import Any

from graphql import GraphQLResolveInfo

from scripts.shopify.dev_store.catalogue_publications import is_published, online_store
from scripts.shopify.dev_store.catalogue_rules import (
    amount_text,
    count_of,
    find_object,
    owner_gid,
    plain_text,
    shop_of,
    shop_url,
)
from scripts.shopify.dev_store.catalogue_stock import is_for_sale
from scripts.shopify.dev_store.pagination import Listed, Scanned, Source, page
from scripts.shopify.dev_store.registry import Context, node_loader, resolver
from scripts.shopify.dev_store.search import Field, Predicate, compile_search
from scripts.shopify.dev_store.state import Document, State, split_gid
from scripts.shopify.texts import shopify_handle

SEARCHED_TEXT = ("title", "vendor", "product_type", "tag")
"""Filters that a word without a filter is looked for in."""
SORT_FIELDS = {
    "CREATED_AT": "createdAt",
    "PRODUCT_TYPE": "productType",
    "TITLE": "title",
    "UPDATED_AT": "updatedAt",
    "VENDOR": "vendor",
}


def product_search(state: State, query: str | None) -> Predicate:
    """Understands the `query` of a field that lists products; returns what says whether one is found.

    https://shopify.dev/docs/api/admin-graphql/latest/queries/products#arguments-query
    """
    fields = {
        "collection_id": Field(lambda product: state.parents("collection", product["id"]), "number"),
        "created_at": Field(lambda product: product["createdAt"], "time"),
        "handle": Field(lambda product: product["handle"]),
        "id": Field(lambda product: product["id"], "number"),
        "price": Field(lambda product: [variant["price"] for variant in product["variants"]], "number"),
        "product_type": Field(lambda product: product["productType"]),
        "published_status": Field(lambda product: _published_status(state, product)),
        "sku": Field(lambda product: [variant.get("sku") for variant in product["variants"]]),
        "status": Field(lambda product: product["status"]),
        "tag": Field(lambda product: product["tags"]),
        "title": Field(lambda product: product["title"], "text"),
        "updated_at": Field(lambda product: product["updatedAt"], "time"),
        "vendor": Field(lambda product: product["vendor"]),
    }
    return compile_search(query, fields, SEARCHED_TEXT)


def _published_status(state: State, product: Document) -> str:
    return "published" if is_published(state, online_store(state), product["id"]) else "unpublished"


def sorted_source(
    state: State, kind: str, matches: Callable[[Mapping[str, Any]], bool] | None, field: str | None
) -> Source:
    """Returns the objects of a kind that match, in the order of a text field, or of their numbers without one."""
    if field is None:
        return Scanned(state, kind, matches)
    found = [document for document in state.scan(kind) if matches is None or matches(document)]
    return Listed(found, key=lambda document: str(document[field]).casefold())


@resolver("QueryRoot", "products", scope="read_products")
def _products(_: None, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    state: State = info.context.state
    query = arguments.get("query")
    matches = product_search(state, query) if query else None
    return page(info, sorted_source(state, "Product", matches, SORT_FIELDS.get(arguments["sortKey"])), arguments)


@resolver("QueryRoot", "productsCount", scope="read_products")
def _products_count(
    _: None, info: GraphQLResolveInfo, limit: int | None = None, query: str | None = None
) -> dict[str, Any]:
    state: State = info.context.state
    if not query:
        return count_of(state.count("Product"), limit)
    matches = product_search(state, query)
    return count_of(sum(matches(product) for product in state.scan("Product")), limit)


@resolver("QueryRoot", "product", scope="read_products")
def _product(_: None, info: GraphQLResolveInfo, id: str) -> Document | None:
    return find_object(info.context.state, "Product", id)


@resolver("QueryRoot", "productByIdentifier", scope="read_products")
def _product_by_identifier(_: None, info: GraphQLResolveInfo, identifier: Mapping[str, str]) -> Document | None:
    state: State = info.context.state
    if "id" in identifier:
        return find_object(state, "Product", identifier["id"])
    return state.find("Product", shopify_handle(identifier["handle"]))


@resolver("QueryRoot", "productOperation", scope="read_products")
def _product_operation(_: None, info: GraphQLResolveInfo, id: str) -> Document | None:
    return find_object(info.context.state, "ProductSetOperation", id)


@resolver("ProductSetOperation", "product")
def _operation_product(operation: Document, info: GraphQLResolveInfo) -> Document | None:
    if operation["status"] != "COMPLETE" or operation["product"] is None:
        return None
    return info.context.state.get(operation["product"])


@resolver("Product", "legacyResourceId")
@resolver("ProductVariant", "legacyResourceId")
@resolver("Collection", "legacyResourceId")
def _legacy_resource_id(source: Document, info: GraphQLResolveInfo) -> str:
    return str(split_gid(source["id"])[1])


@resolver("Product", "description")
@resolver("Collection", "description")
def _description(source: Document, info: GraphQLResolveInfo, truncateAt: int | None = None) -> str:
    return plain_text(source["descriptionHtml"], truncateAt)


@resolver("Product", "priceRangeV2")
def _price_range(product: Document, info: GraphQLResolveInfo) -> dict[str, Any]:
    return price_range(info.context.state, product)


def price_range(state: State, product: Document) -> dict[str, Any]:
    """Returns `{minVariantPrice, maxVariantPrice}` of a product."""
    currency = shop_of(state)["currencyCode"]
    prices = sorted((variant["price"] for variant in product["variants"]), key=float)
    ends = {"minVariantPrice": prices[0], "maxVariantPrice": prices[-1]}
    return {name: {"amount": amount_text(price), "currencyCode": currency} for name, price in ends.items()}


@resolver("Product", "options")
def _options(product: Document, info: GraphQLResolveInfo, first: int | None = None) -> list[Document]:
    return product["options"][:first]


@resolver("ProductOption", "values")
def _option_values(option: Document, info: GraphQLResolveInfo) -> list[str]:
    return [value["name"] for value in option["optionValues"]]


@resolver("Product", "hasOnlyDefaultVariant")
def _has_only_default_variant(product: Document, info: GraphQLResolveInfo) -> bool:
    return [variant["title"] for variant in product["variants"]] == ["Default Title"]


@resolver("Product", "variants")
def _variants(product: Document, info: GraphQLResolveInfo, **arguments: Any) -> dict[str, Any]:
    variants = [variant_of(product, variant) for variant in product["variants"]]
    by_title = arguments["sortKey"] == "TITLE"
    return page(info, Listed(variants, key=(lambda variant: variant["title"]) if by_title else None), arguments)


def variant_of(product: Document, variant: Document) -> Document:
    """Returns a variant with what it shares with its product."""
    title = product["title"] if variant["title"] == "Default Title" else f"{product['title']} - {variant['title']}"
    times = {name: product[name] for name in ("createdAt", "updatedAt")}
    return {**times, **variant, "product": product, "displayName": title, "availableForSale": is_for_sale(variant)}


@node_loader("ProductVariant")
def _load_variant(context: Context, id: str) -> Document | None:
    product = context.state.get(owner_gid(id)) or {}
    return next((variant_of(product, each) for each in product.get("variants", ()) if each["id"] == id), None)


@resolver("Product", "variantsCount")
def _variants_count(product: Document, info: GraphQLResolveInfo) -> dict[str, Any]:
    return count_of(len(product["variants"]), None)


@resolver("Product", "inCollection")
def _in_collection(product: Document, info: GraphQLResolveInfo, id: str) -> bool:
    return info.context.state.linked("collection", id, product["id"])


@resolver("Product", "onlineStoreUrl")
def _online_store_url(product: Document, info: GraphQLResolveInfo) -> str | None:
    context: Context = info.context
    if product["status"] != "ACTIVE" or not is_published(context.state, online_store(context.state), product["id"]):
        return None
    return f"{shop_url(context)}/products/{product['handle']}"


@resolver("Product", "featuredMedia")
def _featured_media(product: Document, info: GraphQLResolveInfo) -> Document | None:
    image = product.get("image")
    if image is None:
        return None
    medium = {"__typename": "MediaImage", "id": image["id"], "mediaContentType": "IMAGE"}
    return {**medium, "alt": image["altText"], "image": image}
