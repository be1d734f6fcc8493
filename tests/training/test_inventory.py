import json
import os
import pickle
import pickletools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.inventory import (
    InventoryError,
    InventoryWarning,
    inventory_from_records,
    load_inventory,
    save_inventory,
)


def record(number=1, **changes):
    product = {
        "id": f"gid://shopify/Product/{number}",
        "handle": f"p-{number}",
        "title": f"P {number}",
        "category": "A",
    }
    return {key: value for key, value in (product | changes).items() if value is not ...}


def written(tmp_path, document, suffix=".pkl"):
    path = tmp_path / f"inventory{suffix}"
    path.write_bytes(pickle.dumps(document) if suffix == ".pkl" else json.dumps(document).encode())
    return path


TWO = [record(1, price="9.90", tags=["x", "y"]), record(2, category="B")]
MAPS = {
    "category_to_products_dict": {"A": ["P 1"], "B": ["P 2"]},
    "title_to_handle_dict": {"P 1": "p-1", "P 2": "p-2"},
    "handle_to_id_dict": {"p-1": "gid://shopify/Product/1", "p-2": "gid://shopify/Product/2"},
}


def test_maps_derive_from_products():
    inventory = inventory_from_records(TWO)
    assert inventory.document() == MAPS | {"products": TWO}
    assert inventory.handles == ("p-1", "p-2")
    assert inventory.categories == ("A", "B")
    assert inventory.category_of == {"p-1": "A", "p-2": "B"}


@pytest.mark.parametrize("suffix", [".pkl", ".json"])
def test_round_trip(tmp_path, suffix):
    inventory = inventory_from_records(TWO)
    path = tmp_path / "folder" / f"inventory{suffix}"
    save_inventory(inventory, path)
    assert load_inventory(path) == inventory
    assert os.listdir(path.parent) == [path.name]  # no temporary file stays


def test_a_pickle_holds_nothing_but_plain_values(tmp_path):
    save_inventory(inventory_from_records(TWO), tmp_path / "inventory.pkl")
    names = {operation.name for operation, _, _ in pickletools.genops((tmp_path / "inventory.pkl").read_bytes())}
    assert names == {"PROTO", "FRAME", "EMPTY_DICT", "EMPTY_LIST", "MARK", "SHORT_BINUNICODE", "MEMOIZE", "BINGET"} | {
        *("APPEND", "APPENDS", "SETITEMS", "STOP")
    }


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("wrap", [lambda attack: attack, lambda attack: MAPS | {"products": [record(title=attack)]}])
def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path, protocol, wrap):
    path = tmp_path / "inventory.pkl"
    path.write_bytes(pickle.dumps(wrap(Attack(tmp_path / "owned")), protocol=protocol))
    with pytest.raises(InventoryError, match="nothing of it was executed"):
        load_inventory(path)
    assert not (tmp_path / "owned").exists()


@given(st.binary(max_size=60))
def test_broken_bytes_are_an_inventory_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "broken.pkl"
    path.write_bytes(content)
    with pytest.raises(InventoryError):
        load_inventory(path)


@pytest.mark.parametrize("suffix", [".pkl", ".json"])
def test_a_cut_file_is_an_inventory_error(tmp_path, suffix):
    path = tmp_path / f"inventory{suffix}"
    save_inventory(inventory_from_records(TWO), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InventoryError, match="not a readable"):
        load_inventory(path)


@pytest.mark.parametrize(
    ("name", "message"), [("missing.pkl", "not a file"), (".", "should end with"), ("a.csv", r"should end with \.pkl")]
)
def test_what_is_not_a_snapshot_file(tmp_path, name, message):
    with pytest.raises(InventoryError, match=message):
        load_inventory(tmp_path / name)
    (tmp_path / "folder.pkl").mkdir()
    with pytest.raises(InventoryError, match="not a file"):
        load_inventory(tmp_path / "folder.pkl")


def test_products_only(tmp_path):
    assert load_inventory(written(tmp_path, {"products": TWO})) == inventory_from_records(TWO)


@pytest.mark.parametrize("suffix", [".pkl", ".json"])
def test_maps_only(tmp_path, suffix):
    inventory = load_inventory(written(tmp_path, MAPS, suffix))
    assert inventory.products == (record(1), record(2, category="B"))


@pytest.mark.parametrize("key", MAPS)
def test_missing_maps_are_named(tmp_path, key):
    rest = {name: entries for name, entries in MAPS.items() if name != key}
    with pytest.raises(InventoryError, match=f"Missing: products, {key}$"):
        load_inventory(written(tmp_path, rest))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title_to_handle_dict": {"P 1": "p-1"}}, "`title_to_handle_dict` should have every title. Missing: 'P 2'"),
        ({"handle_to_id_dict": {"p-1": "gid://shopify/Product/1"}}, "should have every handle. Missing: 'p-2'"),
        ({"title_to_handle_dict": {"P 1": "p-1", "P 2": "p-1"}}, "should lead to every handle. Missing: 'p-2'"),
        ({"category_to_products_dict": {"A": "P 1"}}, "should map to lists of titles"),
        ({"category_to_products_dict": []}, "`category_to_products_dict` should be a dict. Received: list"),
        ({"products": {}}, "`products` should be a list. Received: dict"),
        ({"products": []}, "at least one product"),
        ({"products": [record(1), record(3)]}, "should agree with `products`. It differs at: 'A', 'B'"),
    ],
)
def test_contradicting_documents(tmp_path, changes, message):
    with pytest.raises(InventoryError, match=message):
        load_inventory(written(tmp_path, MAPS | changes))


@pytest.mark.parametrize("document", [None, [], "text", 3])
def test_other_documents(tmp_path, document):
    with pytest.raises(InventoryError, match="should hold a dict"):
        load_inventory(written(tmp_path, document))


@pytest.mark.parametrize("key", ["id", "handle", "title", "category"])
def test_missing_keys_are_named(key):
    with pytest.raises(InventoryError, match=rf"products\[1\].*Missing: {key}$"):
        inventory_from_records([record(1), record(2, **{key: ...})])


@pytest.mark.parametrize("key", ["id", "handle"])
def test_a_repeated_key_is_an_error(key):
    with pytest.raises(InventoryError, match=f"own `{key}`. Received repeatedly: {record()[key]}"):
        inventory_from_records([record(1), record(2, **{key: record()[key]})])


def test_repeated_titles_stay_and_the_first_is_in_the_map():
    with pytest.warns(InventoryWarning, match="keeps the first, `products` keeps all: P 1"):
        inventory = inventory_from_records([record(1), record(2, title="P 1")])
    assert inventory.title_to_handle_dict == {"P 1": "p-1"}
    assert inventory.category_to_products_dict == {"A": ["P 1"]}
    assert inventory.handles == ("p-1", "p-2")


@pytest.mark.parametrize(
    ("order", "category"), [(["Sale", "Shoes", "New"], "Shoes"), (["New"], "New"), (None, "New"), (["Other"], "New")]
)
def test_a_product_in_several_collections(order, category):
    product = record(1, category=..., collections=["New", "Shoes"])
    with pytest.warns(InventoryWarning, match=f"several collections.*p-1 -> {category}"):
        inventory = inventory_from_records([product], category_order=order)
    assert inventory.products[0]["category"] == category
    assert inventory.products[0]["collections"] == ["New", "Shoes"]


def test_a_chosen_category_is_not_chosen_again(recwarn, tmp_path):
    with pytest.warns(InventoryWarning):
        inventory = inventory_from_records([record(1, category=..., collections=["New", "Shoes"])], ["Shoes"])
    recwarn.clear()
    save_inventory(inventory, tmp_path / "inventory.json")
    assert load_inventory(tmp_path / "inventory.json") == inventory
    assert not recwarn


@pytest.mark.parametrize("changes", [{"category": ""}, {"category": None}, {"category": ..., "collections": []}])
def test_a_product_in_no_collection(changes):
    with pytest.warns(InventoryWarning, match="no collection.*'Uncategorized': p-1"):
        assert inventory_from_records([record(1, **changes)]).categories == ("Uncategorized",)


def test_maps_with_a_title_in_two_categories_and_one_in_none(tmp_path):
    maps = MAPS | {"category_to_products_dict": {"A": ["P 1"], "B": ["P 1"]}}
    with pytest.warns(InventoryWarning) as warnings:
        inventory = load_inventory(written(tmp_path, maps))
    assert inventory.category_of == {"p-1": "A", "p-2": "Uncategorized"}
    assert len(warnings) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"id": 7},
        {"id": "gid://shopify/Product/"},
        {"id": "gid://shopify/Product/01"},
        {"id": "gid://shopify/ProductVariant/1"},
        {"id": "gid://shopify/Product/1\n"},
        {"handle": ""},
        {"handle": "two words"},
        {"handle": "a/b"},
        {"title": " "},
        {"title": None},
        {"title": "a\tb"},
        {"category": 5},
        {"category": "a\nb"},
        {"collections": "Shoes"},
        {"collections": [1]},
        {"price": float("nan")},
        {"tags": {"a", "b"}},
        {"extra": {1: "number as key"}},
        {"extra": b"bytes"},
    ],
)
def test_wrong_types_and_malformed_values(changes):
    name = next(iter(changes))
    with pytest.raises(InventoryError, match=rf"products\[0\]\['?{name}"):
        inventory_from_records([record(1, **changes)])


def test_a_record_that_contains_itself(tmp_path):
    endless = record(1)
    endless["self"] = endless
    with pytest.raises(InventoryError, match="Received: dict"):
        load_inventory(written(tmp_path, {"products": [endless]}))


def test_a_record_that_is_no_dict():
    with pytest.raises(InventoryError, match=r"products\[0\] should be a dict. Received: str"):
        inventory_from_records(["P 1"])


def test_long_lists_of_names_are_cut():
    with pytest.raises(InventoryError, match=r"p-9 and 2 more$"):
        inventory_from_records([record(n + 1, handle=f"p-{n % 12}") for n in range(24)])


def test_failing_to_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "inventory.pkl"
    save_inventory(inventory_from_records(TWO), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        save_inventory(inventory_from_records([record(5)]), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["inventory.pkl"]
