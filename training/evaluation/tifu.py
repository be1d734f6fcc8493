"""TIFU-kNN: a shopper's decayed frequencies, mixed with those of the shoppers most like them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from training.evaluation.future_rankers import HistoryRanker, dense
from training.evaluation.metrics import FloatArray
from training.evaluation.purchases import History, IntArray


def shopper_vectors(history: History, group_size: int, basket_decay: float, group_decay: float) -> sparse.csr_matrix:
    """Returns (U, I) float64: each shopper's vector of the paper, section 3.2; `TifuKnn` says what is in it.

    Args:
        history: Baskets of the shoppers.
        group_size: Baskets in a group.
        basket_decay: Decay within a group, r_b of the paper.
        group_decay: Decay from group to group, r_g of the paper.
    """
    group, place = np.divmod(history.age, group_size)
    groups = -(-history.num_baskets // group_size)[history.user]
    # Only the earliest group may hold fewer baskets than the others.
    short = history.num_baskets[history.user] - (groups - 1) * group_size
    size = np.where(group == groups - 1, short, group_size)
    weights = basket_decay**place / size * group_decay**group / groups
    return history.user_item(weights, history.firsts)


def neighbour_means(
    own: sparse.csr_matrix, vectors: sparse.csr_matrix, neighbours: int, selves: IntArray
) -> NDArray[np.float64] | None:
    """Returns (B, I) float64: for each of `own` the mean of its nearest vectors; None if there is no other vector.

    Args:
        own: (B, I) vectors of the asking shoppers.
        vectors: (U, I) vectors of all shoppers.
        neighbours: How many of them count.
        selves: (B,) row of each asking shopper among `vectors`, which is no neighbour of its own; -1 for none.
    """
    squares = dense(vectors.multiply(vectors).sum(axis=1)).ravel()
    count = min(neighbours, len(squares) - 1)
    if count < 1:
        return None
    # The squared length of the asking shopper is the same for all and left out.
    distance = squares[None, :] - 2 * np.asarray(vectors @ dense(own).T).T  # (B, U); a quarter of sparse's time
    known = np.flatnonzero(selves >= 0)
    distance[known, selves[known]] = np.inf
    near = np.argpartition(distance, count - 1, axis=1)[:, :count]
    rows = np.repeat(np.arange(len(selves)), count)
    shape = (len(selves), len(squares))
    chosen = sparse.csr_matrix((np.full(near.size, 1 / count), (rows, near.ravel())), shape=shape)
    return dense(chosen @ vectors)


@dataclass(eq=False)
class TifuKnn(HistoryRanker):
    """Temporal item frequency with nearest neighbours among shoppers.

    Source: Hu et al., "Modeling personalized item frequency information for next-basket recommendation", SIGIR 2020.

    A shopper's baskets fall into groups. A group's vector is the mean of its baskets, each weighted by `basket_decay`
    to the number of baskets after it in the group; the shopper's vector is the mean of the groups, each weighted by
    `group_decay` to the number of groups after it. The score is `alpha` times the shopper's own vector plus
    1 - `alpha` times the mean vector of the `neighbours` nearest other shoppers (Euclidean distance). Groups are
    counted back from the latest basket, so that only the earliest one may be short.

    Attributes:
        neighbours: Number of shoppers, k of the paper.
        alpha: Weight of the shopper's own vector, 0 to 1.
        group_size: Baskets in a group.
        basket_decay: Decay within a group, r_b of the paper.
        group_decay: Decay from group to group, r_g of the paper.
    """

    neighbours: int = 300
    alpha: float = 0.7
    group_size: int = 7
    basket_decay: float = 0.9
    group_decay: float = 0.7

    @property
    def name(self) -> str:
        """Name in tables."""
        return "TIFU-kNN"

    def _prepare(self, history: History) -> None:
        self._vectors = shopper_vectors(history, self.group_size, self.basket_decay, self.group_decay)

    def _raw(self, users: IntArray) -> FloatArray:
        own = self._vectors[users]
        others = neighbour_means(own, self._vectors, self.neighbours, users)
        return self.alpha * dense(own) + (0.0 if others is None else (1 - self.alpha) * others)
