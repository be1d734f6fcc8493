"""From the shop's stock to what a model may recommend."""

import pytest
from shop_contents import operations, products, run
from small_data import small_dataset, small_inventory

from scripts.shopify import availability
from scripts.shopify.availability import sold_without_stock
from scripts.shopify.dev_store.catalogue import seed_products
from scripts.shopify.dev_store.catalogue_stock import LOCATION
from scripts.shopify.dev_store.state import gid
from scripts.shopify.populate_inventory import populate
from scripts.shopify.prepare_inventory_snapshot import main, read_inventory
from serving.bundle import open_bundle
from serving.config import ServeConfig
from serving.recommender import Recommender
from training.config import TrainingConfig
from training.data.inventory import load_inventory
from training.export import export_bundle
from training.models.ranker import build_model

pytestmark = [
    pytest.mark.usefixtures("shop_environment"),
    pytest.mark.filterwarnings("ignore::training.data.inventory.InventoryWarning"),
]
PRODUCT_SET = """
mutation ($handle: String!, $input: ProductSetInput!) {
  productSet(identifier: { handle: $handle }, input: $input) { product { id } userErrors { field message } }
}
"""


def stocked(store, handle, *units, policies=(), status="ACTIVE"):
    """Makes a product with a variant for each number of units (None: not tracked); returns its GID."""
    names = [str(number) for number in range(len(units))]
    variants = []
    for number, (name, count) in enumerate(zip(names, units, strict=True)):
        variant = {"optionValues": [{"optionName": "Size", "name": name}], "inventoryItem": {"tracked": False}}
        if count is not None:
            quantities = [{"locationId": LOCATION, "name": "available", "quantity": count}]
            variant |= {"inventoryItem": {"tracked": True}, "inventoryQuantities": quantities}
        if number in policies:
            variant["inventoryPolicy"] = "CONTINUE"
        variants.append(variant)
    options = [{"name": "Size", "values": [{"name": name} for name in names]}]
    fields = {"handle": handle, "title": handle, "status": status, "productType": "All"}
    given = fields | {"productOptions": options, "variants": variants}
    return run(store, PRODUCT_SET, handle=handle, input=given)["product"]["id"]


@pytest.mark.parametrize("bulk", ["never", "always"])
def test_what_counts_as_available(store, client, bulk):
    stocked(store, "untracked", None)
    stocked(store, "in-stock", 0, 2)
    stocked(store, "sold-out", 0, 0)
    stocked(store, "oversold", -3)
    stocked(store, "sold-without-stock", 0, -1, policies=[1])
    stocked(store, "some-oversold", -5, 2)
    stocked(store, "some-untracked", 0, None)
    stocked(store, "draft", 7, status="DRAFT")
    stocked(store, "archived", None, status="ARCHIVED")
    stocked(store, "draft-without-stock", 0, policies=[0], status="DRAFT")
    inventory = read_inventory(client, bulk=bulk)
    available = {record["handle"]: record["available"] for record in inventory.products}
    unavailable = {"sold-out", "oversold", "draft", "archived", "draft-without-stock"}
    assert {handle for handle, value in available.items() if value is False} == unavailable
    assert all(available[handle] is True for handle in available.keys() - unavailable)
    # Only what the product's own fields leave open is asked for.
    (asked,) = operations(store, "ProductsForSale")
    everything = products(store)
    doubtful = ("sold-out", "oversold", "sold-without-stock", "some-oversold", "some-untracked")
    assert asked == {"ids": [everything[handle]["id"] for handle in doubtful]}


def test_a_shop_with_stock_costs_no_request_more(store, client):
    stocked(store, "hat", 1)
    stocked(store, "sock", None)
    read_inventory(client)
    stocked(store, "cap", 0)
    read_inventory(client, attributes=["price"])  # who does not want to know does not ask
    assert operations(store, "ProductsForSale", "ProductVariants") == []


def test_many_products_and_many_variants(store, client, monkeypatch):
    monkeypatch.setattr(availability, "BATCH", 2)
    late, gone = stocked(store, "late", 0, 0, policies=[1]), stocked(store, "gone", 0, 0)
    for product in map(store.state.get, (late, gone)):  # one mutation takes no more than 250 variants
        first, last = product["variants"]
        more = [{**first, "id": gid("ProductVariant", 10**6 + number)} for number in range(400)]
        store.state.put({**product, "variants": [first, *more, {**last, "id": gid("ProductVariant", 10**7)}]})
    sold = stocked(store, "sold", 0, policies=[0])
    deleted = "gid://shopify/Product/999"
    assert sold_without_stock(client, [late, gone, sold, deleted]) == {late, sold}
    assert [len(variables["ids"]) for variables in operations(store, "ProductsForSale")] == [2, 2]
    # Beyond the first 100: up to 350, then the rest.
    assert [variables["id"] for variables in operations(store, "ProductVariants")] == [late] * 2 + [gone] * 2
    assert sold_without_stock(client, []) == set()


def test_stock_is_no_tag(store, client):
    stocked(store, "hat", 0)
    inventory = read_inventory(client)
    store.state.delete(products(store)["hat"]["id"])
    populate(client, inventory)
    assert not [tag for tag in products(store)["hat"]["tags"] if "available" in tag]
    assert read_inventory(client).products[0]["available"] is True  # populating sets no stock


def test_a_sold_out_product_is_not_recommended(store, tmp_path):
    records = [dict(record) for record in small_inventory().products]
    sold_out = records[3]["handle"]
    records[3]["stock"] = 0
    seed_products(store, records)
    assert main([str(tmp_path / "snapshot.json")]) == 0

    dataset, config = small_dataset(tmp_path / "dataset"), TrainingConfig()
    model = build_model(dataset, config)
    inventory = load_inventory(tmp_path / "snapshot.json")
    bundle = open_bundle(export_bundle(model, dataset, inventory, config, tmp_path / "bundle", {}))
    available = dict(zip(inventory.handles, bundle.catalogue.available.tolist(), strict=True))
    assert [handle for handle, value in available.items() if not value] == [sold_out]

    def recommended(**rules):
        answer = Recommender(bundle, ServeConfig(**rules)).recommend("u005", k=1000, recommend_seen=True)
        return set(answer.handles)

    assert recommended() == set(inventory.handles)
    assert recommended(exclude_out_of_stock=True) == set(inventory.handles) - {sold_out}
