import pytest

from scripts.shopify.marks import MARK_TAG
from scripts.shopify.product_documents import Changes, changes, wanted_product
from scripts.shopify.shop_collections import collection_handle
from scripts.shopify.texts import gid_number, one_line, shopify_handle
from training.data.inventory import InventoryError

HAT = {"handle": "hat", "title": "Hat", "category": "Clothing", "price": "9.90", "audience": "everyone"}


def found(**changes):
    """The shop's product that is just what `HAT` asks for."""
    return {
        **{"id": "gid://shopify/Product/1", "title": "Hat", "vendor": "Shop", "productType": "Clothing"},
        **{"status": "ACTIVE", "tags": [MARK_TAG, "audience:everyone"]},
        "variants": {"nodes": [{"title": "Default Title", "price": "9.9"}]},
        "collections": {"nodes": [{"id": "gid://shopify/Collection/1", "metafield": {"value": MARK_TAG}}]},
        **changes,
    }


def test_product_input_of_a_snapshot_record():
    record = HAT | {"product_type": "Headgear", "status": "DRAFT", "price": 5, "size": 3, "tags": "b, c, B"}
    record |= {"price_band": "1 (under 7.00)"}
    wanted = wanted_product(record, ["gid://1", "gid://1"])
    document = wanted.input
    assert (document["productType"], document["status"], document["collections"]) == ("Headgear", "DRAFT", ["gid://1"])
    assert document["tags"] == [MARK_TAG, "b", "c", "audience:everyone", "size:3"]
    assert document["variants"][0]["price"] == "5.00"
    assert (wanted.problems, wanted.attribute_prefixes) == ((), ("audience:", "size:"))
    without_price = wanted_product({key: value for key, value in HAT.items() if key != "price"}, [])
    assert "variants" not in without_price.input


@pytest.mark.parametrize("price", ["", "free", "-1", float("nan"), float("inf"), [1]])
def test_prices_that_are_none(price):
    with pytest.raises(InventoryError, match="`price` should be a number from 0"):
        wanted_product(HAT | {"price": price}, [])


def test_only_what_is_lacking_is_sent():
    wanted = wanted_product(HAT, ["gid://shopify/Collection/1"])
    assert not changes(found(), wanted)
    assert changes(found(title="Cap"), wanted) == Changes({"title": "Hat"})
    assert changes(found(tags=[MARK_TAG, "x"]), wanted) == Changes({}, tags_to_add=("audience:everyone",))
    assert not changes(found(tags=["Audience:Everyone", "x", MARK_TAG]), wanted)
    dearer = changes(found(variants={"nodes": [{"title": "Default Title", "price": "10.00"}]}), wanted)
    assert dearer == Changes({key: wanted.input[key] for key in ("productOptions", "variants")})
    sizes = {"nodes": [{"title": "S", "price": "1.00"}, {"title": "L", "price": "2.00"}]}
    assert not changes(found(variants=sizes), wanted)


def test_earlier_values_and_collections_of_ours_go():
    wanted = wanted_product(HAT | {"tags": ["audience:vip"], "note": None, "sizes": [1]}, ["gid://1"])
    tags = ["Audience:men", "audience:vip", "audiences:all", "note:old", "sizes:1", "x:y", MARK_TAG]
    marks = [{"value": MARK_TAG}, {"value": "another"}, None, {"value": MARK_TAG}]
    nodes = [{"id": f"gid://{number}", "metafield": mark} for number, mark in enumerate(marks, start=1)]
    assert changes(found(tags=tags, collections={"nodes": nodes}), wanted) == Changes(
        {},
        tags_to_remove=("Audience:men", "note:old"),
        tags_to_add=("audience:everyone",),
        collections_to_leave=("gid://4",),
    )


@pytest.mark.parametrize("handle", ["hat", "hat-2_x", "a--b", "食品", "h" * 255, "ß", "กางเกง-ที่", "हिन्दी"])
def test_handles_that_shopify_keeps(handle):
    assert wanted_product(HAT | {"handle": handle}, []).input["handle"] == handle


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        ("Crème brûlée!", "creme-brulee"),
        ("  -A--b- ", "a-b"),
        ("it's 5 o’clock", "its-5-oclock"),
        ("x" * 300, "x" * 255),
        ("Ёж", "ёж"),
        ("a_b.c", "a_b-c"),
        ("กางเกง ที่", "กางเกง-ที่"),
    ],
)
def test_handles_that_shopify_makes(text, handle):
    assert shopify_handle(text) == handle


def test_texts():
    assert one_line(" a\r\n\tb ") == "a b"
    assert gid_number("gid://shopify/Product/12") == 12
    with pytest.raises(ValueError, match="invalid literal"):
        gid_number("gid://shopify/Product/x")


def test_handles_of_collections():
    assert collection_handle("Home & Garden") == "home-garden"
    assert collection_handle("Café") == "cafe"
    names = ["食品", "おもちゃ"]
    handles = [collection_handle(name) for name in names]
    assert all(handle.startswith("collection-") for handle in handles)
    assert len(set(handles)) == 2
