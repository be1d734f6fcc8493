import polars as pl
import pytest

from scripts.ml.import_joined import OTHER_PURCHASES, SHARED, join_interactions, main
from training.data.columns import INTERACTION_COLUMNS
from training.data.interactions import InteractionsError, write_interactions
from training.data.inventory import inventory_from_records, save_inventory

INVENTORY = inventory_from_records(
    [
        {"id": "gid://shopify/Product/12", "handle": "mug", "title": "Mug", "category": "Kitchen"},
        {"id": "gid://shopify/Product/7", "handle": "pen", "title": "Pen", "category": "Office"},
    ]
)


def table(*rows, **columns):
    """Makes interactions of (user, item, time, category, kind) and further columns."""
    frame = pl.DataFrame(rows, schema=["user_id", "item_handle", "timestamp", "item_category", "kind"], orient="row")
    further = [pl.Series(name, values) for name, values in columns.items()]
    return frame.with_columns(pl.lit(1, pl.Int64).alias("label"), *further)


ORDERS = table(
    ("anna", "mug", 100, "Cups", "purchase"),
    ("anna", "pen", 100, "Uncategorized", "purchase"),
    ("", "pen", 101, "Pens", "purchase"),
    quantity=[2, 1, 1],
)
CLICKS = table(
    ("anna", "mug", 90, "Uncategorized", "view"),
    ("anna", "pen", 95, "Pens", "cart"),
    ("anna", "mug", 101, "Uncategorized", "purchase"),
    ("bob", "cup", 100, None, "view"),
    weight=[1.0, 4.0, 5.0, 1.0],
    session=["s", "s", "s", "t"],
    basket=[None, None, "o1", None],
)


def test_orders_and_clicks_become_one_table_and_nothing_is_bought_twice():
    result, report = join_interactions([ORDERS, CLICKS])
    assert result.columns == [*INTERACTION_COLUMNS, "kind", "weight", "basket", "quantity", "session"]
    assert result.rows() == [
        (1, "anna", "mug", 90, "Cups", "view", 1.0, None, None, "s"),
        (1, "anna", "pen", 95, "Pens", "cart", 4.0, None, None, "s"),
        (1, "anna", "mug", 100, "Cups", "purchase", 5.0, "anna@100", 2, None),
        (1, "anna", "pen", 100, "Pens", "purchase", 5.0, "anna@100", 1, None),
        (1, "bob", "cup", 100, "Uncategorized", "view", 1.0, None, None, "t"),
    ]
    assert report.dropped == {"no user_id": 1, OTHER_PURCHASES: 1}
    assert (report.rows_in, report.rows_out) == (7, 5)
    assert report.notes == {
        "Shoppers": 2,
        SHARED: 1,
        "Rows of kind cart": 1,
        "Rows of kind purchase": 2,
        "Rows of kind view": 2,
    }


def test_the_first_file_with_purchases_decides():
    result, report = join_interactions([CLICKS, ORDERS])
    assert result.filter(pl.col("kind") == "purchase")["basket"].to_list() == ["o1"]
    assert report.dropped == {OTHER_PURCHASES: 3}
    views = CLICKS.filter(pl.col("kind") != "purchase")
    assert join_interactions([views, ORDERS])[0].height == 5


def test_an_inventory_decides_about_products_and_categories():
    result, report = join_interactions([ORDERS, CLICKS], inventory=INVENTORY)
    assert set(result.select("item_handle", "item_category").rows()) == {("mug", "Kitchen"), ("pen", "Office")}
    assert report.dropped["item_handle is not in the catalogue"] == 1


def test_shoppers_of_several_files_are_counted():
    strangers = CLICKS.with_columns(user_id=pl.lit("browser ") + pl.col("user_id"))
    assert join_interactions([ORDERS, CLICKS, CLICKS.filter(user_id="bob")])[1].notes[SHARED] == 2
    assert join_interactions([ORDERS, strangers])[1].notes[SHARED] == 0
    assert SHARED not in join_interactions([ORDERS])[1].notes
    nameless = ORDERS.with_columns(user_id=pl.lit(""))
    assert join_interactions([nameless, nameless, CLICKS])[1].notes[SHARED] == 0  # the name of nobody


def test_weights_come_from_the_call_then_the_rows_then_the_defaults():
    plain = CLICKS.select(INTERACTION_COLUMNS).head(1)
    result = join_interactions([ORDERS, CLICKS, plain], weights={"view": 0.5})[0].sort("timestamp", "kind")
    assert result["weight"].to_list() == [1.0, 0.5, 4.0, 5.0, 5.0, 0.5]  # the first has no kind


def test_what_cannot_be_done_is_refused():
    with pytest.raises(InteractionsError, match="at least one table"):
        join_interactions([])
    with pytest.raises(InteractionsError, match="Missing: timestamp"):
        join_interactions([ORDERS, CLICKS.drop("timestamp")])
    with pytest.raises(InteractionsError, match="at least one usable row"):
        join_interactions([ORDERS.with_columns(user_id=pl.lit(""))])
    with pytest.raises(ValueError, match="`weights` should be of view, cart, purchase"):
        join_interactions([ORDERS], weights={"buy": 1.0})


def test_the_command_joins_parquet_and_text(tmp_path, capsys):
    orders, clicks, output = tmp_path / "orders.parquet", tmp_path / "clicks.tsv", tmp_path / "all.parquet"
    ORDERS.write_parquet(orders)
    write_interactions(CLICKS, clicks)
    save_inventory(INVENTORY, tmp_path / "inventory.json")
    options = ["--inventory", str(tmp_path / "inventory.json"), "--weights", "purchase=7"]
    assert main([str(orders), str(clicks), "--output", str(output), *options]) == 0
    assert "Rows of kind purchase" in capsys.readouterr().out
    weights = pl.read_parquet(output).select("timestamp", "kind", "weight").rows()
    assert weights == [
        (90, None, 1.0),
        (95, None, 1.0),
        (100, "purchase", 7.0),
        (100, "purchase", 7.0),
        (101, None, 1.0),
    ]
    assert "warning" not in capsys.readouterr().err
    CLICKS.with_columns(user_id=pl.lit("a browser")).write_parquet(tmp_path / "strangers.parquet")
    assert main([str(orders), str(tmp_path / "strangers.parquet"), "--output", str(output)]) == 0
    assert capsys.readouterr().err.startswith("warning: no shopper occurs in several files")
    assert main([str(tmp_path / "none.parquet"), "--output", str(output)]) == 1
    assert "should be an existing file of interactions" in capsys.readouterr().err
    ORDERS.with_columns(quantity=pl.lit([1])).write_parquet(tmp_path / "lists.parquet")
    assert main([str(orders), str(tmp_path / "lists.parquet"), "--output", str(output)]) == 1
    assert capsys.readouterr().err.startswith("error: ")
