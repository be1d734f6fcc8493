"""Interactions (contract 2): reading and writing them as pandas, Polars, DuckDB or Spark frames.

A file of interactions is tab-separated text without header and without quoting,
`label user_id item_handle timestamp item_category`, or Parquet with those column names (and any others). A folder of
Parquet files is one table.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import narwhals as nw

from training.data.columns import INTERACTION_COLUMNS
from training.data.spark import location as spark_location
from training.data.spark import spark_session
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
TABLE_PREFIX: Final = "table:"


def read_interactions(
    path: str | os.PathLike[str],
    engine: str = ENGINES[0],
    spark_settings: Mapping[str, str] | None = None,
    features: FeaturesConfig | None = None,
) -> Any:
    """Reads interactions as a frame of the given engine.

    DuckDB, Polars and Spark frames are lazy: the file is read when something is computed from them. Empty lines are
    skipped; a line with too few fields lacks the last ones; too many fields are an error (on Spark the rest is cut).

    Args:
        path: A `.parquet` file, a folder of such files, or text as described at the top of this module. Spark also
            reads URLs and, as `table:catalog.schema.name`, tables of its catalogue.
        engine: "polars" (a LazyFrame), "duckdb" (a relation), "pandas" or "spark" (a DataFrame of the active session,
            or of a new local one).
        spark_settings: Of the Spark session, see `training.data.spark.spark_session`.
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
    with engine_errors(f"Reading interactions from {location} with {engine}"):
        if engine == "spark":
            native = _read_spark(location, spark_settings)
        else:
            files = parquet_parts(location)
            read = {"duckdb": _read_duckdb, "polars": _read_polars, "pandas": _read_pandas}[engine]
            native = read(files or [location], bool(files))
        frame = typed(native)
        return _with_columns(native, features.columns) if features else frame.to_native()


def _with_columns(native: Any, columns: Sequence[str]) -> Any:
    """Returns a frame with the five columns and those of `columns` that it has, all as they are."""
    frame = nw.from_native(native)
    names = frame.collect_schema().names()
    kept = [name for name in columns if name in names and name not in INTERACTION_COLUMNS]
    return frame.select(*INTERACTION_COLUMNS, *kept).to_native()


def parquet_parts(path: str) -> list[str]:
    """Returns the Parquet files that a path means, by name: itself, or those of a folder; none for a file of text.

    Raises:
        InteractionsError: If there is no such file.
    """
    place = Path(path)
    if place.is_dir() and (parts := sorted(map(str, place.glob("*.parquet")))):
        return parts
    if not place.is_file():
        raise InteractionsError(
            "`path` should be an existing file of interactions, or a folder of .parquet files. "
            f"Received: path = {path!r}"
        )
    return [path] if path.endswith(".parquet") else []


def _read_duckdb(files: list[str], parquet: bool) -> Any:
    import duckdb

    connection = duckdb.connect()
    if parquet:
        return connection.read_parquet(cast(Any, files))
    text: dict[str, Any] = dict.fromkeys(INTERACTION_COLUMNS, "VARCHAR")
    # Without detection: a file must not be read one way today and another tomorrow.
    return connection.read_csv(
        files[0],
        sep="\t",
        header=False,
        columns=text,
        quotechar="",
        escapechar="",
        auto_detect=False,
        null_padding=True,
    )


def _read_polars(files: list[str], parquet: bool) -> Any:
    import polars as pl

    if parquet:
        return pl.scan_parquet(files, glob=False)
    text: dict[str, Any] = dict.fromkeys(INTERACTION_COLUMNS, pl.String)
    lines = pl.scan_csv(files[0], separator="\t", has_header=False, schema=text, quote_char=None)
    return lines.filter(~pl.all_horizontal(pl.all().is_null()))  # empty lines, which the other engines skip by nature


def _read_pandas(files: list[str], parquet: bool) -> Any:
    import csv

    import pandas as pd

    if parquet:
        return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    return pd.read_csv(
        files[0],
        sep="\t",
        names=list(INTERACTION_COLUMNS),
        index_col=False,
        dtype=cast(Any, "string[pyarrow]"),
        quoting=csv.QUOTE_NONE,
        keep_default_na=False,
    )


def _read_spark(path: str, settings: Mapping[str, str] | None) -> Any:
    session = spark_session(settings)
    if path.startswith(TABLE_PREFIX):
        return session.table(path.removeprefix(TABLE_PREFIX))
    if path.endswith(".parquet") or (Path(path).is_dir() and parquet_parts(path)):
        return session.read.parquet(spark_location(path))
    text = ", ".join(f"{name} STRING" for name in INTERACTION_COLUMNS)
    return session.read.csv(spark_location(path), sep="\t", schema=text, quote="", escape="\0")


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
