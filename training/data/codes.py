"""Interactions -> integer codes: each text column as numbers into the list of its distinct texts.

The validated rows of Polars, DuckDB and pandas frames pass in one go, without all their text being in memory at once
where an engine can stream (Polars, DuckDB), and the reasons to drop rows are counted on the way.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.data.columns import CATEGORY, ITEM, TIMESTAMP, USER
from training.data.validation import DROP_REASONS, REASON, TEXT_COLUMNS, Frame

BATCH_ROWS: Final = 1 << 20  # rows of text at a time where batches are coded one by one
_ENGINES: Final = (nw.Implementation.POLARS, nw.Implementation.DUCKDB, nw.Implementation.PANDAS)

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Codes:
    """A text column as codes.

    Attributes:
        codes: (N,) int32, index into `values`.
        values: Text of each code, in no particular order. Codes that are in some row have different texts; there may
            be others, which are in none.
    """

    codes: Ints
    values: pa.StringArray


@dataclass(frozen=True)
class CodedInteractions:
    """Usable interactions without any text in their rows.

    Attributes:
        user: User ids.
        item: Handles.
        category: Categories; "" where there is none.
        timestamp: (N,) int64 UNIX seconds.
        features: Columns of custom features, under `validation.feature_alias`: codes of texts, or (N,) float64.
    """

    user: Codes
    item: Codes
    category: Codes
    timestamp: npt.NDArray[np.int64]
    features: Mapping[str, Codes | npt.NDArray[np.float64]] = field(default_factory=dict[str, Any])


def can_code(checked: Frame) -> bool:
    """Returns whether `code_interactions` knows the engine of a frame."""
    return checked.implementation in _ENGINES


def code_interactions(checked: Frame) -> tuple[CodedInteractions, dict[int, int]]:
    """Codes the usable rows of a frame made by `validation.with_reason`.

    Args:
        checked: Frame of an engine that `can_code` accepts.

    Returns:
        The usable rows, in any order, and the number of rows by `REASON` (0 = usable).
    """
    native: Any = checked.to_native()
    schema = checked.collect_schema()
    extra = [name for name in schema.names() if ":" in name]  # of features
    texts = (*TEXT_COLUMNS, *(name for name in extra if schema[name] == nw.String))
    numbers = (TIMESTAMP, *(name for name in extra if schema[name] != nw.String))
    if checked.implementation == nw.Implementation.POLARS:
        columns, rows = _code_polars(native, texts, numbers)
    elif checked.implementation == nw.Implementation.DUCKDB:
        columns, rows = _code_batches(native.to_arrow_reader(BATCH_ROWS), texts, numbers)
    else:
        batches = checked.collect("pyarrow").to_native().to_batches(max_chunksize=BATCH_ROWS)
        columns, rows = _code_batches(batches, texts, numbers)
    user, item, category, timestamp = (columns[name] for name in (USER, ITEM, CATEGORY, TIMESTAMP))
    return CodedInteractions(user, item, category, timestamp, {name: columns[name] for name in extra}), rows


def _code_polars(lines: Any, texts: Sequence[str], numbers: Sequence[str]) -> tuple[dict[str, Any], dict[int, int]]:
    import polars as pl

    # Categories of its own for each column: codes from 0 on, and nothing is kept once the columns are gone.
    types = {name: pl.Categorical(pl.Categories.random()) for name in texts}
    table = lines.select(
        *(pl.col(name).cast(dtype) for name, dtype in types.items()),
        *(pl.col(name) for name in numbers),
        pl.col(REASON).cast(pl.UInt8),
    ).collect(engine="streaming")  # text lives from the reader to the cast, a part of the file at a time
    rows = _count(table[REASON].to_numpy())
    usable = table.drop_in_place(REASON) == 0 if len(rows) > 1 else None
    coded: dict[str, Any] = {}
    for name in texts:
        column = table.drop_in_place(name)
        codes = column.to_physical().to_numpy().view(np.int32)
        # A row of each code, before any is left out. A code that threads skipped is in no row: any text will do.
        somewhere = np.zeros(int(codes.max(initial=-1)) + 1, np.int64)
        somewhere[codes] = np.arange(len(codes))
        values = column.gather(somewhere).cast(pl.String).to_arrow().cast(pa.string())
        coded[name] = Codes(codes if usable is None else codes[usable.to_numpy()], values)
    for name in numbers:
        coded[name] = (table[name] if usable is None else table[name].filter(usable)).to_numpy()
    return coded, rows


def _code_batches(
    batches: Iterable[pa.RecordBatch], texts: Sequence[str], numbers: Sequence[str]
) -> tuple[dict[str, Any], dict[int, int]]:
    dictionaries = {name: _Dictionary() for name in texts}
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in (*texts, *numbers)}
    rows: dict[int, int] = {}
    for batch in batches:
        counts = _count(batch[REASON].to_numpy())
        for reason, count in counts.items():
            rows[reason] = rows.get(reason, 0) + count
        if set(counts) - {0}:
            batch = batch.filter(pa.array(batch[REASON].to_numpy() == 0))
        for name, dictionary in dictionaries.items():
            parts[name].append(dictionary.encode(batch[name]))
        for name in numbers:
            parts[name].append(batch[name].to_numpy())
    coded: dict[str, Any] = {
        name: Codes(_joined(parts.pop(name), np.int32), dictionary.values) for name, dictionary in dictionaries.items()
    }
    coded |= {name: _joined(parts.pop(name), np.int64 if name == TIMESTAMP else np.float64) for name in numbers}
    return coded, rows


class _Dictionary:
    """Codes of one column that stay the same from batch to batch."""

    def __init__(self) -> None:
        self.values: Any = pa.array([], pa.string())

    def encode(self, column: pa.Array) -> Ints:
        encoded: Any = column.dictionary_encode()
        texts = encoded.dictionary.cast(pa.string())
        known: Any = pc.call_function("index_in", [texts], pc.SetLookupOptions(self.values))
        new = known.is_null()
        codes = known.fill_null(0).to_numpy().copy()
        is_new = new.to_numpy(zero_copy_only=False)
        codes[is_new] = len(self.values) + np.arange(is_new.sum(), dtype=np.int32)
        self.values = pa.concat_arrays([self.values, texts.filter(new)])
        return codes[encoded.indices.to_numpy()]


def _count(reasons: npt.NDArray[Any]) -> dict[int, int]:
    counts = np.bincount(reasons, minlength=len(DROP_REASONS) + 1)
    return {int(reason): int(counts[reason]) for reason in np.flatnonzero(counts)}


def _joined(parts: list[npt.NDArray[Any]], dtype: type[np.number[Any]]) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
