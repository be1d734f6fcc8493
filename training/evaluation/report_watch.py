"""Looks over the rankers' shoulders while they are evaluated: their lists and probabilities cost no second scoring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from training.data.sequences import EncodedSequences
from training.evaluation.calibration import Calibration
from training.evaluation.future import FutureCut, FutureRanker, View
from training.evaluation.histories import seen_mask
from training.evaluation.metrics import FloatArray
from training.evaluation.protocol import PRIMARY_K, Ranker, Seen, evaluation_rows
from training.evaluation.purchases import IntArray
from training.evaluation.tuning import Baseline
from training.evaluation.variety import top_lists

_SUM_TOLERANCE: Final = 1e-6


@dataclass(eq=False)
class Watcher:
    """What was recommended and predicted for the rows of one split.

    Attributes:
        dataset: Encoded sequences.
        split: "valid" or "test".
        k: Length of a list.
        lists: (protocol, method) to (num_items,) int64, in how many lists each item is.
        calibration: Method, and how its scores were read, to its pairs over the whole catalogue.
    """

    dataset: EncodedSequences
    split: str
    k: int = PRIMARY_K
    lists: dict[tuple[str, str], NDArray[np.int64]] = field(default_factory=dict[tuple[str, str], NDArray[np.int64]])
    calibration: dict[str, Calibration] = field(default_factory=dict[str, Calibration])

    def __post_init__(self) -> None:
        size = len(self.dataset.item)
        self._wanted: dict[Seen, NDArray[np.bool_]] = {}
        for seen in cast(tuple[Seen, Seen], ("in", "out")):
            self._wanted[seen] = np.zeros(size, np.bool_)
            self._wanted[seen][evaluation_rows(self.dataset, self.split, seen)] = True

    def watch(self, ranker: Ranker, seens: Sequence[Seen] = ("in", "out")) -> "WatchedBaseline":
        """Returns the ranker; what it scores is noted for these protocols, each row once."""
        return WatchedBaseline(ranker, self, {seen: self._wanted[seen].copy() for seen in seens})

    def note(
        self, ranker: Ranker, rows: NDArray[np.int64], scores: FloatArray, missing: Mapping[Seen, NDArray[np.bool_]]
    ) -> None:
        """Notes the scores of those rows that are missing yet under a protocol."""
        for seen, mask in missing.items():
            some = mask[rows]
            mask[rows] = False
            if some.any():
                self._note(ranker, rows[some], scores[some], seen)

    def _note(self, ranker: Ranker, rows: NDArray[np.int64], scores: FloatArray, seen: Seen) -> None:
        every = np.ones((1, self.dataset.num_items), np.bool_)
        candidates = every if seen == "in" else ~seen_mask(self.dataset, rows)
        candidates[:, 0] = False
        columns = top_lists(scores, candidates, self.k)[1]
        counts = self.lists.setdefault((f"seen_{seen}", ranker.name), np.zeros(self.dataset.num_items, np.int64))
        counts += np.bincount(columns, minlength=len(counts))
        if seen == "in":
            came_true = self.dataset.item[rows][:, None] == np.arange(1, self.dataset.num_items)
            for name, probabilities in readings(ranker, scores).items():
                self.calibration.setdefault(name, Calibration()).add(probabilities[:, 1:], came_true)


@dataclass(frozen=True, eq=False)
class WatchedBaseline:
    """A ranker that is watched; everything but `score` is the ranker's own."""

    ranker: Ranker
    watcher: Watcher
    missing: Mapping[Seen, NDArray[np.bool_]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ranker, name)

    @property
    def name(self) -> str:
        """Name of the ranker."""
        return self.ranker.name

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings of the ranker, empty if it has none."""
        return getattr(self.ranker, "settings", {})

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns the ranker's scores."""
        scores = np.asarray(self.ranker.score(dataset, rows))
        self.watcher.note(self.ranker, rows, scores, self.missing)
        return scores


def watch_baselines(watcher: Watcher, fitted: Mapping[Seen, Sequence[Baseline]]) -> dict[Seen, list[Baseline]]:
    """Returns the baselines of each protocol, watched under it."""
    return {seen: [watcher.watch(baseline, (seen,)) for baseline in found] for seen, found in fitted.items()}


def readings(ranker: Ranker, scores: FloatArray) -> dict[str, FloatArray]:
    """Returns the scores as probabilities, by the method's name and how they were read; empty if they are none.

    Logits, which a ranker with `probability` gives, are read twice: as that method says, and by softmax over the
    catalogue as the distribution of the next item. Scores that are such a distribution already are taken as they are.

    Args:
        ranker: What scored.
        scores: (N, num_items); column 0 is no item.
    """
    to_probability = getattr(ranker, "probability", None)
    if to_probability is not None:
        shares = np.zeros(scores.shape)
        shares[:, 1:] = softmax(scores[:, 1:].astype(np.float64), axis=1)
        return {
            f"{ranker.name}, sigmoid": np.asarray(to_probability(scores), np.float64),
            f"{ranker.name}, softmax": shares,
        }
    shares = scores[:, 1:]
    if (shares >= 0).all() and np.allclose(shares.sum(axis=1), 1, atol=_SUM_TOLERANCE):
        return {ranker.name: np.clip(scores, 0, 1)}
    return {}


@dataclass(eq=False)
class WatchedFuture:
    """A fitted ranker of a temporal cut, with its lists noted while it is evaluated.

    Attributes:
        ranker: What to watch.
        cut: What it is evaluated on.
        views: Views whose lists to note.
        k: Length of a list.
        lists: View to (I,) int64, in how many lists each item is.
    """

    ranker: FutureRanker
    cut: FutureCut
    views: Sequence[View]
    k: int = PRIMARY_K
    lists: dict[View, NDArray[np.int64]] = field(default_factory=dict[View, NDArray[np.int64]])

    def __post_init__(self) -> None:
        self._bought = self.cut.history.user_item()

    @property
    def name(self) -> str:
        """Name of the ranker."""
        return self.ranker.name

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings of the ranker."""
        return self.ranker.settings

    def fit(self, history: Any) -> "WatchedFuture":
        """Fits the ranker."""
        self.ranker.fit(history)
        return self

    def score(self, users: IntArray) -> FloatArray:
        """Returns the ranker's scores."""
        scores = self.ranker.score(users)
        for view in self.views:
            old = self._bought[users].toarray() > 0 if view == "new" else np.zeros((1, scores.shape[1]), np.bool_)
            counts = self.lists.setdefault(view, np.zeros(scores.shape[1], np.int64))
            counts += np.bincount(top_lists(scores, ~old, self.k)[1], minlength=len(counts))
        return scores
