"""Custom features of what a temporal cut knows: values of items and shoppers from tables, the clock's from times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from training.data.codes import Codes
from training.data.feature_encoding import Values, encode_features
from training.data.features import DatasetFeatures
from training.evaluation.purchases import History, IntArray
from training.feature_config import Feature, FeaturesConfig

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, eq=False)
class FutureTables:
    """What is known of items and shoppers beside their purchases; a missing value is None.

    Nothing here may come from after the cut.

    Attributes:
        items: Column, as a feature names it, to a value for each item number of the purchases.
        users: The same for each shopper number.
    """

    items: Columns = field(default_factory=dict[str, Any])
    users: Columns = field(default_factory=dict[str, Any])


NO_TABLES: Final = FutureTables()


def encode_tables(config: FeaturesConfig, tables: FutureTables, history: History, rows: pa.Table) -> DatasetFeatures:
    """Fits and encodes the features that a configuration names; item i of the history has id i + 1, likewise shoppers.

    Args:
        config: The features. Of events only hour and weekday: a history has no further columns.
        tables: Values.
        history: Which items and shoppers there are.
        rows: Columns user, item, timestamp and split of the encoded rows.

    Raises:
        FeatureError: If nothing has a feature's values.
        ValueError: If a column of the tables is too short.
    """
    items = {name: _taken(name, column, history.item_ids) for name, column in tables.items.items()}
    products = {
        str(number): {name: column[place] for name, column in items.items()}
        for place, number in enumerate(history.item_ids)
    }
    user = rows["user"].to_numpy() - 1
    values: dict[str, Values] = {}
    for feature in config.user:
        if feature.source in tables.users:
            known = _taken(feature.source, tables.users[feature.source], history.user_ids)
            values[f"user:{feature.name}"] = _by_row(feature, known, user)
    handles = ["", *products]
    return encode_features(config, values, rows, handles, history.num_users + 1, products)


def _taken(name: str, column: Sequence[Any], numbers: IntArray) -> list[Any]:
    if len(column) <= int(numbers.max(initial=0)):
        raise ValueError(f"{name!r} should have an entry for number {numbers.max()}. Received: {len(column)} entries")
    return [column[number] for number in numbers]


def _by_row(feature: Feature, known: Sequence[Any], user: IntArray) -> Values:
    """Returns the shopper's value in every row."""
    if feature.kind == "numeric":
        return np.array([np.nan if value is None else float(value) for value in known], np.float64)[user]
    texts = pa.array(["" if value is None else str(value) for value in known], pa.string())
    return Codes(user.astype(np.int32), texts)
