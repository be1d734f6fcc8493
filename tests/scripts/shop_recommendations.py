"""Files of recommendations and what comes of them in the local shop, for the tests of publish_recommendations."""

import json

from conftest import HMAC_SECRET
from pydantic import SecretStr

from scripts.shopify.marks import METAOBJECT_TYPE
from scripts.shopify.shopper_ids import ShopperIds

IDS = ShopperIds(SecretStr(HMAC_SECRET))
GONE = ["gid://shopify/Product/99999", "gid://shopify/Product/88888"]


def add_products(store):
    """Puts twelve products into the shop; returns their GIDs."""
    return [
        store.state.insert("Product", {"handle": f"p{n}", "title": f"P{n}", "status": "ACTIVE"}, key=f"p{n}")["id"]
        for n in range(12)
    ]


def file_of(tmp_path, rows):
    path = tmp_path / "recommendations.jsonl"
    path.write_text("".join(json.dumps({"userId": user, "itemIds": items}) + "\n" for user, items in rows))
    return path


def many(products, count):
    """`count` shoppers; every seventh has an unknown product first, every 50th only unknown ones."""
    rows = []
    for n in range(count):
        items = [products[n % 12], products[(n + 5) % 12]]
        rows.append((f"user-{n}", GONE if n % 50 == 49 else [GONE[n % 2], *items] if n % 7 == 0 else items))
    return rows


def entries(store):
    """Handle -> products, of all metaobjects in the shop."""
    found = list(store.state.scan("Metaobject"))
    handles = {entry["handle"]: json.loads(entry["fields"][0]["value"]) for entry in found}
    assert len(handles) == len(found)
    assert {entry["type"] for entry in found} <= {METAOBJECT_TYPE}
    return handles


def expected(rows, k=16):
    wanted = {IDS.handle_of(user): [gid for gid in items if gid not in GONE][:k] for user, items in rows}
    return {handle: items for handle, items in wanted.items() if items}
