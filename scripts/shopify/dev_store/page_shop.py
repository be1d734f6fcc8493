"""What the storefront pages show of the local shop: published products, and shoppers who have recommendations."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

from scripts.shopify.dev_store.catalogue_rules import shop_of
from scripts.shopify.dev_store.page_liquid import hmac_sha256
from scripts.shopify.dev_store.state import split_gid
from scripts.shopify.marks import METAOBJECT_FIELD, METAOBJECT_TYPE

if TYPE_CHECKING:
    from scripts.shopify.dev_store import DevStore

ON_SHOW = 8
SHOPPERS = 8
CUSTOMERS_LOOKED_AT = 500
_CARD = "handle title vendor priceRange { minVariantPrice { amount currencyCode } }"
_PRODUCTS = f"query Products($first: Int!) {{ products(first: $first) {{ nodes {{ {_CARD} }} }} }}"
_PRODUCT = f"query Product($handle: String!) {{ product(handle: $handle) {{ {_CARD} productType description }} }}"
_RECOMMENDED = f"""query Recommended($handle: MetaobjectHandleInput!, $first: Int!) {{
  metaobject(handle: $handle) {{
    field(key: "{METAOBJECT_FIELD}") {{ references(first: $first) {{ nodes {{ ... on Product {{ id {_CARD} }} }} }} }}
  }}
}}"""


@dataclass(frozen=True, slots=True)
class Shopper:
    """Somebody who has published recommendations.

    Attributes:
        label: What the page calls them.
        query: Of the page's address as this shopper sees it.
    """

    label: str
    query: str


def shop_name(store: "DevStore") -> str:
    """Returns the shop's name."""
    return shop_of(store.state)["name"]


def products_on_show(store: "DevStore") -> list[dict[str, Any]]:
    """Returns the first published products, as the Storefront API shows them."""
    return _ask(store, _PRODUCTS, first=ON_SHOW)["products"]["nodes"]


def product_by_handle(store: "DevStore", handle: str) -> dict[str, Any] | None:
    """Returns a published product, or None."""
    return _ask(store, _PRODUCT, handle=handle)["product"]


def recommended_products(store: "DevStore", handle: str, first: int = 16) -> list[dict[str, Any]]:
    """Returns the published products of a shopper's entry, best first, as the Storefront API shows them.

    Args:
        store: The shop.
        handle: Of the shopper's metaobject, see `ShopperIds.handle_of`; without such an entry there are none.
        first: At most so many.
    """
    variables = {"handle": {"type": METAOBJECT_TYPE, "handle": handle}, "first": first}
    found = _ask(store, _RECOMMENDED, **variables)["metaobject"]
    return [node for node in found["field"]["references"]["nodes"] if node] if found else []


def price_text(money: Mapping[str, str]) -> str:
    """Returns an amount as the page writes it: `9.90 USD`."""
    digits = 0 if money["currencyCode"] == "JPY" else 2
    return f"{Decimal(money['amount']):,.{digits}f} {money['currencyCode']}"


def shoppers(store: "DevStore") -> list[Shopper]:
    """Returns some shoppers to look at the shop as: customers first, then entries of whoever else has any.

    Customers are told where the recommendations were published with the shop's own HMAC secret.
    """
    found: dict[str, Shopper] = {}
    secret = store.hmac_secret
    for customer in store.state.scan("Customer", limit=CUSTOMERS_LOOKED_AT):
        handle = hmac_sha256(hmac_sha256(customer["id"], secret), secret)
        if len(found) < SHOPPERS and store.state.find("Metaobject", f"{METAOBJECT_TYPE}/{handle}"):
            number = split_gid(customer["id"])[1]
            found[handle] = Shopper(f"Customer {number}", f"customer={number}")
    entries = (entry for entry in store.state.scan("Metaobject") if entry["type"] == METAOBJECT_TYPE)
    for entry in islice(entries, 2 * SHOPPERS):
        handle = entry["handle"]
        if handle not in found and len(found) < SHOPPERS:
            found[handle] = Shopper(f"Visitor {handle[:8]}", f"shopper={handle}")
    return list(found.values())


def _ask(store: "DevStore", document: str, **variables: Any) -> dict[str, Any]:
    answer = store.execute(document, variables, api="storefront")
    if answer.get("errors"):
        raise RuntimeError(f"the local shop's Storefront API refused its own page: {answer['errors']}")
    return answer["data"]
