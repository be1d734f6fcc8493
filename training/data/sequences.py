"""Interactions -> a folder of encoded sequences (contract 3): the one call that preprocessing consists of.

How rows become integers is in `training.data.encoding` and, for engines on one machine,
`training.data.integer_encoding`; what the folder holds is in `training.data.dataset`. Of a Spark frame, the executors
write the sequences in parts (`training.data.spark`): no process holds more of them than integer columns.
"""

import os
import platform
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.data.codes import Codes, can_code, code_interactions
from training.data.columns import ITEM_ID, SPLITS
from training.data.dataset import (
    FEATURES,
    SCHEMAS,
    SEQUENCES,
    DatasetError,
    EncodedSequences,
    from_tables,
    load_dataset,
    read_sequences,
    require_replaceable,
    write_folder,
)
from training.data.encoding import EncodedFrames, check_item_categories, encode, encode_interactions
from training.data.feature_encoding import Values, encode_features
from training.data.integer_encoding import encode_in_order
from training.data.negatives import sample_offline_negatives
from training.data.spark import ROW_ORDER, is_spark, write_parts
from training.data.validation import (
    Frame,
    ValidationReport,
    engine_errors,
    holding,
    report_from,
    report_of,
    usable,
    with_reason,
)
from training.feature_config import FeaturesConfig

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
    features: FeaturesConfig | None = None,
    products: Iterable[Mapping[str, Any]] | None = None,
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
        features: Custom features to encode, from columns of the interactions or, of items, from `products`.
        products: Product records of the snapshot.

    Returns:
        What `load_dataset` would return.

    Raises:
        InteractionsError: If the interactions cannot be used (see `training.data.validation`), or an item has
            several categories.
        FeatureError: If nothing has the values of a feature.
        NegativesError: If a user has touched too many items.
        DatasetError: If `folder` holds something else.
    """
    target = Path(folder)
    require_replaceable(target)
    with ExitStack() as stack:
        with engine_errors("Encoding interactions"):
            checked = with_reason(native, catalogue, features)
            # What features say is learnt of all rows here: with any, the sequences are collected.
            in_parts = is_spark(checked) and not features
            parts = stack.enter_context(_folder_beside(target)) / SEQUENCES if in_parts else None
            if can_code(checked):
                encoded, report, values = _encode_here(checked)
            else:
                encoded, report, values = _encode_there(checked, parts)
            tables = {name: _arrow(encoded.pop(name), schema) for name, schema in SCHEMAS.items()}
        dataset = from_tables(tables, {})
        if features:
            records = None if products is None else {str(record["handle"]): record for record in products}
            handles = dataset.vocabularies[ITEM_ID].values.tolist()
            found = encode_features(features, values, tables[SEQUENCES], handles, dataset.num_users, records)
            for each in found.stored_events:
                tables[SEQUENCES] = tables[SEQUENCES].append_column(each.input_name, pa.array(each.ids))
            dataset = replace(dataset, features=found)
        rng = np.random.default_rng(rng_seed)
        counts = {"valid": valid_num_ngs, "test": test_num_ngs}

        def draw_negatives(split: str) -> npt.NDArray[np.int32]:
            return sample_offline_negatives(dataset, dataset.rows(split), counts[split], rng)

        metadata: dict[str, Any] = {
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
        if dataset.features:
            metadata["features"] = [each.document() for each in dataset.features.all]
        return write_folder(tables, dataset, draw_negatives, metadata, target, parts)


@contextmanager
def _folder_beside(target: Path) -> Generator[Path]:
    """Yields a folder on the disk of `target`, for what executors write before it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".parts", dir=target.parent) as folder:
        yield Path(folder)


def _encode_here(checked: Frame) -> tuple[dict[str, pa.Table], ValidationReport, dict[str, Values]]:
    """Encodes in the memory of this process; also returns the features' values of each row."""
    coded, rows = code_interactions(checked)
    report = report_from(rows)
    tables, order = encode_in_order(coded)
    values: dict[str, Values] = {}
    for name, column in coded.features.items():
        values[name] = Codes(column.codes[order], column.values) if isinstance(column, Codes) else column[order]
    return tables, report, values


def _encode_there(
    checked: Frame, parts: Path | None
) -> tuple[dict[str, pa.Table], ValidationReport, dict[str, Values]]:
    """Encodes where the rows are, on a cluster; else as `_encode_here`.

    Args:
        checked: Frame made by `with_reason`.
        parts: Folder for the sequences, which executors write and this process reads column by column; None: they are
            collected, with what features say. Vocabularies always are.
    """
    with holding() as hold:
        report = report_of(checked)
        interactions = usable(checked)
        check_item_categories(interactions)
        frames = encode(interactions, hold)
        sequences = frames.pop(SEQUENCES)
        tables: dict[str, pa.Table] = {name: frame.collect("pyarrow").to_native() for name, frame in frames.items()}
        if parts is None:
            tables[SEQUENCES] = sequences.sort(*ROW_ORDER).collect("pyarrow").to_native()
        else:
            write_parts(sequences.to_native(), parts, report.rows_out)
            tables[SEQUENCES] = read_sequences(parts.parent)
    values: dict[str, Values] = {}
    for name in tables[SEQUENCES].column_names:
        if ":" in name:  # of a feature
            column: Any = tables[SEQUENCES][name].combine_chunks()
            if pa.types.is_floating(column.type):
                values[name] = column.to_numpy()
            else:
                column = column.dictionary_encode()
                values[name] = Codes(column.indices.to_numpy(), column.dictionary.cast(pa.string()))
    return tables, report, values


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
