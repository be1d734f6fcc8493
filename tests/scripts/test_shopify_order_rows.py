"""Orders as Shopify answers them -> rows -> interactions: literal cases, no shop."""

import pytest
from order_cases import FEB, IDS, JAN, line, order, state_of, user

from scripts.shopify.order_interactions import interactions_of_rows
from scripts.shopify.order_lines import ROW_SCHEMA, iso_time, rows_of_orders, unix_seconds
from scripts.shopify.order_state import save_state
from training.data.inventory import inventory_from_records


def test_rows_of_an_order():
    read = rows_of_orders([order(5, 7, line(12, 3, 2), line(11, 4, 1), line(13, 3, 1))], IDS)
    assert read.rows.schema == ROW_SCHEMA
    key = IDS.order_key_of("gid://shopify/Order/5")
    assert read.rows.rows() == [
        (key, user(7), 4, "p4", "Toys", FEB, 0, 1),
        (key, user(7), 3, "p3", "Toys", FEB, 1, 3),  # lines 12 and 13 are one product
    ]
    assert (read.counts.orders, read.counts.lines, read.counts.repeated, read.counts.rows) == (1, 3, 1, 2)
    assert (read.orders.to_list(), read.latest_update) == ([key], FEB)


def test_what_is_left_out_is_counted():
    read = rows_of_orders(
        [
            order(1, 1, line(1, 1), test=True),
            order(2, 2, line(2, 1), cancelledAt="2026-02-02T00:00:00Z"),
            order(3, None, line(3, 1)),
            order(4, 4, line(4, 1, quantity=0), line(5, None), line(6, 2), line(7, 2)),
            order(5, 5, line(8, 1), at="2025-12-31T23:59:59Z"),
            order(6, 6),
        ],
        IDS,
        since=JAN,
    )
    assert read.rows.select("user_id", "product", "quantity").rows() == [(user(4), 2, 2)]
    assert vars(read.counts) == {
        "orders": 6,
        "early": 1,
        "test": 1,
        "cancelled": 1,
        "guests": 1,
        "lines": 4,
        "refunded": 1,
        "without_product": 1,
        "repeated": 1,
        "rows": 1,
    }
    assert read.counts.summary() == (
        "6 orders read; left out 1 test, 1 cancelled, 1 without a customer, 1 processed before --since; of 4 lines "
        "left out 1 refunded, 1 without a product, 1 joined with another of the same product"
    )
    assert len(read.orders) == 6  # those without rows too: they may have had some before


def test_no_shopify_id_of_a_customer_or_order_is_kept(tmp_path):
    state = state_of(order(987654321, 123456789, line(55555, 3)))
    save_state(state, tmp_path / "state.parquet")
    content = (tmp_path / "state.parquet").read_bytes() + str(state.rows.rows()).encode()
    assert [text for text in (b"987654321", b"123456789", b"55555", b"gid:") if text in content] == []


def test_moments():
    assert unix_seconds("2026-01-01") == unix_seconds("2026-01-01T01:00:00+01:00") == JAN == 1_767_225_600
    assert iso_time(JAN) == "2026-01-01T00:00:00Z"
    with pytest.raises(ValueError):
        unix_seconds("yesterday")


def inventory():
    records = [("11", "hat", "Clothing"), ("12", "cap", "Caps")]
    return inventory_from_records(
        {"id": f"gid://shopify/Product/{number}", "handle": handle, "title": handle, "category": category}
        for number, handle, category in records
    )


def test_interactions_with_the_product_type_as_category():
    bought = order(1, 1, line(1, 1, 2, "hat", " Head\twear "), line(2, 2, 1, "sock", ""), at="2026-02-01T10:00:00Z")
    state = state_of(bought, order(2, 1, line(3, 2, 1, "sock", "")))
    interactions, unknown = interactions_of_rows(state.rows)
    assert unknown == 0
    assert interactions.columns == [
        "label",
        "user_id",
        "item_handle",
        "timestamp",
        "item_category",
        "kind",
        "quantity",
    ]
    assert interactions.rows() == [
        (1, user(1), "sock", FEB, "Uncategorized", "purchase", 1),
        (1, user(1), "hat", FEB + 36_000, "Head wear", "purchase", 2),
        (1, user(1), "sock", FEB + 36_000, "Uncategorized", "purchase", 1),
    ]
    assert len(interactions_of_rows(state.rows, since=FEB + 1)[0]) == 2


def test_interactions_with_the_snapshot_s_categories_and_handles():
    state = state_of(
        order(1, 1, line(1, 11, handle="renamed-hat"), line(2, 99, handle="cap"), line(3, 98, handle="ball"))
    )
    interactions, unknown = interactions_of_rows(state.rows, inventory=inventory())
    assert unknown == 1
    assert interactions.select("item_handle", "item_category").rows() == [
        ("hat", "Clothing"),  # by its id
        ("cap", "Caps"),  # by its handle: another shop's id
        ("ball", "Toys"),  # not in the snapshot
    ]


def test_one_category_per_item():
    state = state_of(
        order(1, 1, line(1, 1, handle="same", product_type="A")),
        order(2, 2, line(2, 2, handle="same", product_type="B")),
        order(3, 3, line(3, 1, handle="same", product_type="C"), at="2026-02-02T00:00:00Z"),
    )
    interactions, _ = interactions_of_rows(state.rows)
    assert interactions["item_category"].n_unique() == 1
