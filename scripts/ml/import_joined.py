"""Joins files of interactions of several sources, such as a shop's orders and its shoppers' clicks, into one.

    python -m scripts.ml.import_joined orders.parquet clicks.parquet --output data/interactions.parquet
        [--inventory SNAPSHOT] [--weights view=1 cart=3 purchase=5]

Rows get a `kind` and a `weight`. The order of the files matters: where several know purchases, as orders and a tracker
do, those of the first such file count and those of the others are left out, so that nothing is bought twice. Shoppers
are joined by their ids: import clicks with `--user login`, the logins being the orders' opaque ids.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from scripts.ml.import_kinds import WEIGHTS, add_options, checked_weights, parse_weights
from scripts.ml.import_lookup import with_products
from scripts.ml.import_table import write_table
from training.data.columns import CATEGORY, INTERACTION_COLUMNS, ITEM, LABEL, TIMESTAMP, USER
from training.data.event_columns import BASKET, KIND, KINDS, WEIGHT
from training.data.interactions import InteractionsError, read_interactions
from training.data.inventory import UNCATEGORIZED, Inventory, load_inventory
from training.data.report import ImportReport
from training.data.validation import REASON, report_of, with_reason

OTHER_PURCHASES = "purchase in another file than the first that has some"
SHARED = "  in several files"
UNRELATED = (
    "no shopper occurs in several files, so nothing was joined: did the tracker know signed-in customers by the "
    "orders' opaque ids (import_snowplow --user login), or by the customers' numbers (--user customer)?"
)


def join_interactions(
    sources: Sequence[pl.DataFrame],
    *,
    inventory: Inventory | None = None,
    weights: Mapping[str, float] | None = None,
) -> tuple[pl.DataFrame, ImportReport]:
    """Joins interactions.

    Args:
        sources: Frames with the columns `INTERACTION_COLUMNS` and any others.
        inventory: Knows handles and categories; products that it does not have are dropped. Without it, a product has
            the first category that a source has for it.
        weights: Of kinds, in place of the rows' own; without one here or there it is that of `WEIGHTS`, else 1.

    Returns:
        Usable rows sorted by time, equal times in the order of the sources: columns `INTERACTION_COLUMNS`, `kind`,
        `weight`, `basket` (purchases without one: what a shopper bought at one moment), and all others; and the report.

    Raises:
        InteractionsError: If there is no source, a column is missing, or no row is usable.
        ValueError: If a weight is of no kind.
    """
    if not sources:
        raise InteractionsError("`sources` should be at least one table of interactions. Received: none")
    own_weights = checked_weights(weights)
    for source in sources:
        with_reason(source)  # says which column is missing
    types: dict[Any, Any] = {
        LABEL: pl.Int64,
        TIMESTAMP: pl.Int64,
        USER: pl.String,
        ITEM: pl.String,
        CATEGORY: pl.String,
    }
    parts: list[pl.DataFrame] = []
    bought = other_purchases = 0
    for source in sources:
        part = source.cast(types, strict=False)
        missing = {KIND: pl.String, WEIGHT: pl.Float64, BASKET: pl.String}
        part = part.with_columns(
            pl.lit(None, dtype).alias(name) for name, dtype in missing.items() if name not in part.columns
        )
        purchases = part.filter(pl.col(KIND) == KINDS[-1]).height
        if bought and purchases:
            other_purchases += purchases
            part = part.filter(pl.col(KIND).ne_missing(KINDS[-1]))
        bought += purchases
        parts.append(part.cast({KIND: pl.String, WEIGHT: pl.Float64, BASKET: pl.String}))
    shoppers = pl.concat([part.select(USER).unique() for part in parts])[USER].drop_nulls()
    table = with_products(pl.concat(parts, how="diagonal_relaxed"), inventory)
    if inventory is None:
        named = pl.when(pl.col(CATEGORY).ne_missing(UNCATEGORIZED) & (pl.col(CATEGORY) != "")).then(pl.col(CATEGORY))
        first = named.drop_nulls().first().over(ITEM)
        table = table.with_columns(pl.coalesce(first, pl.lit(UNCATEGORIZED)).alias(CATEGORY))
    checked = with_reason(table, inventory.handles if inventory else None)
    found = report_of(checked)
    table = table.filter(checked.select(REASON).collect("polars").to_native()[REASON] == 0)
    dropped = dict(found.dropped) | ({OTHER_PURCHASES: other_purchases} if other_purchases else {})
    shared = {SHARED: shoppers.filter(shoppers.is_duplicated() & shoppers.is_in(table[USER].implode())).n_unique()}
    notes = (
        {"Shoppers": table[USER].n_unique()}
        | (shared if len(sources) > 1 else {})
        | {
            f"Rows of kind {kind or '(none)'}": count
            for kind, count in table[KIND].value_counts().sort(KIND).iter_rows()
        }
    )
    moment = pl.concat_str(pl.col(USER), pl.lit("@"), pl.col(TIMESTAMP).cast(pl.String))
    table = table.with_columns(
        _weight(own_weights).alias(WEIGHT),
        pl.coalesce(BASKET, pl.when(pl.col(KIND) == KINDS[-1]).then(moment)).alias(BASKET),
    ).sort(TIMESTAMP, maintain_order=True)
    order = dict.fromkeys((*INTERACTION_COLUMNS, KIND, WEIGHT, BASKET, *table.columns))
    return table.select(*order), ImportReport(found.rows_in + other_purchases, dropped, notes)


def _weight(weights: Mapping[str, float]) -> pl.Expr:
    def of(table: Mapping[str, float]) -> pl.Expr:
        return pl.col(KIND).replace_strict(list(table), list(table.values()), default=None, return_dtype=pl.Float64)

    chosen = [of(weights)] if weights else []
    return pl.coalesce(*chosen, WEIGHT, of(WEIGHTS), pl.lit(1.0))


def read_source(path: Path) -> pl.DataFrame:
    """Reads interactions with all their columns.

    Raises:
        InteractionsError: If the file is missing or unreadable, or lacks a column.
    """
    known = read_interactions(path)
    return pl.read_parquet(path) if path.suffix == ".parquet" else known.collect()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.ml.import_joined", description="Join interactions of several sources."
    )
    parser.add_argument("sources", nargs="+", type=Path, help=".parquet or .tsv; the orders before the clicks")
    add_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, or 1 with one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        interactions, report = join_interactions(
            [read_source(path) for path in arguments.sources],
            inventory=load_inventory(arguments.inventory) if arguments.inventory else None,
            weights=parse_weights(arguments.weights),
        )
        write_table(interactions, arguments.output)
    except (ValueError, OSError, pl.exceptions.PolarsError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    if report.notes.get(SHARED) == 0:
        print(f"warning: {UNRELATED}", file=sys.stderr)
    print(report.text())
    print(f"Written to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
