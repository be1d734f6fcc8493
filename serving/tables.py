"""The Parquet tables of a model bundle, as columns: catalogue, vocabularies, stored events.

Text stays in Arrow columns and numbers in NumPy arrays, so that a large catalogue or fleet of shoppers costs no Python
object per row beyond the keys of the look-up dictionaries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serving.manifest import FeatureEntry

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

_INT32_LIST = pa.list_(pa.int32())
_INT64_LIST = pa.list_(pa.int64())
_TEXT_LIST = pa.list_(pa.string())


class BundleError(ValueError):
    """A model bundle that cannot be trusted or read."""


@dataclass(frozen=True)
class Vocabulary:
    """Values of a categorical feature by id; id 0 is the unknown value.

    Attributes:
        values: (size,) Arrow strings; the first is null.
    """

    values: Any

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Value -> id, without the unknown value. Built on first use."""
        return {value: id_ for id_, value in enumerate(self.values.to_pylist()) if id_}


@dataclass(frozen=True)
class Catalogue:
    """Products that can be recommended, one row each, in catalogue order.

    Attributes:
        item_ids: (P,) int32 item ids; 0 = never seen in training.
        popularity: (P,) int64 interactions in the training data.
        available: (P,) bool; False: cannot be bought. What the snapshot does not say counts as available.
        handles, gids, titles, categories: (P,) Arrow strings.
        tags: (P,) Arrow lists of strings.
        row_of_handle, row_of_gid: Row by handle and by GID.
        row_of_item: (num_items,) row by item id; -1 where the item is not in the catalogue.
    """

    item_ids: Int32
    popularity: Int64
    available: npt.NDArray[np.bool_]
    handles: Any
    gids: Any
    titles: Any
    categories: Any
    tags: Any
    row_of_handle: Mapping[str, int]
    row_of_gid: Mapping[str, int]
    row_of_item: Int64

    def __len__(self) -> int:
        return len(self.item_ids)

    def row_of(self, identifier: str) -> int | None:
        """Row of the product with this handle or GID; None where there is none."""
        row = self.row_of_handle.get(identifier)
        return self.row_of_gid.get(identifier) if row is None else row


@dataclass(frozen=True)
class StoredHistory:
    """Last events of one known shopper, oldest first.

    Attributes:
        items: (n,) int32 item ids.
        timestamps: (n,) int64 UNIX seconds.
        first_timestamp: Time of the shopper's very first event, which may lie before `timestamps`.
        seen: Item ids that the shopper ever touched.
        features: int32 ids of custom features by input of the network: (n,) of events, () of the user.
    """

    items: Int32
    timestamps: Int64
    first_timestamp: int
    seen: Int32
    features: Mapping[str, Int32] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class StoredEvents:
    """Last events of all known shoppers, as flat columns with offsets; those of features by input of the network."""

    row_of_user: Mapping[str, int]
    items: Int32
    timestamps: Int64
    item_offsets: Int64
    first_timestamps: Int64
    seen: Int32
    seen_offsets: Int64
    event_features: Mapping[str, Int32] = field(default_factory=dict[str, Any])
    user_features: Mapping[str, Int32] = field(default_factory=dict[str, Any])

    def __len__(self) -> int:
        return len(self.first_timestamps)

    def history(self, user_id: str) -> StoredHistory | None:
        """Stored history of `user_id`; None for a shopper that the bundle does not know."""
        row = self.row_of_user.get(user_id)
        if row is None:
            return None
        events = slice(int(self.item_offsets[row]), int(self.item_offsets[row + 1]))
        seen = slice(int(self.seen_offsets[row]), int(self.seen_offsets[row + 1]))
        return StoredHistory(
            items=self.items[events],
            timestamps=self.timestamps[events],
            first_timestamp=int(self.first_timestamps[row]),
            seen=self.seen[seen],
            features={name: ids[events] for name, ids in self.event_features.items()}
            | {name: ids[row, ...] for name, ids in self.user_features.items()},
        )


def read_vocabulary(path: Path, size: int) -> Vocabulary:
    """Reads a vocabulary table whose ids are 0 .. size - 1 in order.

    Raises:
        BundleError: Other ids, another size, repeated values, or a null value beyond id 0.
    """
    columns = _read(path, {"id": pa.int64(), "value": pa.string(), "count": pa.int64()}, nullable=("value",))
    values = columns["value"]
    if len(values) != size or not np.array_equal(_numbers(columns["id"]), np.arange(size)):
        raise BundleError(
            f"{path}: `id` should be 0 .. {size - 1} in order, as `sizes` says. Received: {len(values)} rows"
        )
    if values[1:].null_count or len(values[1:].unique()) != size - 1:
        raise BundleError(f"{path}: `value` should be unique and not null after id 0")
    return Vocabulary(values=values)


def read_catalogue(path: Path, items: Vocabulary, num_products: int) -> Catalogue:
    """Reads the catalogue and checks it against the item vocabulary.

    Raises:
        BundleError: Another number of products, repeated handles, GIDs or item ids, an item id out of range, or an
            item id whose vocabulary value is not the product's handle.
    """
    text = ("handle", "gid", "title", "category")
    schema = {
        "item_id": pa.int32(),
        "popularity": pa.int64(),
        "tags": _TEXT_LIST,
        "available": pa.bool_(),
        **{name: pa.string() for name in text},
    }
    columns = _read(path, schema, nullable=("available",))
    item_ids = _numbers(columns["item_id"])
    if len(item_ids) != num_products:
        raise BundleError(f"{path} should have {num_products} products, as `sizes` says. Received: {len(item_ids)}")
    for name in ("handle", "gid"):
        if len(columns[name].unique()) != num_products:
            raise BundleError(f"{path}: `{name}` should be unique")
    size = len(items.values)
    if item_ids.min() < 0 or item_ids.max() >= size:
        raise BundleError(
            f"{path}: `item_id` should be 0 .. {size - 1}. Received: {item_ids.min()} .. {item_ids.max()}"
        )
    trained = np.flatnonzero(item_ids)
    row_of_item = np.full(size, -1, np.int64)
    row_of_item[item_ids[trained]] = trained
    named = take(items.values, item_ids[trained])
    if np.count_nonzero(row_of_item >= 0) != len(trained):
        raise BundleError(f"{path}: `item_id` should be unique, except 0")
    if not named.equals(take(columns["handle"], trained)):
        raise BundleError(f"{path}: `handle` should be the item vocabulary's value of `item_id`")
    return Catalogue(
        item_ids=item_ids,
        popularity=_numbers(columns["popularity"]),
        available=np.array([value is not False for value in columns["available"].to_pylist()], np.bool_),
        handles=columns["handle"],
        gids=columns["gid"],
        titles=columns["title"],
        categories=columns["category"],
        tags=columns["tags"],
        row_of_handle={handle: row for row, handle in enumerate(columns["handle"].to_pylist())},
        row_of_gid={gid: row for row, gid in enumerate(columns["gid"].to_pylist())},
        row_of_item=row_of_item,
    )


def read_events(path: Path, num_items: int, features: Sequence[FeatureEntry] = ()) -> StoredEvents:
    """Reads the stored events of known shoppers.

    Args:
        path: The table.
        num_items: Size of the item vocabulary.
        features: Custom features whose ids are stored, too.

    Raises:
        BundleError: Repeated shoppers, ids out of range, or lists of unequal length.
    """
    schema = {
        "user_id": pa.string(),
        "items": _INT32_LIST,
        "timestamps": _INT64_LIST,
        "first_timestamp": pa.int64(),
        "seen": _INT32_LIST,
    }
    of_events = {entry.input_name: entry for entry in features if entry.of == "event"}
    of_users = {entry.input_name: entry for entry in features if entry.of == "user"}
    schema |= dict.fromkeys(of_events, _INT32_LIST) | dict.fromkeys(of_users, pa.int32())
    columns = _read(path, schema)
    items, offsets = _lists(columns["items"])
    timestamps, timestamp_offsets = _lists(columns["timestamps"])
    seen, seen_offsets = _lists(columns["seen"])
    if not np.array_equal(offsets, timestamp_offsets):
        raise BundleError(f"{path}: `items` and `timestamps` should have the same length in every row")
    for name, ids in (("items", items), ("seen", seen)):
        if len(ids) and (ids.min() < 0 or ids.max() >= num_items):
            raise BundleError(f"{path}: `{name}` should be 0 .. {num_items - 1}. Received: {ids.min()} .. {ids.max()}")
    event_features, user_features = dict[str, Int32](), {name: _numbers(columns[name]) for name in of_users}
    for name in of_events:
        event_features[name], feature_offsets = _lists(columns[name])
        if not np.array_equal(offsets, feature_offsets):
            raise BundleError(f"{path}: `items` and `{name}` should have the same length in every row")
    for name, entry in (of_events | of_users).items():
        ids = {**event_features, **user_features}[name]
        if len(ids) and (ids.min() < 0 or ids.max() >= entry.size):
            raise BundleError(f"{path}: `{name}` should be 0 .. {entry.size - 1}. Received: {ids.min()} .. {ids.max()}")
    row_of_user = {user: row for row, user in enumerate(columns["user_id"].to_pylist())}
    if len(row_of_user) != len(columns["user_id"]):
        raise BundleError(f"{path}: `user_id` should be unique")
    return StoredEvents(
        row_of_user=row_of_user,
        items=items.astype(np.int32),
        timestamps=timestamps.astype(np.int64),
        item_offsets=offsets,
        first_timestamps=_numbers(columns["first_timestamp"]),
        seen=seen.astype(np.int32),
        seen_offsets=seen_offsets,
        event_features=event_features,
        user_features=user_features,
    )


def take(column: Any, rows: npt.NDArray[np.integer[Any]]) -> Any:
    """Values of an Arrow column at some rows.

    Handed a NumPy array, or any sequence, Arrow imports pandas to see whether it is one of pandas'.
    """
    places = np.ascontiguousarray(rows, np.int64)
    return column.take(pa.Array.from_buffers(pa.int64(), len(places), [None, pa.py_buffer(places)]))


def release_unused() -> None:
    """Gives back what reading the tables took and their columns do not need."""
    pa.default_memory_pool().release_unused()


def _read(path: Path, schema: Mapping[str, Any], nullable: tuple[str, ...] = ()) -> dict[str, Any]:
    """Columns of a Parquet file, cast to `schema`, each as one Arrow array without nulls (save `nullable`)."""
    try:
        # `read_table` would import pyarrow.dataset and pandas for the same result. memory_map off: the file may be
        # replaced by a newer bundle while this one still serves. One thread and no buffering ahead: several would
        # each keep memory of its own.
        with pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
            if missing := sorted(set(schema) - set(file.schema_arrow.names)):
                raise BundleError(f"{path} lacks columns: {', '.join(missing)}")
            table = file.read(list(schema), use_threads=False)
        columns = {name: cast(Any, pc.cast(table[name], type_)).combine_chunks() for name, type_ in schema.items()}
    except pa.ArrowException as error:
        raise BundleError(f"{path} should be a Parquet file with columns {dict(schema)}: {error}") from error
    for name, column in columns.items():
        inner = column.flatten() if pa.types.is_list(column.type) else column
        if name not in nullable and (column.null_count or inner.null_count):
            raise BundleError(f"{path}: `{name}` should have no null values")
    return columns


def _numbers(column: Any) -> npt.NDArray[Any]:
    """Numbers without nulls as a read-only view; as in `take`, Arrow's own way would import pandas."""
    values = column.buffers()[1]
    dtype = np.dtype(str(column.type))
    whole = np.empty(0, dtype) if values is None else np.frombuffer(values, dtype)
    return whole[column.offset : column.offset + len(column)]


def _lists(column: Any) -> tuple[npt.NDArray[Any], Int64]:
    """Flat values and (rows + 1,) offsets of a list column."""
    offsets = _numbers(column.offsets).astype(np.int64)
    return _numbers(column.flatten()), offsets - offsets[0]
