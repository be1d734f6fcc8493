"""A quick way to fill the catalogue of a local shop."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from scripts.shopify.dev_store.catalogue_collections import create_collection
from scripts.shopify.dev_store.catalogue_publications import online_store
from scripts.shopify.dev_store.catalogue_rules import (
    checked_price,
    checked_tags,
    checked_title,
    shop_of,
    timestamp,
)
from scripts.shopify.dev_store.catalogue_variants import DEFAULT_INPUT, checked_options_and_variants
from scripts.shopify.dev_store.registry import Context
from scripts.shopify.dev_store.state import Document, State, gid, split_gid
from scripts.shopify.texts import shopify_handle

if TYPE_CHECKING:
    from scripts.shopify.dev_store import DevStore


def seed_products(store: "DevStore", records: Iterable[Mapping[str, Any]], *, publish: bool = True) -> int:
    """Puts many products into a shop without going through its API, in one transaction.

    Collections are made by their titles where the shop has none with that handle.

    Args:
        store: The shop.
        records: Inventory records: `title`, and if there are `handle`, `category` or `collections` (titles),
            `price` (decimal text), `stock` (units; without it stock is not tracked), `vendor`, `product_type`,
            `status`, `tags`, `description_html`, `image` (URL).
        publish: Publish products and new collections to the Online Store.

    Returns:
        How many products were made.

    Raises:
        sqlite3.IntegrityError: The shop has a product of that handle; none was made.
        UserErrors: A record breaks a rule of the catalogue, as it would in productSet; none was made.
    """
    context = Context(store, store.state, frozenset(), "admin", store.clock)
    state, made = store.state, 0
    with state.transaction():
        vendor, now = shop_of(state)["name"], timestamp(context)
        shop_window = online_store(state) if publish else None
        collections: dict[str, str] = {}
        for record in records:
            product = _insert(state, record, vendor, now if shop_window else None, now)
            for title in record.get("collections") or [record[name] for name in ("category",) if name in record]:
                if title not in collections:
                    collections[title] = _collection(context, title, shop_window)
                state.link("collection", collections[title], product["id"])
            if shop_window:
                state.link("publication", shop_window, product["id"])
            made += 1
    return made


def _insert(state: State, record: Mapping[str, Any], vendor: str, published_at: str | None, now: str) -> Document:
    title = checked_title(record["title"], ["title"])
    product = {
        "title": title,
        "handle": shopify_handle(str(record.get("handle") or title)),
        "vendor": record.get("vendor") or vendor,
        "productType": record.get("product_type", ""),
        "status": record.get("status", "ACTIVE"),
        "tags": checked_tags(record.get("tags", ()), ["tags"]),
        "createdAt": now,
        "updatedAt": now,
        "publishedAt": published_at,
        "descriptionHtml": record.get("description_html", ""),
        "seo": {"title": None, "description": None},
        "metafields": [],
    }
    state.insert("Product", product, product["handle"])
    options, variants = checked_options_and_variants(DEFAULT_INPUT, product["id"], {})
    variants[0]["price"] = checked_price(record.get("price", "0.00"), ["price"])
    if "stock" in record:
        variants[0] |= {"tracked": True, "inventoryQuantity": int(record["stock"])}
    product |= {"options": options, "variants": variants}
    if "image" in record:
        image = {"id": gid("MediaImage", split_gid(product["id"])[1]), "url": record["image"], "altText": title}
        product["image"] = image
    state.put(product)
    return product


def _collection(context: Context, title: str, shop_window: str | None) -> str:
    found = context.state.find("Collection", shopify_handle(title))
    if found is None:
        found = create_collection(context, {"title": title})
        if shop_window:
            context.state.link("publication", shop_window, found["id"])
    return found["id"]
