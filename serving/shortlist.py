"""The first of two stages for large inventories: which candidates are worth an exact score.

What makes a score costly is the shopper's short-term taste as it looks from a candidate: target attention matches every
event with every candidate. It varies in few directions, and is close to a linear map of features of the candidate that
the network itself has learnt (the first layers of gate and prediction, as far as they are the candidate's own). So it
is computed for a sample of candidates, a map is fitted by ridge regression, and the network's own last layers run on
the mapped values of all candidates. What comes out on top is often not where the sample lies; so the best are computed
exactly, the map is corrected by a second regression, on them, and the candidates that come next to them are ranked once
more. None of this depends on the length of the history, but for the few exact ones.

A single vector for the shopper, as nearest-neighbour search over the embeddings needs one, cannot stand for these
layers: the best 1,000 of 100,000 candidates by inner product with the best-fitting vector hold less than half of the
true top 16, those chosen here nearly all of it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from serving.network import LinearFit, Network, Positions, State
from serving.ranking import Float32, Float64, top_k

_SEED = 0
_RIDGE = 1e-3  # of a feature's variance
_RIDGE_OF_CORRECTION = 0.1
_DIRECTIONS = 15  # of short-term taste: one less than the 16 columns that a processor multiplies at a time
_CORRECTED = 4  # candidates that are ranked once more, for each place on the shortlist
_LEADERS = 256  # candidates that the correction is fitted on


class Shortlist:
    """Chooses candidates by approximate score. Deterministic: the sample is fixed for a catalogue."""

    def __init__(self, network: Network, sample: int) -> None:
        """Prepares the regression on `sample` candidates, all of them if there are fewer."""
        count = len(network.vectors)
        self._network = network
        chosen = np.random.default_rng(_SEED).choice(count, min(sample, count), replace=False)
        self._sample = np.sort(chosen).astype(np.intp)
        self._regression = _Regression(network.features(self._sample), _RIDGE)

    def best(self, state: State, size: int, positions: Positions | None = None, *, share: bool = True) -> Positions:
        """Returns the candidates with the highest approximate scores.

        Args:
            state: Encoded history.
            size: How many; all of them if there are fewer.
            positions: Candidates to choose among, rising; by default all.
            share: As in `Network.logits`.

        Returns:
            Their positions, rising.
        """
        network = self._network
        fit = self._fit(network.short_term(state, self._sample, share=share))
        scores = network.approximate(state, fit, positions, share=share)
        passed = top_k(scores, _CORRECTED * size)
        passed = passed if positions is None else positions[passed]
        fit = self._corrected(fit, state, np.sort(passed[:_LEADERS]), share)
        passed = np.sort(passed)
        scores = network.approximate(state, fit, passed, share=share)
        return passed[np.sort(top_k(scores, size))]

    def _fit(self, short_term: Float32) -> LinearFit:
        """Least squares of short-term taste (sample, H) in the directions that it varies most in."""
        values = _finite(short_term)
        mean = values.mean(axis=0)
        centred = values - mean
        directions = np.linalg.eigh(centred.T @ centred)[1][:, : -_DIRECTIONS - 1 : -1]  # (H, R - 1)
        slope, offset = self._regression.fit(centred @ directions)
        return _linear_fit(slope, offset, directions.T, mean)

    def _corrected(self, fit: LinearFit, state: State, leaders: Positions, share: bool) -> LinearFit:
        """The fit plus a linear map of the vectors, fitted to what it misses at the leaders."""
        network = self._network
        missed = network.short_term(state, leaders, share=share)
        missed = missed - (network.features(leaders) @ fit.slope + fit.offset) @ fit.basis
        vectors = network.vectors[leaders]
        more, shift = _Regression(vectors, _RIDGE_OF_CORRECTION).fit(_finite(missed))
        slope = fit.slope @ fit.basis  # (K, H)
        slope[: vectors.shape[1]] += more
        return _linear_fit(slope, shift, np.eye(len(shift)), fit.offset @ fit.basis)


class _Regression:
    """Ridge regression on fixed rows."""

    def __init__(self, rows: Float32, ridge: float) -> None:
        """Prepares it for rows (N, K), N >= 1; a penalty of `ridge` weighs like `ridge` of a feature's variance."""
        values = _finite(rows)
        self._mean = values.mean(axis=0)
        centred = values - self._mean
        scale = np.sqrt((centred**2).mean(axis=0))
        scale = np.maximum(scale, 1e-6 * scale.max() + np.finfo(np.float64).tiny)  # no variance at all: slope 0
        centred /= scale
        gram = centred.T @ centred + ridge * len(rows) * np.eye(len(scale))
        self._solve = np.linalg.solve(gram, centred.T) / scale[:, None]  # (K, N)

    def fit(self, values: Float64) -> tuple[Float64, Float64]:
        """Slope (K, V) and offset (V,) for values (N, V)."""
        mean = values.mean(axis=0)
        slope = self._solve @ (values - mean)
        return slope, mean - self._mean @ slope


def _linear_fit(slope: Any, offset: Any, basis: Any, constant: Any) -> LinearFit:
    """Fit of `(features @ slope + offset) @ basis + constant`."""
    return LinearFit(
        np.pad(slope, [(0, 0), (0, 1)]).astype(np.float32),
        np.append(offset, 1).astype(np.float32),
        np.concatenate([basis, constant[None]]).astype(np.float32),
    )


def _finite(values: npt.NDArray[Any]) -> Float64:
    """Values with 0 for what is not finite: a candidate with a broken vector must not break the fit for all."""
    return np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
