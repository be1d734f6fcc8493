"""Simple methods for a global temporal cut: counting, co-occurrence, and blends of them.

Every method breaks its ties by popularity, so that what it knows nothing about comes in a sensible order.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from training.evaluation.future import FutureRanker
from training.evaluation.item_models import Ease
from training.evaluation.metrics import FloatArray
from training.evaluation.purchases import SECONDS_PER_DAY, History, IntArray

TIE_BREAK: Final = 1e-9  # weight of popularity, 0 to 1, below any score that a method gives on purpose


@dataclass(eq=False)
class HistoryRanker(ABC):
    """A ranker that keeps the history it was fitted on; fitting it again on the same one costs nothing.

    Its settings are its dataclass fields.
    """

    _history: History | None = field(default=None, init=False, repr=False)
    _popularity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), init=False, repr=False)

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the method in tables."""

    @abstractmethod
    def _prepare(self, history: History) -> None:
        """Learns from a history."""

    @abstractmethod
    def _raw(self, users: IntArray) -> FloatArray:
        """Returns (len(users), I) scores before ties are broken."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Settings it runs with."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.init}

    def fit(self, history: History) -> "HistoryRanker":
        """Learns from the history and returns itself."""
        if self._history is not history:
            popularity = history.popularity()
            self._popularity = TIE_BREAK * popularity / max(popularity.max(initial=0.0), 1.0)
            self._prepare(history)
            self._history = history
        return self

    def score(self, users: IntArray) -> FloatArray:
        """Returns (len(users), I) float64 scores.

        Raises:
            ValueError: If it was not fitted.
        """
        if self._history is None:
            raise ValueError(f"{self.name} should be fitted before it scores. Received: score without fit")
        return self._raw(users) + self._popularity


def dense(matrix: Any) -> NDArray[np.float64]:
    """Returns a sparse or dense matrix as a float64 array."""
    return np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix, dtype=np.float64)


@dataclass(eq=False)
class Popularity(HistoryRanker):
    """Number of purchases of the item, of the last `days` before the cut only if given.

    Attributes:
        days: Length of the time that counts; None is all of it.
    """

    days: int | None = None

    @property
    def name(self) -> str:
        """Name in tables."""
        return "popularity" if self.days is None else "recent popularity"

    def _prepare(self, history: History) -> None:
        since = None if self.days is None else history.before - self.days * SECONDS_PER_DAY
        self._counts = history.popularity(since)

    def _raw(self, users: IntArray) -> FloatArray:
        return np.tile(self._counts, (len(users), 1))


def own_counts(history: History, half_life: float | None) -> sparse.csr_matrix:
    """Returns (U, I) float64: in how many baskets of the shopper the item was, as `OwnFrequency` weighs them."""
    if half_life is None:
        return history.basket_counts()
    return history.user_item(0.5 ** (history.age / half_life), history.firsts)


@dataclass(eq=False)
class OwnFrequency(HistoryRanker):
    """In how many of the shopper's own baskets the item was, a basket counting half each `half_life` baskets back.

    Attributes:
        half_life: In baskets; None counts every basket alike.
    """

    half_life: float | None = None

    @property
    def name(self) -> str:
        """Name in tables."""
        return "own frequency" if self.half_life is None else "own frequency, basket decay"

    def _prepare(self, history: History) -> None:
        self._weights = own_counts(history, self.half_life)

    def _raw(self, users: IntArray) -> FloatArray:
        return dense(self._weights[users])


@dataclass(eq=False)
class MarkovBaskets(HistoryRanker):
    """From the items of a basket to those of the shopper's next one.

    The score of j is the mean over the basket's items i of P(next has j | this has i), divided by the number of baskets
    with j to the power `damping`: without it, what everyone buys hides what follows from i.

    Attributes:
        damping: 0 is the plain probability, 0.5 a directed cosine, 1 the lift.
        half_life: Earlier baskets speak as well, each counting half every `half_life` baskets back; None lets the
            latest one speak alone.
    """

    damping: float = 0.0
    half_life: float | None = None

    @property
    def name(self) -> str:
        """Name in tables."""
        return "Markov basket -> basket"

    def _prepare(self, history: History) -> None:
        total = int(history.num_baskets.sum())
        shape = (total, history.num_items)
        rows = sparse.csr_matrix((np.ones(len(history.item)), (history.basket, history.item)), shape=shape)
        rows.data[:] = 1  # the constructor has summed repeats
        last = np.cumsum(history.num_baskets) - 1
        earlier = np.setdiff1d(np.arange(total), last)
        source, following = rows[earlier], rows[earlier + 1]
        seen = np.maximum(dense(source.sum(axis=0)).ravel(), 1)
        # Only some percent of the pairs occur, so the transitions stay sparse.
        common = np.maximum(dense(following.sum(axis=0)).ravel(), 1) ** -self.damping
        self._transitions = sparse.csr_matrix(sparse.diags(1 / seen) @ (source.T @ following) @ sparse.diags(common))
        weights = (
            (history.age == 0).astype(np.float64) if self.half_life is None else 0.5 ** (history.age / self.half_life)
        )
        spoken = history.user_item(weights, history.firsts)
        totals = dense(spoken.sum(axis=1)).ravel()
        self._spoken = sparse.csr_matrix(sparse.diags(1 / np.where(totals > 0, totals, 1.0)) @ spoken)

    def _raw(self, users: IntArray) -> FloatArray:
        return dense(self._spoken[users] @ self._transitions)


@dataclass(eq=False)
class ItemKnn(HistoryRanker):
    """Sum of the cosine similarities between an item and the shopper's items, over shoppers who bought both.

    Each item keeps its nearest neighbours; an item is no neighbour of its own (Sarwar et al., WWW 2001).

    Attributes:
        neighbours: Number of items kept for each item.
    """

    neighbours: int = 100

    @property
    def name(self) -> str:
        """Name in tables."""
        return "item-kNN (cosine)"

    def _prepare(self, history: History) -> None:
        self._bought = _binary(history)
        together = dense(self._bought.T @ self._bought)
        lengths = np.sqrt(np.maximum(np.diag(together), 1))
        similarity = together / lengths / lengths[:, None]
        np.fill_diagonal(similarity, 0.0)
        if self.neighbours < history.num_items:
            edge = np.partition(similarity, -self.neighbours, axis=0)[-self.neighbours]
            similarity[similarity < edge] = 0.0
        self._similarity = sparse.csr_matrix(similarity)

    def _raw(self, users: IntArray) -> FloatArray:
        return dense(self._bought[users] @ self._similarity)


def _binary(history: History) -> sparse.csr_matrix:
    bought = history.user_item()
    bought.data[:] = 1
    return bought


@dataclass(eq=False)
class EaseRanker(HistoryRanker):
    """EASE on shoppers' sets of items (`item_models.Ease`; Steck, WWW 2019).

    Attributes:
        regularization: Its lambda.
        values: "binary": bought or not; "log": log(1 + number of baskets with the item).
    """

    regularization: float = 300.0
    values: Literal["binary", "log"] = "binary"

    @property
    def name(self) -> str:
        """Name in tables."""
        return "EASE" if self.values == "binary" else "EASE, log counts"

    def _prepare(self, history: History) -> None:
        self._inputs = _binary(history) if self.values == "binary" else history.basket_counts()
        if self.values == "log":
            self._inputs.data = np.log1p(self._inputs.data)
        gram = dense(self._inputs.T @ self._inputs)
        self._weights = Ease.fit(gram, self.regularization).weights

    def _raw(self, users: IntArray) -> FloatArray:
        return dense(self._inputs[users] @ self._weights)


@dataclass(eq=False)
class Blend(HistoryRanker):
    """Weighted sum of the scores of other rankers.

    Attributes:
        parts: Rankers; fitting the blend fits them.
        weights: One for each part.
    """

    parts: Sequence[FutureRanker] = ()
    weights: Sequence[float] = ()

    def __post_init__(self) -> None:
        if not self.parts or len(self.parts) != len(self.weights):
            raise ValueError(
                "`parts` and `weights` should be of one length, at least 1. "
                f"Received: {len(self.parts)} and {len(self.weights)}"
            )

    @property
    def name(self) -> str:
        """Names of the parts, in order."""
        return " + ".join(part.name for part in self.parts)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Weights, and the settings of each part."""
        return {"weights": list(self.weights), "parts": [{part.name: dict(part.settings)} for part in self.parts]}

    def _prepare(self, history: History) -> None:
        for part in self.parts:
            part.fit(history)

    def _raw(self, users: IntArray) -> FloatArray:
        scores = self.weights[0] * self.parts[0].score(users)
        for part, weight in zip(self.parts[1:], self.weights[1:], strict=True):
            scores = scores + weight * part.score(users)
        return scores
