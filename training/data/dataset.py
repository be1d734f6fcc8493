"""The folder of encoded sequences (contract 3) and what is in it.

`sequences.parquet` has one row per interaction; `vocabulary_user.parquet`, `vocabulary_item.parquet` and
`vocabulary_category.parquet` name the ids; `negatives_valid.parquet` and `negatives_test.parquet` hold the offline
negatives; `dataset.json`, written last, holds sizes, counts and a fingerprint. A data set with custom features also has
a column for each of events, `features_item.parquet`, `features_user.parquet` and a vocabulary for each.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from training.data.columns import CATEGORY_ID, ITEM_ID, POSITION, SPLIT, SPLITS, TIMESTAMP, USER_ID
from training.data.features import NO_FEATURES, DatasetFeatures, example_value, feature_tables, read_features
from training.data.vocabulary import Vocabulary
from training.feature_config import CLOCK_SIZES
from training.files import atomic_folder, sha256_of, write_json

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


@dataclass(frozen=True, eq=False)
class EncodedSequences:
    """All interactions as integer columns, sorted by (user, timestamp, position).

    Attributes:
        user: (N,) int32 user ids, from 1.
        item: (N,) int32 item ids; 0 = never seen in training.
        category: (N,) int32 category ids; 0 = never seen in training, or none.
        timestamp: (N,) int64 UNIX seconds, UTC.
        position: (N,) int32 place in the user's sequence, from 0.
        split: (N,) int8 index into `SPLITS`: 0 train, 1 valid, 2 test.
        vocabularies: "user", "item" and "category".
        item_category: (num_items,) int32 category id of each item; `item_category[0]` is 0.
        negatives: "valid" and "test": (n, k) int32 item ids, aligned with `rows(split)`.
        metadata: The content of `dataset.json`.
        features: Custom features.
        same_time: What an event's history is: "ordered", every event before it; "together", those of an earlier second,
            so that what was bought together is no history of each other.
    """

    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    category: npt.NDArray[np.int32]
    timestamp: npt.NDArray[np.int64]
    position: npt.NDArray[np.int32]
    split: npt.NDArray[np.int8]
    vocabularies: Mapping[str, Vocabulary]
    item_category: npt.NDArray[np.int32]
    negatives: Mapping[str, Negatives]
    metadata: Mapping[str, Any]
    features: DatasetFeatures = NO_FEATURES
    same_time: SameTime = "ordered"

    @property
    def num_users(self) -> int:
        """Number of user ids, 0 included."""
        return self.vocabularies[USER_ID].size

    @property
    def num_items(self) -> int:
        """Number of item ids, 0 included."""
        return self.vocabularies[ITEM_ID].size

    @property
    def num_categories(self) -> int:
        """Number of category ids, 0 included."""
        return self.vocabularies[CATEGORY_ID].size

    @cached_property
    def user_offsets(self) -> npt.NDArray[np.int64]:
        """(num_users + 1,) int64: the rows of user u are `user_offsets[u]:user_offsets[u + 1]`."""
        return np.searchsorted(self.user, np.arange(self.num_users + 1)).astype(np.int64)

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Returns the row numbers of a split ("train", "valid", "test") that have a history.

        Raises:
            ValueError: If there is no such split.
        """
        if split not in SPLITS:
            raise ValueError(f"`split` should be one of {', '.join(SPLITS)}. Received: split = {split!r}")
        rows = np.flatnonzero((self.split == SPLITS.index(split)) & (self.position >= 1)).astype(np.int64, copy=False)
        return rows if self.same_time == "ordered" else rows[self.history_lengths(rows) >= 1]

    @cached_property
    def _moments(self) -> npt.NDArray[np.int64]:
        """(N,) int64, the first row of each row's user and second."""
        new = np.ones(len(self.user), bool)
        new[1:] = (self.user[1:] != self.user[:-1]) | (self.timestamp[1:] != self.timestamp[:-1])
        return np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))

    def history_ends(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Returns (B,) int64: the history of each row is the rows of its user before this one."""
        return rows if self.same_time == "ordered" else self._moments[rows]

    def history_lengths(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Returns (B,) int64: number of events in the history of each row."""
        return self.position[rows] - (rows - self.history_ends(rows))

    def viewed(self, same_time: SameTime) -> "EncodedSequences":
        """Returns the same interactions with another rule for events at one second; see `same_time`.

        Rows that have no history under it are no rows of any split, and their negatives are left out.
        """
        if same_time == self.same_time:
            return self
        if self.same_time != "ordered":
            raise ValueError(f"`viewed` should be asked of the data set as loaded. Received: {self.same_time!r}")
        view = replace(self, same_time=same_time)
        negatives = {
            split: drawn[view.history_lengths(self.rows(split)) >= 1] for split, drawn in self.negatives.items()
        }
        return replace(view, negatives=negatives)


def request_values(dataset: EncodedSequences, user: int, events: Any) -> dict[str, Any]:
    """Returns custom features as a request has them: a list of texts for each of events, a text for each of the user.

    Args:
        dataset: Encoded sequences.
        user: User id.
        events: Row numbers, or a slice of rows, of the events.
    """
    values: dict[str, Any] = {}
    for each in dataset.features.stored_events:
        values[each.name] = [example_value(each, number) for number in each.ids[events].tolist()]
    for each in dataset.features.of("user"):
        values[each.name] = example_value(each, int(each.ids[user]))
    return values


def load_dataset(folder: str | os.PathLike[str]) -> EncodedSequences:
    """Reads a folder of encoded sequences.

    Args:
        folder: Folder written by `build_dataset`.

    Returns:
        The columns as arrays; no Python object per row is made.

    Raises:
        DatasetError: If the folder is missing or incomplete, or was written in another format version.
    """
    path = Path(folder)
    try:
        metadata: dict[str, Any] = json.loads((path / METADATA_FILE).read_text(encoding="utf-8"))
        if metadata.get("format_version") != FORMAT_VERSION:
            raise DatasetError(
                f"`format_version` in {path / METADATA_FILE} should be {FORMAT_VERSION}. "
                f"Received: {metadata.get('format_version')!r}. Run scripts.ml.preprocess again"
            )
        of_features = metadata.get("features", [])
        schemas = schemas_with(f"event_{each['name']}" for each in of_features if has_column(each))
        tables = {name: _read(path / file_name(name), schema) for name, schema in schemas.items()}
        features = read_features(of_features, lambda name: pq.read_table(path / name), tables[SEQUENCES])
        dataset = replace(from_tables(tables, metadata), features=features)
        negatives = {
            split: _read_negatives(path, split, dataset.rows(split), metadata["num_negatives"][split])
            for split in HELD_OUT
        }
    except (OSError, KeyError, AttributeError, json.JSONDecodeError, pa.ArrowException) as error:
        raise DatasetError(
            f"`folder` should hold encoded sequences. Received: {str(path)!r}, in which reading failed with "
            f"{type(error).__name__}: {error}. Run scripts.ml.preprocess to write it"
        ) from error
    return replace(dataset, negatives=negatives)


def has_column(document: Mapping[str, Any]) -> bool:
    """Whether a feature, as `dataset.json` describes it, has a column among the sequences."""
    return document["of"] == "event" and document["kind"] not in CLOCK_SIZES


def schemas_with(event_columns: Iterable[str]) -> dict[str, pa.Schema]:
    """Returns `SCHEMAS` with columns of event features among the sequences."""
    sequences = SCHEMAS[SEQUENCES]
    for name in event_columns:
        sequences = sequences.append(pa.field(name, pa.int32()))
    return {**SCHEMAS, SEQUENCES: sequences}


def from_tables(tables: Mapping[str, pa.Table], metadata: Mapping[str, Any]) -> EncodedSequences:
    """Makes encoded sequences, still without negatives, of tables with the schemas of `SCHEMAS`."""
    columns: dict[str, Any] = {name: tables[SEQUENCES][name].to_numpy() for name in SCHEMAS[SEQUENCES].names}
    return EncodedSequences(
        **columns,
        vocabularies={
            name: Vocabulary(
                values=np.asarray(tables[name]["value"].fill_null("").to_pylist(), dtype=np.str_),
                counts=tables[name]["count"].to_numpy(),
            )
            for name in FEATURES
        },
        item_category=tables[ITEM_ID][CATEGORY_ID].to_numpy(),
        negatives={},
        metadata=metadata,
    )


def file_name(name: str) -> str:
    """Returns the file of a table of `SCHEMAS`."""
    return f"{name}.parquet" if name == SEQUENCES else f"vocabulary_{name}.parquet"


def require_replaceable(folder: Path) -> None:
    """Makes sure that writing to `folder` replaces nothing but older encoded sequences.

    Raises:
        DatasetError: If it is a file, or a folder with other things in it.
    """
    if not folder.exists() or (folder / METADATA_FILE).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise DatasetError(
            f"`folder` should be missing, empty, or hold older encoded sequences. Received: {str(folder)!r}, which "
            "holds something else. Choose another folder"
        )


def write_folder(
    tables: Mapping[str, pa.Table],
    dataset: EncodedSequences,
    draw_negatives: Callable[[str], Negatives],
    metadata: Mapping[str, Any],
    folder: Path,
) -> EncodedSequences:
    """Writes everything beside `folder` and then swaps it in: a reader sees the old folder or the new one.

    Args:
        tables: Tables with the schemas of `SCHEMAS`, the sequences with the columns of event features.
        dataset: The same, with custom features, without negatives.
        draw_negatives: Draws the negatives of a held-out split. They are drawn while the tables are being written.
        metadata: Content of `dataset.json` but for the format version and the fingerprint.
        folder: Folder to write or replace.

    Returns:
        The dataset with negatives and with the complete content of `dataset.json`.
    """
    require_replaceable(folder)
    of_features = feature_tables(dataset.features)
    if clash := sorted(set(of_features) & {file_name(name) for name in SCHEMAS}):
        raise DatasetError(f"`name` of a feature should not be one of the data set's own. Received: {', '.join(clash)}")
    with atomic_folder(folder) as temporary:
        with ThreadPoolExecutor(1) as pool:
            writing = [pool.submit(_write, table, temporary / file_name(name)) for name, table in tables.items()]
            negatives = {split: draw_negatives(split) for split in HELD_OUT}
            for split, drawn in negatives.items():
                _write(_negatives_table(dataset.rows(split), drawn), temporary / f"negatives_{split}.parquet")
            for name, table in of_features.items():
                _write(table, temporary / name)
            for each in writing:
                each.result()
        names = (*(file_name(name) for name in SCHEMAS), *sorted(of_features))
        fingerprint = sha256_of(*(temporary / name for name in names))
        complete = {"format_version": FORMAT_VERSION, "fingerprint": fingerprint, **metadata}
        write_json(complete, temporary / METADATA_FILE)
    return replace(dataset, negatives=negatives, metadata=complete)


def _write(table: pa.Table, path: Path) -> None:
    # Half the time of the default, a dictionary for each column, and no larger: the high bytes of ids, places and
    # times hardly change from row to row, and hardly any text or time occurs twice.
    leaves = {field.name: f"{field.name}.list.element" for field in table.schema if pa.types.is_list(field.type)}
    encoding = {
        leaves.get(field.name, field.name): "DELTA_BYTE_ARRAY" if field.type == pa.string() else "BYTE_STREAM_SPLIT"
        for field in table.schema
    }
    pq.write_table(table, path, compression="zstd", use_dictionary=False, column_encoding=encoding)


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    table = pq.read_table(path)
    if not table.schema.equals(schema):
        raise DatasetError(
            f"{path} should have the columns {schema.to_string()!r}. Received: {table.schema.to_string()!r}"
        )
    return table.combine_chunks()


def _negatives_table(rows: npt.NDArray[np.int64], negatives: Negatives) -> pa.Table:
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * negatives.shape[1]
    return pa.table({"row": rows, "negatives": pa.ListArray.from_arrays(offsets, negatives.ravel())})


def _read_negatives(folder: Path, split: str, rows: npt.NDArray[np.int64], num_negatives: int) -> Negatives:
    path = folder / f"negatives_{split}.parquet"
    table = pq.read_table(path).combine_chunks()
    values = table["negatives"].combine_chunks().flatten().to_numpy()
    if not np.array_equal(table["row"].to_numpy(), rows) or len(values) != len(rows) * num_negatives:
        raise DatasetError(
            f"{path} should hold {num_negatives} negatives for each of the {len(rows)} {split} rows. "
            f"Received: {len(values)} negatives for {table.num_rows} rows. Run scripts.ml.preprocess again"
        )
    return values.reshape(len(rows), num_negatives).astype(np.int32, copy=False)
