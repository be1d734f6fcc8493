"""Interactions -> a folder of encoded sequences (contract 3): the one call that preprocessing consists of.

How rows become integers is in `training.data.encoding`, what the folder holds in `training.data.dataset`.
"""

import os
import platform
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from training.data.columns import SPLITS
from training.data.dataset import (
    FEATURES,
    HELD_OUT,
    SCHEMAS,
    DatasetError,
    EncodedSequences,
    from_tables,
    load_dataset,
    require_replaceable,
    write_folder,
)
from training.data.encoding import EncodedFrames, check_item_categories, encode, encode_interactions
from training.data.negatives import sample_offline_negatives
from training.data.validation import engine_errors, holding, report_of, usable, with_reason

__all__ = ["DatasetError", "EncodedFrames", "EncodedSequences", "build_dataset", "encode_interactions", "load_dataset"]

_LIBRARIES: Final = ("narwhals", "numpy", "pyarrow")


def build_dataset(
    native: Any,
    folder: str | os.PathLike[str],
    *,
    valid_num_ngs: int = 4,
    test_num_ngs: int = 9,
    rng_seed: int = 42,
    catalogue: Iterable[str] | None = None,
) -> EncodedSequences:
    """Validates, splits and encodes interactions, draws offline negatives, and writes the folder.

    The folder is written beside its final place and then swapped in: a reader sees the old one or the new one.

    Args:
        native: Interactions as a pandas, Polars, DuckDB or Spark frame.
        folder: Folder to write. It may be missing, empty, or an older folder of encoded sequences (replaced).
        valid_num_ngs: Offline negatives for each validation row.
        test_num_ngs: Offline negatives for each test row.
        rng_seed: Seed of the offline negatives.
        catalogue: Handles of the snapshot; interactions with others are dropped and counted. None accepts all.

    Returns:
        What `load_dataset` would return.

    Raises:
        InteractionsError: If the interactions cannot be used (see `training.data.validation`), or an item has
            several categories.
        NegativesError: If a user has touched too many items.
        DatasetError: If `folder` holds something else.
    """
    target = Path(folder)
    require_replaceable(target)
    with engine_errors("Encoding interactions"), holding() as hold:
        checked = hold(with_reason(native, catalogue))
        report = report_of(checked)
        interactions = usable(checked)
        check_item_categories(interactions)
        frames = encode(interactions, hold)
        tables = {name: _arrow(frames[name].collect("pyarrow").to_native(), schema) for name, schema in SCHEMAS.items()}
    dataset = from_tables(tables, {})
    rng = np.random.default_rng(rng_seed)
    counts = {"valid": valid_num_ngs, "test": test_num_ngs}
    dataset = replace(
        dataset,
        negatives={
            split: sample_offline_negatives(dataset, dataset.rows(split), counts[split], rng) for split in HELD_OUT
        },
    )
    metadata = {
        "rows_in": report.rows_in,
        "dropped": dict(report.dropped),
        "rows": report.rows_out,
        "repeated_rows": _count_repeated(dataset),
        "sizes": {name: dataset.vocabularies[name].size for name in FEATURES},
        "splits": {name: int((dataset.split == number).sum()) for number, name in enumerate(SPLITS)},
        "rows_with_history": {name: len(dataset.rows(name)) for name in SPLITS},
        "num_negatives": counts,
        "rng_seed": rng_seed,
        "engine": checked.implementation.value,
        "library_versions": {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES},
    }
    return replace(dataset, metadata=write_folder(tables, dataset, metadata, target))


def _arrow(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Gives a collected table exactly the schema, and a vocabulary its row 0, so that all engines' files are equal."""
    table = table.select(schema.names).cast(schema).replace_schema_metadata(None)
    if "value" in schema.names:
        unknown = {name: [None if name == "value" else 0] for name in schema.names}
        table = pa.concat_tables([pa.table(unknown, schema=schema), table])
    return table.combine_chunks()


def _count_repeated(dataset: EncodedSequences) -> int:
    """Counts rows that equal the row before: user, item and second (of items that training knows)."""
    same = dataset.item[1:] > 0
    for column in (dataset.user, dataset.item, dataset.timestamp):
        same &= column[1:] == column[:-1]
    return int(same.sum())
