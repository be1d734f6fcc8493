from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.ml.import_lookup import lookup_table, with_products
from scripts.ml.import_table import import_table, main, read_table
from training.data.interactions import InteractionsError, read_interactions
from training.data.inventory import inventory_from_records, save_inventory

COLUMNS = {"user_id": "customer", "item_handle": "sku", "timestamp": "ts"}
NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp())
INVENTORY = inventory_from_records(
    [
        {"id": "gid://shopify/Product/12", "handle": "mug", "title": "Mug", "category": "Kitchen"},
        {"id": "gid://shopify/Product/7", "handle": "12", "title": "Twelve", "category": "Books"},
    ]
)


def times(values, unit, dtype=None):
    rows = len(values)
    table = pl.DataFrame({"customer": ["a"] * rows, "sku": ["x"] * rows, "ts": pl.Series(values, dtype=dtype)})
    result, report = import_table(table, COLUMNS, time_unit=unit)
    return result["timestamp"].to_list(), dict(report.dropped)


def test_columns_get_their_names_and_rows_that_cannot_be_used_are_counted_by_reason():
    table = pl.DataFrame(
        {
            "customer": ["007", " b ", None, "", "c", "d", "e"],
            "sku": ["x", "y", "x", "x", None, "x", "x"],
            "ts": [str(NOON), f"{NOON}.75", str(NOON), str(NOON), str(NOON), "yesterday", "-5"],
            "pieces": ["2", "some", "1", "1", "1", "1", "1"],
            "channel": ["web", "app", "web", "web", "web", "web", "web"],
        }
    )
    result, report = import_table(table, COLUMNS | {"quantity": "pieces", "where": "channel"})
    assert result.columns == ["label", "user_id", "item_handle", "timestamp", "item_category", "quantity", "where"]
    assert result.rows() == [
        (1, "007", "x", NOON, "Uncategorized", 2, "web"),
        (1, "b", "y", NOON, "Uncategorized", None, "app"),
    ]
    assert report.dropped == {"no user_id": 2, "no item_handle": 1, "timestamp is not UNIX seconds": 2}
    assert (report.rows_in, report.rows_out, report.notes) == (7, 2, {"Shoppers": 2, "Products": 2})
    assert "Rows out" in report.text()


def test_a_label_column_keeps_the_positive_rows_only():
    table = pl.DataFrame({"customer": [1, 2], "sku": [3.0, 4.0], "ts": [NOON, NOON], "clicked": [0, 1]})
    result, report = import_table(table, COLUMNS | {"label": "clicked"})
    assert result.rows() == [(1, "2", "4", NOON, "Uncategorized")]
    assert report.dropped == {"label is 0 (not a positive interaction)": 1}


def test_times_in_every_unit():
    assert times([NOON], "s") == ([NOON], {})
    assert times([NOON * 1000 + 999], "ms") == ([NOON], {})
    assert times([f"{NOON}999"], "ms") == ([NOON], {})
    assert times([NOON * 1000, NOON], "s")[1] == {"timestamp is not UNIX seconds": 1}  # milliseconds, said to be s
    assert times([datetime(2026, 3, 1, 12), None], "s")[0] == [NOON]
    assert times([datetime(2026, 3, 1, 12)], "ms", pl.Datetime("ns"))[0] == [NOON]
    assert times([date(2026, 3, 1)], "iso")[0] == [NOON - 43_200]
    texts = [
        "2026-03-01T12:00:00Z",
        "2026-03-01T13:00:00+01:00",
        "2026-03-01 07:00:00.250 -0500",
        "2026-03-01 12:00:00 UTC",
        "2026-03-01 12:00:00",
        "2026-03-01T12:00",
        "2026-03-01T12:00Z",
        "2026-03-01",
        "2026-02-30T12:00:00",
        "1.3.2026",
    ]
    assert times(texts, "iso") == (
        [NOON, NOON, NOON, NOON, NOON, NOON, NOON, NOON - 43_200],
        {"timestamp is not UNIX seconds": 2},
    )


@settings(max_examples=40, deadline=None)
@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_iso_times_with_an_offset_are_the_moment_that_they_name(moment, minutes):
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    seconds = int(moment.replace(tzinfo=UTC, microsecond=0).timestamp()) - minutes * 60
    assert times([f"{moment.isoformat()}{sign}{hours:02}:{rest:02}"], "iso")[0] == [seconds]


def test_products_are_looked_up_by_handle_before_id_and_number():
    assert dict(lookup_table(INVENTORY).select("name", "item_handle").iter_rows()) == {
        "mug": "mug",
        "12": "12",
        "gid://shopify/Product/12": "mug",
        "gid://shopify/Product/7": "12",
        "7": "12",
    }
    table = pl.DataFrame({"item_handle": ["gid://shopify/Product/12", "7", "pen", None]})
    assert with_products(table, INVENTORY).rows() == [
        ("mug", "Kitchen"),
        ("12", "Books"),
        ("pen", "Uncategorized"),
        (None, "Uncategorized"),
    ]


@pytest.mark.parametrize(("source", "expected"), [("column", ["Own", "Books"]), ("inventory", ["Kitchen", "Books"])])
def test_categories_come_from_the_column_or_the_inventory(source, expected):
    table = pl.DataFrame({"customer": list("abc"), "sku": ["mug", "7", "pen"], "ts": [NOON] * 3, "c": ["Own", "", "O"]})
    columns = COLUMNS | {"item_category": "c"}
    result, report = import_table(table, columns, inventory=INVENTORY, category_from=source)
    assert result["item_category"].to_list() == expected
    assert report.dropped == {"item_handle is not in the catalogue": 1}
    assert import_table(table, columns)[0]["item_category"].to_list() == ["Own", "Uncategorized", "O"]


def test_what_cannot_be_done_is_refused():
    table = pl.DataFrame({"customer": ["a"], "sku": ["x"], "ts": [NOON], "bytes": [b"x"]})
    with pytest.raises(InteractionsError, match=r"Missing: item_handle, timestamp"):
        import_table(table, {"user_id": "customer"})
    with pytest.raises(InteractionsError, match=r"should hold text in ISO form.*Received: Int64"):
        import_table(table, COLUMNS, time_unit="iso")
    with pytest.raises(InteractionsError, match=r"should hold numbers.*Received: Binary"):
        import_table(table, COLUMNS | {"timestamp": "bytes"})
    with pytest.raises(ValueError, match="`time_unit` should be one of s, ms, iso"):
        import_table(table, COLUMNS, time_unit="us")
    with pytest.raises(ValueError, match="Received: category_from = 'inventory' without one"):
        import_table(table, COLUMNS, category_from="inventory")
    with pytest.raises(InteractionsError, match="at least one usable row"):
        import_table(table.with_columns(customer=pl.lit("")), COLUMNS)


def test_the_command_reads_csv_and_parquet_alike_and_text_stays_text(tmp_path, capsys):
    source = tmp_path / "events.csv"
    source.write_text('customer,sku,ts,n\n007,"a,b",2026-03-01T12:00:00Z,3\n8,,2026-03-01T12:00:00Z,1\n')
    pairs = [f"{name}={column}" for name, column in COLUMNS.items()]
    options = ["--time-unit", "iso", "--columns", *pairs, "quantity=n"]
    assert main([str(source), str(tmp_path / "a.parquet"), *options]) == 0
    assert "no item_handle" in capsys.readouterr().out
    pl.read_csv(source, infer_schema=False).write_parquet(tmp_path / "events.parquet")
    assert main([str(tmp_path / "events.parquet"), str(tmp_path / "b.parquet"), *options]) == 0
    first, second = pl.read_parquet(tmp_path / "a.parquet"), pl.read_parquet(tmp_path / "b.parquet")
    assert first.equals(second)
    assert first.rows() == [(1, "007", "a,b", NOON, "Uncategorized", 3)]
    assert main([str(source), str(tmp_path / "c.tsv"), *options]) == 0
    assert read_interactions(tmp_path / "c.tsv").collect().equals(first.drop("quantity"))


def test_the_command_takes_an_inventory(tmp_path):
    save_inventory(INVENTORY, tmp_path / "inventory.json")
    (tmp_path / "events.tsv").write_text(f"customer\tsku\tts\na\t7\t{NOON}000\n")
    options = ["--time-unit", "ms", "--inventory", str(tmp_path / "inventory.json"), "--category-from", "inventory"]
    pairs = [f"{name}={column}" for name, column in COLUMNS.items()]
    output = tmp_path / "out.parquet"
    assert main([str(tmp_path / "events.tsv"), str(output), *options, "--columns", *pairs]) == 0
    assert pl.read_parquet(output).rows() == [(1, "a", "12", NOON, "Books")]


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, capsys):
    output, source = str(tmp_path / "o.parquet"), tmp_path / "events.csv"
    assert main([str(source), output, "--columns", "user_id=a"]) == 1
    assert "should be an existing .parquet, .csv or .tsv file" in capsys.readouterr().err
    source.write_text("a,b\n1,2\n")
    assert main([str(source), output, "--columns", "user_id=a", "item_handle=sku"]) == 1
    assert "Missing: sku. Received: a, b" in capsys.readouterr().err
    for wrong in ("user_id", "user_id=", "=a"):
        assert main([str(source), output, "--columns", "item_handle=b", wrong]) == 1
        assert "`--columns` should be NAME=VALUE, each name once" in capsys.readouterr().err
    (tmp_path / "broken.parquet").write_bytes(b"PAR0")
    with pytest.raises(InteractionsError, match="cannot be read"):
        read_table(tmp_path / "broken.parquet", ["a"])
