"""Imports on Spark give the rows that they give on Polars, and what they write is what preprocessing reads."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from spark_tools import local_spark

from scripts.ml.import_table import import_table, main, scan_table, write_rows
from training.data.interactions import InteractionsError, read_interactions
from training.data.inventory import inventory_from_records, save_inventory
from training.data.sequences import build_dataset

pytestmark = pytest.mark.slow
COLUMNS = {"user_id": "customer", "item_handle": "sku", "timestamp": "ts"}
INVENTORY = inventory_from_records(
    [
        {"id": "gid://shopify/Product/12", "handle": "mug", "title": "Mug", "category": "Kitchen"},
        {"id": "gid://shopify/Product/7", "handle": "12", "title": "Twelve", "category": "Books"},
    ]
)
TIMES = [
    "2026-03-01T12:00:00Z",
    "2026-03-01T13:00:00+01:00",
    "2024-02-29 07:00:00.250 -0500",
    "2026-03-01 12:00:00 UTC",
    " 2026-03-01T12:00\u00a0",
    "2026-03-01T12:00+05",
    "2000-12-31",
    "1999-01-01T23:59:59.999999Z",
    "2026-02-29T12:00:00",
    "2026-04-31",
    "2026-03-01T24:00:00",
    "2026-03-01T12:00:00\n",
    "1.3.2026",
    "٢٠٢٦-03-01",
    "",
    None,
]


@pytest.fixture(scope="module")
def spark():
    with local_spark() as session:
        yield session


def both(spark, table, columns, **options):
    """Imports a Polars frame here and on Spark; returns both results, sorted, and reports."""
    frame = spark.createDataFrame(table.to_arrow())
    local, report = import_table(table, columns, **options)
    there, same = import_table(frame, columns, **options)
    collected = pl.from_arrow(there.toArrow())
    return local.sort(pl.all()), collected.sort(pl.all()), report, same


def events():
    size = len(TIMES)
    return pl.DataFrame(
        {
            "customer": ["007", " b ", None, "", "c\u2003", *["d"] * (size - 5)],
            "sku": ["mug", "7", "gid://shopify/Product/12", "x", None, *["12", "mug"] * 20][:size],
            "ts": TIMES,
            "pieces": ["2", "some", "1", "-3", " 1", "1.5", *["4"] * (size - 6)],
            "worth": ["2", "1e2", "x", ".5", " 7 ", "nan", *["4.25"] * (size - 6)],
            "c": ["Own", "", None, *["O"] * (size - 3)],
            "channel": ["web", None] * (size // 2),
        }
    )


@pytest.mark.parametrize("inventory", [None, INVENTORY])
@pytest.mark.parametrize("source", ["column", "inventory"])
def test_both_engines_give_the_same_rows_and_the_same_report(spark, inventory, source):
    columns = COLUMNS | {"item_category": "c", "quantity": "pieces", "weight": "worth", "where": "channel"}
    if inventory is None and source == "inventory":
        columns.pop("item_category")
        source = "column"
    options = {"time_unit": "iso", "inventory": inventory, "category_from": source}
    local, there, report, same = both(spark, events(), columns, **options)
    assert there.columns == local.columns
    assert there.rows() == local.rows()
    assert same == report
    assert report.rows_out == local.height >= 4


def test_columns_of_every_type_are_the_same_on_both(spark):
    moment = datetime(2026, 3, 1, 12, 30, 59, 999_999)
    noon = int(moment.replace(tzinfo=UTC, microsecond=0).timestamp())
    base = pl.DataFrame({"customer": [1, 2], "sku": [3.0, 4.0], "clicked": [1, 0]})
    times = {
        "iso": [pl.Series("ts", [date(2026, 3, 1)] * 2), pl.Series("ts", [moment] * 2)],
        "s": [
            pl.Series("ts", [moment.replace(tzinfo=UTC)] * 2, dtype=pl.Datetime("us", "UTC")),
            pl.Series("ts", [noon + 0.75, float("nan")]),
            pl.Series("ts", [f"{noon}.5", "1e400"]),
        ],
        "ms": [pl.Series("ts", [noon * 1000 + 999] * 2)],
    }
    for unit, columns in times.items():
        for column in columns:
            table = base.with_columns(column)
            local, there, report, same = both(spark, table, COLUMNS | {"label": "clicked"}, time_unit=unit)
            assert there.rows() == local.rows()
            assert local.select("user_id", "item_handle").rows() == [("1", "3")]
            assert local["timestamp"].item() in (noon, noon - 45_059)
            assert same == report


def test_what_the_command_writes_on_spark_is_a_folder_that_every_engine_reads(spark, tmp_path, capsys):
    rows = [(f"u{n % 7}", "mug" if n % 2 else "12", f"2026-03-{1 + n % 28:02} 10:00") for n in range(60)]
    rows += [("u,1", 'a "mug"', "2026-03-01"), ("two\nlines", "mug", "2026-03-01"), ("", "mug", "2026-03-01")]
    source = tmp_path / "events.csv"
    pl.DataFrame(rows, schema=["customer", "sku", "ts"], orient="row").write_csv(source)
    save_inventory(INVENTORY, tmp_path / "inventory.json")
    pairs = [f"{name}={column}" for name, column in COLUMNS.items()]
    arguments = ["--time-unit", "iso", "--inventory", str(tmp_path / "inventory.json"), "--columns", *pairs]
    here, there = tmp_path / "here.parquet", tmp_path / "there"
    assert main([str(source), str(here), *arguments]) == 0
    said = capsys.readouterr().out.splitlines()[:-1]
    for _ in range(2):  # an older result is replaced
        assert main([str(source), str(there), *arguments, "--engine", "spark"]) == 0
    assert capsys.readouterr().out.splitlines()[: len(said)] == said
    assert all(part.match("part-*.parquet") for part in there.iterdir())
    assert pl.read_parquet(there).sort(pl.all()).equals(pl.read_parquet(here).sort(pl.all()))

    options = {"valid_num_ngs": 0, "test_num_ngs": 0}
    prints = {
        build_dataset(read_interactions(path, engine), tmp_path / "dataset", **options).metadata["fingerprint"]
        for path, engine in ((here, "polars"), (there, "polars"), (there, "spark"))
    }
    assert len(prints) == 1

    (there / "thesis.txt").touch()
    assert main([str(source), str(there), *arguments, "--engine", "spark"]) == 1
    assert "`output` should be a new folder, or one of Parquet parts" in capsys.readouterr().err


def test_sources_of_spark(spark, tmp_path):
    table = pl.DataFrame({"customer": ["a"], "sku": ["x"], "ts": [1_700_000_000], "other": [1]})
    (tmp_path / "parts").mkdir()
    table.write_parquet(tmp_path / "parts" / "part-00000.parquet")
    spark.createDataFrame(table.to_arrow()).createOrReplaceTempView("events")
    columns = list(COLUMNS.values())
    for source in (str(tmp_path / "parts"), "table:events", (tmp_path / "parts").as_uri()):
        assert [tuple(row) for row in scan_table(source, columns).collect()] == [("a", "x", 1_700_000_000)]
    with pytest.raises(InteractionsError, match=r"Missing: where\. Received: customer, sku, ts, other"):
        scan_table("table:events", [*columns, "where"])
    with pytest.raises(InteractionsError, match=r"Reading table:none with spark failed"):
        scan_table("table:none", columns)
    with pytest.raises(InteractionsError, match=r"Reading .*none with spark failed"):
        scan_table(str(tmp_path / "none"), columns)
    import_table(spark.table("events"), COLUMNS)[0].createOrReplaceTempView("imported")
    assert read_interactions("table:imported", "spark").count() == 1
    write_rows(table.rename({"customer": "user_id"}), tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").is_file()
