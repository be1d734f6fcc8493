"""Negatives of training rows: from the batch, from the row's own history, from the catalogue; and their correction."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.config import OptimizerConfig

Ids = NDArray[np.int32]


class Catalogue:
    """Draws items of the whole catalogue, each with a probability proportional to its count to a power.

    Args:
        counts: (num_items,) training events of each item; entry 0, the unknown item, is never drawn.
        power: 0 draws uniformly, 1 by popularity. Between them lies what Mikolov et al., NIPS 2013, section 2.2, found
            best for words (0.75).
    """

    def __init__(self, counts: NDArray[Any], power: float = 0.0):
        self.num_items = len(counts)
        # An item that was never counted would never be drawn: its correction would be infinite.
        weights = np.maximum(np.asarray(counts, np.float64), 1.0) ** power
        weights[0] = 0.0
        self._uniform = power == 0.0
        self._weights = weights
        self._ends = np.cumsum(weights)

    def draw(self, positives: Ids, count: int, rng: np.random.Generator) -> Ids:
        """Draws (B, count) items for each row, any but its positive (B,)."""
        if self._uniform:
            # From one id fewer, then moved past the positive: no second try is needed.
            drawn = rng.integers(1, self.num_items - 1, (len(positives), count), dtype=np.int32)
            return drawn + (drawn >= positives[:, None])
        weight = self._weights[positives][:, None]
        places = rng.random((len(positives), count)) * (self._ends[-1] - weight)
        # Likewise: the positive's own stretch is cut out of the line.
        places += np.where(places >= self._ends[positives][:, None] - weight, weight, 0.0)
        drawn = np.searchsorted(self._ends, places, side="right")
        # Rounding at the end of a stretch may lead one item too far or onto the positive.
        last = self.num_items - 1
        drawn = np.clip(drawn, 1, last)
        other = np.where(positives < last, positives + 1, positives - 1)[:, None]
        return np.where(drawn == positives[:, None], other, drawn).astype(np.int32)

    def share(self, candidates: Ids) -> NDArray[np.float64]:
        """Returns (B, C), the probability of each candidate in one draw; the first one is the row's positive."""
        if self._uniform:
            return np.full(candidates.shape, 1.0 / (self.num_items - 2))
        return self._weights[candidates] / (self._ends[-1] - self._weights[candidates[:, :1]])


def all_others(positives: Ids, num_items: int) -> Ids:
    """Returns (B, num_items - 2) int32, every item but the positive, the unknown one left out."""
    rest = np.arange(1, num_items - 1, dtype=np.int32)
    return rest + (rest >= positives[:, None])


def from_history(
    catalogue: Catalogue, items: Ids, length: Ids, positives: Ids, count: int, rng: np.random.Generator
) -> Ids:
    """Draws (B, count) events of the history; where one is the positive, an item of the catalogue instead.

    Args:
        catalogue: Where to draw instead.
        items: (B, T) history, right-padded.
        length: (B,) events in it.
        positives: (B,) item ids.
        count: Draws of each row.
        rng: Source of randomness.
    """
    place = (rng.random((len(positives), count)) * length[:, None]).astype(np.int64)
    drawn = np.take_along_axis(items, place, axis=1)
    unusable = (drawn == positives[:, None]) | (drawn == 0)
    return np.where(unusable, catalogue.draw(positives, count, rng), drawn)


def expected_counts(
    candidates: Ids, items: Ids, length: Ids, catalogue: Catalogue, config: OptimizerConfig
) -> NDArray[np.float64]:
    """Returns how often each candidate is expected among its row's negatives, (B, C).

    Subtracting its logarithm from the logits in training makes the softmax over a few candidates estimate the one over
    the whole catalogue (Bengio and Senecal, IEEE Transactions on Neural Networks 19(4), 2008): without it an item's
    score also says how seldom it is drawn, and items of the history, which in-batch negatives spare, are overrated.

    Args:
        candidates: (B, C) item ids, the positive first.
        items: (B, T) the rows' histories, right-padded.
        length: (B,) events in them.
        catalogue: How items of the catalogue are drawn.
        config: Numbers of negatives of each kind.
    """
    share = np.bincount(candidates[:, 0], minlength=catalogue.num_items) / len(candidates)  # among the positives
    spared = np.sort(np.concatenate([items, candidates[:, :1]], axis=1), axis=1)
    first = np.concatenate([np.ones((len(spared), 1), bool), spared[:, 1:] != spared[:, :-1]], axis=1)
    open_share = 1.0 - (share[spared] * first).sum(axis=1)  # of the batch that may serve as a negative
    occurrences = (items[:, None, :] == candidates[:, :, None]).sum(axis=2)  # (B, C)
    frequency = occurrences / length[:, None]
    in_batch = config.train_num_ngs * share[candidates] / np.maximum(open_share, 1.0 / len(candidates))[:, None]
    replaced = config.history_num_ngs * frequency[:, :1]  # draws from the history that hit the positive
    anywhere = (config.catalogue_num_ngs + replaced) * catalogue.share(candidates)
    return np.where(occurrences > 0, 0.0, in_batch) + config.history_num_ngs * frequency + anywhere
