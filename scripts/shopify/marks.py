"""How the things that these commands make in a shop are told from the merchant's own."""

from typing import Final

MARK_TAG: Final = "slirec-demo"
"""Tag on every product that `populate_inventory` makes."""

MARK_METAFIELD: Final = {
    "namespace": "slirec",
    "key": "made_by",
    "type": "single_line_text_field",
    "value": MARK_TAG,
}
"""Metafield on every collection that it makes; collections have no tags."""

METAOBJECT_TYPE: Final = "slirec_recommendations"
"""Type of the metaobjects that hold the recommendations, one a shopper."""

METAOBJECT_FIELD: Final = "products"
"""Key of their field with the recommended products, best first (`list.product_reference`)."""
