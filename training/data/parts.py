"""Encoded sequences read column by column, of one Parquet file or of a folder of parts."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_BATCH_ROWS: Final = 1 << 18


class PartsError(ValueError):
    """Files that are no parts of one table."""


def parquet_files(path: Path) -> list[Path]:
    """Returns the file, or the parts of a folder by name.

    Raises:
        FileNotFoundError: If there is none.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"{path} has no file *.parquet")
    return files


def read_columns(path: Path, schema: pa.Schema, *, unpack_to: str | os.PathLike[str] | None = None) -> pa.Table:
    """Reads whole numbers without gaps into one array a column.

    At any moment the arrays and one batch of a part are in memory, never a part as a whole.

    Args:
        path: A Parquet file, or a folder of parts that follow one another by name.
        schema: Names and types that the columns should have.
        unpack_to: Folder on a disk with room for the arrays: they are mapped from unnamed files there, and the system
            keeps in memory what is in use. None: they are in memory.

    Returns:
        Table over the arrays, which are read-only; each column is one chunk.

    Raises:
        PartsError: If a file has other columns, or a gap.
        OSError: If a file cannot be read.
    """
    files = parquet_files(path)
    for file in files:
        received = pq.read_schema(file)
        if received.names != schema.names or received.types != schema.types:
            raise PartsError(
                f"{file} should have the columns {schema.to_string()!r}. Received: {received.to_string()!r}"
            )
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    columns = {field.name: _new_array(rows, field.type.to_pandas_dtype(), unpack_to) for field in schema}
    for name, column in columns.items():
        _fill(column, name, files)
        column.flags.writeable = False
    return pa.table({name: pa.array(column) for name, column in columns.items()}, schema=schema)


def _fill(column: Any, name: str, files: Sequence[Path]) -> None:
    start = 0
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=[name]):
                values = batch.column(0)
                if values.null_count:
                    raise PartsError(f"`{name}` in {path} should have no gaps. Received: {values.null_count} nulls")
                column[start : start + len(values)] = values.to_numpy()
                start += len(values)


def _new_array(rows: int, dtype: type[np.generic], folder: str | os.PathLike[str] | None) -> Any:
    if folder is None or not rows:  # nothing cannot be mapped
        return np.empty(rows, dtype)
    with tempfile.TemporaryFile(dir=folder) as file:  # unnamed: gone with the mapping, however the process ends
        return np.memmap(file, dtype, mode="w+", shape=rows)
