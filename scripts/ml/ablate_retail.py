"""What the retail part of `scripts.ml.ablate` reads and compares beside the rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.data.columns import CATEGORY, ITEM, TIMESTAMP, USER
from training.data.interactions import read_interactions
from training.data.inventory import load_inventory
from training.evaluation.purchases import IntArray
from training.feature_config import FeaturesConfig
from training.future_features import FutureTables

_HANDLE = "handle"


def categories_of(path: Path) -> NDArray[np.int64]:
    """Returns the number of each item's category, items by the alphabet as `read_purchases` numbers them."""
    table = read_interactions(path).select(pl.col(ITEM).cast(pl.String), pl.col(CATEGORY).cast(pl.String)).collect()
    by_item = table.group_by(ITEM).agg(pl.col(CATEGORY).min())
    items, names = by_item[ITEM].to_numpy().astype(np.str_), by_item[CATEGORY].fill_null("").to_numpy().astype(np.str_)
    return np.unique(names[np.argsort(items)], return_inverse=True)[1]


def read_feature_tables(path: Path, items: Path | None, features: FeaturesConfig, before: int) -> FutureTables:
    """Reads what the features of items and shoppers need, by the numbers of `read_purchases`.

    Args:
        path: Interactions; a shopper has the latest value of a column before the cut.
        items: Inventory snapshot (.json, .pkl), or Parquet with `item_handle`.
        features: The features.
        before: The cut, seconds UTC. What `items` has should be known before it.

    Raises:
        ValueError: If a column is missing.
    """
    of_items = list(dict.fromkeys(feature.source for feature in features.item))
    of_users = list(dict.fromkeys(feature.source for feature in features.user))
    found: list[dict[str, list[Any]]] = []
    for key, names in ((ITEM, of_items), (USER, of_users)):
        if not names:
            found.append({})
            continue
        if key == ITEM:
            table = _item_table(items)
        elif path.suffix == ".parquet":
            table = pl.read_parquet(path).filter(pl.col(TIMESTAMP) < before).sort(TIMESTAMP)
        else:
            table = pl.DataFrame(schema=[key])
        if missing := [name for name in (key, *names) if name not in table.columns]:
            where = "--items" if key == ITEM else f"{path} (a .parquet file)"
            raise ValueError(f"{where} should have the columns of the features. Received: none called {missing}")
        known = table.select(pl.col(key).cast(pl.String), *names).group_by(key).agg(pl.col(names).drop_nulls().last())
        texts = read_interactions(path).select(pl.col(key).cast(pl.String)).collect()[key].to_numpy().astype(np.str_)
        joined = pl.DataFrame({key: np.unique(texts)}).join(known, on=key, how="left", maintain_order="left")
        found.append({name: joined[name].to_list() for name in names})
    return FutureTables(*found)


def _item_table(items: Path | None) -> pl.DataFrame:
    if items is None:
        raise ValueError("`--items` should name a table of the items, which rows with item features need")
    if items.suffix == ".parquet":
        return pl.read_parquet(items)
    return pl.DataFrame(list(load_inventory(items).products)).rename({_HANDLE: ITEM})


class Kept:
    """Scores that a ranker gave once, so that it can be judged alone and in a blend.

    Args:
        name: Name in tables.
        users: (N,) shoppers, rising.
        scores: (N, I).
    """

    settings: Mapping[str, Any] = {}

    def __init__(self, name: str, users: IntArray, scores: NDArray[np.float64]):
        self.name = name
        self.users = users
        self.scores = scores

    @classmethod
    def of(cls, ranker: Any, users: IntArray) -> "Kept":
        """Returns the scores of a fitted ranker, made in parts."""
        parts = np.array_split(users, max(1, len(users) // 256))
        return cls(ranker.name, users, np.concatenate([ranker.score(part) for part in parts]))

    def fit(self, history: object) -> "Kept":
        """Returns itself: the scores are there."""
        return self

    def score(self, users: IntArray) -> NDArray[np.float64]:
        """Returns (len(users), I)."""
        return self.scores[np.searchsorted(self.users, users)]


def equal_blend(parts: Sequence[Kept]) -> Kept:
    """Returns the mean of the parts' scores, each standardised over the items of a shopper: no weight is chosen."""
    total = np.zeros_like(parts[0].scores)
    for part in parts:
        spread = part.scores.std(axis=1, keepdims=True)
        total += (part.scores - part.scores.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    return Kept(" + ".join(part.name for part in parts), parts[0].users, total / len(parts))
