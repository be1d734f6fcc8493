"""Judges methods on a global temporal cut: learn before a day, rank what shoppers buy after it.

Usage: python -m scripts.ml.evaluate_future INTERACTIONS --before 2017-10-02 [--days 21] [--min-purchases 50]
    [--target window|next_basket|next_item] [--basket basket_id] [--output runs/future] [--seed 42]
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path

import numpy as np
import polars as pl

from training.data.columns import ITEM, TIMESTAMP, USER
from training.data.interactions import read_interactions
from training.evaluation.future import DAYS, TARGETS
from training.evaluation.future_report import FutureReport, evaluate_future
from training.evaluation.purchases import MIN_PURCHASES, Purchases
from training.files import atomic_path, write_json

DEFAULT_OUTPUT = Path("runs/future")


def read_purchases(path: Path, basket: str | None = None) -> Purchases:
    """Reads interactions (contract 2) as purchases; every text becomes a number in order of the alphabet.

    Args:
        path: Parquet or tab-separated text.
        basket: Column of the basket in a Parquet file; without it, a shopper's lines at one time are one basket.

    Raises:
        InteractionsError: If the file is missing, unreadable or lacks a column of the contract.
        ValueError: If it has no such basket column, or a value is missing.
    """
    table = read_interactions(path).select(USER, ITEM, TIMESTAMP).collect()
    columns = {name: table[name] for name in (USER, ITEM, TIMESTAMP)}
    if basket is not None:
        if path.suffix != ".parquet" or basket not in pl.read_parquet_schema(path):
            raise ValueError(f"`basket` should name a column of a Parquet file. Received: {basket!r} and {path}")
        columns[basket] = pl.read_parquet(path, columns=[basket])[basket]
    gaps = [name for name, column in columns.items() if column.null_count()]
    if gaps:
        raise ValueError(f"{path} should have a value in every row. Received: missing ones in {', '.join(gaps)}")
    texts = [_numbers(columns[name]) for name in columns if name != TIMESTAMP]
    return Purchases.of(texts[0], texts[1], columns[TIMESTAMP].to_numpy(), *texts[2:])


def _numbers(column: pl.Series) -> np.ndarray:
    return np.unique(column.cast(pl.String).to_numpy().astype(np.str_), return_inverse=True)[1]


def write_report(report: FutureReport, output: Path) -> list[Path]:
    """Writes the report as JSON, Markdown and HTML, each atomically, and returns the paths."""
    day = datetime.fromtimestamp(report.before, UTC).date().isoformat()
    stem = f"{report.target}_{day}"
    paths = [output / f"{stem}.json", output / f"{stem}.md", output / f"{stem}.html"]
    write_json(report.document(), paths[0])
    for path, text in zip(paths[1:], (report.markdown(), report.html()), strict=True):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return paths


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.ml.evaluate_future", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("interactions", type=Path, help="interactions, Parquet or tab-separated text")
    parser.add_argument("--before", type=date.fromisoformat, required=True, help="the cut, a day (00:00 UTC)")
    parser.add_argument("--days", type=int, default=DAYS, help="length of the window after the cut")
    parser.add_argument(
        "--min-purchases", type=int, default=MIN_PURCHASES, help="purchases an item needs before the cut"
    )
    parser.add_argument("--target", choices=TARGETS, default=TARGETS[0])
    parser.add_argument("--basket", help="column of the basket (default: a shopper's lines at one time)")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="folder of the JSON file and the table")
    parser.add_argument("--seed", type=int, default=42, help="seed of the order of equal scores and of the resamples")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Runs the evaluation that the command line asks for.

    Raises:
        ValueError: If the file or an argument does not fit.
    """
    purchases = read_purchases(arguments.interactions, arguments.basket)
    report = evaluate_future(
        purchases,
        int(datetime.combine(arguments.before, time(), UTC).timestamp()),
        np.random.default_rng(arguments.seed),
        days=arguments.days,
        min_purchases=arguments.min_purchases,
        target=arguments.target,
        progress=not arguments.quiet,
    )
    print(report.markdown())
    for path in write_report(report, arguments.output):
        print(f"wrote {path}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = parse(argv)
    try:
        run(arguments)
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
