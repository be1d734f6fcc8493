"""How the things that these commands make in a shop are told from the merchant's own."""

from collections.abc import Mapping
from typing import Any, Final

MARK_TAG: Final = "slirec-demo"
"""Tag on every product that `populate_inventory` makes."""

MARK_METAFIELD: Final = {
    "namespace": "slirec",
    "key": "made_by",
    "type": "single_line_text_field",
    "value": MARK_TAG,
}
"""Metafield on every collection that it makes; collections have no tags."""
MARK_KEYS: Final = {name: MARK_METAFIELD[name] for name in ("namespace", "key")}
"""Variables of the documents that select it."""

METAOBJECT_TYPE: Final = "slirec_recommendations"
"""Type of the metaobjects that hold the recommendations, one a shopper."""

METAOBJECT_FIELD: Final = "products"
"""Key of their field with the recommended products, best first (`list.product_reference`)."""


def is_marked(collection: Mapping[str, Any]) -> bool:
    """Whether a collection was made by `populate_inventory`.

    Args:
        collection: With our metafield, as the documents with the variables `MARK_KEYS` select it.
    """
    return (collection["metafield"] or {}).get("value") == MARK_METAFIELD["value"]
