"""Interactions as rankers other than the network learn from them: all rows are training rows, none is held out."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from training.data.columns import CATEGORY, CATEGORY_ID, ITEM, ITEM_ID, POSITION, SPLIT, TIMESTAMP, USER, USER_ID
from training.data.dataset import METADATA_FILE, SCHEMAS, SEQUENCES, EncodedSequences, from_tables, load_dataset
from training.data.interactions import read_interactions, validate_interactions
from training.data.validation import engine_errors
from training.evaluation.histories import training_events
from training.evaluation.purchases import History, Purchases, history_before
from training.files import sha256_of

_FEATURES: Final = {USER_ID: USER, ITEM_ID: ITEM, CATEGORY_ID: CATEGORY}


def ranker_data(path: str | os.PathLike[str], min_purchases: int = 1) -> EncodedSequences:
    """Reads what a ranker is fitted on.

    Args:
        path: A folder of encoded sequences, whose held-out rows stay out of what is learned; or a file of interactions,
            all rows of which are learned from.
        min_purchases: Of a file: interactions that an item needs to be in the vocabulary; a folder has one already.

    Raises:
        DatasetError: The folder does not hold encoded sequences.
        InteractionsError: The file cannot be read, or has no usable row.
        ValueError: `min_purchases` is not positive, or leaves no item.
    """
    if min_purchases < 1:
        raise ValueError(f"`min_purchases` should be a positive integer. Received: min_purchases = {min_purchases}")
    if Path(path).is_dir() or (Path(path) / METADATA_FILE).exists():
        return load_dataset(path)
    usable, report = validate_interactions(read_interactions(path))
    with engine_errors("Encoding interactions"):
        tables = _tables(pl.LazyFrame(usable) if isinstance(usable, pl.DataFrame) else usable, min_purchases)
    if len(tables[ITEM_ID]) < 2:
        raise ValueError(
            f"`min_purchases` should leave at least one item. Received: min_purchases = {min_purchases} and "
            f"{report.rows_out} interactions"
        )
    return from_tables(
        tables, {"fingerprint": sha256_of(path), "rows": report.rows_out, "min_purchases": min_purchases}
    )


def _tables(interactions: pl.LazyFrame, min_purchases: int) -> dict[str, pa.Table]:
    rows = interactions.collect()
    vocabularies = {
        name: _vocabulary(rows[column], min_purchases if name == ITEM_ID else 1) for name, column in _FEATURES.items()
    }
    encoded = rows.sort(USER, TIMESTAMP, ITEM)  # by content: the order of rows in a file changes nothing
    for name, column in _FEATURES.items():
        ids = vocabularies[name].select(pl.col("value").alias(column), pl.col("id").alias(name))
        encoded = encoded.join(ids, on=column, how="left", maintain_order="left")
    encoded = encoded.with_columns(pl.col(name).fill_null(0) for name in _FEATURES).sort(
        USER_ID, TIMESTAMP, ITEM, maintain_order=True
    )
    sequences = encoded.with_columns(
        (pl.int_range(pl.len()).over(USER_ID)).alias(POSITION), pl.lit(0, pl.Int8).alias(SPLIT)
    )
    categories = rows.group_by(ITEM).agg(pl.col(CATEGORY).min())
    item_categories = (
        vocabularies[ITEM_ID]
        .join(categories, left_on="value", right_on=ITEM, how="left", maintain_order="left")
        .join(
            vocabularies[CATEGORY_ID].select(pl.col("value").alias(CATEGORY), pl.col("id").alias(CATEGORY_ID)),
            on=CATEGORY,
            how="left",
            maintain_order="left",
        )
    )
    vocabularies[ITEM_ID] = item_categories.with_columns(pl.col(CATEGORY_ID).fill_null(0))
    tables = {SEQUENCES: _arrow(sequences, SEQUENCES)}
    for name, table in vocabularies.items():
        schema = SCHEMAS[name]
        unknown = pa.table({each: [None if each == "value" else 0] for each in schema.names}, schema=schema)
        tables[name] = pa.concat_tables([unknown, _arrow(table, name)]).combine_chunks()
    return tables


def _vocabulary(values: pl.Series, at_least: int) -> pl.DataFrame:
    """Columns id (from 1), value and count, by falling count, then by value."""
    counts = values.filter(values != "").alias("value").value_counts(name="count").filter(pl.col("count") >= at_least)
    return counts.sort("count", "value", descending=[True, False]).with_row_index("id", offset=1)


def _arrow(table: pl.DataFrame, name: str) -> pa.Table:
    schema: Any = SCHEMAS[name]
    return table.select(schema.names).to_arrow().cast(schema).combine_chunks()


def history_of(dataset: EncodedSequences) -> History:
    """Returns the training rows as a history, whose items 0..I-1 are the vocabulary's ids 1..I.

    A shopper's rows at one time are one basket.
    """
    rows = training_events(dataset)
    times = dataset.timestamp[rows].astype(np.int64)
    found = Purchases.of(dataset.user[rows], dataset.item[rows], times)
    history = history_before(found, int(times.max()) + 1, 1)
    known = np.arange(1, dataset.num_items)
    # Id 0, products that are not in the vocabulary, leaves its baskets and takes its rows along.
    kept = np.flatnonzero(history.item_ids[history.item] > 0)
    return replace(
        history,
        item_ids=known,
        user=history.user[kept],
        item=history.item_ids[history.item[kept]] - 1,
        time=history.time[kept],
        basket=history.basket[kept],
        age=history.age[kept],
    )
