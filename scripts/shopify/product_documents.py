"""Inventory records as Shopify's product input, and what of it a product in the shop still lacks.

https://shopify.dev/docs/api/admin-graphql/latest/input-objects/ProductSetInput.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from scripts.shopify.marks import MARK_TAG
from training.data.inventory import InventoryError

MAX_TAGS: Final = 250
MAX_TAG_LENGTH: Final = 255
"""Shopify's limits: tags a product, and characters a tag."""

STATUSES: Final = ("ACTIVE", "ARCHIVED", "DRAFT", "UNLISTED")
RECORD_FIELDS: Final = frozenset(
    (
        *("id", "handle", "title", "category", "price", "vendor", "product_type", "status", "tags", "collections"),
        "price_band",  # depends on all other prices; as a tag it would soon be wrong
    )
)
"""Keys of a record that are no tags `name:value`."""

_DEFAULT_VARIANT: Final = "Default Title"


def product_input(record: Mapping[str, Any], collection_ids: Sequence[str | None]) -> tuple[dict[str, Any], list[str]]:
    """Returns the `ProductSetInput` of an inventory record.

    The record's `tags` become tags, and every other text or number attribute a tag `name:value`.

    Args:
        record: Product record of an inventory.
        collection_ids: GIDs of its collections.

    Returns:
        The input, and what had to be left out, in words.

    Raises:
        InventoryError: The record has a price or a status that Shopify cannot take.
    """
    tags, problems = _tags(record)
    status = str(record.get("status") or "ACTIVE").upper()
    if status not in STATUSES:
        raise InventoryError(f"`status` should be one of {', '.join(STATUSES)}. Received: {record['status']!r}")
    document: dict[str, Any] = {
        "handle": record["handle"],
        "title": record["title"].strip(),
        "productType": str(record.get("product_type") or record["category"]).strip(),
        "status": status,
        "tags": tags,
        "collections": list(dict.fromkeys(collection_ids)),
    }
    if record.get("vendor"):
        document["vendor"] = str(record["vendor"]).strip()
    if record.get("price") is not None:
        document["productOptions"] = [{"name": "Title", "position": 1, "values": [{"name": _DEFAULT_VARIANT}]}]
        document["variants"] = [
            {"optionValues": [{"optionName": "Title", "name": _DEFAULT_VARIANT}], "price": _price(record["price"])}
        ]
    return document, problems


def lacking(found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the input that brings the shop's product to what is wanted, or None where nothing is lacking.

    `productSet` replaces the lists that it is given, so tags and collections are sent only where one is missing, and
    then with what others have added. A product with variants other than the one made here keeps them, and their prices.

    Args:
        found: Product as `product_by_handle` selects it; None where there is none.
        wanted: Result of `product_input`.
    """
    if found is None:
        return dict(wanted)
    document = {key: wanted[key] for key in ("handle", "title", "productType", "status", "vendor") if key in wanted}
    differs = any(found[key] != value for key, value in document.items() if key != "handle")
    tags = _unique([*found["tags"], *wanted["tags"]])
    if len(tags) > len(_unique(found["tags"])):
        document["tags"] = tags
    collections = [node["id"] for node in found["collections"]["nodes"]]
    if not set(wanted["collections"]) <= set(collections):
        document["collections"] = list(dict.fromkeys([*collections, *wanted["collections"]]))
    variants = found["variants"]["nodes"]
    if "variants" in wanted and [variant["title"] for variant in variants] == [_DEFAULT_VARIANT]:
        (price,) = (Decimal(variant["price"]) for variant in wanted["variants"])
        if Decimal(variants[0]["price"]) != price:
            document |= {key: wanted[key] for key in ("productOptions", "variants")}
    return document if differs or document.keys() & {"tags", "collections", "variants"} else None


def _tags(record: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Returns the tags, the mark first, and what had to be left out."""
    given = record.get("tags") or []
    given = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else [given]
    attributes = {key: value for key, value in record.items() if key not in RECORD_FIELDS and value not in (None, "")}
    plain = [f"{key}:{value}" for key, value in attributes.items() if isinstance(value, str | int | float)]
    others = [key for key, value in attributes.items() if not isinstance(value, str | int | float)]
    tags = _unique([MARK_TAG, *(str(tag) for tag in given), *plain])
    fitting = [tag for tag in tags if len(tag) <= MAX_TAG_LENGTH]
    problems: list[str] = []
    if others:
        problems.append(f"attributes that are neither text nor numbers are left out: {', '.join(others)}")
    if too_long := len(tags) - len(fitting):
        problems.append(f"{too_long} tags are longer than {MAX_TAG_LENGTH} characters and left out")
    if surplus := len(fitting[MAX_TAGS:]):
        problems.append(f"{surplus} tags are left out: Shopify takes {MAX_TAGS} a product")
    return fitting[:MAX_TAGS], problems


def _unique(tags: Iterable[str]) -> list[str]:
    """Returns the tags as Shopify keeps them: without commas, at which it splits, and each once whatever its case."""
    by_folded: dict[str, str] = {}
    for tag in tags:
        cleaned = " ".join(tag.replace(",", " ").split())
        by_folded.setdefault(cleaned.casefold(), cleaned)
    by_folded.pop("", None)
    return list(by_folded.values())


def _price(value: Any) -> str:
    try:
        price = Decimal(str(value)).quantize(Decimal("0.01"))
    except InvalidOperation:
        price = Decimal(-1)
    if price.is_nan() or price < 0:
        raise InventoryError(f"`price` should be a number from 0, as in 19.90. Received: {value!r}")
    return str(price)
