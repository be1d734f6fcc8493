"""Orders as Shopify answers them -> rows -> state -> interactions: literal cases, no shop."""

import polars as pl
import pytest
from conftest import HMAC_SECRET
from pydantic import SecretStr

from scripts.shopify.order_interactions import interactions_of_rows
from scripts.shopify.order_lines import ROW_SCHEMA, iso_time, rows_of_orders, unix_seconds
from scripts.shopify.order_state import (
    OrderStateError,
    load_state,
    merged,
    plan_reading,
    save_state,
    state_path,
)
from scripts.shopify.shopper_ids import ShopperIds
from training.data.inventory import inventory_from_records

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


def test_first_reading_takes_everything_since():
    reading = plan()
    assert (reading.query, reading.what) == ("processed_at:>='2026-01-01T00:00:00Z'", "all since 2026-01-01T00:00:00Z")
    assert (reading.old, reading.header.complete) == (None, True)
    assert plan(sees_all=False).header.complete is False  # 68 days ago
    assert plan(sees_all=False, since=FEB).header.complete is True


def test_next_reading_takes_what_changed_since_an_hour_before_the_watermark():
    state = state_of(order(1, 1, line(1, 1), at="2026-02-01T02:00:00Z"))
    assert state.header.watermark == FEB + 7200
    reading = plan(state)
    assert (reading.query, reading.old) == ("updated_at:>='2026-02-01T01:00:00Z'", state)


def test_watermark_never_passes_the_start_of_the_reading():
    # An order that changed while others were read may have been read before it changed.
    state = state_of(order(1, 1, line(1, 1), updatedAt=iso_time(NOW + 900)))
    assert state.header.watermark == NOW
    assert state_of(old=state, now=NOW + DAY).header.watermark == NOW  # nothing read: stays


def test_changed_orders_take_the_place_of_their_old_rows():
    state = state_of(
        order(1, 1, line(1, 1), line(2, 2)),
        order(2, 2, line(3, 1)),
        order(3, 3, line(4, 3, 4)),
        order(4, 4, line(5, 1)),
    )
    changed = [
        order(1, 1, line(1, 1), line(2, 2, quantity=0)),  # a line refunded
        order(2, 2, line(3, 1), cancelledAt="2026-02-03T00:00:00Z"),  # cancelled
        order(3, 3, line(4, 3, 4)),  # read again because of the overlap
        order(9, 9, line(9, 9), at="2026-02-05T00:00:00Z"),  # new
    ]
    expected = sorted([(user(1), 1, 1), (user(3), 3, 4), (user(4), 1, 1), (user(9), 9, 1)])
    once = state_of(*changed, old=state)
    assert sorted(triples(once)) == expected
    assert sorted(triples(state_of(*changed, old=once))) == expected
    # The same as if everything had been read at once.
    whole = state_of(*changed, order(4, 4, line(5, 1)))
    assert whole.rows.equals(once.rows)
    assert whole.header == once.header


def test_a_product_has_one_handle_the_one_read_last():
    state = state_of(order(1, 1, line(1, 1, handle="old")))
    state = state_of(order(2, 2, line(2, 1, handle="new"), at="2026-01-15T00:00:00Z"), old=state)
    assert state.rows["item_handle"].to_list() == ["new", "new"]


def test_state_survives_its_file(tmp_path):
    path = state_path(tmp_path / "orders.tsv")
    assert path.name == "orders.tsv.state.parquet"
    assert load_state(path) is None
    state = state_of(order(1, 1, line(1, 1)))
    save_state(state, path)
    again = load_state(path)
    assert again.header == state.header
    assert again.rows.equals(state.rows)
    assert again.rows.schema == ROW_SCHEMA


@pytest.mark.parametrize("content", [b"", b"PAR1 no PAR1", b"label\tuser\n"])
def test_file_that_is_no_state(tmp_path, content):
    path = tmp_path / "orders.tsv.state.parquet"
    path.write_bytes(content)
    with pytest.raises(OrderStateError, match=r"should be the state of an earlier export.*--full"):
        load_state(path)


def test_parquet_file_that_is_no_state(tmp_path):
    path = tmp_path / "orders.tsv.state.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(OrderStateError, match="should be the state of an earlier export"):
        load_state(path)


@pytest.mark.parametrize(
    ("changes", "what"), [({"shop": "b.myshopify.com"}, "shop a.myshopify.com"), ({"secret": "0"}, "another SLIREC_")]
)
def test_other_shop_or_secret(changes, what):
    state = state_of(order(1, 1, line(1, 1)))
    with pytest.raises(OrderStateError, match=f"was made with {what}.*--full"):
        plan(state, **changes)
    reading = plan(state, full=True, **changes)
    assert (reading.old, reading.query) == (None, "processed_at:>='2026-01-01T00:00:00Z'")


def test_earlier_since_reads_everything_anew():
    state = state_of(order(1, 1, line(1, 1)), since=FEB)
    reading = plan(state, since=JAN)
    assert reading.query == "processed_at:>='2026-01-01T00:00:00Z'"
    assert reading.what == "all since 2026-01-01T00:00:00Z (an earlier --since)"
    both = state_of(order(1, 1, line(1, 1)), order(2, 2, line(2, 2), at="2026-01-05T00:00:00Z"), old=state)
    assert triples(both) == [(user(2), 2, 1), (user(1), 1, 1)]
    # A later one does not make the state forget.
    assert plan(both, since=MAR).header.since == JAN


def test_old_orders_that_the_token_no_longer_sees_are_kept():
    state = state_of(
        order(1, 1, line(1, 1), at="2026-01-02T00:00:00Z"), order(2, 2, line(2, 2)), order(3, 3, line(3, 3))
    )
    # Read anew on 10 March without read_all_orders: of 2 January nothing is listed, and order 3 has been deleted.
    anew = state_of(order(2, 2, line(2, 2)), old=state, full=True, sees_all=False)
    assert triples(anew) == [(user(1), 1, 1), (user(2), 2, 1)]
    # With the scope, what is not listed is gone.
    assert triples(state_of(order(2, 2, line(2, 2)), old=state, full=True)) == [(user(2), 2, 1)]


def test_a_right_to_see_more_is_used_and_a_long_pause_is_noticed():
    blind = state_of(order(1, 1, line(1, 1)), sees_all=False)
    assert plan(blind, sees_all=False).query.startswith("updated_at")
    assert plan(blind, sees_all=True).what == "all since 2026-01-01T00:00:00Z (read_all_orders is new)"
    seeing = state_of(order(1, 1, line(1, 1)))
    assert plan(seeing, sees_all=False, now=FEB + 59 * DAY).header.complete is True
    assert plan(seeing, sees_all=False, now=FEB + 61 * DAY).header.complete is False


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
