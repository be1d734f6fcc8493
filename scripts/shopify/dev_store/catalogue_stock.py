"""Stock of variants: what productSet sets, and what products and variants say of it.

The shop has one location, `LOCATION`. https://shopify.dev/docs/api/admin-graphql/latest/mutations/productSet
"""

from collections.abc import Mapping
from typing import Any, Final

from graphql import GraphQLResolveInfo

from scripts.shopify.dev_store.catalogue_rules import UserErrors, given, user_error
from scripts.shopify.dev_store.registry import resolver
from scripts.shopify.dev_store.state import Document, gid

LOCATION: Final = gid("Location", 1)
_NAMES: Final = ("available", "on_hand")


def checked_stock(entry: Mapping[str, Any], field: list[Any]) -> dict[str, Any]:
    """Returns what an input says of a variant's stock: `tracked`, `inventoryQuantity`, both or neither.

    Args:
        entry: `ProductVariantSetInput`, without nulls.
        field: Where it is in the request.

    Raises:
        UserErrors: A quantity is of another location, or not one that can be set.
    """
    stock: dict[str, Any] = {}
    tracked = given(entry.get("inventoryItem", {})).get("tracked")
    if tracked is not None:
        stock["tracked"] = tracked
    for index, quantity in enumerate(entry.get("inventoryQuantities", ())):
        where = [*field, "inventoryQuantities", index]
        if quantity["locationId"] != LOCATION:
            message = "The specified location could not be found."
            raise UserErrors(user_error([*where, "locationId"], message, "INVALID_INPUT"))
        if quantity["name"] not in _NAMES:
            message = f"The quantity name must be one of {', '.join(_NAMES)}."
            raise UserErrors(user_error([*where, "name"], message, "INVALID_INPUT"))
        stock["inventoryQuantity"] = quantity["quantity"]
    return stock


def is_for_sale(variant: Mapping[str, Any]) -> bool:
    """Whether a variant can be bought: its stock is not tracked, there is some, or it is sold without."""
    unlimited = not variant.get("tracked", False) or variant["inventoryPolicy"] == "CONTINUE"
    return unlimited or variant.get("inventoryQuantity", 0) > 0


@resolver("Product", "tracksInventory")
def _tracks_inventory(product: Document, info: GraphQLResolveInfo) -> bool:
    return any(variant.get("tracked", False) for variant in product["variants"])


@resolver("Product", "totalInventory")
def _total_inventory(product: Document, info: GraphQLResolveInfo) -> int:
    return sum(variant.get("inventoryQuantity", 0) for variant in product["variants"] if variant.get("tracked", False))


@resolver("ProductVariant", "inventoryQuantity")
def _inventory_quantity(variant: Document, info: GraphQLResolveInfo) -> int:
    return variant.get("inventoryQuantity", 0)


@resolver("Product", "availableForSale", api="storefront")
def _available_for_sale(product: Document, info: GraphQLResolveInfo) -> bool:
    return any(map(is_for_sale, product["variants"]))
