"""Whether a predicted probability is the share of times that it comes true."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.evaluation.metrics import BoolArray, FloatArray

_TAIL: Final = np.logspace(-7, np.log10(0.5), 140)
_EDGES: Final = np.unique(np.concatenate([[0.0], _TAIL, 1 - _TAIL, [1.0]]))  # fine near 0 and near 1
POINTS: Final = 12


@dataclass(frozen=True)
class Curve:
    """Predicted against observed.

    Attributes:
        predicted: Mean predicted probability of each bin, rising.
        observed: Share of the bin's pairs that came true.
        pairs: Number of pairs of each bin.
        error: Expected calibration error: mean of |observed - predicted| over all pairs (Naeini et al., AAAI 2015).
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    pairs: tuple[int, ...]
    error: float


class Calibration:
    """Collects pairs of a predicted probability and whether it came true, in bins, without keeping the pairs."""

    def __init__(self) -> None:
        self._sums = np.zeros((3, len(_EDGES) - 1))  # pairs, predicted, came true

    def add(self, probabilities: FloatArray, came_true: BoolArray) -> None:
        """Adds pairs.

        Args:
            probabilities: Any shape, 0 to 1.
            came_true: The same shape.

        Raises:
            ValueError: If the shapes differ or a probability is outside 0 to 1.
        """
        if probabilities.shape != came_true.shape or not ((probabilities >= 0) & (probabilities <= 1)).all():
            raise ValueError(
                "`probabilities` should lie between 0 and 1 and have the shape of `came_true`. "
                f"Received: shapes {probabilities.shape} and {came_true.shape}, or a value outside"
            )
        flat, true = np.ravel(probabilities).astype(np.float64), np.ravel(came_true)
        bins = np.clip(np.searchsorted(_EDGES, flat, side="right") - 1, 0, self._sums.shape[1] - 1)
        for place, weights in enumerate((None, flat, true)):
            self._sums[place] += np.bincount(bins, weights, self._sums.shape[1])

    def curve(self, points: int = POINTS) -> Curve:
        """Returns the curve with about `points` bins that share what came true evenly, all of them if there are few.

        Raises:
            ValueError: If no pair was added.
        """
        filled = self._sums[:, self._sums[0] > 0]
        if not filled.shape[1]:
            raise ValueError("at least one pair should be added before the curve is asked for. Received: none")
        weight = filled[2] + filled[1]  # neither a bin without predictions nor one without events should be empty
        place = np.minimum((np.cumsum(weight) - weight) * points // max(float(weight.sum()), 1e-300), points - 1)
        place = np.unique(place, return_inverse=True)[1]
        merged: NDArray[Any] = np.stack([np.bincount(place, row) for row in filled])
        predicted, observed = merged[1] / merged[0], merged[2] / merged[0]
        error = float((np.abs(predicted - observed) * merged[0]).sum() / merged[0].sum())
        return Curve(tuple(predicted.tolist()), tuple(observed.tolist()), tuple(merged[0].astype(int).tolist()), error)
