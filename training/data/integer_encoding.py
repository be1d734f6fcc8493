"""Coded interactions -> encoded sequences, by arithmetic on integer arrays.

This is the definition of `training.data.encoding` a second time. That one runs wherever narwhals does, on a cluster
too, but on one machine its joins, windows and sorts of text take three times as long and twice the memory. Here text
is looked at once per distinct value, and all rows are put in order by one sort of integers. A test holds the two
equal; a change to one is a change to both.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from training.data.codes import CodedInteractions, Codes, Ints
from training.data.columns import CATEGORY_ID, ITEM_ID, POSITION, SPLIT, SPLITS, TIMESTAMP, USER_ID
from training.data.encoding import MIN_EVENTS_TO_SPLIT, OF_EVENT, several_categories

KEY_BITS: Final = 63  # of an int64 that is not negative
_TRAIN, _VALID, _TEST = range(len(SPLITS))

Longs = npt.NDArray[np.int64]


class _Vocabulary(NamedTuple):
    """The table of `EncodedFrames`, the code of each of its rows, and the id of each code (0 = not in it)."""

    table: pa.Table
    codes: Longs
    ids: Ints


def encode_codes(coded: CodedInteractions) -> dict[str, pa.Table]:
    """Encodes coded interactions.

    Args:
        coded: At least one usable interaction.

    Returns:
        The tables of `encoding.EncodedFrames` by name.

    Raises:
        InteractionsError: If an item has several categories.
    """
    return encode_in_order(coded)[0]


def encode_in_order(coded: CodedInteractions) -> tuple[dict[str, pa.Table], Longs | None]:
    """As `encode_codes`, and also returns the place in `coded` of each row; None where there are no features."""
    item_ranks, handles = _by_bytes(coded.item)
    category = np.zeros(len(handles), np.int64)
    category[item_ranks] = _category_of_items(coded)  # a handle in no row has any category, and counts for none

    # What a user holds out is known from the number of events alone, and so are the order of users and their rows.
    events = np.bincount(coded.user.codes, minlength=len(coded.user.values))
    users = _vocabulary(coded.user.values, np.where(events >= MIN_EVENTS_TO_SPLIT, events - 2, events))
    timestamp, item, order = _sorted_rows(coded, users.ids, item_ranks)
    events = events[users.codes]
    ends = np.cumsum(events)
    last = ends[events >= MIN_EVENTS_TO_SPLIT] - 1
    split = np.full(len(item), _TRAIN, np.int8)
    split[last] = _TEST
    split[last - 1] = _VALID

    held_out = np.concatenate([last, last - 1])
    count = np.bincount(item, minlength=len(handles)) - np.bincount(item[held_out], minlength=len(handles))
    items = _vocabulary(handles, count)
    of_category = np.zeros(len(coded.category.values), np.int64)
    np.add.at(of_category, category, count)
    categories = _vocabulary(coded.category.values, of_category)
    category_ids = categories.ids[category]
    sequences = {
        USER_ID: np.repeat(np.arange(1, len(events) + 1, dtype=np.int32), events),
        ITEM_ID: items.ids[item],
        CATEGORY_ID: category_ids[item],
        TIMESTAMP: timestamp,
        POSITION: np.arange(len(item), dtype=np.int32) - np.repeat((ends - events).astype(np.int32), events),
        SPLIT: split,
    }
    tables = {
        "sequences": pa.table(sequences),
        USER_ID: users.table,
        ITEM_ID: items.table.append_column(CATEGORY_ID, pa.array(category_ids[items.codes])),
        CATEGORY_ID: categories.table,
    }
    return tables, order


def _by_bytes(column: Codes) -> tuple[Longs, pa.StringArray]:
    """Returns the rank of each code's text in the order of its bytes, int64, and the texts in that order."""
    table = pa.table({"value": column.values, "code": np.arange(len(column.values))}).sort_by("value").combine_chunks()
    ranks = np.empty(len(table), np.int64)
    ranks[table["code"].to_numpy()] = np.arange(len(table))
    return ranks, table["value"].chunk(0)


def _vocabulary(values: pa.StringArray, counts: Longs) -> _Vocabulary:
    """Gives the texts that occur in training, but for the empty one, ids by falling count, then by value.

    Args:
        values: Text of each code.
        counts: (len(values),) int64, its number of training rows.
    """
    named: Any = pc.call_function("not_equal", [values, ""])
    codes = np.flatnonzero((counts > 0) & named.to_numpy(zero_copy_only=False))
    table = pa.table({"value": values.take(pa.array(codes)), "count": counts[codes], "code": codes})
    table = table.sort_by([("count", "descending"), ("value", "ascending")])
    codes = table["code"].to_numpy()
    ids = np.zeros(len(values), np.int32)
    ids[codes] = np.arange(1, len(codes) + 1, dtype=np.int32)
    return _Vocabulary(table.drop(["code"]).add_column(0, "id", pa.array(ids[codes])), codes, ids)


def _sorted_rows(coded: CodedInteractions, user_ids: Ints, item_ranks: Longs) -> tuple[Longs, Ints, Longs | None]:
    """Sorts the rows by user id, timestamp, handle and, where there are any, what features say of the event.

    Args:
        coded: Interactions.
        user_ids: Id of each user code.
        item_ranks: Rank of each item code.

    Returns:
        (N,) int64 timestamps and (N,) int32 ranks of the handles, sorted, and where there are features the place of
        each row in `coded`. The users follow from their numbers of rows.
    """
    first = int(coded.timestamp.min())
    item_bits = len(item_ranks).bit_length()
    time_bits = (int(coded.timestamp.max()) - first).bit_length()
    if coded.features or int(user_ids.max()).bit_length() + time_bits + item_bits > KEY_BITS:
        ranks = item_ranks.astype(np.int32)[coded.item.codes]
        of_event = [column for name, column in coded.features.items() if name.startswith(OF_EVENT)]
        keys = [_by_bytes(each)[0][each.codes] if isinstance(each, Codes) else each for each in reversed(of_event)]
        order = np.lexsort((*keys, ranks, coded.timestamp, user_ids[coded.user.codes]))
        return coded.timestamp[order], ranks[order], order if coded.features else None
    # Everything that decides on the order fits in one integer, which is also all there is to a row.
    keys = user_ids.astype(np.int64)[coded.user.codes]
    keys <<= time_bits
    keys += coded.timestamp
    keys -= first
    keys <<= item_bits
    keys |= item_ranks[coded.item.codes]
    keys = pl.Series(keys).sort().to_numpy()  # on all cores; NumPy takes three times as long
    ranks = (keys & ((1 << item_bits) - 1)).astype(np.int32)
    timestamps = keys >> item_bits
    timestamps &= (1 << time_bits) - 1
    timestamps += first
    return timestamps, ranks, None


def _category_of_items(coded: CodedInteractions) -> Ints:
    """Returns the code of each item code's category; 0 for an item in no row.

    Raises:
        InteractionsError: If an item has several categories, naming them as `encoding.check_item_categories` does.
    """
    items, categories = coded.item.codes, coded.category.codes
    category = np.zeros(len(coded.item.values), np.int32)
    category[items] = categories  # of several, whichever comes last
    different = np.flatnonzero(category[items] != categories)
    if not len(different):
        return category
    ranks, names = _by_bytes(coded.category)
    wrong = np.unique(items[different])
    lowest, highest = np.full(len(category), len(names)), np.full(len(category), -1)
    rows = np.flatnonzero(np.isin(items, wrong))
    np.minimum.at(lowest, items[rows], ranks[categories[rows]])
    np.maximum.at(highest, items[rows], ranks[categories[rows]])
    handles = coded.item.values.take(pa.array(wrong)).to_pylist()
    found = sorted(zip(handles, lowest[wrong].tolist(), highest[wrong].tolist(), strict=True))
    raise several_categories(
        len(found), [(handle, names[low].as_py(), names[high].as_py()) for handle, low, high in found[:10]]
    )
