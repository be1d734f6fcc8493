"""Groups of items, by the numbers that purchases have."""

import polars as pl
import pytest

from scripts.ml.item_groups import inventory_groups, read_groups
from training.data.inventory import inventory_from_records, save_inventory


@pytest.fixture
def interactions(tmp_path):
    rows = {"item_handle": ["b", "a", "c", "a", "a"], "item_category": ["x", "y", "x", "z", "z"]}
    common = {"label": [1] * 5, "user_id": ["u"] * 5, "timestamp": [1, 2, 3, 4, 5], "brand": ["p", None, "q", "p", "p"]}
    path = tmp_path / "interactions.parquet"
    pl.DataFrame({**rows, **common}).write_parquet(path)
    return path


def test_an_item_has_the_value_of_most_of_its_lines(interactions):
    found = read_groups(interactions, ["item_category", "brand+item_category"])
    assert {name: codes.tolist() for name, codes in found.items()} == {
        "item_category": [1, 0, 0],
        "brand+item_category": [1, 0, 2],
    }


def test_a_table_of_items_gives_the_values_and_what_it_lacks_is_in_no_group(interactions, tmp_path):
    table = tmp_path / "items.parquet"
    pl.DataFrame({"item_handle": ["c", "a", "d"], "maker": [5, 5, 1]}).write_parquet(table)
    assert read_groups(interactions, ["maker"], table)["maker"].tolist() == [0, -1, 0]
    with pytest.raises(ValueError, match="colour"):
        read_groups(interactions, ["colour"], table)
    pl.DataFrame({"item_handle": ["c", "c"], "maker": [5, 5]}).write_parquet(table)
    with pytest.raises(ValueError, match="once"):
        read_groups(interactions, ["maker"], table)


def test_a_snapshot_gives_the_same_groups_by_either_door(interactions, tmp_path):
    records = [
        {"id": f"gid://shopify/Product/{n}", "handle": handle, "title": handle, "category": category, **others}
        for n, (handle, category, others) in enumerate(
            [("c", "x", {"maker": 5}), ("b", "y", {"tags": ["new"]}), ("a", "x", {"maker": 1})], 1
        )
    ]
    inventory = inventory_from_records(records)
    save_inventory(inventory, tmp_path / "inventory.json")
    names = ["item_category", "maker+category"]
    expected = {"item_category": [0, 1, 0], "maker+category": [0, -1, 1]}
    found = read_groups(interactions, names, tmp_path / "inventory.json")
    assert {name: codes.tolist() for name, codes in found.items()} == expected
    found = inventory_groups(inventory, ["a", "b", "c", "gone"], names)
    assert {name: codes.tolist() for name, codes in found.items()} == {k: [*v, -1] for k, v in expected.items()}
    with pytest.raises(ValueError, match="none called \\['colour'\\]"):
        inventory_groups(inventory, ["a"], ["colour"])
