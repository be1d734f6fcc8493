"""Embeddings of custom features: of items beside their category, of events for the history, of users for the rest."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from training.data.features import EncodedFeature

ops: Any = keras.ops  # Keras ships no usable types for its operations

SECONDS_PER_HOUR = 3_600
SECONDS_PER_DAY = 86_400
FIRST_WEEKDAY = 3  # 1 January 1970 was a Thursday; Monday is 0


class FeatureEmbeddings(keras.layers.Layer):
    """One embedding for each feature; several values of an item count as the mean of theirs.

    Args:
        features: What a dataset has, with widths; no feature: nothing is added to the network.
        num_items: Size of the item vocabulary.
        initializer: Start of the embeddings.

    Attributes:
        item_width, event_width, user_width: Widths of all embeddings of items, events and users, beside each other.
        inputs: Names of the network's inputs beside those of plain SLi-Rec: ids of events (B, T) and of users (B,).
    """

    def __init__(self, features: Sequence[EncodedFeature], num_items: int, initializer: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_items = num_items
        self.features = tuple(features)
        self.item_width, self.event_width, self.user_width = (
            sum(each.feature.dim for each in self.features if each.of == owner) for owner in ("item", "event", "user")
        )
        self.inputs = tuple(each.input_name for each in self.features if _is_input(each))
        self.tables = [
            keras.layers.Embedding(each.size, each.feature.dim, initializer, name=f"{each.input_name}_embedding")
            for each in self.features
        ]
        self.item_values: dict[str, tuple[Any, Any, Any]] = {}

    def build(self, input_shape: Any = None) -> None:
        """Creates the embeddings, and the item features' values as weights that are not trained."""
        for each, table in zip(self.features, self.tables, strict=True):
            table.build(None)
            if each.offsets is not None:
                lengths = np.diff(each.offsets)
                owner = np.repeat(np.arange(self.num_items), lengths)
                share = np.repeat(1.0 / lengths, lengths)
                self.item_values[each.name] = tuple(
                    self._constant(array, f"{each.input_name}_{name}")
                    for array, name in ((each.ids, "values"), (owner.astype(np.int32), "items"), (share, "shares"))
                )  # pyright: ignore[reportArgumentType]
        self.built = True

    def _constant(self, array: Any, name: str) -> Any:
        dtype = "int32" if array.dtype.kind == "i" else "float32"

        def start(shape: Any, dtype: Any) -> Any:
            return ops.convert_to_tensor(array, dtype)

        return self.add_weight(
            shape=array.shape, dtype=dtype, initializer=start, trainable=False, autocast=False, name=name
        )

    def of_items(self, items: Any) -> list[Any]:
        """Returns the embeddings of item ids (...): (..., dim) each."""
        found: list[Any] = []
        for each, table in self._of("item"):
            ids, owner, share = self.item_values[each.name]
            if len(each.ids) == self.num_items:  # one value each
                found.append(table(ops.take(ids, items, axis=0)))
            else:
                values = table(ids)
                values = values * ops.expand_dims(ops.cast(share, values.dtype), 1)
                means = ops.segment_sum(values, owner, num_segments=self.num_items)
                found.append(ops.take(means, items, axis=0))
        return found

    def of_events(self, history: Mapping[str, Any]) -> list[Any]:
        """Returns the embeddings of the events of histories: (B, T, dim) each."""
        return [table(self._event_ids(each, history)) for each, table in self._of("event")]

    def of_users(self, history: Mapping[str, Any]) -> list[Any]:
        """Returns the embeddings of the users of histories: (B, dim) each."""
        return [table(history[each.input_name]) for each, table in self._of("user")]

    def used(self, history: Mapping[str, Any], items: Any) -> Iterator[tuple[Any, Any]]:
        """Yields each embedding with the ids (n,) that a batch uses of it.

        Args:
            history: The network's inputs.
            items: (n,) item ids of histories and candidates.
        """
        for each, table in zip(self.features, self.tables, strict=True):
            if each.of == "item":
                ids, owner, _ = self.item_values[each.name]
                flags = ops.segment_max(ops.ones_like(items), items, num_segments=self.num_items)
                yield table, ops.where(ops.take(flags, owner, axis=0) > 0, ids, 0)
            elif each.of == "event":
                yield table, ops.reshape(self._event_ids(each, history), (-1,))
            else:
                yield table, history[each.input_name]

    def _of(self, owner: str) -> Iterator[tuple[EncodedFeature, Any]]:
        return ((each, table) for each, table in zip(self.features, self.tables, strict=True) if each.of == owner)

    def _event_ids(self, each: EncodedFeature, history: Mapping[str, Any]) -> Any:
        if not each.feature.from_clock:
            return history[each.input_name]
        return ops.cast(clock_ids(each.feature.kind, history["timestamps"]), "int32")


def clock_ids(kind: str, timestamps: Any) -> Any:
    """Returns the ids of UTC hours (1 to 24) or weekdays (1 to 7, from Monday) of UNIX seconds, as int64."""
    if kind == "hour":
        return ops.floor_divide(ops.mod(timestamps, SECONDS_PER_DAY), SECONDS_PER_HOUR) + 1
    return ops.mod(ops.floor_divide(timestamps, SECONDS_PER_DAY) + FIRST_WEEKDAY, 7) + 1


def _is_input(each: EncodedFeature) -> bool:
    return each.of != "item" and not each.feature.from_clock
