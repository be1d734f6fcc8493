"""Inventory records as Shopify's product input, and what of it a product in the shop still lacks.

https://shopify.dev/docs/api/admin-graphql/latest/input-objects/ProductSetInput.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from scripts.shopify.marks import MARK_TAG, is_marked
from scripts.shopify.texts import shopify_handle
from training.data.inventory import InventoryError

MAX_TAGS: Final = 250
MAX_TAG_LENGTH: Final = 255
"""Shopify's limits: tags a product, and characters a tag."""

STATUSES: Final = ("ACTIVE", "ARCHIVED", "DRAFT", "UNLISTED")
RECORD_FIELDS: Final = frozenset(
    (
        *("id", "handle", "title", "category", "price", "vendor", "product_type", "status", "tags", "collections"),
        "available",  # what the shop's stock says; populating sets no stock
        "price_band",  # depends on all other prices; as a tag it would soon be wrong
    )
)
"""Keys of a record that are no tags `name:value`."""

_DEFAULT_VARIANT: Final = "Default Title"


@dataclass(frozen=True)
class WantedProduct:
    """What a product of the shop should be.

    Attributes:
        input: `ProductSetInput` that creates it.
        attribute_prefixes: Beginnings `name:` of the tags of the record's attributes, case-folded; a product's other
            tags that begin so are values of before.
        problems: What had to be left out, in words.
    """

    input: dict[str, Any]
    attribute_prefixes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Changes:
    """What brings a product of the shop to what is wanted, and leaves alone what others have added.

    Attributes:
        fields: `ProductSetInput` without the lists that need no change, since `productSet` replaces those it is given.
        tags_to_remove: Tags as the shop spells them.
        tags_to_add: Tags.
        collections_to_join: GIDs; None for a collection that a dry run would make.
        collections_to_leave: GIDs.
    """

    fields: dict[str, Any]
    tags_to_remove: tuple[str, ...] = ()
    tags_to_add: tuple[str, ...] = ()
    collections_to_join: tuple[str | None, ...] = ()
    collections_to_leave: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to change."""
        return any(vars(self).values())


def wanted_product(record: Mapping[str, Any], collection_ids: Sequence[str | None]) -> WantedProduct:
    """Returns what the product of an inventory record should be.

    The record's `tags` become tags, and every other text or number attribute a tag `name:value`.

    Args:
        record: Product record of an inventory.
        collection_ids: GIDs of its collections.

    Raises:
        InventoryError: The record has a handle, a price or a status that Shopify cannot take.
    """
    handle = record["handle"]
    # Whether Shopify joins hyphens in a handle that is given is not known; shops do have handles with two.
    if (kept := shopify_handle(handle)) != re.sub(r"-+", "-", handle):
        raise InventoryError(
            f"`handle` should be one that Shopify keeps as it is, as in {kept!r}. Received: {handle!r}"
        )
    tags, problems = _tags(record)
    status = str(record.get("status") or "ACTIVE").upper()
    if status not in STATUSES:
        raise InventoryError(f"`status` should be one of {', '.join(STATUSES)}. Received: {record['status']!r}")
    document: dict[str, Any] = {
        "handle": handle,
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
    prefixes = tuple(_cleaned(f"{key}:").casefold() for key, value in _attributes(record) if not _is_other(value))
    return WantedProduct(document, prefixes, tuple(problems))


def changes(found: Mapping[str, Any], wanted: WantedProduct) -> Changes:
    """Returns what a product of ours in the shop lacks, and what it has from an earlier inventory.

    An earlier value of an attribute goes, and so does a collection of ours that the record is not in (any more); other
    tags and collections stay. A product with variants other than the one made here keeps them, and their prices.

    Args:
        found: Product as `product_by_handle` selects it.
        wanted: Result of `wanted_product`.
    """
    document = wanted.input
    fields = {
        key: document[key]
        for key in ("title", "productType", "status", "vendor")
        if key in document and found[key] != document[key]
    }
    variants = found["variants"]["nodes"]
    if "variants" in document and [variant["title"] for variant in variants] == [_DEFAULT_VARIANT]:
        (price,) = (Decimal(variant["price"]) for variant in document["variants"])
        if Decimal(variants[0]["price"]) != price:
            fields |= {key: document[key] for key in ("productOptions", "variants")}
    present = {_cleaned(tag).casefold(): tag for tag in found["tags"]}
    tags = {tag.casefold(): tag for tag in document["tags"]}
    collections = {node["id"]: node for node in found["collections"]["nodes"]}
    return Changes(
        fields,
        tags_to_remove=tuple(
            tag
            for folded, tag in present.items()
            if folded not in tags and folded.startswith(wanted.attribute_prefixes)
        ),
        tags_to_add=tuple(tag for folded, tag in tags.items() if folded not in present),
        collections_to_join=tuple(gid for gid in document["collections"] if gid not in collections),
        collections_to_leave=tuple(
            gid for gid, node in collections.items() if is_marked(node) and gid not in document["collections"]
        ),
    )


def _tags(record: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Returns the tags, the mark first, and what had to be left out."""
    given = record.get("tags") or []
    given = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else [given]
    attributes = [(key, value) for key, value in _attributes(record) if value not in (None, "")]
    plain = [f"{key}:{value}" for key, value in attributes if not _is_other(value)]
    others = [key for key, value in attributes if _is_other(value)]
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


def _attributes(record: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in record.items() if key not in RECORD_FIELDS]


def _is_other(value: Any) -> bool:
    """Whether the value of an attribute can be no tag."""
    return value is not None and not isinstance(value, str | int | float)


def _unique(tags: Iterable[str]) -> list[str]:
    """Returns the tags as Shopify keeps them: without commas, at which it splits, and each once whatever its case."""
    by_folded: dict[str, str] = {}
    for tag in tags:
        cleaned = _cleaned(tag)
        by_folded.setdefault(cleaned.casefold(), cleaned)
    by_folded.pop("", None)
    return list(by_folded.values())


def _cleaned(tag: str) -> str:
    return " ".join(tag.replace(",", " ").split())


def _price(value: Any) -> str:
    try:
        price = Decimal(str(value)).quantize(Decimal("0.01"))
    except InvalidOperation:
        price = Decimal(-1)
    if price.is_nan() or price < 0:
        raise InventoryError(f"`price` should be a number from 0, as in 19.90. Received: {value!r}")
    return str(abs(price))
