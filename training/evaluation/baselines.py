"""Simple methods that count: popularity, the shopper's own frequency, Markov transitions; and all of them, tuned.

What is fitted is fitted on training rows only. What a method looks at when it ranks is the history of the row: all
earlier events of the same shopper, of any split.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from training.data.sequences import EncodedSequences
from training.evaluation.basket_models import BasketFrequency, tuned_blend, tuned_tifu
from training.evaluation.histories import earlier_events, history_matrix, training_events
from training.evaluation.item_models import SAR_SIMILARITIES, Ease, SarItemKnn, gram_matrix, sar_similarity
from training.evaluation.metrics import FloatArray
from training.evaluation.protocol import Seen
from training.evaluation.purchases import SECONDS_PER_DAY
from training.evaluation.tuning import Baseline, tune, tuning_rows

TINY: Final = 1e-6  # weight of a back-off that only breaks ties

# Grids; the first value of each is the default where there is nothing to tune on.
HALF_LIVES_DAYS: Final = (30.0, 1.0, 3.0, 7.0, 90.0, 365.0)
BACK_OFFS: Final = (1.0, 0.1, 10.0, 100.0, 1000.0)
WINDOWS: Final = (5, 2, 3, 10, 20, 50)
DECAYS: Final = (0.7, 0.1, 0.3, 0.5, 0.8, 0.9, 1.0)
SAR_HALF_LIVES_DAYS: Final = (30.0, 1 / 144, 1 / 24, 1 / 4, 1.0, 7.0, 365.0)
BASKET_HALF_LIVES: Final = (20.0, 2.0, 5.0, 10.0, 40.0)  # in baskets
TIFU_DECAYS: Final = ((0.9, 0.7), (0.9, 0.9))  # within a group, from group to group
TIFU_NEIGHBOURS: Final = (100, 300)
TIFU_ALPHAS: Final = (0.7, 0.1, 0.3, 0.5, 0.9)
BLEND_WEIGHTS: Final = (0.1, 0.01, 0.03, 0.3, 1.0, 3.0, 10.0)  # beside 1 for own frequency
EASE_LAMBDAS: Final = (100.0, 30.0, 300.0, 1000.0, 3000.0)  # each is one inversion of the item-item matrix


def popularity_share(dataset: EncodedSequences) -> FloatArray:
    """Returns (num_items,) float64: share of each item in the training events, 0 for id 0."""
    counts = np.bincount(dataset.item[training_events(dataset)], minlength=dataset.num_items).astype(np.float64)
    counts[0] = 0
    return counts / max(counts.sum(), 1)


@dataclass(frozen=True)
class Popularity:
    """Ranks by number of training events, the same for all shoppers.

    Attributes:
        share: From `popularity_share`.
        name: Name in tables.
        settings: Empty: nothing to tune.
    """

    share: FloatArray
    name: str = "popularity"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Nothing to tune."""
        return {}

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns (len(rows), num_items)."""
        return np.broadcast_to(self.share, (len(rows), len(self.share)))


@dataclass(frozen=True)
class RecentPopularity:
    """Ranks by training events before the row's own time, each halved in weight every `half_life_days`.

    Training events after the row's time do not count: the row's shop could not know them.
    """

    share: FloatArray
    half_life_days: float
    name: str = "recent popularity"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Chosen half-life."""
        return {"half_life_days": self.half_life_days}

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns (len(rows), num_items)."""
        events = training_events(dataset)
        events = events[np.argsort(dataset.timestamp[events], kind="stable")]
        times, items = dataset.timestamp[events], dataset.item[events]
        order = np.argsort(dataset.timestamp[rows], kind="stable")
        ends = np.searchsorted(times, dataset.timestamp[rows][order], side="left")
        scores = np.empty((len(rows), dataset.num_items))
        weight, start, clock = np.zeros(dataset.num_items), 0, int(times[0]) if len(times) else 0
        # One pass in time order; the sums are carried from row to row, so that no exponent grows large.
        for place, end in zip(order, ends, strict=True):
            now = int(dataset.timestamp[rows[place]])
            weight = weight * self._decay(now - clock)
            fresh = slice(start, int(end))
            decays = self._decay(now - times[fresh])
            weight += np.bincount(items[fresh], weights=decays, minlength=dataset.num_items)
            scores[place] = weight
            start, clock = int(end), now
        return scores + TINY * self.share

    def _decay(self, seconds: Any) -> Any:
        return np.exp2(-np.maximum(seconds, 0) / (self.half_life_days * SECONDS_PER_DAY))


@dataclass(frozen=True)
class OwnFrequency:
    """Ranks by how often the shopper had the item before; equal counts, and items never had, by popularity."""

    share: FloatArray
    name: str = "own frequency"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Nothing to tune."""
        return {}

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns (len(rows), num_items)."""
        counts = history_matrix(dataset, rows, earlier_events(dataset, rows))
        return counts.toarray() + TINY * self.share


def transition_counts(dataset: EncodedSequences) -> sparse.csr_matrix:
    """Returns (num_items, num_items) counts of consecutive training events of a shopper, an item to itself included."""
    events = training_events(dataset)
    later = events[dataset.position[events] > 0]
    later = later[dataset.split[later - 1] == 0]
    ones = np.ones(len(later))
    shape = (dataset.num_items, dataset.num_items)
    return sparse.csr_matrix((ones, (dataset.item[later - 1], dataset.item[later])), shape=shape)


@dataclass(frozen=True)
class MarkovMix:
    """Sum over the last `window` events of decay^age times the transition probabilities from their items.

    Probabilities are first-order, smoothed towards popularity (Dirichlet): (count + back_off * share) / (total +
    back_off). With window 1 it is the plain last-item Markov chain.

    Attributes:
        counts: From `transition_counts`.
        share: From `popularity_share`.
        window: Number of latest events that count.
        decay: Weight of an event relative to the one after it.
        back_off: Popularity's weight, in transitions.
        name: Name in tables.
    """

    counts: sparse.csr_matrix
    share: FloatArray
    window: int
    decay: float
    back_off: float
    name: str = "decayed Markov mix"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Chosen back-off, and window and decay where there is more than one event."""
        chosen = {"window": self.window, "decay": self.decay, "back_off": self.back_off}
        return {"back_off": self.back_off} if self.window == 1 else chosen

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns (len(rows), num_items)."""
        events = earlier_events(dataset, rows, self.window)
        weights = history_matrix(dataset, rows, events, self.decay**events.age)
        scale = 1 / (np.asarray(self.counts.sum(axis=1)).ravel() + self.back_off)
        from_counts = (weights.multiply(scale).tocsr() @ self.counts).toarray()
        return from_counts + np.outer(weights @ (self.back_off * scale), self.share)


def last_item_markov(counts: sparse.csr_matrix, share: FloatArray, back_off: float) -> MarkovMix:
    """Returns the first-order Markov chain: transitions from the shopper's last item, backed off to popularity."""
    return MarkovMix(counts, share, window=1, decay=1.0, back_off=back_off, name="last-item Markov")


def default_baselines(dataset: EncodedSequences, *, seen: Seen = "out") -> list[Baseline]:
    """Fits all naive baselines on the training rows and tunes each on the validation rows.

    Every grid is searched for the highest full-ranking NDCG@10 under the protocol that the baselines are for: tune for
    "out" and for "in" separately, since the best settings differ.

    Args:
        dataset: Encoded sequences.
        seen: Protocol to tune for.

    Returns:
        popularity, recent popularity, own frequency, the same with basket decay, last-item Markov, decayed Markov mix,
        item-kNN (SAR), EASE, TIFU-kNN, and a blend of own frequency with basket decay and EASE.
    """
    share, counts, gram = popularity_share(dataset), transition_counts(dataset), gram_matrix(dataset)
    rows = tuning_rows(dataset, seen)

    def best(candidates: Iterable[Callable[[], Baseline]]) -> Baseline:
        return tune(candidates, dataset, rows, seen)

    recent = best(partial(RecentPopularity, share, days) for days in HALF_LIVES_DAYS)
    last_item = best(partial(last_item_markov, counts, share, value) for value in BACK_OFFS)
    back_off = float(last_item.settings["back_off"])
    mix = best(partial(MarkovMix, counts, share, *shape, back_off) for shape in product(WINDOWS, DECAYS))
    shape = int(mix.settings["window"]), float(mix.settings["decay"])
    others = [back_off, *(value for value in BACK_OFFS if value != back_off)]
    mix = best(partial(MarkovMix, counts, share, *shape, value) for value in others)
    item_knn = best(
        partial(SarItemKnn, similarity, days, kind)
        for kind in SAR_SIMILARITIES
        for similarity in [sar_similarity(dataset, kind)]
        for days in SAR_HALF_LIVES_DAYS
    )
    ease = best(partial(Ease.fit, gram, value) for value in EASE_LAMBDAS)
    own = best(partial(BasketFrequency, share, half_life) for half_life in BASKET_HALF_LIVES)
    tifu = tuned_tifu(dataset, share, rows, seen, (TIFU_DECAYS, TIFU_NEIGHBOURS, TIFU_ALPHAS))
    blend = tuned_blend((own, ease), BLEND_WEIGHTS, dataset, rows, seen)
    return [Popularity(share), recent, OwnFrequency(share), own, last_item, mix, item_knn, ease, tifu, blend]


def settings_of(baselines: Sequence[Baseline]) -> dict[str, dict[str, Any]]:
    """Returns the chosen settings by name, for reports."""
    return {baseline.name: dict(baseline.settings) for baseline in baselines}
