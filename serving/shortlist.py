"""The first of two stages for large inventories: which candidates are worth an exact score.

What makes a score costly is the shopper's short-term taste as it looks from a candidate: target attention matches every
event with every candidate. It varies in few directions, and is close to a linear map of features of the candidate that
the network itself has learnt (the first layers of gate and prediction, as far as they are the candidate's own). So it
is computed for a sample of candidates, a map is fitted by ridge regression, and the rest of the network runs on the
mapped values: first, for all candidates, with linear maps in place of its last layers, too; then as it is, for the best
of those. What comes out on top is often not where the sample lies; so the best are computed exactly, the map is
corrected by another regression, on them, and those around them are ranked once more. None of this depends on the length
of the history, but for the few exact ones.

A single vector for the shopper, as nearest-neighbour search over the embeddings needs one, cannot stand for these
layers: the best 1,000 of 100,000 candidates by inner product with the best-fitting vector hold less than half of the
true top 16, those chosen here nearly all of it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from serving.network import LinearFit, Network, Positions, ReadOut, State
from serving.ranking import Float32, Float64, top_k

_SEED = 0
_RIDGE = 1e-3  # of a feature's variance
_RIDGE_OF_READ_OUT = 0.01
_RIDGE_OF_CORRECTION = 0.1
_WEIGHTY = 64  # place in the sample that weighs half as much as the first
_DIRECTIONS = 15  # of short-term taste: one less than the 16 columns that a processor multiplies at a time
_SKETCHED = 8  # candidates that pass the first sieve, for each place on the shortlist
_CORRECTED = 4  # candidates that are ranked once more, for each place on the shortlist
_SINGLE_THREADED = 1 << 18  # multiplications that OpenBLAS leaves to the calling thread
_SMALL_BLOCK = 64  # rows of a matrix that LAPACK inverts on the calling thread
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
        logits, short_term = network.short_term(state, self._sample, share=share)
        fit = self._fit(short_term)
        scores = network.sketch(state, fit, self._read_out(state, fit, logits), positions, share=share)
        passed = np.sort(top_k(scores, _SKETCHED * size))
        passed = passed if positions is None else positions[passed]
        scores = network.approximate(state, fit, passed, share=share)
        passed = passed[top_k(scores, _CORRECTED * size)]
        fit = self._corrected(fit, state, np.sort(passed[:_LEADERS]), share)
        passed = np.sort(passed)
        scores = network.approximate(state, fit, passed, share=share)
        return passed[np.sort(top_k(scores, size))]

    def _fit(self, short_term: Float32) -> LinearFit:
        """Least squares of short-term taste (sample, H) in the directions that it varies most in."""
        values = _finite(short_term)
        mean = values.mean(axis=0)
        centred = values - mean
        # Neither `eigh` nor a product of an array with itself: both start threads earlier; see `_cross`.
        directions = np.linalg.svd(_cross(centred, centred.copy()))[0][:, :_DIRECTIONS]  # (H, R - 1)
        slope, offset = self._regression.fit(_cross(centred.T, directions))
        return _linear_fit(slope, offset, directions.T, mean)

    def _read_out(self, state: State, fit: LinearFit, logits: Float32) -> ReadOut:
        """Least squares of what follows from the first layers of gate and prediction on these."""
        gate_readings, gate, score_readings = self._network.readings(state, fit, self._sample)
        of_gate = _Regression(gate_readings, _RIDGE_OF_READ_OUT).fit(_finite(gate.reshape(-1, 1)))
        # A line cannot follow the logits everywhere: it should where the best are.
        places = np.argsort(np.argsort(-logits))
        weights = 1 / (1 + places / _WEIGHTY)
        of_score = _Regression(score_readings, _RIDGE_OF_READ_OUT, weights).fit(_finite(logits[:, None]))
        return ReadOut(*(part.T.astype(np.float32) for part in (*of_gate, *of_score)))

    def _corrected(self, fit: LinearFit, state: State, leaders: Positions, share: bool) -> LinearFit:
        """The fit plus a linear map of the vectors, fitted to what it misses at the leaders."""
        network = self._network
        _, missed = network.short_term(state, leaders, share=share)
        missed = missed - (_cross(network.features(leaders).T, fit.slope) + fit.offset) @ fit.basis
        vectors = network.vectors[leaders]
        more, shift = _Regression(vectors, _RIDGE_OF_CORRECTION).fit(_finite(missed))
        slope = fit.slope @ fit.basis  # (K, H)
        slope[: vectors.shape[1]] += more
        return _linear_fit(slope, shift, np.eye(len(shift)), fit.offset @ fit.basis)


class _Regression:
    """Ridge regression on fixed rows."""

    def __init__(self, rows: Float32, ridge: float, weights: Float64 | None = None) -> None:
        """Prepares it for rows (N, K), N >= 1, with weights (N,), by default equal.

        A penalty of `ridge` weighs like `ridge` of a feature's variance.
        """
        shares = np.ones(len(rows)) if weights is None else weights
        self._shares = shares[:, None] / shares.sum()
        values = _finite(rows)
        self._mean = (self._shares * values).sum(axis=0)
        centred = values - self._mean
        scale = np.sqrt((self._shares * centred**2).sum(axis=0))
        self._scale = np.maximum(scale, 1e-6 * scale.max() + np.finfo(np.float64).tiny)  # no variance at all: slope 0
        centred /= self._scale
        self._weighted = self._shares * centred
        self._inverse = _inverse(_cross(self._weighted, centred) + ridge * np.eye(len(scale)))

    def fit(self, values: Float64) -> tuple[Float64, Float64]:
        """Slope (K, V) and offset (V,) for values (N, V)."""
        mean = (self._shares * values).sum(axis=0)
        slope = _cross(self._inverse, _cross(self._weighted, values - mean)) / self._scale[:, None]
        return slope, mean - self._mean @ slope


def _linear_fit(slope: Any, offset: Any, basis: Any, constant: Any) -> LinearFit:
    """Fit of `(features @ slope + offset) @ basis + constant`."""
    return LinearFit(
        np.pad(slope, [(0, 0), (0, 1)]).astype(np.float32),
        np.append(offset, 1).astype(np.float32),
        np.concatenate([basis, constant[None]]).astype(np.float32),
    )


def _cross(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`left.T @ right` for (N, K) and (N, V), in products so small that BLAS does not start threads of its own.

    These would wait for more work, spinning, on the cores that the workers need next.
    """
    if right.shape[1] == 1:  # BLAS multiplies by vectors in threads much earlier
        return np.einsum("nk,nv->kv", left, right)
    result = np.zeros((left.shape[1], right.shape[1]), np.result_type(left, right))
    rows = max(1, _SINGLE_THREADED // result.size)
    for start in range(0, len(left), rows):
        result += left[start : start + rows].T @ right[start : start + rows]
    return result


def _inverse(matrix: Float64) -> npt.NDArray[Any]:
    """Inverse of a symmetric, positive definite matrix, by blocks so small that LAPACK does not start threads."""
    half = len(matrix) // 2
    if half <= _SMALL_BLOCK // 2:
        return np.linalg.inv(matrix)
    first, across = _inverse(matrix[:half, :half]), matrix[:half, half:]
    solved = _cross(first, across)
    last = _inverse(matrix[half:, half:] - _cross(across, solved))
    corner = _cross(solved.T, last)
    first = first + _cross(corner.T, solved.T)
    return np.block([[first, -corner], [-corner.T, last]])


def _finite(values: npt.NDArray[Any]) -> Float64:
    """Values with 0 for what is not finite: a candidate with a broken vector must not break the fit for all."""
    return np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
