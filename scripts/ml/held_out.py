"""Scores held-out rows through registered bundles, as they would be served, and compares them with the baselines.

Every contender ranks the same products, those that all bundles sell, for the same rows, those whose target is one of
them. What a bundle recommends beyond them is passed over.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.bundle import Bundle
from serving.config import ServeConfig
from serving.recommender import Recommender
from serving.requests import RequestError
from training.data.feature_requests import request_values
from training.data.sequences import EncodedSequences
from training.evaluation.metrics import FloatArray, Ranks
from training.evaluation.protocol import PRIMARY_K, Ranker, Seen, evaluation_rows, rank_rows

_WARM_UP = 20  # first requests, which are not timed: they allocate what later ones use


@dataclass(frozen=True)
class HeldOut:
    """What all contenders are judged on.

    Attributes:
        dataset: Encoded sequences.
        seen: "out": products that the shopper has touched are not ranked, and targets are new to the shopper.
        rows: (N,) row numbers of the test split, rising.
        sold: (num_items,) bool, item ids that all bundles can recommend.
        left_out: Rows whose target not all bundles sell.
    """

    dataset: EncodedSequences
    seen: Seen
    rows: NDArray[np.int64]
    sold: NDArray[np.bool_]
    left_out: int


@dataclass(frozen=True)
class Served:
    """How a bundle did.

    Attributes:
        ranks: Place of the target of each row; one below all products where it is not among the first ten.
        answered: (N,) bool, rows that were not refused.
        milliseconds: Time of each single request but the first few.
    """

    ranks: Ranks
    answered: NDArray[np.bool_]
    milliseconds: FloatArray


@dataclass(frozen=True)
class OnlySold:
    """A ranker that ranks only products which can be recommended, as the bundles do.

    Attributes:
        ranker: What to rank with.
        sold: (num_items,) bool.
    """

    ranker: Ranker
    sold: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """Name of the ranker."""
        return self.ranker.name

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns (len(rows), num_items) scores, -inf where a product is not sold."""
        return np.where(self.sold, self.ranker.score(dataset, rows), -np.inf)


def held_out(
    dataset: EncodedSequences,
    bundles: Sequence[Bundle],
    *,
    recommend_seen: bool,
    most_rows: int,
    rng: np.random.Generator,
) -> HeldOut:
    """Chooses the rows and products to judge by.

    Args:
        dataset: Encoded sequences.
        bundles: All bundles that take part.
        recommend_seen: Whether products that the shopper has touched are recommended.
        most_rows: Rows at most; of more, so many are drawn.
        rng: Source of that draw.
    """
    handles = dataset.vocabularies["item"].values.tolist()
    sold = np.array([bool(h) and all(h in b.catalogue.row_of_handle for b in bundles) for h in handles], np.bool_)
    seen: Seen = "in" if recommend_seen else "out"
    every = evaluation_rows(dataset, "test", seen)
    rows = every[sold[dataset.item[every]]]
    left_out = len(every) - len(rows)
    if len(rows) > most_rows:
        rows = np.sort(rng.choice(rows, most_rows, replace=False))
    return HeldOut(dataset, seen, rows, sold, left_out)


def serve_rows(bundle: Bundle, config: ServeConfig, data: HeldOut) -> Served:
    """Asks a bundle for the first ten products of each row, one request at a time, at the time of the row.

    A request carries the shopper's events before the row, as `data.dataset.same_time` means it, and no shopper id: the
    stored events of a bundle may include the target.

    Args:
        bundle: What to ask.
        config: How to ask; its rules are left out.
        data: Rows to ask for.
    """
    dataset, rows = data.dataset, data.rows
    ends = dataset.history_ends(rows)
    values = dataset.vocabularies["item"].values
    common = set(values[data.sold].tolist())
    others = sum(handle not in common for handle in bundle.catalogue.row_of_handle)
    # The shop's own rules would take the same products away from all contenders.
    recommender = Recommender(bundle, config.without_rules())
    places = np.full(len(rows), int(data.sold.sum()) + PRIMARY_K + 1, np.int64)
    answered, milliseconds = np.zeros(len(rows), np.bool_), np.zeros(len(rows))
    for warming in (True, False):
        for number, row in enumerate(rows[:_WARM_UP] if warming else rows):
            events = slice(row - dataset.position[row], ends[number])
            handles, times = values[dataset.item[events]].tolist(), dataset.timestamp[events].tolist()
            features = request_values(dataset, int(dataset.user[row]), events)
            start = time.perf_counter()
            try:
                # Enough for ten products that all sell, even if what only this bundle sells comes first.
                answer = recommender.recommend(
                    None, handles, times, k=PRIMARY_K + others, recommend_seen=data.seen == "in",
                    now=int(dataset.timestamp[row]), features=features,
                )  # fmt: skip
            except RequestError:
                continue
            milliseconds[number] = 1000 * (time.perf_counter() - start)
            best = [handle for handle in answer.handles if handle in common][:PRIMARY_K]
            target = str(values[dataset.item[row]])
            answered[number] = True
            if target in best:
                places[number] = 1 + best.index(target)
    return Served(Ranks.of(places), answered, milliseconds[answered])


def baseline_ranks(baselines: Sequence[Ranker], data: HeldOut) -> Mapping[str, Ranks]:
    """Returns the places of the targets by name of the baseline, among the products that are sold."""
    return {
        baseline.name: rank_rows(OnlySold(baseline, data.sold), data.dataset, data.rows, seen=data.seen)
        for baseline in baselines
    }
