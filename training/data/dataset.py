"""The folder of encoded sequences (contract 3) and what is in it.

`sequences.parquet` has one row per interaction (on Spark: `sequences/part-00000.parquet` and so on, the rows of a user
in one part, users rising from part to part); `vocabulary_user.parquet`, `vocabulary_item.parquet` and
`vocabulary_category.parquet` name the ids; `negatives_valid.parquet` and `negatives_test.parquet` hold the offline
negatives; `dataset.json`, written last, holds sizes, counts and a fingerprint. A data set with custom features also has
a column for each of events, `features_item.parquet`, `features_user.parquet` and a vocabulary for each.
"""

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from training.data.columns import CATEGORY_ID, ITEM_ID, SPLITS, USER_ID
from training.data.dataset_files import (
    FEATURES,
    FORMAT_VERSION,
    HELD_OUT,
    METADATA_FILE,
    SCHEMAS,
    SEQUENCES,
    DatasetError,
    Negatives,
    SameTime,
    file_name,
    fingerprint_of,
    has_column,
    negatives_table,
    read_negatives,
    read_table,
    schemas_with,
    write_table,
)
from training.data.features import NO_FEATURES, DatasetFeatures, feature_tables, read_features
from training.data.parts import PartsError, read_columns
from training.data.vocabulary import Vocabulary
from training.files import atomic_folder, write_json


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


def load_dataset(
    folder: str | os.PathLike[str], *, unpack_to: str | os.PathLike[str] | None = None
) -> EncodedSequences:
    """Reads a folder of encoded sequences.

    Args:
        folder: Folder written by `build_dataset`.
        unpack_to: Folder on a fast disk, for more rows than fit in memory: the columns are unpacked into unnamed files
            there (25 bytes a row) and mapped, and batches are read from them as they are needed. None: in memory.

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
        tables = {
            name: read_sequences(path, unpack_to, schema)
            if name == SEQUENCES
            else read_table(path / file_name(name), schema)
            for name, schema in schemas.items()
        }
        features = read_features(of_features, lambda name: pq.read_table(path / name), tables[SEQUENCES])
        dataset = replace(from_tables(tables, metadata), features=features)
        negatives = {
            split: read_negatives(path, split, dataset.rows(split), metadata["num_negatives"][split])
            for split in HELD_OUT
        }
    except PartsError as error:
        raise DatasetError(f"{error}. Run scripts.ml.preprocess again") from error
    except (OSError, KeyError, AttributeError, json.JSONDecodeError, pa.ArrowException) as error:
        raise DatasetError(
            f"`folder` should hold encoded sequences. Received: {str(path)!r}, in which reading failed with "
            f"{type(error).__name__}: {error}. Run scripts.ml.preprocess to write it"
        ) from error
    return replace(dataset, negatives=negatives)


def read_sequences(
    folder: Path, unpack_to: str | os.PathLike[str] | None = None, schema: pa.Schema = SCHEMAS[SEQUENCES]
) -> pa.Table:
    """Reads the sequences of a folder, from one file or from parts; see `load_dataset`.

    Raises:
        PartsError: If a file has other columns, or the parts do not follow one another by user.
        OSError: If a file is missing or cannot be read.
    """
    parts = folder / SEQUENCES
    path = parts if parts.is_dir() else folder / file_name(SEQUENCES)
    table = read_columns(path, schema, unpack_to=unpack_to)
    user = table[USER_ID].to_numpy()
    if (user[1:] < user[:-1]).any():
        raise PartsError(f"`{USER_ID}` should rise from row to row, and from part to part, in {path}. It does not")
    return table


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
    parts: Path | None = None,
) -> EncodedSequences:
    """Writes everything beside `folder` and then swaps it in: a reader sees the old folder or the new one.

    Args:
        tables: Tables with the schemas of `SCHEMAS`, the sequences with the columns of event features.
        dataset: The same, with custom features, without negatives.
        draw_negatives: Draws the negatives of a held-out split. They are drawn while the tables are being written.
        metadata: Content of `dataset.json` but for the format version and the fingerprint.
        folder: Folder to write or replace.
        parts: Folder with the sequences as parts, on the same disk, which is moved to its place; None: there is none.

    Returns:
        The dataset with negatives and with the complete content of `dataset.json`.
    """
    require_replaceable(folder)
    of_features = feature_tables(dataset.features)
    if clash := sorted(set(of_features) & {file_name(name) for name in SCHEMAS}):
        raise DatasetError(f"`name` of a feature should not be one of the data set's own. Received: {', '.join(clash)}")
    with atomic_folder(folder) as temporary:
        if parts is not None:
            os.replace(parts, temporary / SEQUENCES)
        for name, table in of_features.items():
            write_table(table, temporary / name)
        to_write = {name: table for name, table in tables.items() if name != SEQUENCES or parts is None}
        with ThreadPoolExecutor(1) as pool:
            writing = [pool.submit(write_table, table, temporary / file_name(name)) for name, table in to_write.items()]
            fingerprint = pool.submit(fingerprint_of, tables[SEQUENCES], temporary, sorted(of_features))
            negatives = {split: draw_negatives(split) for split in HELD_OUT}
            for split, drawn in negatives.items():
                write_table(negatives_table(dataset.rows(split), drawn), temporary / f"negatives_{split}.parquet")
            for each in writing:
                each.result()
        complete = {"format_version": FORMAT_VERSION, "fingerprint": fingerprint.result(), **metadata}
        write_json(complete, temporary / METADATA_FILE)
    return replace(dataset, negatives=negatives, metadata=complete)
