"""The first of two stages for large inventories: which candidates are worth an exact score.

What makes a score costly is the shopper's taste as it looks from a candidate: target attention matches every event
with every candidate, and a gate mixes the result with long-term taste. Both are close to linear functions of the
candidate's embedding. So they are computed for a sample of candidates, linear maps are fitted to them by ridge
regression, and the network's own last layers run on the mapped values: first with taste mapped, which costs least, for
all candidates, then with short-term taste mapped and the true gate, for the best of those. Neither depends on the
length of the history.

A single vector for the shopper, as nearest-neighbour search over the embeddings needs one, cannot stand for these
layers: the best 1,000 of 100,000 candidates by inner product with the best-fitting vector hold less than half of the
true top 16, those chosen here nearly all of it.
"""

import numpy as np
import numpy.typing as npt

from serving.network import LinearFit, Network, Positions, State
from serving.ranking import Float32, top_k

_RIDGE = 1e-3  # of the embeddings' mean sum of squares
_SEED = 0
_SKETCHED = 8  # candidates that pass the first sieve, for each place on the shortlist


class Shortlist:
    """Chooses candidates by approximate score. Deterministic: the sample is fixed for a catalogue."""

    def __init__(self, network: Network, sample: int) -> None:
        """Prepares the regression on `sample` candidates, all of them if there are fewer."""
        count = len(network.vectors)
        self._network = network
        chosen = np.random.default_rng(_SEED).choice(count, min(sample, count), replace=False)
        self._sample = np.sort(chosen).astype(np.intp)
        vectors = network.vectors[self._sample].astype(np.float64)
        self._mean = vectors.mean(axis=0)
        centred = vectors - self._mean
        gram = centred.T @ centred
        ridge = _RIDGE * np.trace(gram) / len(gram) + np.finfo(np.float64).tiny  # no variance at all: slope 0
        self._solve = np.linalg.solve(gram + ridge * np.eye(len(gram)), centred.T)  # (D, sample)

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
        short_term, taste = network.tastes(state, self._sample, share=share)
        scores = network.approximate("sketch", state, self._fit(taste), positions, share=share)
        passed = np.sort(top_k(scores, _SKETCHED * size))
        passed = passed if positions is None else positions[passed]
        scores = network.approximate("approximate", state, self._fit(short_term), passed, share=share)
        return passed[np.sort(top_k(scores, size))]

    def _fit(self, taste: Float32) -> LinearFit:
        """Least squares of a taste (sample, H) on the embeddings."""
        values: npt.NDArray[np.float64] = taste.astype(np.float64)
        mean = values.mean(axis=0)
        slope = self._solve @ (values - mean)
        return LinearFit(slope.astype(np.float32), (mean - self._mean @ slope).astype(np.float32))
