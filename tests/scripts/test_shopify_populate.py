"""Populate in a shop where something is there already: what it changes, what it leaves alone, what it refuses."""

import pytest
from shop_contents import (
    CHANGES,
    RECORDS,
    add_collection,
    channel,
    collections,
    contents,
    fill_by_rules,
    operations,
    products,
    set_product,
)
from shop_interruptions import interrupted_at

from scripts.shopify import shop_products
from scripts.shopify.client import ShopifyClient
from scripts.shopify.marks import MARK_TAG
from scripts.shopify.populate_inventory import populate
from scripts.shopify.prepare_inventory_snapshot import read_inventory
from training.data.inventory import inventory_from_records


@pytest.fixture
def inventory():
    return inventory_from_records(RECORDS)


def test_populate_repairs_what_differs_and_keeps_what_was_added(store, client, inventory):
    populate(client, inventory)
    before = products(store)
    mine = add_collection(store, "My picks")
    (clothing,) = (entry["id"] for entry in collections(store).values() if entry["title"] == "Clothing")
    set_product(store, "hat", "9.9", tags=[*before["hat"]["tags"], "my own"])  # the same price
    set_product(store, "sock", title="Sokc", tags=[MARK_TAG, "my own"], collections=[clothing, mine])
    store.state.unlink("publication", channel(store, "online_store"), before["ball"]["id"])
    result = populate(client, inventory)
    assert (result.unchanged, result.updated, result.published) == (2, 1, 1)
    after = products(store)
    assert after["sock"]["title"] == "Sock"
    assert after["sock"]["collections"] == ["Clothing", "My picks"]
    assert after["sock"]["tags"] == ["my own", MARK_TAG]
    assert after["hat"]["tags"] == sorted([*before["hat"]["tags"], "my own"])
    assert after["ball"] == before["ball"]


def test_populate_adds_to_the_lists_of_others_and_replaces_nothing(store, client, inventory):
    mine = add_collection(store, "My picks")
    set_product(store, "hat", "1.00", title="Hat", tags=[MARK_TAG, "Winter", "my own"], collections=[mine])
    assert populate(client, inventory).updated == 1
    hat = products(store)["hat"]
    assert hat["tags"] == sorted(["Winter", "my own", MARK_TAG, "wool felt", "audience:everyone"])
    assert hat["collections"] == ["My picks", "Clothing"]
    assert hat["prices"] == ["9.90"]
    assert populate(client, inventory).unchanged == 3


def test_populate_sends_of_a_list_the_difference_only(store, client, inventory):
    populate(client, inventory)
    hat, clothing = products(store)["hat"]["id"], collections(store)["clothing"]["id"]
    rules = add_collection(store, "Everything")
    fill_by_rules(store, rules, hat)
    store.state.unlink("collection", clothing, hat)
    changed = [tag for tag in products(store)["hat"]["tags"] if tag != "winter"] + ["my own"]
    store.state.put({**store.state.get(hat), "tags": changed, "vendor": "Other"})
    seen = len(operations(store, *CHANGES))
    assert populate(client, inventory).updated == 1
    assert operations(store, *CHANGES)[seen:] == [
        {"identifier": {"id": hat}, "input": {"vendor": "Plainweave"}},
        {"id": hat, "tags": ["winter"]},
        {"product": {"id": hat, "collectionsToJoin": [clothing]}},
    ]
    assert products(store)["hat"]["collections"] == ["Clothing", "Everything"]
    assert products(store)["hat"]["tags"] == sorted([*changed, "winter"])
    assert populate(client, inventory).unchanged == 3


def test_what_others_add_while_populate_runs_stays(store, client, inventory, monkeypatch):
    populate(client, inventory)
    hat = products(store)["hat"]["id"]
    clothing, mine = collections(store)["clothing"]["id"], add_collection(store, "My picks")
    store.state.unlink("collection", clothing, hat)
    store.state.put({**store.state.get(hat), "tags": [MARK_TAG]})
    look = shop_products.lookup

    def and_then_others(client, name, handle, publications):
        found = look(client, name, handle, publications)
        if handle == "hat":
            store.state.put({**store.state.get(hat), "tags": [MARK_TAG, "theirs"]})
            store.state.link("collection", mine, hat)
        return found

    monkeypatch.setattr(shop_products, "lookup", and_then_others)
    assert populate(client, inventory).updated == 1
    after = products(store)["hat"]
    assert after["collections"] == ["Clothing", "My picks"]
    assert after["tags"] == sorted([MARK_TAG, "theirs", "audience:everyone", "winter", "wool felt"])


def test_a_changed_attribute_and_category_replace_the_old_ones(store, client, inventory):
    populate(client, inventory)
    set_product(store, "hat", tags=[*products(store)["hat"]["tags"], "my own", "other:tag"])
    mine, hat = add_collection(store, "My picks"), products(store)["hat"]["id"]
    store.state.link("collection", mine, hat)
    records = [RECORDS[0] | {"audience": "men", "category": "Accessories"}, *RECORDS[1:]]
    changed = inventory_from_records(records)
    assert (populate(client, changed, dry_run=True).updated, populate(client, changed).updated) == (1, 1)
    after = products(store)["hat"]
    assert after["tags"] == sorted(["audience:men", MARK_TAG, "my own", "other:tag", "winter", "wool felt"])
    assert after["collections"] == ["My picks", "Accessories"]
    assert after["productType"] == "Accessories"
    assert populate(client, changed).unchanged == 3
    store.state.unlink("collection", mine, hat)
    snapshot = read_inventory(client, attributes=["named_tags"])
    assert (snapshot.products[0]["audience"], snapshot.products[0]["category"]) == ("men", "Accessories")
    assert products(store)["sock"]["collections"] == ["Clothing"]
    without = inventory_from_records([RECORDS[0] | {"audience": "", "category": "Accessories"}, *RECORDS[1:]])
    assert populate(client, without).updated == 1
    assert [tag for tag in products(store)["hat"]["tags"] if tag.startswith("audience")] == []


@pytest.mark.parametrize("after", [False, True], ids=["before the shop acts", "after"])
def test_changes_stopped_anywhere_and_started_again_end_the_same(store, client, inventory, after):
    changed = {"audience": "men", "category": "Accessories", "vendor": "Other"}
    other = inventory_from_records([RECORDS[0] | changed, *RECORDS[1:]])
    populate(client, other)
    expected = contents(store)
    populate(client, inventory)
    seen = len(store.requests)
    populate(client, other)
    assert contents(store) == expected
    for number in range(1, len(store.requests) - seen + 1):
        populate(client, inventory)
        with interrupted_at(number, after), pytest.raises(KeyboardInterrupt):
            populate(client, other)
        populate(client, other)
        assert contents(store) == expected, number


def test_a_collection_that_rules_fill_is_named(store, client, inventory):
    rules = add_collection(store, "Clothing")
    fill_by_rules(store, rules)
    result = populate(client, inventory)
    assert (result.created, [line.split(": ")[:2] for line in result.failed]) == (
        1,
        [["hat", "collection Clothing"], ["sock", "collection Clothing"]],
    )
    assert sorted(products(store)) == ["ball"]
    set_product(store, "hat", title="Hat", tags=[MARK_TAG])  # there already: joined rather than made
    line = populate(client, inventory).failed[0]
    assert line.startswith("hat: collection Clothing: product_collections_change: ")
    assert products(store)["hat"]["collections"] == []


@pytest.mark.parametrize("handle", ["Hat", "chapeau-d'été", "-hat", "h" * 256, "hat.1"])
def test_a_handle_that_shopify_would_change_is_refused_unsent(store, client, handle):
    records = [RECORDS[1] | {"handle": handle}, RECORDS[2]]
    (line,) = populate(client, inventory_from_records(records)).failed
    assert line.startswith(f"{handle}: `handle` should be one that Shopify keeps as it is, as in '")
    assert sorted(products(store)) == ["ball"]
    assert [call["handle"] for call in operations(store, "ProductByHandle")] == ["ball"]


def test_a_mutation_that_returns_nothing_is_one_line(store, client, inventory, monkeypatch):
    execute = ShopifyClient.execute
    answers = iter([{"productSet": {"product": None, "userErrors": []}}, {"productSet": None}])

    def empty(self, name, *arguments, **options):
        return next(answers, None) if name == "product_set" else execute(self, name, *arguments, **options)

    monkeypatch.setattr(ShopifyClient, "execute", empty)
    *lines, _ = populate(client, inventory_from_records([*RECORDS[:2], RECORDS[2] | {"handle": "Ball"}])).failed
    assert lines == [
        "hat: productSet: Shopify returned no `product`, and no reason; start again to see what was done",
        "sock: productSet: Shopify returned null, and no reason; start again to see what was done",
    ]


def test_populate_keeps_the_variants_of_others(store, client, inventory):
    sizes = [{"name": "Size", "position": 1, "values": [{"name": "S"}, {"name": "L"}]}]
    variants = [{"optionValues": [{"optionName": "Size", "name": size}], "price": "7.00"} for size in "SL"]
    tags = [MARK_TAG, "audience:everyone"]
    set_product(store, "hat", title="Old", tags=tags, productOptions=sizes, variants=variants)
    populate(client, inventory)
    hat = products(store)["hat"]
    assert (hat["title"], hat["prices"]) == ("Hat", ["7.00", "7.00"])
    assert populate(client, inventory).unchanged == 3


def test_populate_leaves_the_shop_owners_product_alone(store, client, inventory):
    set_product(store, "sock", "99.00", title="My best sock", tags=["mine"])
    own = products(store)["sock"]
    result = populate(client, inventory)
    assert products(store)["sock"] == own
    (line,) = result.failed
    assert line.startswith("sock: ")
    assert f"lacks the tag {MARK_TAG}" in line
    assert result.created == 2


def test_populate_uses_the_shop_owners_collection_and_does_not_mark_or_publish_it(store, client, inventory):
    own = add_collection(store, "Clothing for all", handle="clothing")
    result = populate(client, inventory)
    assert (result.collections_created, result.published) == (1, 4)
    assert result.warnings == ["own collection clothing is not on channel online_store; left as it is"]
    assert collections(store)["clothing"]["published"] == set()
    store.state.link("publication", channel(store, "pos"), own)
    (warning,) = populate(client, inventory, channels=("pos", "online_store")).warnings
    assert warning == "own collection clothing is not on channel online_store; left as it is"
    store.state.link("publication", channel(store, "online_store"), own)
    assert populate(client, inventory).warnings == []
    assert collections(store)["clothing"]["metafield"] is None
    assert collections(store)["clothing"]["title"] == "Clothing for all"
    assert products(store)["hat"]["collections"] == ["Clothing for all"]
