"""Any table of what shoppers did, Parquet or CSV, as interactions (contract 2): say which column is which.

    python -m scripts.ml.import_table events.csv data/interactions.parquet
        --columns user_id=customer item_handle=sku timestamp=ts quantity=pieces
        [--time-unit s|ms|iso] [--inventory SNAPSHOT] [--category-from column|inventory]

NAME=COLUMN gives the column COLUMN the name NAME. Needed are user_id, item_handle and timestamp; item_category and
label may follow, and any others, which come along under their new names into a Parquet output (`kind`, `quantity`,
`weight`, `basket`, `session`, `age`, `income` are names that other parts know). With an inventory, products may be
called by handle, GID or the number in the GID, and rows with others are dropped.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from scripts.ml.import_lookup import with_products
from training.data.columns import CATEGORY, INTERACTION_COLUMNS, ITEM, LABEL, TIMESTAMP, USER
from training.data.event_columns import QUANTITY, WEIGHT
from training.data.interactions import InteractionsError, write_interactions
from training.data.inventory import Inventory, load_inventory
from training.data.report import ImportReport
from training.data.validation import REASON, report_of, with_reason
from training.files import atomic_path

NEEDED: Final = (USER, ITEM, TIMESTAMP)
TIME_UNITS: Final = ("s", "ms", "iso")
CATEGORY_SOURCES: Final = ("column", "inventory")
SEPARATORS: Final = {".csv": ",", ".tsv": "\t"}

_ISO_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
_LOCAL_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")  # of no zone: taken as UTC


def read_table(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Reads columns of a table.

    Args:
        path: `.parquet`, or `.csv` or `.tsv` in UTF-8 with a header, of which all columns are read as text, so that an
            article number such as 007 stays what it is; an empty field is null.
        columns: Which columns.

    Raises:
        InteractionsError: If the file is missing or unreadable, or lacks a column.
    """
    if not path.is_file() or path.suffix not in (".parquet", *SEPARATORS):
        raise InteractionsError(f"`source` should be an existing .parquet, .csv or .tsv file. Received: {path}")
    try:
        if path.suffix == ".parquet":
            lazy = pl.scan_parquet(path)
        else:
            lazy = pl.scan_csv(path, separator=SEPARATORS[path.suffix], infer_schema=False)
        received = lazy.collect_schema().names()
        if missing := [name for name in dict.fromkeys(columns) if name not in received]:
            raise InteractionsError(
                f"{path} should have the columns that --columns names. Missing: {', '.join(missing)}. "
                f"Received: {', '.join(received)}"
            )
        return lazy.select(list(dict.fromkeys(columns))).collect()
    except pl.exceptions.PolarsError as error:
        raise InteractionsError(f"{path} cannot be read: {error}") from error


def import_table(
    table: pl.DataFrame,
    columns: Mapping[str, str],
    *,
    time_unit: str = "s",
    inventory: Inventory | None = None,
    category_from: str = "column",
) -> tuple[pl.DataFrame, ImportReport]:
    """Makes interactions of a table.

    Args:
        table: Has the columns that `columns` names.
        columns: Column of the table by name in the interactions.
        time_unit: `s` or `ms` since 1970, or `iso`: text such as `2026-03-01T12:00:00+01:00`, `2026-03-01 12:00` or
            `2026-03-01`, UTC where no zone is given. Columns of type date or time are read as what they are.
        inventory: Knows handles and categories; None accepts every product.
        category_from: `inventory`, or `column`: the table's `item_category`, where it has one, else the inventory's.
            Without either it is `Uncategorized`.

    Returns:
        Usable rows in the table's order: columns `INTERACTION_COLUMNS`, then the others of `columns`; and the report.

    Raises:
        InteractionsError: If a needed column is not named or has no usable type, or no row is usable.
        ValueError: If `time_unit` or `category_from` is none of those.
    """
    if missing := [name for name in NEEDED if name not in columns]:
        raise InteractionsError(
            f"`columns` should say which columns are {', '.join(NEEDED)}. Missing: {', '.join(missing)}"
        )
    if category_from not in CATEGORY_SOURCES or (category_from == "inventory" and inventory is None):
        raise ValueError(
            "`category_from` should be column, or inventory together with an inventory. "
            f"Received: category_from = {category_from!r}{' without one' if inventory is None else ''}"
        )
    renamed = table.select(
        *(_column(name, source, table.schema[source], time_unit) for name, source in columns.items())
    )
    if LABEL not in columns:
        renamed = renamed.with_columns(pl.lit(1, pl.Int64).alias(LABEL))
    own = renamed[CATEGORY] if CATEGORY in columns and category_from == "column" else None
    full = with_products(renamed, inventory)
    if own is not None:
        full = full.with_columns(pl.coalesce(own, CATEGORY).alias(CATEGORY))
    others = [name for name in columns if name not in INTERACTION_COLUMNS]
    full = full.select(*INTERACTION_COLUMNS, *others)
    checked = with_reason(full, inventory.handles if inventory else None)
    found = report_of(checked)
    reasons = checked.select(REASON).collect("polars").to_native()[REASON]
    result = full.filter(reasons == 0).with_columns(pl.col(LABEL).cast(pl.Int64))
    notes = {"Shoppers": result[USER].n_unique(), "Products": result[ITEM].n_unique()}
    return result, ImportReport(found.rows_in, found.dropped, notes)


def _column(name: str, source: str, dtype: pl.DataType, time_unit: str) -> pl.Expr:
    column = pl.col(source)
    if name == TIMESTAMP:
        return _seconds(column, dtype, time_unit).alias(name)
    if name in (USER, ITEM, CATEGORY):
        # 12.0 is what an id of whole numbers becomes in a table with gaps.
        whole = column.cast(pl.Int64, strict=False) if dtype.is_float() else column
        text = whole.cast(pl.String).str.strip_chars()
        return pl.when(text != "").then(text).alias(name)
    if name == QUANTITY:
        return column.cast(pl.Int64, strict=False).alias(name)
    if name == WEIGHT:
        return column.cast(pl.Float64, strict=False).alias(name)
    return column.alias(name)


def _seconds(column: pl.Expr, dtype: pl.DataType, time_unit: str) -> pl.Expr:
    """Returns UNIX seconds, null where there is no time."""
    if time_unit not in TIME_UNITS:
        raise ValueError(f"`time_unit` should be one of {', '.join(TIME_UNITS)}. Received: time_unit = {time_unit!r}")
    if dtype.is_temporal() and dtype not in (pl.Time, pl.Duration):
        return column.dt.epoch("s").cast(pl.Int64)
    if time_unit == "iso" and dtype == pl.String:
        text = column.str.strip_chars().str.replace(r"^(\d{4}-\d\d-\d\d) ", "${1}T").str.replace(r" ?UTC$", "Z")
        text = text.str.replace(r" ([+-]|Z)", "${1}")
        zoned = (text.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False) for form in _ISO_FORMATS)
        local = (text.str.to_datetime(form, time_unit="us", strict=False) for form in _LOCAL_FORMATS)
        day = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
        return pl.coalesce(*(moment.dt.epoch("s") for moment in (*zoned, *local, day)))
    if time_unit == "iso" or not (dtype.is_numeric() or dtype == pl.String):
        raise InteractionsError(
            f"The column for `{TIMESTAMP}` should hold {'text in ISO form' if time_unit == 'iso' else 'numbers'}, "
            f"dates or times, for the time unit {time_unit}. Received: {dtype}"
        )
    number = column.cast(pl.Float64, strict=False).floor() if dtype == pl.String else column
    return number.cast(pl.Int64, strict=False) // (1000 if time_unit == "ms" else 1)


def write_table(interactions: pl.DataFrame, path: Path) -> None:
    """Writes interactions atomically: all columns into `.parquet`, else the five of contract 2 as text.

    Raises:
        InteractionsError: If a text holds a tab or a line break, which the text format cannot carry.
    """
    if path.suffix != ".parquet":
        write_interactions(interactions, path)
        return
    with atomic_path(path) as temporary:
        interactions.write_parquet(temporary, compression="zstd")


def parse_pairs(pairs: Sequence[str], option: str) -> dict[str, str]:
    """Returns a dict of `NAME=VALUE` texts.

    Raises:
        ValueError: If a text is no such pair, or a name occurs twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals and value) or name in found:
            raise ValueError(f"`{option}` should be NAME=VALUE, each name once. Received: {pair!r}")
        found[name] = value
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.ml.import_table", description="Import any table as interactions."
    )
    parser.add_argument("source", type=Path, help=".parquet, .csv or .tsv, the last two with a header")
    parser.add_argument("output", type=Path, help=".parquet, or anything else for tab-separated text")
    parser.add_argument(
        "--columns", nargs="+", required=True, metavar="NAME=COLUMN", help="which column of the source is which"
    )
    parser.add_argument("--time-unit", choices=TIME_UNITS, default="s", help="of timestamp (default: %(default)s)")
    parser.add_argument("--inventory", type=Path, help="snapshot: handles, categories; other products are dropped")
    parser.add_argument(
        "--category-from", choices=CATEGORY_SOURCES, default="column", help="whose category (default: %(default)s)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, or 1 with one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        columns = parse_pairs(arguments.columns, "--columns")
        interactions, report = import_table(
            read_table(arguments.source, list(columns.values())),
            columns,
            time_unit=arguments.time_unit,
            inventory=load_inventory(arguments.inventory) if arguments.inventory else None,
            category_from=arguments.category_from,
        )
        write_table(interactions, arguments.output)
    except (ValueError, OSError, pl.exceptions.PolarsError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(report.text())
    print(f"Written to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
