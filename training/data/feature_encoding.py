"""Values of custom features -> ids, by arithmetic on the rows of a dataset, which are sorted already.

The engines give the rows' values; all that is learnt of them (vocabularies, quantiles, an item's or a user's own value)
is computed here, once, whatever the engine: so that all engines give the same.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa

from training.data.codes import Codes
from training.data.columns import ITEM_ID, SPLIT, SPLITS, TIMESTAMP, USER_ID
from training.data.features import (
    DatasetFeatures,
    EncodedFeature,
    FeatureError,
    Floats,
    Ints,
    Longs,
    bucket_ids,
    fit_numbers,
    fit_texts,
)
from training.data.vocabulary import Vocabulary
from training.feature_config import OWNERS, Feature, FeaturesConfig, Owner

SEPARATOR: Final = ","
Values = Codes | Floats  # of every row of the sequences: texts, or numbers with -inf where there is none
Products = Mapping[str, Mapping[str, Any]]  # by handle
_TRAIN: Final = SPLITS.index("train")
_KEYS: Final[Mapping[Owner, str]] = {"item": ITEM_ID, "user": USER_ID}


def encode_features(
    config: FeaturesConfig,
    values: Mapping[str, Values],
    sequences: pa.Table,
    handles: Sequence[str],
    num_users: int,
    products: Products | None,
) -> DatasetFeatures:
    """Fits and encodes the features that a configuration names.

    An item or a user has the value of its latest training row that has one; of several at one second, the greatest. An
    item feature that the interactions do not have is the product record's.

    Args:
        config: The features.
        values: By `validation.feature_alias`: the columns that the interactions have.
        sequences: The encoded rows.
        handles: (num_items,) handle of each item id, the unknown one's first.
        num_users: Size of the user vocabulary.
        products: Product records by handle; None: no snapshot is given.

    Raises:
        FeatureError: Nothing has a feature's values.
    """
    rows = {name: sequences[name].to_numpy() for name in (USER_ID, ITEM_ID, TIMESTAMP, SPLIT)}
    found: list[EncodedFeature] = []
    for owner in OWNERS:
        for feature in config.of(owner):
            column = values.get(f"{owner}:{feature.name}")
            if feature.from_clock:
                found.append(EncodedFeature(owner, feature, None, (), np.zeros(0, np.int32)))
            elif column is None and not (owner == "item" and products is not None and _in_any(feature, products)):
                raise FeatureError(_nowhere(owner, feature, products))
            elif owner == "event":
                assert column is not None
                found.append(_event_feature(feature, column, rows[SPLIT] == _TRAIN))
            else:
                size = len(handles) if owner == "item" else num_users
                if column is None:
                    assert products is not None
                    raw = [products.get(handle, {}).get(feature.source) for handle in handles]
                else:
                    raw = _latest(column, rows[_KEYS[owner]], rows, size)
                found.append(_owned_feature(owner, feature, raw))
    return DatasetFeatures(tuple(found))


def _in_any(feature: Feature, products: Products) -> bool:
    return any(feature.source in record for record in products.values())


def _nowhere(owner: Owner, feature: Feature, products: Products | None) -> str:
    places = "no column of that name"
    if owner == "item":
        places += ", and no product snapshot" if products is None else ", and no product record with that key"
    hint = "; name the snapshot (--inventory)" if owner == "item" and products is None else ""
    return (
        f"The {owner} feature {feature.name!r} should have the column {feature.source!r} in the interactions (a "
        f".parquet file){' or that key in the product records' if owner == 'item' else ''}. Received: {places}{hint}"
    )


def _event_feature(feature: Feature, column: Values, train: Any) -> EncodedFeature:
    if isinstance(column, Codes):
        texts = column.values.to_pylist()
        counts = np.bincount(column.codes[train], minlength=len(texts))
        by_text: dict[str, int] = {}  # a code that is in no row may repeat another's text
        for text, count in zip(texts, counts.tolist(), strict=True):
            by_text[text] = by_text.get(text, 0) + count
        kept = [text for text, count in by_text.items() if count]
        vocabulary = fit_texts(kept, np.array([by_text[text] for text in kept], np.int64), feature.min_count)
        return EncodedFeature("event", feature, vocabulary, (), vocabulary.encode(texts)[column.codes])
    vocabulary, bounds = fit_numbers(column[train], feature.buckets)
    return EncodedFeature("event", feature, vocabulary, bounds, bucket_ids(column, bounds, vocabulary.size))


def _latest(column: Values, keys: Ints, rows: Mapping[str, Any], size: int) -> list[Any]:
    """Returns the value of each item or user, None where training has none."""
    if isinstance(column, Codes):
        texts = column.values.to_pylist()
        ranks = {text: rank for rank, text in enumerate(sorted(set(texts), key=str.encode))}
        order_by = np.array([ranks[text] for text in texts], np.int64)[column.codes]
        has_value = np.array([text != "" for text in texts], bool)[column.codes]
    else:
        texts, order_by, has_value = [], column, np.isfinite(column)
    usable = np.flatnonzero((rows[SPLIT] == _TRAIN) & has_value & (keys > 0))
    order = usable[np.lexsort((order_by[usable], rows[TIMESTAMP][usable], keys[usable]))]
    of_key = keys[order]
    last = order[np.append(of_key[1:] != of_key[:-1], True)[: len(order)]]
    values: list[Any] = [None] * size
    for row in last:
        values[keys[row]] = texts[column.codes[row]] if isinstance(column, Codes) else float(column[row])
    return values


def _owned_feature(owner: Owner, feature: Feature, raw: Sequence[Any]) -> EncodedFeature:
    """Encodes one raw value, or list of them, for each item or user id."""
    if feature.kind == "numeric":
        numbers = np.array([_number(value) for value in raw], np.float64)
        vocabulary, bounds = fit_numbers(numbers[1:], feature.buckets)
        ids, lengths = bucket_ids(numbers, bounds, vocabulary.size), np.ones(len(raw), np.int64)
    else:
        texts = [_texts(value) if feature.kind == "multi" else _text(value, feature) for value in raw]
        vocabulary, bounds = _fitted(texts[1:], feature), ()
        found = [[number for text in each if (number := vocabulary.index.get(text, 0))] or [0] for each in texts]
        ids = np.array([number for each in found for number in each], np.int32)
        lengths = np.array([len(each) for each in found], np.int64)
    offsets: Longs | None = np.concatenate([[0], np.cumsum(lengths)]) if owner == "item" else None
    return EncodedFeature(owner, feature, vocabulary, bounds, ids, offsets)


def _fitted(texts: Sequence[Sequence[str]], feature: Feature) -> Vocabulary:
    counts: dict[str, int] = {}
    for each in texts:
        for text in each:
            counts[text] = counts.get(text, 0) + 1
    return fit_texts(list(counts), np.array(list(counts.values()), np.int64), feature.min_count)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _text(value: Any, feature: Feature) -> list[str]:
    if isinstance(value, list | tuple | dict | set):
        raise FeatureError(
            f"The feature {feature.name!r} of kind categorical should have one value an item. Received: several. "
            "Give it `kind: multi`"
        )
    text = _as_text(value)
    return [text] if text else []


def _texts(value: Any) -> list[str]:
    """Several values: a list, or one text with commas, as Shopify's own exports have tags; each once."""
    listed = value.split(SEPARATOR) if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    return list(dict.fromkeys(text for each in cast(list[Any], listed) if (text := _as_text(each))))


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()
