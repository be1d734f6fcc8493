import pytest

from scripts.shopify.marks import MARK_TAG
from scripts.shopify.product_documents import lacking, product_input
from scripts.shopify.shop_collections import collection_handle
from training.data.inventory import InventoryError

HAT = {"handle": "hat", "title": "Hat", "category": "Clothing", "price": "9.90", "audience": "everyone"}


def found(**changes):
    """The shop's product that is just what `HAT` asks for."""
    return {
        **{"id": "gid://shopify/Product/1", "title": "Hat", "vendor": "Shop", "productType": "Clothing"},
        **{"status": "ACTIVE", "tags": [MARK_TAG, "audience:everyone"]},
        "variants": {"nodes": [{"title": "Default Title", "price": "9.9"}]},
        "collections": {"nodes": [{"id": "gid://shopify/Collection/1"}]},
        **changes,
    }


def test_product_input_of_a_snapshot_record():
    record = HAT | {"product_type": "Headgear", "status": "DRAFT", "price": 5, "size": 3, "tags": "b, c, B"}
    record |= {"price_band": "1 (under 7.00)"}
    document, problems = product_input(record, ["gid://1", "gid://1"])
    assert (document["productType"], document["status"], document["collections"]) == ("Headgear", "DRAFT", ["gid://1"])
    assert document["tags"] == [MARK_TAG, "b", "c", "audience:everyone", "size:3"]
    assert document["variants"][0]["price"] == "5.00"
    assert problems == []
    without_price, _ = product_input({key: value for key, value in HAT.items() if key != "price"}, [])
    assert "variants" not in without_price


@pytest.mark.parametrize("price", ["", "free", "-1", float("nan"), float("inf"), [1]])
def test_prices_that_are_none(price):
    with pytest.raises(InventoryError, match="`price` should be a number from 0"):
        product_input(HAT | {"price": price}, [])


def test_only_what_is_lacking_is_sent():
    wanted, _ = product_input(HAT, ["gid://shopify/Collection/1"])
    assert lacking(None, wanted) == wanted
    assert lacking(found(), wanted) is None
    scalars = {"handle": "hat", "title": "Hat", "productType": "Clothing", "status": "ACTIVE"}
    assert lacking(found(title="Cap"), wanted) == scalars
    assert lacking(found(tags=[MARK_TAG, "x"]), wanted) == scalars | {"tags": [MARK_TAG, "x", "audience:everyone"]}
    assert lacking(found(tags=["Audience:Everyone", "x", MARK_TAG]), wanted) is None
    other = {"nodes": [{"id": "gid://shopify/Collection/7"}]}
    both = ["gid://shopify/Collection/7", "gid://shopify/Collection/1"]
    assert lacking(found(collections=other), wanted) == scalars | {"collections": both}
    dearer = lacking(found(variants={"nodes": [{"title": "Default Title", "price": "10.00"}]}), wanted)
    assert dearer == scalars | {key: wanted[key] for key in ("productOptions", "variants")}
    sizes = {"nodes": [{"title": "S", "price": "1.00"}, {"title": "L", "price": "2.00"}]}
    assert lacking(found(variants=sizes), wanted) is None


def test_handles_of_collections():
    assert collection_handle("Home & Garden") == "home-garden"
    assert collection_handle("Café") == "cafe"
    names = ["食品", "おもちゃ"]
    handles = [collection_handle(name) for name in names]
    assert all(handle.startswith("collection-") for handle in handles)
    assert len(set(handles)) == 2
