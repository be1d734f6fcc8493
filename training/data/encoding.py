"""Interactions -> encoded sequences: one definition, for pandas, Polars, DuckDB and Spark frames.

Everything here is written against narwhals and stays lazy on lazy engines. `training.data.integer_encoding` computes
the same faster where the rows are on one machine, and says why it is there. Ties are broken by content (never by the
order of rows in a file), so that every engine, and every shuffling of the same rows, gives the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import narwhals as nw

from training.data.columns import (
    CATEGORY,
    CATEGORY_ID,
    ITEM,
    ITEM_ID,
    LABEL,
    POSITION,
    SEQUENCE_COLUMNS,
    SPLIT,
    SPLITS,
    TIMESTAMP,
    USER,
    USER_ID,
)
from training.data.spark import ROW_ORDER
from training.data.validation import Frame, Hold, InteractionsError, usable, with_reason

FEATURES: Final = {USER_ID: USER, ITEM_ID: ITEM, CATEGORY_ID: CATEGORY}  # encoded column -> column of interactions
MIN_EVENTS_TO_SPLIT: Final = 3  # fewer leave nothing to train on once two are held out
OF_EVENT: Final = "event:"  # how `validation.feature_alias` begins for features of events
_TRAIN, _VALID, _TEST = range(len(SPLITS))
_EVENTS: Final = "events"


@dataclass(frozen=True)
class EncodedFrames:
    """Encoded sequences and their vocabularies as native frames of one engine.

    Attributes:
        sequences: Columns `SEQUENCE_COLUMNS`, sorted by (user, timestamp, position).
        user: Columns id, value, count; ids from 1.
        item: Columns id, value, count, category (id of the item's category); ids from 1.
        category: Columns id, value, count; ids from 1.
    """

    sequences: Any
    user: Any
    item: Any
    category: Any


def _keep_lazy(frame: Frame) -> Frame:
    return frame


def encode_interactions(native: Any) -> EncodedFrames:
    """Encodes interactions as sequences of integer ids; nothing is computed yet on lazy engines.

    Unusable rows are left out (see `training.data.validation`). An item with several categories, which
    `build_dataset` refuses, gets the first of them in alphabetical order.

    Args:
        native: Interactions as a pandas, Polars, DuckDB or Spark frame.

    Returns:
        Frames of the same engine.
    """
    frames = encode(usable(with_reason(native)), _keep_lazy)
    frames["sequences"] = frames["sequences"].sort(*ROW_ORDER)
    return EncodedFrames(**{name: frame.to_native() for name, frame in frames.items()})


def encode(interactions: Frame, hold: Hold) -> dict[str, Frame]:
    """Encodes usable interactions.

    Args:
        interactions: narwhals frame of usable rows.
        hold: Computes a frame that several results are derived from once, see `validation.holding`.

    Returns:
        The frames of `EncodedFrames` by name, the sequences with the columns of features, as they are, and not
        sorted: how is for the engine to choose.
    """
    events = hold(with_split(interactions))
    training_rows = events.filter(nw.col(SPLIT) == _TRAIN)
    tables = {name: hold(_vocabulary(training_rows, column)) for name, column in FEATURES.items()}

    sequences = events
    of_features = [name for name in interactions.collect_schema().names() if ":" in name]
    for name, column in FEATURES.items():
        sequences = sequences.join(_lookup(tables[name], name), left_on=column, right_on="value", how="left")
    sequences = sequences.select(
        *(nw.col(name).fill_null(0).cast(nw.Int32) for name in FEATURES),
        nw.col(TIMESTAMP),
        nw.col(POSITION).cast(nw.Int32),
        nw.col(SPLIT).cast(nw.Int8),
        *of_features,
    )
    item_categories = _pairs(training_rows).group_by(ITEM).agg(nw.col(CATEGORY).min())
    items = (
        tables[ITEM_ID]
        .join(item_categories, left_on="value", right_on=ITEM, how="left")
        .join(_lookup(tables[CATEGORY_ID], CATEGORY_ID), left_on=CATEGORY, right_on="value", how="left")
        .select("id", "value", "count", nw.col(CATEGORY_ID).fill_null(0).cast(nw.Int32))
    )
    return {
        "sequences": sequences.select(*SEQUENCE_COLUMNS, *of_features),
        USER_ID: tables[USER_ID].sort("id"),
        ITEM_ID: items.sort("id"),
        CATEGORY_ID: tables[CATEGORY_ID].sort("id"),
    }


def with_split(interactions: Frame) -> Frame:
    """Adds each row's position in its user's sequence (from 0) and its split.

    Leave-last-out: of a user with at least 3 events the last is test, the last but one valid, the others train. Users
    with fewer events stay wholly in train. Events at the same second are in the order of their handles, then of what
    custom features say of the event.
    """
    in_time = [TIMESTAMP, ITEM, *(name for name in interactions.collect_schema().names() if name.startswith(OF_EVENT))]
    # What is counted has to be another column than those of `over`: on pandas, narwhals 2.29 overwrites the counted
    # column before it sorts and groups. Labels do: none is missing.
    events = interactions.with_columns(
        (nw.col(LABEL).cum_count().over(USER, order_by=in_time).cast(nw.Int64) - 1).alias(POSITION),
        nw.len().over(USER).cast(nw.Int64).alias(_EVENTS),
    )
    from_the_end = nw.col(_EVENTS) - nw.col(POSITION)  # 1 = last
    held_out = nw.col(_EVENTS) >= MIN_EVENTS_TO_SPLIT
    split = (
        nw.when(held_out & (from_the_end == 1))
        .then(nw.lit(_TEST))
        .otherwise(nw.when(held_out & (from_the_end == 2)).then(nw.lit(_VALID)).otherwise(nw.lit(_TRAIN)))
    )
    return events.with_columns(split.alias(SPLIT)).drop(_EVENTS)


def _vocabulary(training_rows: Frame, column: str) -> Frame:
    """Returns id, value and count of a column's values, by falling count, then by value."""
    counts = (
        training_rows.filter(nw.col(column) != "")
        .group_by(column)
        .agg(nw.len().alias("count"))
        .with_columns(nw.col("count").cast(nw.Int64))
        .with_columns((0 - nw.col("count")).alias("rank"))
    )
    rank = nw.col("count").cum_count().over(order_by=["rank", column])
    return counts.select(rank.cast(nw.Int32).alias("id"), nw.col(column).alias("value"), "count")


def _pairs(rows: Frame) -> Frame:
    """Returns every item with every category of it, once: Spark sorts all rows for the least text of each group."""
    return rows.group_by(ITEM, CATEGORY).agg(nw.len().alias("rows"))


def _lookup(table: Frame, name: str) -> Frame:
    return table.select("value", nw.col("id").alias(name))


def check_item_categories(interactions: Frame) -> None:
    """Makes sure that an item has one category.

    Raises:
        InteractionsError: Naming up to 10 items that have more, with two of their categories.
    """
    conflicts = (
        _pairs(interactions)
        .group_by(ITEM)
        .agg(nw.col(CATEGORY).min().alias("first"), nw.col(CATEGORY).max().alias("last"))
        .filter(nw.col("first") != nw.col("last"))
        .sort(ITEM)
        .collect("pyarrow")
    )
    if len(conflicts):
        shown = [(row[ITEM], row["first"], row["last"]) for row in conflicts.head(10).iter_rows(named=True)]
        raise several_categories(len(conflicts), shown)


def several_categories(count: int, shown: Sequence[tuple[str, str, str]]) -> InteractionsError:
    """Returns the error of items with several categories.

    Args:
        count: Number of such items.
        shown: The first of them, by handle: handle, first and last category in alphabetical order.
    """
    names = ", ".join(f"{item!r} ({first!r} and {last!r})" for item, first, last in shown)
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return InteractionsError(
        f"Every item should have one category in all its interactions. Received: {count} items with several: "
        f"{names}{more}. Give each item its own category (the snapshot's) and preprocess again"
    )
