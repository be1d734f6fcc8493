"""Orders as Shopify answers them, and states made from them, for the tests of export_orders."""

from conftest import HMAC_SECRET
from pydantic import SecretStr

from scripts.shopify.order_lines import rows_of_orders, unix_seconds
from scripts.shopify.order_state import merged, plan_reading
from scripts.shopify.shopper_ids import ShopperIds

IDS = ShopperIds(SecretStr(HMAC_SECRET))
JAN, FEB, MAR = (unix_seconds(f"2026-{month}-01") for month in ("01", "02", "03"))
NOW = unix_seconds("2026-03-10")
DAY = 86_400


def line(number, product, quantity=1, handle=None, product_type="Toys"):
    kind = {"id": f"gid://shopify/Product/{product}", "handle": handle or f"p{product}", "productType": product_type}
    return {
        "id": f"gid://shopify/LineItem/{number}",
        "currentQuantity": quantity,
        "product": kind if product else None,
    }


def order(number, customer, *lines, at="2026-02-01T00:00:00Z", **changes):
    return {
        "id": f"gid://shopify/Order/{number}",
        "processedAt": at,
        "updatedAt": at,
        "cancelledAt": None,
        "test": False,
        "customer": {"id": f"gid://shopify/Customer/{customer}"} if customer else None,
        "lineItems": {"nodes": list(lines)},
    } | changes


def user(customer):
    return IDS.user_id_of(f"gid://shopify/Customer/{customer}")


def plan(old=None, since=JAN, sees_all=True, now=NOW, **changes):
    given = {"shop": "a.myshopify.com", "secret": IDS.fingerprint(), **changes}
    return plan_reading(old, since=since, sees_all=sees_all, now=now, **given)


def state_of(*orders, old=None, since=JAN, now=NOW, **changes):
    reading = plan(old, since, now=now, **changes)
    return merged(reading, rows_of_orders(orders, IDS, reading.header.since), now)


def triples(state):
    """(customer's user id, product, quantity) of every row."""
    return state.rows.select("user_id", "product", "quantity").rows()
