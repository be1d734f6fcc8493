"""TIFU-kNN: a shopper's decayed frequencies, mixed with those of the shoppers most like them."""

from dataclasses import dataclass
from math import log

import numpy as np
from scipy import sparse

from training.evaluation.future_rankers import HistoryRanker, dense
from training.evaluation.metrics import FloatArray
from training.evaluation.purchases import History, IntArray


@dataclass(eq=False)
class TifuKnn(HistoryRanker):
    """Temporal item frequency with nearest neighbours among shoppers.

    Source: Hu et al., "Modeling personalized item frequency information for next-basket recommendation", SIGIR 2020.

    A shopper's baskets fall into groups. A group's vector is the mean of its baskets, each weighted by `basket_decay`
    to the number of baskets after it in the group; the shopper's vector is the mean of the groups, each weighted by
    `group_decay` to the number of groups after it. The score is `alpha` times the shopper's own vector plus
    1 - `alpha` times the mean vector of the `neighbours` nearest other shoppers (Euclidean distance). Groups are
    counted back from the latest basket, so that only the earliest one may be short.

    With groups of one basket (`of_half_life`) it is a decayed mean of baskets. Divided by all groups, a long history
    would make a short vector; `longest` bounds the divisor.

    Attributes:
        neighbours: Number of shoppers, k of the paper.
        alpha: Weight of the shopper's own vector, 0 to 1.
        group_size: Baskets in a group.
        basket_decay: Decay within a group, r_b of the paper.
        group_decay: Decay from group to group, r_g of the paper.
        longest: Groups that the shopper's vector is divided by at most; None for all of them, as in the paper.
    """

    neighbours: int = 300
    alpha: float = 0.7
    group_size: int = 7
    basket_decay: float = 0.9
    group_decay: float = 0.7
    longest: float | None = None

    @classmethod
    def of_half_life(cls, half_life: float, neighbours: int = 300, alpha: float = 0.5) -> "TifuKnn":
        """Returns the ranker of ungrouped baskets whose weight halves every `half_life` baskets.

        The divisor is bounded by the sum of the weights of an endless history.

        Args:
            half_life: In baskets.
            neighbours: Number of shoppers.
            alpha: Weight of the shopper's own vector.
        """
        return cls(neighbours, alpha, 1, 1.0, 0.5 ** (1 / half_life), half_life / log(2))

    @property
    def name(self) -> str:
        """Name in tables."""
        return "TIFU-kNN"

    def _prepare(self, history: History) -> None:
        group, place = np.divmod(history.age, self.group_size)
        groups = -(-history.num_baskets // self.group_size)[history.user]
        # Only the earliest group may hold fewer baskets than the others.
        short = history.num_baskets[history.user] - (groups - 1) * self.group_size
        size = np.where(group == groups - 1, short, self.group_size)
        divisor = groups if self.longest is None else np.minimum(groups, self.longest)
        weights = self.basket_decay**place / size * self.group_decay**group / divisor
        self._vectors = history.user_item(weights, history.firsts)
        self._squares = dense(self._vectors.multiply(self._vectors).sum(axis=1)).ravel()

    def _raw(self, users: IntArray) -> FloatArray:
        own = self._vectors[users]
        count = min(self.neighbours, len(self._squares) - 1)
        scores = self.alpha * dense(own)
        if count < 1:
            return scores
        # The squared length of the asking shopper is the same for all and left out.
        distance = self._squares[None, :] - 2 * dense(own @ self._vectors.T)  # (len(users), U)
        distance[np.arange(len(users)), users] = np.inf
        near = np.argpartition(distance, count - 1, axis=1)[:, :count]
        rows = np.repeat(np.arange(len(users)), count)
        shape = (len(users), len(self._squares))
        chosen = sparse.csr_matrix((np.full(near.size, 1 / count), (rows, near.ravel())), shape=shape)
        return scores + (1 - self.alpha) * dense(chosen @ self._vectors)
