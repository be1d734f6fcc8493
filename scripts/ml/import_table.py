"""Any table of what shoppers did, Parquet or CSV, as interactions (contract 2): say which column is which.

    python -m scripts.ml.import_table events.csv data/interactions.parquet
        --columns user_id=customer item_handle=sku timestamp=ts quantity=pieces
        [--time-unit s|ms|iso] [--inventory SNAPSHOT] [--category-from column|inventory]

NAME=COLUMN gives the column COLUMN the name NAME. Needed are user_id, item_handle and timestamp; item_category and
label may follow, and any others, which come along under their new names into a Parquet output (`kind`, `quantity`,
`weight`, `basket`, `session`, `age`, `income` are names that other parts know). With an inventory, products may be
called by handle, GID or the number in the GID, and rows with others are dropped.

With --engine spark the source may also be a folder of Parquet files, a URL, or table:catalog.schema.name; the output is
a folder of Parquet parts that the executors write, and that `scripts.ml.preprocess` reads with every engine.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import narwhals as nw
import polars as pl

from scripts.ml.import_frames import TIME_UNITS, checked_rows
from scripts.ml.spark_option import add_spark_option
from training.data.columns import ITEM, TIMESTAMP, USER
from training.data.interactions import TABLE_PREFIX, InteractionsError, write_interactions
from training.data.inventory import Inventory, load_inventory
from training.data.report import ImportReport
from training.data.spark import is_spark, location, spark_session, write_parquet
from training.data.validation import REASON, engine_errors, holding, report_of
from training.files import atomic_folder, atomic_path

NEEDED: Final = (USER, ITEM, TIMESTAMP)
ENGINES: Final = ("polars", "spark")  # the first is the default
CATEGORY_SOURCES: Final = ("column", "inventory")
SEPARATORS: Final = {".csv": ",", ".tsv": "\t"}


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


def scan_table(source: str, columns: Sequence[str], settings: Mapping[str, str] | None = None) -> Any:
    """Returns columns of a table as a Spark DataFrame.

    Args:
        source: What `read_table` reads, a folder of `.parquet` files, a URL that ends in one of those suffixes, or
            `table:catalog.schema.name`.
        columns: Which columns.
        settings: Of the Spark session.

    Raises:
        InteractionsError: If there is no such table, or it lacks a column.
    """
    session = spark_session(settings)
    with engine_errors(f"Reading {source} with spark"):
        if source.startswith(TABLE_PREFIX):
            frame = session.table(source.removeprefix(TABLE_PREFIX))
        elif (suffix := Path(source).suffix) in SEPARATORS:
            # As Polars reads it: quotes are doubled inside quotes, and lines may break there.
            frame = session.read.csv(location(source), sep=SEPARATORS[suffix], header=True, escape='"', multiLine=True)
        else:
            frame = session.read.parquet(location(source))
    if missing := [name for name in dict.fromkeys(columns) if name not in frame.columns]:
        raise InteractionsError(
            f"{source} should have the columns that --columns names. Missing: {', '.join(missing)}. "
            f"Received: {', '.join(frame.columns)}"
        )
    return frame.select(*(f"`{name}`" for name in dict.fromkeys(columns)))


def import_table(
    table: Any,
    columns: Mapping[str, str],
    *,
    time_unit: str = "s",
    inventory: Inventory | None = None,
    category_from: str = "column",
) -> tuple[Any, ImportReport]:
    """Makes interactions of a table.

    Args:
        table: Polars or Spark frame that has the columns that `columns` names.
        columns: Column of the table by name in the interactions.
        time_unit: `s` or `ms` since 1970, or `iso`: text such as `2026-03-01T12:00:00+01:00`, `2026-03-01 12:00` or
            `2026-03-01`, UTC where no zone is given. Columns of type date or time are read as what they are.
        inventory: Knows handles and categories; None accepts every product.
        category_from: `inventory`, or `column`: the table's `item_category`, where it has one, else the inventory's.
            Without either it is `Uncategorized`.

    Returns:
        Usable rows: columns `INTERACTION_COLUMNS`, then the others of `columns`; and the report. Of a Polars frame a
        DataFrame, in the table's order; of a Spark frame one that is computed when it is written, in any order.

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
    checked = checked_rows(
        table, columns, time_unit=time_unit, inventory=inventory, own_category=category_from == "column"
    )
    with engine_errors("Importing"), holding() as hold:
        checked = hold(checked)
        found = report_of(checked)
        rows = checked.filter(nw.col(REASON) == 0).drop(REASON)
        shoppers, products = rows.select(nw.col(USER).n_unique(), nw.col(ITEM).n_unique()).collect("polars").row(0)
        report = ImportReport(found.rows_in, found.dropped, {"Shoppers": int(shoppers), "Products": int(products)})
        return (rows if is_spark(rows) else rows.collect("polars")).to_native(), report


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


def write_rows(interactions: Any, path: Path) -> None:
    """Writes a Polars frame as `write_table` does, a Spark DataFrame atomically as a folder of Parquet parts.

    Raises:
        InteractionsError: If a text cannot be written, or the folder holds something else than parts.
    """
    if not is_spark(nw.from_native(interactions)):
        write_table(interactions, path)
        return
    if path.exists() and not (path.is_dir() and all(part.match("part-*.parquet") for part in path.iterdir())):
        raise InteractionsError(
            f"On Spark `output` should be a new folder, or one of Parquet parts. Received: {path}, which is neither"
        )
    with engine_errors("Writing interactions"), atomic_folder(path) as folder:
        write_parquet(interactions, folder / "parts")
        for part in (folder / "parts").iterdir():
            part.rename(folder / part.name)
        (folder / "parts").rmdir()


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
    parser.add_argument("source", help=".parquet, .csv or .tsv, the last two with a header; on Spark more, see above")
    parser.add_argument("output", type=Path, help=".parquet, or anything else for tab-separated text")
    parser.add_argument(
        "--columns", nargs="+", required=True, metavar="NAME=COLUMN", help="which column of the source is which"
    )
    parser.add_argument("--time-unit", choices=TIME_UNITS, default="s", help="of timestamp (default: %(default)s)")
    parser.add_argument("--inventory", type=Path, help="snapshot: handles, categories; other products are dropped")
    parser.add_argument(
        "--category-from", choices=CATEGORY_SOURCES, default="column", help="whose category (default: %(default)s)"
    )
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="default: %(default)s")
    add_spark_option(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, or 1 with one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        columns = parse_pairs(arguments.columns, "--columns")
        interactions, report = import_table(
            scan_table(arguments.source, list(columns.values()), dict(arguments.spark))
            if arguments.engine == "spark"
            else read_table(Path(arguments.source), list(columns.values())),
            columns,
            time_unit=arguments.time_unit,
            inventory=load_inventory(arguments.inventory) if arguments.inventory else None,
            category_from=arguments.category_from,
        )
        write_rows(interactions, arguments.output)
    except (ValueError, OSError, pl.exceptions.PolarsError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(report.text())
    print(f"Written to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
