import gzip
import json
import sys

import polars as pl
import pytest
from conftest import HMAC_SECRET
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from scripts.ml.import_snowplow import customer_id_of, import_snowplow, lines_of, main
from scripts.shopify.shopper_ids import ShopperIds
from training.data.interactions import InteractionsError, read_interactions
from training.data.inventory import inventory_from_records, save_inventory

START = 1_760_000_000  # seconds
INVENTORY = inventory_from_records(
    [
        {"id": "gid://shopify/Product/12", "handle": "mug", "title": "Mug", "category": "Kitchen"},
        {"id": "gid://shopify/Product/7", "handle": "pen", "title": "Pen", "category": "Office"},
    ]
)


def page(handle, seconds=0.0, user="u1", **parameters):
    url = f"https://shop.example/products/{handle}"
    return {"e": "pv", "url": url, "duid": user, "dtm": str(int((START + seconds) * 1000))} | parameters


def run(*events, **options):
    return import_snowplow([(json.dumps(event), None) for event in events], **options)


def test_page_views_become_interactions_and_everything_else_is_counted():
    result, report = run(
        page("pen", 40, sid="s1"),
        page("mug", 0.999, sid="s1"),
        page("mug", 5, ua="Mozilla/5.0 (compatible; Googlebot/2.1)"),
        page("mug", 5, user="", ua="Mozilla/5.0"),
        page("mug", 5, dtm="soon"),
        page("pen", 45),
        page("../collections/all", 50),
        {"e": "pp", "url": "https://shop.example/products/pen", "duid": "u1"},
        ["no event"],
    )
    assert result.columns[5:] == ["kind", "weight", "quantity", "basket", "session"]
    assert result.rows() == [
        (1, "u1", "mug", START, "Uncategorized", "view", 1.0, None, None, "s1"),
        (1, "u1", "pen", START + 40, "Uncategorized", "view", 1.0, None, None, "s1"),
    ]
    assert report.dropped == {
        "line that cannot be read": 1,
        "not about a product": 2,
        "bot": 1,
        "no user id": 1,
        "no time": 1,
        "repeated within 10 s": 1,
    }
    assert (report.rows_in, report.rows_out) == (9, 2)
    assert report.notes["Sessions"] == 1


def test_repeats_are_of_one_user_product_and_kind_and_each_counts_from_the_last():
    events = [page("mug", second) for second in (0, 8, 16, 27)]
    events += [page("pen", 1), page("mug", 2, user="u2"), page("mug", 3, e="se", se_ac="add-to-cart")]
    result, report = run(*events)
    assert [(row[1], row[2], row[3] - START, row[5]) for row in result.rows()] == [
        ("u1", "mug", 0, "view"),
        ("u1", "pen", 1, "view"),
        ("u2", "mug", 2, "view"),
        ("u1", "mug", 3, "cart"),
        ("u1", "mug", 27, "view"),
    ]
    assert report.dropped == {"repeated within 10 s": 2}
    assert run(*events, repeat_seconds=7)[1].rows_out == 7


def test_an_event_sent_twice_counts_once():
    result, report = run(page("mug", 0, eid="a"), page("mug", 60, eid="a"), page("mug", 120, eid="b"), page("mug", 180))
    assert (result.height, report.dropped) == (3, {"event sent twice": 1})


def test_a_session_without_a_name_ends_with_a_pause_of_half_an_hour():
    seconds = [0, 1800, 3601, 3602]
    sessions = run(*(page(f"p{second}", second) for second in seconds), page("x", 5000, sid="own"))[0]["session"]
    assert sessions.to_list() == ["u1#0", "u1#0", "u1#1", "u1#1", "own"]


def test_a_browser_with_one_login_belongs_to_it_and_a_shared_one_does_not():
    events = [
        page("mug", 0, "home"),
        page("pen", 20, "home", uid="anna"),
        page("mug", 40, "phone", uid="anna"),
        page("mug", 60, "shared", uid="anna"),
        page("pen", 80, "shared", uid="bob"),
        page("cup", 100, "shared"),
        page("cup", 120, "", uid="bob"),
    ]
    assert run(*events, user="login")[0]["user_id"].to_list() == [*["anna"] * 4, "bob", "shared", "bob"]
    result, report = run(*events)
    assert result["user_id"].to_list() == ["home", "home", "phone", "shared", "shared", "shared"]
    assert report.dropped == {"no user id": 1}


def test_a_login_that_is_only_the_word_for_none_is_none():
    events = [page("mug", 0, "a", uid="undefined"), page("mug", 20, "b", uid="NULL"), page("pen", 40, "b", uid="anna")]
    assert run(*events, user="login")[0]["user_id"].to_list() == ["a", "anna", "anna"]


def test_customers_numbers_become_the_ids_of_their_orders_and_other_logins_are_nobodys():
    ids = ShopperIds(SecretStr(HMAC_SECRET))
    gid = "gid://shopify/Customer/7"
    events = [
        page("mug", 0, "home"),
        page("pen", 20, "home", uid="7"),
        page("mug", 40, "phone", uid=gid),
        page("mug", 60, "tablet", uid="guest-4"),
        page("mug", 80, ""),
    ]
    result, report = run(*events, user="login", login_of=customer_id_of(ids))
    assert result["user_id"].to_list() == [*[ids.user_id_of(gid)] * 3, "tablet"]
    assert (report.notes["Shoppers"], report.notes["  signed in"]) == (2, 1)
    assert report.dropped == {"no user id": 1}
    assert run(page("mug"), user="login", login_of=customer_id_of(ids))[0]["user_id"].to_list() == ["u1"]
    with pytest.raises(InteractionsError, match="customers' numbers or GIDs") as refused:
        run(page("mug", uid="anna@shop.example"), user="login", login_of=customer_id_of(ids))
    assert "anna" not in str(refused.value)


def test_a_post_payload_holds_several_events():
    schema = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
    assert run({"schema": schema, "data": [page("mug"), page("pen", 1)]})[0]["item_handle"].to_list() == ["mug", "pen"]
    assert run([page("mug"), page("pen", 1)])[0].height == 2


def test_an_inventory_gives_handles_and_categories_and_decides_between_article_number_and_page():
    cart = {"e": "se", "se_ac": "Add To Cart"}
    result, report = run(
        page("mug", 0, **cart, se_la="7"),
        page("mug", 20, **cart, se_la="SKU-1"),
        page("cup", 40),
        inventory=INVENTORY,
        weights={"cart": 2.5},
    )
    assert [row[2:7] for row in result.rows()] == [
        ("pen", START, "Office", "cart", 2.5),
        ("mug", START + 20, "Kitchen", "cart", 2.5),
    ]
    assert report.dropped == {"product is not in the inventory": 1}


events = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 60)), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(events, st.integers(0, 20), st.randoms(use_true_random=False))
def test_what_is_left_does_not_depend_on_the_order_of_the_lines(rows, pause, random):
    lines = [page(item, second, user) for user, item, second in rows]
    result, report = run(*lines, repeat_seconds=pause)
    random.shuffle(lines)
    again, same = run(*lines, repeat_seconds=pause)
    keys = ["timestamp", "user_id", "item_handle"]
    assert result.sort(keys).equals(again.sort(keys))
    assert report == same
    assert (report.rows_in, report.rows_out) == (len(rows), result.height)
    gaps = result.select(pl.col("timestamp").diff().over("user_id", "item_handle")).drop_nulls()
    assert (gaps.to_series() > pause).all()
    assert set(result.select("user_id", "item_handle").rows()) == {row[:2] for row in rows}


def test_what_cannot_be_done_is_refused():
    with pytest.raises(ValueError, match="`user` should be one of browser, login"):
        run(page("mug"), user="cookie")
    with pytest.raises(ValueError, match="`repeat_seconds` should not be negative"):
        run(page("mug"), repeat_seconds=-1)
    with pytest.raises(ValueError, match=r"`weights` should be of view, cart, purchase. Received: click"):
        run(page("mug"), weights={"click": 1})
    with pytest.raises(InteractionsError, match=r"at least one usable row. Received: 1 rows; dropped: not about a"):
        run({"e": "pp"})
    with pytest.raises(InteractionsError, match="the source is empty"):
        run()


def test_the_command_reads_files_also_packed_ones(tmp_path, capsys, monkeypatch):
    first, second = tmp_path / "a.json", tmp_path / "b.json.gz"
    first.write_text(json.dumps(page("mug", 30)) + "\n\n{broken\n")
    second.write_bytes(gzip.compress(b"\n" + json.dumps(page("pen")).encode() + b"\n"))
    save_inventory(INVENTORY, tmp_path / "inventory.json")
    output = tmp_path / "clicks.parquet"
    options = ["--inventory", str(tmp_path / "inventory.json"), "--weights", "view=2"]
    assert main([str(first), str(second), "--output", str(output), *options]) == 0
    assert "line that cannot be read" in capsys.readouterr().out
    assert pl.read_parquet(output).select("item_handle", "item_category", "weight").rows() == [
        ("pen", "Office", 2.0),
        ("mug", "Kitchen", 2.0),
    ]
    monkeypatch.setenv("SLIREC_HMAC_SECRET", HMAC_SECRET)
    first.write_text(json.dumps(page("mug", uid="7")))
    assert main([str(first), "--output", str(output), "--user", "customer"]) == 0
    expected = ShopperIds(SecretStr(HMAC_SECRET)).user_id_of("gid://shopify/Customer/7")
    assert pl.read_parquet(output)["user_id"].to_list() == [expected]
    assert main([str(first), "--output", str(tmp_path / "clicks.tsv")]) == 0
    assert read_interactions(tmp_path / "clicks.tsv").collect()["item_handle"].to_list() == ["mug"]


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, capsys, monkeypatch):
    output = ["--output", str(tmp_path / "o.parquet")]
    assert main([str(tmp_path / "none.json"), *output]) == 1
    assert "which is not a file" in capsys.readouterr().err
    (tmp_path / "a.json").write_text("{}")
    monkeypatch.delenv("SLIREC_HMAC_SECRET", raising=False)
    assert main([str(tmp_path / "a.json"), *output, "--user", "customer"]) == 1
    assert capsys.readouterr().err.startswith("error: set SLIREC_HMAC_SECRET to a secret")
    assert main([str(tmp_path / "a.json"), *output, "--weights", "view=much"]) == 1
    assert "could not convert" in capsys.readouterr().err
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"{}" * 1000)[:-20])
    assert main([str(tmp_path / "b.gz"), *output]) == 1
    (tmp_path / "a.tsv").write_text("shop\tweb\n")
    monkeypatch.setitem(sys.modules, "snowplow_analytics_sdk", None)
    monkeypatch.setitem(sys.modules, "snowplow_analytics_sdk.event_transformer", None)
    capsys.readouterr()
    assert main([str(tmp_path / "a.tsv"), *output]) == 1
    assert "[snowplow]" in capsys.readouterr().err
    assert not (tmp_path / "o.parquet").exists()
    with pytest.raises(InteractionsError):
        next(lines_of(tmp_path / "none.json"))
