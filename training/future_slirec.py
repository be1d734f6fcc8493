"""SLi-Rec on a global temporal cut: trained on what shoppers bought before it, asked at the cut.

`encode_history` turns a history into encoded sequences with one further row for each shopper at the moment of the cut,
so that the training and the ranking of `training.trainer` and `training.models.ranker` serve here unchanged.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from training.config import TrainingConfig
from training.data.columns import CATEGORY_ID, ITEM_ID, SPLIT, TIMESTAMP, USER_ID
from training.data.negatives import sample_offline_negatives
from training.data.sequences import EncodedSequences
from training.data.vocabulary import Vocabulary
from training.evaluation.metrics import FloatArray
from training.evaluation.purchases import History, IntArray
from training.feature_config import FeaturesConfig
from training.future_features import NO_TABLES, FutureTables, encode_tables
from training.models.ranker import SliRecRanker
from training.trainer import EpochReport, train

VALID_ROWS: Final = 600  # enough to choose an epoch by, and cheap: each ranks the whole vocabulary


def encode_history(
    history: History,
    item_category: IntArray | None = None,
    *,
    valid_rows: int = VALID_ROWS,
    num_negatives: int = 4,
    features: FeaturesConfig | None = None,
    tables: FutureTables = NO_TABLES,
    rng: np.random.Generator,
) -> EncodedSequences:
    """Encodes what is known before a cut.

    Item i of the history is item i + 1 here, and likewise shoppers. Training rows are all purchases but the last
    moments of some shoppers drawn at random, which are the validation rows; the test rows are one for each shopper, of
    the unknown item at the time of the cut.

    Args:
        history: Purchases before the cut.
        item_category: Category number of each item, indexed by the numbers of `history.item_ids`; without it all items
            share one category.
        valid_rows: About how many purchases to hold out.
        num_negatives: Sampled negatives of a validation row.
        features: Custom features; of events only hour and weekday.
        tables: Where the values of the others come from.
        rng: Source of the shoppers held out and of the negatives.

    Raises:
        ValueError: If `item_category` or a table is too short for the items or shoppers.
        FeatureError: If the tables lack a feature.
    """
    if item_category is not None and len(item_category) <= int(history.item_ids.max()):
        raise ValueError(
            f"`item_category` should have an entry for item number {history.item_ids.max()}. "
            f"Received: {len(item_category)} entries"
        )
    users = np.arange(history.num_users)
    user = np.concatenate([history.user, users])
    item = np.concatenate([history.item + 1, np.zeros(len(users), np.int64)])
    time = np.concatenate([history.time, np.full(len(users), history.before)])
    order = np.lexsort((item, time, user))
    user, item, time = user[order], item[order], time[order]
    offsets = np.searchsorted(user, users)
    split = _splits(user, time, np.searchsorted(user, users, side="right") - 1, valid_rows, rng)

    names = np.zeros(history.num_items, np.int64) if item_category is None else item_category[history.item_ids]
    category_ids, category = np.unique(names, return_inverse=True)
    category_of = np.concatenate([[0], category + 1]).astype(np.int32)
    trained = split == 0
    columns: dict[str, tuple[IntArray, NDArray[Any]]] = {
        USER_ID: (history.user_ids, user + 1),
        ITEM_ID: (history.item_ids, item),
    }
    columns[CATEGORY_ID] = (category_ids, category_of[item])
    rows = pa.table({USER_ID: user + 1, ITEM_ID: item, TIMESTAMP: time, SPLIT: split})
    encoded = encode_tables(features or FeaturesConfig(), tables, history, rows)
    parts = (user, item, time, split, category_of, *(each.ids for each in encoded.all))
    digest = hashlib.sha256(b"".join(part.tobytes() for part in parts))
    dataset = EncodedSequences(
        user=(user + 1).astype(np.int32),
        item=item.astype(np.int32),
        category=category_of[item],
        timestamp=time,
        position=(np.arange(len(user)) - offsets[user]).astype(np.int32),
        split=split,
        vocabularies={name: _vocabulary(values, ids[trained]) for name, (values, ids) in columns.items()},
        item_category=category_of,
        negatives={},
        metadata={"fingerprint": digest.hexdigest()},
        features=encoded,
    )
    drawn = sample_offline_negatives(dataset, dataset.rows("valid"), num_negatives, rng)
    unused = np.zeros((len(dataset.rows("test")), 0), np.int32)
    return replace(dataset, negatives={"valid": drawn, "test": unused})


def _splits(
    user: IntArray, time: IntArray, ends: IntArray, valid_rows: int, rng: np.random.Generator
) -> NDArray[np.int8]:
    """Returns 2 for the last row of each user, 1 for the moment before it of some users, else 0."""
    split = np.zeros(len(user), np.int8)
    split[ends] = 2
    before = np.maximum(ends - 1, 0)  # the latest purchase, where there is one
    latest = np.where(user[before] == user[ends], time[before], np.iinfo(np.int64).min)
    last_moment = (split == 0) & (time == latest[user])
    first = np.concatenate([[True], np.diff(user) != 0])
    has_earlier = time[first] < latest  # a shopper with one moment only has nothing to be asked from
    sizes = np.bincount(user[last_moment], minlength=len(ends)) * has_earlier
    drawn = rng.permutation(np.flatnonzero(sizes))
    chosen = np.zeros(len(ends), bool)
    chosen[drawn[np.cumsum(sizes[drawn]) - sizes[drawn] < valid_rows]] = True
    split[last_moment & chosen[user]] = 1
    return split


def _vocabulary(values: IntArray, ids: IntArray) -> Vocabulary:
    counts = np.bincount(ids, minlength=len(values) + 1)
    counts[0] = 0
    return Vocabulary(np.concatenate([[""], values.astype(np.str_)]), counts)


class FutureSliRec:
    """SLi-Rec as a `training.evaluation.future.FutureRanker`.

    Args:
        config: Training configuration. Without `train.epoch_examples` an epoch is the whole history.
        run_folder: Folder of runs, one for each history; an interrupted one there is continued.
        item_category: See `encode_history`.
        name: Name in tables.
        progress: Whether to show progress bars.
        tables: Where the values of the configuration's features come from.
        valid_rows: See `encode_history`.
    """

    def __init__(
        self,
        config: TrainingConfig,
        run_folder: Path,
        item_category: IntArray | None = None,
        name: str = "SLi-Rec",
        progress: bool = True,
        tables: FutureTables = NO_TABLES,
        valid_rows: int = VALID_ROWS,
    ):
        self.name = name
        self.config = config
        self.epochs: list[EpochReport] = []
        self._folder = run_folder
        self._item_category = item_category
        self._progress = progress
        self._tables = tables
        self._valid_rows = valid_rows
        self._history: History | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """What differs from the default configuration."""
        plain = TrainingConfig().model_dump(mode="json")
        return {
            f"{section}.{name}": value
            for section, values in self.config.model_dump(mode="json").items()
            for name, value in values.items()
            if value != plain.get(section, {}).get(name, [])  # features are left out where there are none
        }

    def fit(self, history: History) -> "FutureSliRec":
        """Trains on the history and returns itself; `epochs` has the reports."""
        if self._history is not history:
            rng = np.random.default_rng(self.config.train.seed)
            encoded = encode_history(
                history,
                self._item_category,
                valid_rows=self._valid_rows,
                features=self.config.features,
                tables=self._tables,
                rng=rng,
            )
            result = train(encoded, self.config, self._folder / str(history.before), progress=self._progress)
            self.epochs = result.history
            self._dataset = encoded.viewed(self.config.data.same_time)
            self._ranker = SliRecRanker(result.model, self.config.data.max_seq_length, self.name)
            self._history = history
        return self

    def score(self, users: IntArray) -> FloatArray:
        """Returns (len(users), I) float64 logits at the time of the cut; equal ones where nothing was bought before.

        Raises:
            ValueError: If it was not fitted.
        """
        if self._history is None:
            raise ValueError(f"{self.name} should be fitted before it scores. Received: score without fit")
        rows = self._dataset.user_offsets[np.asarray(users) + 2] - 1  # the last row of each
        known = self._dataset.history_lengths(rows) > 0
        scores = np.zeros((len(rows), self._history.num_items))
        if known.any():
            scores[known] = self._ranker.score(self._dataset, rows[known])[:, 1:]
        return scores
