"""What an export has read so far, and what it reads next: literal cases, no shop."""

import polars as pl
import pytest
from order_cases import DAY, FEB, JAN, MAR, NOW, line, order, plan, state_of, triples, user

from scripts.shopify.order_lines import ROW_SCHEMA, iso_time
from scripts.shopify.order_state import OrderStateError, load_state, save_state, set_aside, state_path


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


def test_what_was_set_aside_stays(tmp_path):
    path = tmp_path / "orders.tsv.state.parquet"
    for content in ("first", "second", "third"):
        path.write_text(content)
        set_aside(path)
    assert {found.name: found.read_text() for found in tmp_path.iterdir()} == {
        "orders.tsv.state.parquet.bad": "first",
        "orders.tsv.state.parquet.bad2": "second",
        "orders.tsv.state.parquet.bad3": "third",
    }


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


@pytest.mark.parametrize("sees_all", [True, False])
def test_full_with_a_later_since_does_not_make_the_state_forget(sees_all):
    old, new = order(1, 1, line(1, 1), at="2026-01-05T00:00:00Z"), order(2, 2, line(2, 2))
    state = state_of(old, new)
    reading = plan(state, since=FEB, full=True, sees_all=sees_all)
    assert (reading.query, reading.header.since) == ("processed_at:>='2026-01-01T00:00:00Z'", JAN)
    # On 10 March the order of 5 January is listed only with the scope.
    again = state_of(*([old, new] if sees_all else [new]), old=state, since=FEB, full=True, sees_all=sees_all)
    assert triples(again) == triples(state) == [(user(1), 1, 1), (user(2), 2, 1)]
    assert again.header.complete is True
    assert state_of(new, old=again, since=JAN).rows.equals(state.rows)


def test_full_after_a_long_pause_is_not_complete():
    state = state_of(order(1, 1, line(1, 1)))
    assert plan(state, full=True, sees_all=False, now=FEB + 59 * DAY).header.complete is True
    assert plan(state, full=True, sees_all=False, now=FEB + 61 * DAY).header.complete is False
    assert plan(state, full=True, sees_all=True, now=FEB + 61 * DAY).header.complete is True


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
