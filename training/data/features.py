"""Custom features in a dataset: their vocabularies, buckets and ids, and the files that hold them.

Id 0 is the unknown or missing value of every feature. All is learnt from the training split.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from training.data.vocabulary import Vocabulary
from training.feature_config import CLOCK_SIZES, OWNERS, Feature, FeaturesConfig, Owner

VOCABULARY_SCHEMA: Final = pa.schema({"id": pa.int32(), "value": pa.string(), "count": pa.int64()})
_DEFINITION: Final = ("name", "column", "kind", "buckets", "min_count")  # what preprocessing depends on

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class FeatureError(ValueError):
    """A feature that the data at hand cannot give."""


@dataclass(frozen=True, eq=False)
class EncodedFeature:
    """One feature of a dataset.

    Attributes:
        of: "item", "user" or "event".
        feature: Its definition.
        vocabulary: Values by id, for a numeric one a label for each bucket; None for what is read off timestamps.
        bounds: Of a numeric one, rising: a value goes into the first bucket whose bound it does not exceed, else into
            the last.
        ids: int32: (N,) of events, in the order of the dataset; (num_users,) of users; of items all values, one item's
            after another's. Empty for what is read off timestamps.
        offsets: (num_items + 1,) int64 for an item feature: the values of item i are `ids[offsets[i]:offsets[i + 1]]`,
            at least one.
    """

    of: Owner
    feature: Feature
    vocabulary: Vocabulary | None
    bounds: tuple[float, ...]
    ids: Ints
    offsets: Longs | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.feature.name

    @property
    def size(self) -> int:
        """Number of ids, 0 included."""
        return CLOCK_SIZES[self.feature.kind] if self.vocabulary is None else self.vocabulary.size

    @property
    def input_name(self) -> str:
        """Name of a user's or event's ids among the network's inputs, and of an event's column in the dataset."""
        return f"{self.of}_{self.name}"

    def document(self) -> dict[str, Any]:
        """Returns what `dataset.json` and `bundle.json` say of it."""
        definition = {name: getattr(self.feature, name) for name in _DEFINITION} | {"column": self.feature.source}
        return {"of": self.of, **definition, "size": self.size, "bounds": list(self.bounds)}


@dataclass(frozen=True, eq=False)
class DatasetFeatures:
    """The features of a dataset, items' before users' before events'."""

    all: tuple[EncodedFeature, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.all)

    def of(self, owner: Owner) -> tuple[EncodedFeature, ...]:
        """Returns the features of items, users or events."""
        return tuple(each for each in self.all if each.of == owner)

    @property
    def stored_events(self) -> tuple[EncodedFeature, ...]:
        """Returns the event features that have a column."""
        return tuple(each for each in self.of("event") if not each.feature.from_clock)

    def chosen(self, config: FeaturesConfig) -> "DatasetFeatures":
        """Returns the features that a configuration names, in its order and with its widths.

        Raises:
            FeatureError: The dataset was made without one of them, or with another definition of it.
        """
        found: list[EncodedFeature] = []
        for owner in OWNERS:
            known = {each.name: each for each in self.of(owner)}
            for feature in config.of(owner):
                each = known.get(feature.name)
                same = each is not None and _definition(each.feature) == _definition(feature)
                if each is None or not same:
                    received = "another definition of it" if each else f"the features {sorted(known)}"
                    raise FeatureError(
                        f"The dataset should have been made with the {owner} feature {feature.name!r} as the "
                        f"configuration names it. Received: {received}. Run scripts.ml.preprocess again with this "
                        "configuration (--config)"
                    )
                found.append(replace(each, feature=feature))
        return DatasetFeatures(tuple(found))


def _definition(feature: Feature) -> tuple[Any, ...]:
    # `column` as it is meant: the name where it is left out.
    return (feature.source, *(getattr(feature, name) for name in _DEFINITION if name != "column"))


NO_FEATURES: Final = DatasetFeatures()


def fit_texts(values: Sequence[str], counts: Longs, min_count: int) -> Vocabulary:
    """Returns the vocabulary of texts: ids by falling count, then by the bytes of the text; "" is the unknown value.

    Args:
        values: Different texts.
        counts: (len(values),) how often each occurs in training.
        min_count: Rarer ones are left out.
    """
    kept = [(-int(count), value.encode(), value) for value, count in zip(values, counts, strict=True)
            if value and count >= min_count]  # fmt: skip
    kept.sort()
    return Vocabulary(
        values=np.array(["", *(value for *_, value in kept)], dtype=np.str_),
        counts=np.array([0, *(-count for count, *_ in kept)], np.int64),
    )


def fit_numbers(values: Floats, buckets: int) -> tuple[Vocabulary, tuple[float, ...]]:
    """Returns the buckets of a numeric feature: labels with counts, and the bounds between them.

    Bound k of `buckets` is the smallest value that at least k / buckets of all values do not exceed: a value itself,
    found by counting, so that it is the same wherever it is computed. Equal bounds are one.

    Args:
        values: Of training; what is not finite is missing.
        buckets: Buckets wanted; there are fewer where values repeat.
    """
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        return Vocabulary(np.array([""], np.str_), np.zeros(1, np.int64)), ()
    places = -(-np.arange(1, buckets) * len(values) // buckets) - 1  # ceil(k N / buckets) values lie up to here
    bounds = np.unique(values[np.maximum(places, 0)])
    bounds = bounds[bounds < values[-1]]
    edges = tuple(float(bound) + 0.0 for bound in bounds)  # -0.0 is 0.0
    labels = [f"up to {bound!r}" for bound in edges] + [f"above {edges[-1]!r}" if edges else "any"]
    counts = np.bincount(bucket_ids(values, edges, len(labels) + 1), minlength=len(labels) + 1)
    return Vocabulary(np.array(["", *labels], np.str_), counts.astype(np.int64)), edges


def bucket_ids(values: Floats, bounds: Sequence[float], size: int) -> Ints:
    """Returns the ids of numbers, (n,) int32; 0 where a number is not finite, or `size` leaves no bucket."""
    known = np.isfinite(values) if size > 1 else np.zeros(len(values), bool)
    places = np.searchsorted(np.asarray(bounds, np.float64), np.where(known, values, 0.0), side="left")
    return np.where(known, places + 1, 0).astype(np.int32)


def example_value(each: EncodedFeature, number: int) -> str:
    """Returns a value that has an id, as the text that a request may carry; "" for 0, the missing value."""
    if not number or each.vocabulary is None:
        return ""
    if each.feature.kind != "numeric":
        return str(each.vocabulary.values[number])
    if number <= len(each.bounds):
        return repr(each.bounds[number - 1])
    return repr(float(np.nextafter(each.bounds[-1], np.inf))) if each.bounds else "0.0"


def vocabulary_table(vocabulary: Vocabulary) -> pa.Table:
    """Returns columns id, value (null for the unknown value) and count."""
    values: list[str | None] = [None, *(str(value) for value in vocabulary.values[1:])]
    columns = [np.arange(vocabulary.size, dtype=np.int32), pa.array(values, pa.string()), vocabulary.counts]
    return pa.table(columns, schema=VOCABULARY_SCHEMA)


def feature_tables(features: DatasetFeatures) -> dict[str, pa.Table]:
    """Returns the tables of a dataset's features by file name, without the columns of events."""
    tables: dict[str, pa.Table] = {}
    for owner in ("item", "user"):
        if found := features.of(owner):
            columns = {each.name: _column(each) for each in found}
            tables[f"features_{owner}.parquet"] = pa.table(columns)
    for each in features.all:
        if each.vocabulary is not None:
            tables[f"vocabulary_{each.name}.parquet"] = vocabulary_table(each.vocabulary)
    return tables


def _column(each: EncodedFeature) -> Any:
    if each.offsets is None:
        return pa.array(each.ids, pa.int32())
    return pa.ListArray.from_arrays(pa.array(each.offsets, pa.int32()), pa.array(each.ids, pa.int32()))


def read_features(
    documents: Iterable[Mapping[str, Any]], read: Callable[[str], pa.Table], sequences: pa.Table
) -> DatasetFeatures:
    """Reads the features of a dataset.

    Args:
        documents: What `dataset.json` says of them.
        read: Returns the table of a file's name.
        sequences: Table of the events.
    """
    found: list[EncodedFeature] = []
    for document in documents:
        given = {name: document[name] for name in _DEFINITION}
        if given["kind"] in CLOCK_SIZES:
            del given["column"]
        feature = Feature(**given)
        vocabulary, offsets, ids = None, None, np.zeros(0, np.int32)
        if not feature.from_clock:
            table = read(f"vocabulary_{feature.name}.parquet")
            values = np.asarray(table["value"].fill_null("").to_pylist(), dtype=np.str_)
            vocabulary = Vocabulary(values, table["count"].to_numpy())
            if document["of"] == "event":
                ids = sequences[f"event_{feature.name}"].to_numpy()
            else:
                column = read(f"features_{document['of']}.parquet")[feature.name].combine_chunks()
                if pa.types.is_list(column.type):
                    offsets, column = column.offsets.to_numpy().astype(np.int64), column.flatten()
                ids = column.to_numpy()
        found.append(EncodedFeature(document["of"], feature, vocabulary, tuple(document["bounds"]), ids, offsets))
    return DatasetFeatures(tuple(found))
