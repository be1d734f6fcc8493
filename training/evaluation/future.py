"""Evaluation on a global temporal cut: learn from everything before a moment, rank what shoppers buy after it.

Vocabulary, popularity, co-occurrence and whatever else a ranker learns come from `History`, made of purchases before
the cut only. Each shopper is one row with a set of targets; the whole vocabulary is ranked. Two views: every item of
the vocabulary, or only the items that are new to the shopper.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from training.evaluation.metrics import BoolArray, FloatArray, basket_metrics
from training.evaluation.purchases import MIN_PURCHASES, SECONDS_PER_DAY, History, IntArray, Purchases, history_before

Target = Literal["window", "next_basket", "next_item"]
View = Literal["all", "new"]

TARGETS: Final[tuple[Target, ...]] = ("window", "next_basket", "next_item")
VIEWS: Final[tuple[View, ...]] = ("all", "new")
TARGET_TITLES: Final[Mapping[Target, str]] = {
    "window": "all items of the next {days} days",
    "next_basket": "the next basket within {days} days",
    "next_item": "the next item within {days} days",
}
VIEW_TITLES: Final[Mapping[View, str]] = {
    "all": "items already bought allowed",
    "new": "only items new to the shopper",
}
DAYS: Final = 21
METRICS: Final = ("NDCG@10", "HR@12", "MAP@12", "P@12", "R@10")
PRIMARY: Final = METRICS[0]
TIE_RULE: Final = "equal scores are put in random order"
_KS: Final = (10, 12)
_CHUNK: Final = 256  # shoppers scored at a time


class FutureRanker(Protocol):
    """Anything that learns from a history and scores every item of its vocabulary for some of its shoppers."""

    @property
    def name(self) -> str:
        """Name of the method in tables."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings it runs with, empty if it has none."""
        ...

    def fit(self, history: History, /) -> Any:
        """Learns from the history; a second call with another history starts afresh."""
        ...

    def score(self, users: IntArray, /) -> FloatArray:
        """Returns (len(users), I) finite scores, the larger the better; `users` are indices of the history."""
        ...


@dataclass(frozen=True, eq=False)
class FutureCut:
    """One cut: what is known before it, and the targets after it.

    Attributes:
        history: What rankers may learn from.
        users: (N,) shoppers with an item of the vocabulary before the cut and a target after it, as indices of the
            history.
        targets: (N, I) bool, the items each of them buys after the cut.
        days: Length of the window after the cut.
        target: Which of its purchases are targets.
    """

    history: History
    users: IntArray
    targets: sparse.csr_matrix
    days: int
    target: Target

    @property
    def until(self) -> int:
        """End of the window, seconds UTC."""
        return self.history.before + self.days * SECONDS_PER_DAY


def temporal_cut(
    purchases: Purchases,
    before: int,
    days: int = DAYS,
    min_purchases: int = MIN_PURCHASES,
    target: Target = "window",
) -> FutureCut:
    """Cuts purchases at one moment for all shoppers.

    Targets are items of the vocabulary: of the whole window ("window"), of the shopper's first basket in it
    ("next_basket"), or of the shopper's first moment in it ("next_item": one item, unless several share that time).

    Args:
        purchases: All purchases.
        before: The cut, seconds UTC.
        days: Length of the window.
        min_purchases: Lines an item needs before the cut to be in the vocabulary.
        target: One of `TARGETS`.

    Raises:
        ValueError: If an argument is out of range, or no shopper has both a history and a target.
    """
    if target not in TARGETS:
        raise ValueError(f"`target` should be one of {TARGETS}. Received: target = {target!r}")
    if days < 1:
        raise ValueError(f"`days` should be a positive integer. Received: days = {days}")
    history = history_before(purchases, before, min_purchases)
    inside = (purchases.time >= before) & (purchases.time < before + days * SECONDS_PER_DAY)
    known = history.user_ids[np.unique(history.user)]  # with a basket of the vocabulary's items, not just any
    inside &= np.isin(purchases.item, history.item_ids) & np.isin(purchases.user, known)
    future = purchases.take(inside)
    if not len(future):
        raise ValueError(
            f"`before` and `days` should leave purchases of known shoppers and items in the window. Received: none "
            f"within {days} days of {before}"
        )
    if target != "window":
        future = _first_of(future, future.time if target == "next_item" else future.basket)
    rows = np.searchsorted(history.user_ids, future.user)
    users, row = np.unique(rows, return_inverse=True)
    column = np.searchsorted(history.item_ids, future.item)
    shape = (len(users), history.num_items)
    targets = sparse.csr_matrix((np.ones(len(row), dtype=np.bool_), (row, column)), shape=shape)
    return FutureCut(history, users, targets, days, target)


def _first_of(future: Purchases, unit: IntArray) -> Purchases:
    """Returns the lines that share the unit (basket or time) of their shopper's earliest line."""
    order = np.lexsort((unit, future.time, future.user))
    first = order[np.concatenate([[True], np.diff(future.user[order]) != 0])]
    users, row = np.unique(future.user, return_inverse=True)
    first_unit = np.empty(len(users), dtype=np.int64)
    first_unit[np.searchsorted(users, future.user[first])] = unit[first]
    return future.take(unit == first_unit[row])


@dataclass(frozen=True, eq=False)
class Outcome:
    """Figures of one ranker in one view.

    Attributes:
        users: (N,) shoppers with a target in this view, as indices of the history.
        values: Metric of `METRICS` to (N,) float64.
    """

    users: IntArray
    values: Mapping[str, NDArray[np.float64]]

    @property
    def means(self) -> dict[str, float]:
        """Metric to its mean over shoppers; 0 without any shopper."""
        return {name: float(value.mean()) if len(value) else 0.0 for name, value in self.values.items()}


def evaluate_ranker(
    ranker: FutureRanker,
    cut: FutureCut,
    rng: np.random.Generator,
    views: Sequence[View] = VIEWS,
    on_chunk: Callable[[int], Any] | None = None,
) -> dict[View, Outcome]:
    """Ranks the vocabulary for every shopper of the cut with a ranker that was fitted on the cut's history.

    Args:
        ranker: Fitted ranker.
        cut: History and targets.
        rng: Source of the random order of equal scores.
        views: Which of `VIEWS`.
        on_chunk: Called with the number of shoppers done, after each chunk.

    Raises:
        ValueError: If the ranker gives scores of another shape, or not finite.
    """
    bought = cut.history.user_item()
    parts: dict[View, list[dict[str, NDArray[np.float64]]]] = {view: [] for view in views}
    kept: dict[View, list[IntArray]] = {view: [] for view in views}
    for rows in _chunks(len(cut.users)):
        users = cut.users[rows]
        scores = _checked(ranker, users, cut.history.num_items)
        relevant = cut.targets[rows].toarray()
        for view in views:
            allowed_scores, allowed_relevant = scores, relevant
            if view == "new":
                old = bought[users].toarray() > 0
                allowed_scores, allowed_relevant = np.where(old, -np.inf, scores), relevant & ~old
            some = np.flatnonzero(allowed_relevant.any(axis=1))
            kept[view].append(users[some])
            if len(some):
                parts[view].append(shopper_metrics(allowed_scores[some], allowed_relevant[some], rng))
        if on_chunk is not None:
            on_chunk(len(rows))
    return {view: _joined(kept[view], parts[view]) for view in views}


def _chunks(count: int) -> Iterator[IntArray]:
    yield from (np.arange(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK))


def _checked(ranker: FutureRanker, users: IntArray, num_items: int) -> FloatArray:
    scores = ranker.score(users)
    if scores.shape != (len(users), num_items):
        raise ValueError(
            f"{ranker.name} should return scores of shape {(len(users), num_items)}. Received: shape {scores.shape}"
        )
    if not np.isfinite(scores).all():
        raise ValueError(f"{ranker.name} should return finite scores. Received: NaN or infinity")
    return scores


def _joined(users: list[IntArray], parts: list[dict[str, NDArray[np.float64]]]) -> Outcome:
    values = {name: np.concatenate([np.zeros(0), *(part[name] for part in parts)]) for name in METRICS}
    return Outcome(np.concatenate([np.zeros(0, dtype=np.int64), *users]), values)


def shopper_metrics(
    scores: FloatArray, relevant: BoolArray, rng: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Returns the metrics of `METRICS` for each row, by `basket_metrics` on the head of each ranking.

    P@12 is hits among the first 12 divided by 12; the others as in `basket_metrics`.

    Args:
        scores: (N, I); items that may not be recommended hold -inf and are no targets.
        relevant: (N, I), which items are targets; each row has at least one.
        rng: Source of the random order of equal scores.
    """
    totals = relevant.sum(axis=1)
    found = basket_metrics(*_heads(scores, relevant, max(_KS), rng), _KS, rng)
    values: dict[str, FloatArray] = {name: found[name] for name in ("NDCG@10", "HR@12", "MAP@12")}
    values["P@12"] = found["Recall@12"] * totals / 12
    values["R@10"] = found["Recall@10"]
    return {name: values[name].astype(np.float64) for name in METRICS}


def _heads(
    scores: FloatArray, relevant: BoolArray, depth: int, rng: np.random.Generator
) -> tuple[FloatArray, BoolArray]:
    """Returns the `depth` best columns of each row, and behind them one unreachable column for each target left out.

    Sorting all columns of all rows takes seconds; only the head of a ranking counts in the metrics, and of the targets
    beyond it only their number.
    """
    if scores.shape[1] <= depth:
        return scores, relevant
    columns = np.argpartition(scores, -depth, axis=1)[:, -depth:]
    edge = np.take_along_axis(scores, columns, axis=1).min(axis=1, keepdims=True)
    tied = np.flatnonzero((scores >= edge).sum(axis=1) > depth)  # more columns on the edge than places: draw them
    draws = np.where(scores[tied] == edge[tied], rng.random((len(tied), scores.shape[1])), -1.0)
    keys = np.where(scores[tied] > edge[tied], 2.0, draws)
    columns[tied] = np.argpartition(keys, -depth, axis=1)[:, -depth:]
    head, hits = np.take_along_axis(scores, columns, axis=1), np.take_along_axis(relevant, columns, axis=1)
    missed = relevant.sum(axis=1) - hits.sum(axis=1)
    beyond = np.arange(int(missed.max(initial=0))) < missed[:, None]
    return np.hstack([head, np.full(beyond.shape, -np.inf)]), np.hstack([hits, beyond])
