"""Names, schemas and files of the folder of encoded sequences; what is in it: `training.data.dataset`."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from training.data.columns import CATEGORY_ID, ITEM_ID, POSITION, SPLIT, SPLITS, TIMESTAMP, USER_ID
from training.feature_config import CLOCK_SIZES
from training.files import sha256_of

FORMAT_VERSION: Final = 1
METADATA_FILE: Final = "dataset.json"
SEQUENCES: Final = "sequences"
FEATURES: Final = (USER_ID, ITEM_ID, CATEGORY_ID)
HELD_OUT: Final = SPLITS[1:]

Negatives = npt.NDArray[np.int32]
SameTime = Literal["ordered", "together"]

_VOCABULARY_SCHEMA: Final = pa.schema({"id": pa.int32(), "value": pa.string(), "count": pa.int64()})
SCHEMAS: Final = {
    SEQUENCES: pa.schema(
        {
            USER_ID: pa.int32(),
            ITEM_ID: pa.int32(),
            CATEGORY_ID: pa.int32(),
            TIMESTAMP: pa.int64(),
            POSITION: pa.int32(),
            SPLIT: pa.int8(),
        }
    ),
    USER_ID: _VOCABULARY_SCHEMA,
    ITEM_ID: _VOCABULARY_SCHEMA.append(pa.field(CATEGORY_ID, pa.int32())),
    CATEGORY_ID: _VOCABULARY_SCHEMA,
}


class DatasetError(ValueError):
    """A folder that does not hold encoded sequences which this version can read."""


def file_name(name: str) -> str:
    """Returns the file of a table of `SCHEMAS`."""
    return f"{name}.parquet" if name == SEQUENCES else f"vocabulary_{name}.parquet"


def has_column(document: Mapping[str, Any]) -> bool:
    """Whether a feature, as `dataset.json` describes it, has a column among the sequences."""
    return document["of"] == "event" and document["kind"] not in CLOCK_SIZES


def schemas_with(event_columns: Iterable[str]) -> dict[str, pa.Schema]:
    """Returns `SCHEMAS` with columns of event features among the sequences."""
    sequences = SCHEMAS[SEQUENCES]
    for name in event_columns:
        sequences = sequences.append(pa.field(name, pa.int32()))
    return {**SCHEMAS, SEQUENCES: sequences}


def write_table(table: pa.Table, path: Path) -> None:
    """Writes a table of a dataset."""
    # Half the time of the default, a dictionary for each column, and no larger: the high bytes of ids, places and
    # times hardly change from row to row, and hardly any text or time occurs twice.
    leaves = {field.name: f"{field.name}.list.element" for field in table.schema if pa.types.is_list(field.type)}
    encoding = {
        leaves.get(field.name, field.name): "DELTA_BYTE_ARRAY" if field.type == pa.string() else "BYTE_STREAM_SPLIT"
        for field in table.schema
    }
    pq.write_table(table, path, compression="zstd", use_dictionary=False, column_encoding=encoding)


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Reads a table of a dataset.

    Raises:
        DatasetError: If it has other columns.
    """
    table = pq.read_table(path)
    if not table.schema.equals(schema):
        raise DatasetError(
            f"{path} should have the columns {schema.to_string()!r}. Received: {table.schema.to_string()!r}"
        )
    return table.combine_chunks()


def negatives_table(rows: npt.NDArray[np.int64], negatives: Negatives) -> pa.Table:
    """Returns row numbers with a list of negatives each."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * negatives.shape[1]
    return pa.table({"row": rows, "negatives": pa.ListArray.from_arrays(offsets, negatives.ravel())})


def read_negatives(folder: Path, split: str, rows: npt.NDArray[np.int64], num_negatives: int) -> Negatives:
    """Reads the negatives of a split.

    Raises:
        DatasetError: If they are not those of these rows.
    """
    path = folder / f"negatives_{split}.parquet"
    table = pq.read_table(path).combine_chunks()
    values = table["negatives"].combine_chunks().flatten().to_numpy()
    if not np.array_equal(table["row"].to_numpy(), rows) or len(values) != len(rows) * num_negatives:
        raise DatasetError(
            f"{path} should hold {num_negatives} negatives for each of the {len(rows)} {split} rows. "
            f"Received: {len(values)} negatives for {table.num_rows} rows. Run scripts.ml.preprocess again"
        )
    return values.reshape(len(rows), num_negatives).astype(np.int32, copy=False)


def fingerprint_of(sequences: pa.Table, folder: Path, of_features: Iterable[str]) -> str:
    """Returns the SHA-256 of rows, vocabularies and files of features: the same wherever parts are cut."""
    digest = hashlib.sha256()
    for name in sequences.column_names:
        column: Any = np.ascontiguousarray(sequences[name].to_numpy())
        digest.update(column)
    digest.update(sha256_of(*(folder / file_name(name) for name in FEATURES)).encode())
    for name in of_features:
        digest.update(sha256_of(folder / name).encode())
    return digest.hexdigest()
