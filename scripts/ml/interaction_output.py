"""Writes generated interactions, and the state from which the oracle recomputes the true probabilities."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from training.data.columns import INTERACTION_COLUMNS
from training.files import atomic_path

if TYPE_CHECKING:
    from scripts.ml.generate_interactions import Interactions

_ROWS = 500_000  # rows turned into text at a time


def write_interaction_file(
    interactions: "Interactions",
    path: str | os.PathLike[str],
    form: str = "tsv",
    progress: Callable[[int], object] | None = None,
) -> None:
    """Writes interactions (contract 2) sorted by time, atomically and piece by piece.

    Args:
        interactions: What `generate` returns.
        path: File to write.
        form: `tsv` or `parquet`.
        progress: Called with the number of rows written since the last call.
    """
    inventory = interactions.inventory
    users = pa.array(interactions.user_ids())
    handles = pa.array(inventory.handles)
    categories = pa.array([inventory.category_of[handle] for handle in inventory.handles])
    user = np.repeat(np.arange(interactions.num_users, dtype=np.int32), np.diff(interactions.plan.offsets))
    timestamp = interactions.plan.timestamp
    order = np.argsort(timestamp, kind="stable")
    fields = zip(INTERACTION_COLUMNS, (pa.int64(), pa.string(), pa.string(), pa.int64(), pa.string()), strict=True)
    schema = pa.schema(list(fields))
    with atomic_path(path) as temporary, _writer(temporary, schema, form) as writer:
        for begin in range(0, len(order), _ROWS):
            rows = order[begin : begin + _ROWS]
            product = pa.array(interactions.product[rows])
            columns = [
                pa.array(np.ones(len(rows), np.int64)),
                users.take(pa.array(user[rows])),
                handles.take(product),
                pa.array(timestamp[rows]),
                categories.take(product),
            ]
            writer.write_table(pa.table(columns, schema=schema))
            if progress is not None:
                progress(len(rows))


def write_oracle_file(interactions: "Interactions", path: str | os.PathLike[str]) -> None:
    """Writes the generator's state before every step, for `interaction_oracle.Oracle.load`; atomically."""
    world, plan = interactions.world, interactions.plan
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            parameters=np.array(json.dumps(asdict(world.parameters))),
            handles=np.array(interactions.inventory.handles),
            category=world.category,
            popularity=world.popularity,
            groups=world.groups,
            across=world.across,
            users=interactions.user_ids(),
            taste_category=interactions.taste.category,
            taste_group=interactions.taste.group,
            backwards=interactions.taste.backwards,
            offsets=plan.offsets,
            start=plan.start,
            timestamp=plan.timestamp,
            product=interactions.product,
            group=interactions.group,
            slot=interactions.slot,
        )


def _writer(path: Path, schema: pa.Schema, form: str) -> pyarrow.csv.CSVWriter | pyarrow.parquet.ParquetWriter:
    if form == "parquet":
        return pyarrow.parquet.ParquetWriter(path, schema, compression="zstd")
    if form != "tsv":
        raise ValueError(f"`form` should be tsv or parquet. Received: {form!r}")
    options = pyarrow.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    return pyarrow.csv.CSVWriter(path, schema, write_options=options)
