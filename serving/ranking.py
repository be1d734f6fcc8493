"""Ordering and score arithmetic shared by every kind of answer."""

from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


def top_k(scores: npt.NDArray[Any], k: int) -> npt.NDArray[np.intp]:
    """Positions of the `k` largest scores in order of (-score, position).

    Linear in the number of scores; only the `k` chosen ones are sorted. Ties are broken by position also at the
    boundary, which a plain `argpartition` leaves open.

    Args:
        scores: (N,) without NaN; -inf is the lowest.
        k: How many; all of them if there are fewer.
    """
    if k >= len(scores):
        return np.argsort(-scores, kind="stable")
    boundary = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > boundary)
    ties = np.flatnonzero(scores == boundary)[: k - len(above)]
    chosen = np.concatenate([above, ties])
    return chosen[np.argsort(-scores[chosen], kind="stable")]


def lowest_where_not_finite(logits: Float32) -> Float32:
    """Logits in which NaN and both infinities are -inf, the lowest score there is."""
    finite = np.isfinite(logits)
    return logits if finite.all() else np.where(finite, logits, np.float32(-np.inf))


def sigmoid(logits: Float64) -> Float64:
    """1 / (1 + exp(-x)) without overflow; -inf gives 0."""
    tail = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + tail), tail / (1 + tail))


def popularity_shares(popularity: npt.NDArray[np.int64]) -> Float64:
    """Each product's share of all interactions, in [0, 1): 1 is kept out so that it never reads as certainty."""
    return popularity / (popularity.sum(dtype=np.float64) + 1)
