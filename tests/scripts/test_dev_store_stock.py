"""Stock of the local shop: how productSet sets it, and what the two APIs say of it."""

import pytest
from shop_contents import run, set_product
from store_calls import data_of

from scripts.shopify.dev_store.catalogue import seed_products
from scripts.shopify.dev_store.catalogue_stock import LOCATION

PRODUCT_SET = """
mutation ($input: ProductSetInput!) {
  productSet(identifier: { handle: "hat" }, input: $input) {
    product { tracksInventory totalInventory variants(first: 9) { nodes { inventoryQuantity availableForSale } } }
    userErrors { field message code }
  }
}
"""


def hat(*stock):
    """Input of a product with a variant for each stock; without a stock, it is not said."""
    names = [str(number) for number in range(len(stock))]
    return {
        "handle": "hat",
        "title": "Hat",
        "productOptions": [{"name": "Size", "values": [{"name": name} for name in names]}],
        "variants": [
            {"optionValues": [{"optionName": "Size", "name": name}], **each}
            for name, each in zip(names, stock, strict=True)
        ],
    }


def units(quantity, **fields):
    quantities = [{"locationId": LOCATION, "name": "available", "quantity": quantity}]
    return {"inventoryItem": {"tracked": True}, "inventoryQuantities": quantities, **fields}


@pytest.mark.parametrize(
    ("stock", "tracks", "total", "for_sale"),
    [
        ([{}], False, 0, [True]),
        ([units(0)], True, 0, [False]),
        ([{"inventoryItem": {"tracked": True}}], True, 0, [False]),
        ([units(3)], True, 3, [True]),
        ([units(-2, inventoryPolicy="CONTINUE")], True, -2, [True]),
        ([units(-2), units(1)], True, -1, [False, True]),
        ([units(0), {}], True, 0, [False, True]),
        ([units(4) | {"inventoryItem": {"tracked": False}}], False, 0, [True]),
    ],
)
def test_what_is_said_of_stock(unserved_store, stock, tracks, total, for_sale):
    payload = data_of(unserved_store, PRODUCT_SET, {"input": hat(*stock)})["productSet"]
    assert payload["userErrors"] == []
    product = payload["product"]
    assert (product["tracksInventory"], product["totalInventory"]) == (tracks, total)
    assert [variant["availableForSale"] for variant in product["variants"]["nodes"]] == for_sale
    unserved_store.state.link("publication", "gid://shopify/Publication/3", "gid://shopify/Product/1")
    shown = data_of(unserved_store, '{ product(handle: "hat") { availableForSale } }', api="storefront")
    assert shown == {"product": {"availableForSale": any(for_sale)}}


def test_stock_stays_until_it_is_set_again(unserved_store):
    run(unserved_store, PRODUCT_SET, input=hat(units(2)))
    set_product(unserved_store, "hat", title="New")
    product = run(unserved_store, PRODUCT_SET, input=hat({"price": "3.00"}))["product"]
    assert (product["totalInventory"], product["variants"]["nodes"][0]["inventoryQuantity"]) == (2, 2)
    assert run(unserved_store, PRODUCT_SET, input=hat(units(0)))["product"]["totalInventory"] == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"locationId": "gid://shopify/Location/2"}, "The specified location could not be found."),
        ({"name": "incoming"}, "The quantity name must be one of available, on_hand."),
    ],
)
def test_a_quantity_that_cannot_be_set_is_refused(unserved_store, wrong, message):
    (field,) = wrong
    stock = units(1)
    stock["inventoryQuantities"][0] |= wrong
    payload = data_of(unserved_store, PRODUCT_SET, {"input": hat({}, stock)})["productSet"]
    path = ["input", "variants", "1", "inventoryQuantities", "0", field]
    assert payload == {
        "product": None,
        "userErrors": [{"field": path, "message": message, "code": "INVALID_INPUT"}],
    }
    assert unserved_store.state.count("Product") == 0


def test_seeded_stock(unserved_store):
    seed_products(unserved_store, [{"title": "A"}, {"title": "B", "stock": 0}, {"title": "C", "stock": 5}])
    document = "{ products(first: 9) { nodes { tracksInventory totalInventory } } }"
    nodes = data_of(unserved_store, document)["products"]["nodes"]
    assert [tuple(node.values()) for node in nodes] == [(False, 0), (True, 0), (True, 5)]
