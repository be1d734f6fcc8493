"""Interactions (contract 2): reading and writing them as pandas, Polars, DuckDB or Spark frames.

A file of interactions is tab-separated text without header and without quoting,
`label user_id item_handle timestamp item_category`, or Parquet with those column names (and any others).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import narwhals as nw

from training.data.columns import INTERACTION_COLUMNS
from training.data.validation import (
    TEXT_COLUMNS,
    InteractionsError,
    ValidationReport,
    engine_errors,
    typed,
    validate_interactions,
)
from training.feature_config import FeaturesConfig
from training.files import atomic_path

__all__ = [
    "ENGINES",
    "InteractionsError",
    "ValidationReport",
    "read_interactions",
    "validate_interactions",
    "write_interactions",
]

ENGINES: Final = ("polars", "duckdb", "pandas", "spark")  # the first is the default


def read_interactions(
    path: str | os.PathLike[str], engine: str = ENGINES[0], features: FeaturesConfig | None = None
) -> Any:
    """Reads interactions as a frame of the given engine.

    DuckDB, Polars and Spark frames are lazy: the file is read when something is computed from them. Empty lines are
    skipped; a line with too few fields lacks the last ones; too many fields are an error (on Spark the rest is cut).

    Args:
        path: A `.parquet` file, or text as described at the top of this module. Spark also reads folders and URLs.
        engine: "polars" (a LazyFrame), "duckdb" (a relation), "pandas" or "spark" (a DataFrame of the active session,
            or of a new local one).
        features: Custom features whose columns are kept, where a Parquet file has them.

    Returns:
        Native frame with the columns of `INTERACTION_COLUMNS`: label and timestamp int64, null where the text is no
        whole number; the others text, null where missing. Other columns of a Parquet file are kept out.

    Raises:
        InteractionsError: If the engine is unknown, the file is missing, unreadable or empty, or lacks a column.
    """
    if engine not in ENGINES:
        raise InteractionsError(f"`engine` should be one of {', '.join(ENGINES)}. Received: engine = {engine!r}")
    location = os.fspath(path)
    if engine != "spark" and not Path(location).is_file():
        raise InteractionsError(f"`path` should be an existing file of interactions. Received: path = {location!r}")
    read = {"duckdb": _read_duckdb, "polars": _read_polars, "pandas": _read_pandas, "spark": _read_spark}[engine]
    with engine_errors(f"Reading interactions from {location} with {engine}"):
        native = read(location, location.endswith(".parquet"))
        frame = typed(native)
        if not features or not location.endswith(".parquet"):
            return frame.to_native()
        return _with_columns(native, features.columns)


def _with_columns(native: Any, columns: Sequence[str]) -> Any:
    """Returns a frame with the five columns and those of `columns` that it has, all as they are."""
    frame = nw.from_native(native)
    names = frame.collect_schema().names()
    kept = [name for name in columns if name in names and name not in INTERACTION_COLUMNS]
    return frame.select(*INTERACTION_COLUMNS, *kept).to_native()


def _read_duckdb(path: str, parquet: bool) -> Any:
    import duckdb

    connection = duckdb.connect()
    if parquet:
        return connection.read_parquet(path)
    text: dict[str, Any] = dict.fromkeys(INTERACTION_COLUMNS, "VARCHAR")
    # Without detection: a file must not be read one way today and another tomorrow.
    return connection.read_csv(
        path, sep="\t", header=False, columns=text, quotechar="", escapechar="", auto_detect=False, null_padding=True
    )


def _read_polars(path: str, parquet: bool) -> Any:
    import polars as pl

    if parquet:
        return pl.scan_parquet(path)
    text: dict[str, Any] = dict.fromkeys(INTERACTION_COLUMNS, pl.String)
    lines = pl.scan_csv(path, separator="\t", has_header=False, schema=text, quote_char=None)
    return lines.filter(~pl.all_horizontal(pl.all().is_null()))  # empty lines, which the other engines skip by nature


def _read_pandas(path: str, parquet: bool) -> Any:
    import csv

    import pandas as pd

    if parquet:
        return pd.read_parquet(path)
    return pd.read_csv(
        path,
        sep="\t",
        names=list(INTERACTION_COLUMNS),
        index_col=False,
        dtype=cast(Any, "string[pyarrow]"),
        quoting=csv.QUOTE_NONE,
        keep_default_na=False,
    )


def _read_spark(path: str, parquet: bool) -> Any:
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession() or (
        SparkSession.builder.config("spark.ui.enabled", "false").appName("interactions").getOrCreate()
    )
    if parquet:
        return session.read.parquet(path)
    text = ", ".join(f"{name} STRING" for name in INTERACTION_COLUMNS)
    return session.read.csv(path, sep="\t", schema=text, quote="", escape="\0")


def write_interactions(native: Any, path: str | os.PathLike[str]) -> None:
    """Writes interactions, atomically: Parquet where `path` ends in `.parquet`, else tab-separated text.

    Args:
        native: Interactions as a pandas, Polars, DuckDB or Spark frame.
        path: File to write.

    Raises:
        InteractionsError: If a text holds a tab or a line break, which the text format cannot carry.
    """
    table = typed(native).collect("polars").to_native()
    with atomic_path(path) as temporary:
        if temporary.suffix == ".parquet":
            table.write_parquet(temporary)
            return
        for name in TEXT_COLUMNS:
            broken = table[name].filter(table[name].str.contains("[\t\r\n]"))
            if len(broken):
                raise InteractionsError(
                    f"`{name}` should be free of tabs and line breaks to be written as text. "
                    f"Received: {broken[0]!r}. Write a .parquet file instead"
                )
        table.write_csv(temporary, separator="\t", include_header=False, quote_style="never")
