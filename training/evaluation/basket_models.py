"""Baselines that count baskets: the shopper's own frequency with decay, TIFU-kNN, and blends of baselines.

Events of one shopper at one time are a basket. The counting itself is that of the temporal evaluation
(`future_rankers`, `tifu`); here each row of the data set asks as a shopper of its own, with the events before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from training.data.sequences import EncodedSequences
from training.evaluation.future_rankers import dense, own_counts
from training.evaluation.histories import earlier_events, training_events
from training.evaluation.metrics import FloatArray
from training.evaluation.protocol import Seen, primary_metric, rank_rows
from training.evaluation.purchases import History, IntArray
from training.evaluation.tifu import neighbour_means, shopper_vectors
from training.evaluation.tuning import Baseline

TINY: Final = 1e-6  # weight of popularity, 0 to 1, where it only breaks ties
MAX_SHOPPERS: Final = 2_000  # shoppers among whom neighbours are looked for: bounds time and memory
MAX_TIFU_ROWS: Final = 500  # rows that its settings are chosen on: it takes longer than all other baselines together
_CHUNK: Final = 512  # rows whose distances to all of them are held at a time


def baskets_of(dataset: EncodedSequences, events: IntArray, owner: IntArray, num_owners: int) -> History:
    """Returns given events as the baskets of their owners.

    Args:
        dataset: Encoded sequences.
        events: (E,) row numbers, sorted by (owner, position).
        owner: (E,) whose basket each event is in, from 0, rising.
        num_owners: Number of owners; one without events has no baskets.

    Returns:
        Items keep their ids. Baskets with nothing but unknown items count, as they do in `purchases.history_before`.
    """
    item, time = dataset.item[events].astype(np.int64), dataset.timestamp[events]
    begins = np.concatenate([[True], (np.diff(owner) != 0) | (np.diff(time) != 0)])[: len(events)]
    basket = np.cumsum(begins) - 1
    num_baskets = np.bincount(owner[begins], minlength=num_owners)
    age = np.cumsum(num_baskets)[owner] - 1 - basket
    rows = np.flatnonzero(item > 0)
    rows = rows[np.lexsort((item[rows], basket[rows]))]
    return History(
        before=int(time.max(initial=0)) + 1,
        user_ids=np.arange(num_owners),
        item_ids=np.arange(dataset.num_items),
        user=owner[rows],
        item=item[rows],
        time=time[rows],
        basket=basket[rows],
        age=age[rows],
        num_baskets=num_baskets,
        basket_time=time[begins],
    )


def row_baskets(dataset: EncodedSequences, rows: NDArray[Any]) -> History:
    """Returns the baskets before each row, of all splits; owner i is the shopper of `rows[i]`."""
    found = earlier_events(dataset, rows)
    return baskets_of(dataset, *_oldest_first(found.index, found.event), len(rows))


def _oldest_first(index: IntArray, event: IntArray) -> tuple[IntArray, IntArray]:
    order = np.lexsort((event, index))
    return event[order], index[order]


@dataclass(frozen=True)
class BasketFrequency:
    """In how many of the shopper's own baskets the item was, a basket counting half each `half_life` baskets back.

    Attributes:
        share: (num_items,) popularity, which breaks ties.
        half_life: In baskets.
        name: Name in tables.
    """

    share: FloatArray
    half_life: float
    name: str = "own frequency, basket decay"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Chosen half-life."""
        return {"half_life": self.half_life}

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns (len(rows), num_items)."""
        return dense(own_counts(row_baskets(dataset, rows), self.half_life)) + TINY * self.share


@dataclass(frozen=True)
class Tifu:
    """TIFU-kNN (`tifu.TifuKnn`; Hu et al., SIGIR 2020): own decayed frequencies, and those of the nearest shoppers.

    Neighbours are known by their training events, at most `MAX_SHOPPERS` of them, evenly spaced; the asking shopper by
    all events before the row.

    Attributes:
        share: (num_items,) popularity, which breaks ties.
        vectors: (U, num_items) vectors of the neighbours.
        users: (U,) their user ids, rising.
        neighbours: Number of shoppers, k of the paper.
        alpha: Weight of the shopper's own vector, 0 to 1.
        group_size: Baskets in a group.
        basket_decay: Decay within a group.
        group_decay: Decay from group to group.
        name: Name in tables.
    """

    share: FloatArray
    vectors: sparse.csr_matrix
    users: IntArray
    neighbours: int = 300
    alpha: float = 0.7
    group_size: int = 7
    basket_decay: float = 0.9
    group_decay: float = 0.7
    name: str = "TIFU-kNN"

    @classmethod
    def fit(
        cls, dataset: EncodedSequences, share: FloatArray, group_size: int, basket_decay: float, group_decay: float
    ) -> "Tifu":
        """Returns the method with the neighbours' vectors, made of training events only."""
        events = training_events(dataset)
        users = np.unique(dataset.user[events]).astype(np.int64)
        if len(users) > MAX_SHOPPERS:
            users = users[np.linspace(0, len(users) - 1, MAX_SHOPPERS).astype(np.int64)]
            events = events[np.isin(dataset.user[events], users)]
        owner = np.searchsorted(users, dataset.user[events])
        history = baskets_of(dataset, events, owner, len(users))
        vectors = shopper_vectors(history, group_size, basket_decay, group_decay)
        return cls(share, vectors, users, group_size=group_size, basket_decay=basket_decay, group_decay=group_decay)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Chosen settings."""
        names = ("neighbours", "alpha", "group_size", "basket_decay", "group_decay")
        return {name: getattr(self, name) for name in names}

    def parts(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Returns the shoppers' own vectors and their neighbours' means, (len(rows), num_items) each."""
        own = shopper_vectors(row_baskets(dataset, rows), self.group_size, self.basket_decay, self.group_decay)
        asking = dataset.user[rows].astype(np.int64)
        place = np.minimum(np.searchsorted(self.users, asking), max(len(self.users) - 1, 0))
        selves = np.where(self.users[place] == asking, place, -1) if len(self.users) else np.full(len(rows), -1)
        others = np.zeros((len(rows), dataset.num_items))
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            means = neighbour_means(own[part], self.vectors, self.neighbours, selves[part])
            others[part] = 0.0 if means is None else means
        return dense(own), others

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns (len(rows), num_items)."""
        own, others = self.parts(dataset, rows)
        return self.alpha * own + (1 - self.alpha) * others + TINY * self.share


@dataclass(frozen=True)
class BaselineBlend:
    """Weighted sum of the scores of other baselines, as `future_rankers.Blend`.

    Attributes:
        blended: Fitted baselines.
        weights: One for each of them.
    """

    blended: tuple[Baseline, ...]
    weights: tuple[float, ...]

    @property
    def name(self) -> str:
        """Names of the parts, in order."""
        return " + ".join(part.name for part in self.blended)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Weights, and the settings of each part."""
        return {"weights": list(self.weights), "parts": [{part.name: dict(part.settings)} for part in self.blended]}

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns (len(rows), num_items)."""
        return _weighted([part.score(dataset, rows) for part in self.blended], self.weights)


def _weighted(scores: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    return sum((weight * each for weight, each in zip(weights, scores, strict=True)), np.zeros(scores[0].shape))


@dataclass(frozen=True)
class Known:
    """Scores that were computed before, of rows in rising order: tuning weighs them again and again."""

    rows: NDArray[np.int64]
    scores: FloatArray
    name: str = "known"

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns (len(rows), num_items)."""
        return self.scores[np.searchsorted(self.rows, rows)]


def tune_weights(
    scores: Sequence[FloatArray],
    candidates: Sequence[tuple[float, ...]],
    dataset: EncodedSequences,
    rows: NDArray[np.int64],
    seen: Seen,
) -> tuple[tuple[float, ...], float]:
    """Returns the weights with the highest full-ranking NDCG@10 of the weighted sum, the first on a tie, and its value.

    Args:
        scores: (len(rows), num_items) of each part.
        candidates: Weights to try, one for each part.
        dataset: Encoded sequences.
        rows: From `tuning.tuning_rows`; if there is none, the first weights are taken.
        seen: Protocol to tune for.
    """
    if not len(rows):
        return candidates[0], 0.0
    values = [
        float(primary_metric(rank_rows(Known(rows, _weighted(scores, weights)), dataset, rows, seen=seen)).mean())
        for weights in candidates
    ]
    best = int(np.argmax(values))
    return candidates[best], values[best]


def tuned_tifu(
    dataset: EncodedSequences,
    share: FloatArray,
    rows: NDArray[np.int64],
    seen: Seen,
    grids: tuple[Sequence[tuple[float, float]], Sequence[int], Sequence[float]],
    group_size: int = 7,
) -> Tifu:
    """Returns TIFU-kNN with the best decays, then the best number of neighbours, each with the best alpha.

    Args:
        dataset: Encoded sequences.
        share: Popularity.
        rows: From `tuning.tuning_rows`; at most `MAX_TIFU_ROWS` of them, evenly spaced, are used.
        seen: Protocol to tune for.
        grids: Pairs of (basket_decay, group_decay); numbers of neighbours; values of alpha. First ones: the defaults.
        group_size: Baskets in a group.
    """
    decays, neighbours, alphas = grids
    rows = rows[np.linspace(0, len(rows) - 1, MAX_TIFU_ROWS).astype(np.int64)] if len(rows) > MAX_TIFU_ROWS else rows
    weights = [(alpha, 1 - alpha, TINY) for alpha in alphas]
    popularity = np.broadcast_to(share, (len(rows), len(share)))
    best, best_value = Tifu.fit(dataset, share, group_size, *decays[0]), -1.0

    def attempt(ranker: Tifu) -> None:
        nonlocal best, best_value
        scores = (*ranker.parts(dataset, rows), popularity)
        (alpha, *_), value = tune_weights(scores, weights, dataset, rows, seen)
        if value > best_value:
            best, best_value = replace(ranker, alpha=alpha), value

    for pair in decays:
        attempt(replace(Tifu.fit(dataset, share, group_size, *pair), neighbours=neighbours[0]))
    for count in neighbours[1:]:
        attempt(replace(best, neighbours=count))
    return best


def tuned_blend(
    blended: Sequence[Baseline],
    weights: Sequence[float],
    dataset: EncodedSequences,
    rows: NDArray[np.int64],
    seen: Seen,
) -> BaselineBlend:
    """Returns the blend with the first part's weight 1 and the others' learned, any of `weights` for each.

    Args:
        blended: Fitted baselines.
        weights: Weights to try.
        dataset: Encoded sequences.
        rows: From `tuning.tuning_rows`.
        seen: Protocol to tune for.
    """
    scores = [part.score(dataset, rows) for part in blended]
    candidates = [(1.0, *rest) for rest in product(weights, repeat=len(blended) - 1)]
    return BaselineBlend(tuple(blended), tune_weights(scores, candidates, dataset, rows, seen)[0])
