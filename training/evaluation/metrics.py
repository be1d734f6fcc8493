"""Ranking metrics, from the place of the target among its candidates.

A ranker may give equal scores. `Ranks` therefore keeps the best and the worst place a target can take, and every metric
is its mean over those places: the expected value when ties are broken at random (McSherry and Najork, "Computing
information retrieval performance measures efficiently in the presence of tied scores", ECIR 2008). A ranker can neither
gain nor lose by ties: one that gives every item the same score gets the figures of a random ranking.

Places are 1-based: the first item of a ranking has place 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

FloatArray = NDArray[np.floating[Any]]
BoolArray = NDArray[np.bool_]

TIE_RULE: Final = "equal scores count as the mean over all their orders (ties broken at random, in expectation)"
MAP_K: Final = 12  # MAP@12 is the habit of the field for retail (H&M, Kaggle 2022)
SAMPLED_NDCG_KS: Final = (2, 4, 6)  # recommenders' `ndcg@2;4;6`
LOGLOSS_CLIP: Final = 10e-12  # recommenders.models.deeprec.deeprec_utils.cal_metric


@dataclass(frozen=True)
class Ranks:
    """Places of the targets, one a row.

    Attributes:
        first: (N,) int64, 1-based place of the target when it wins all its ties.
        last: (N,) int64, 1-based place of the target when it loses all its ties; equal to `first` without ties.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.first.shape != self.last.shape or self.first.ndim != 1:
            raise ValueError(
                "`first` and `last` should be 1-dimensional and of one length. "
                f"Received: shapes {self.first.shape} and {self.last.shape}"
            )
        if len(self.first) and (self.first.min() < 1 or (self.last < self.first).any()):
            raise ValueError("places should be 1-based with `first` <= `last`. Received: a smaller one")

    @classmethod
    def of(cls, places: ArrayLike) -> "Ranks":
        """Returns the ranks of targets without ties, from their 1-based places."""
        array = np.asarray(places, dtype=np.int64)
        return cls(array, array)

    @property
    def mean(self) -> FloatArray:
        """(N,) float64, mean place of each target over its ties."""
        return (self.first + self.last) / 2

    def __len__(self) -> int:
        return len(self.first)

    def take(self, index: NDArray[Any]) -> "Ranks":
        """Returns the ranks of the rows in `index` (positions or a boolean mask)."""
        return Ranks(self.first[index], self.last[index])


Metric = Callable[[Ranks], FloatArray]


def rank_targets(scores: FloatArray, targets: NDArray[Any], candidates: BoolArray | None = None) -> Ranks:
    """Returns the places of the targets among the candidates of their rows.

    Args:
        scores: (N, C) scores, the larger the better; -inf is allowed, NaN is not.
        targets: (N,) column of the target of each row.
        candidates: (N, C) or (C,) bool, which columns take part; all of them by default. The target always does.

    Raises:
        ValueError: If a score is NaN or the shapes do not fit.
    """
    if scores.ndim != 2 or targets.shape != (len(scores),):
        raise ValueError(
            "`scores` should be (rows, candidates) and `targets` (rows,). "
            f"Received: shapes {scores.shape} and {targets.shape}"
        )
    own = np.take_along_axis(scores, targets.astype(np.int64)[:, None], axis=1)
    better = scores > own
    equal = scores == own
    if candidates is not None:
        better &= candidates
        equal &= candidates
    np.put_along_axis(equal, targets.astype(np.int64)[:, None], False, axis=1)
    if np.isnan(scores).any():
        raise ValueError("`scores` should not contain NaN. Received: NaN; check the ranker")
    first = better.sum(axis=1, dtype=np.int64) + 1
    return Ranks(first, first + equal.sum(axis=1, dtype=np.int64))


def expected_gain(ranks: Ranks, gain: Callable[[FloatArray], FloatArray], depth: int | None = None) -> FloatArray:
    """Returns for each row the mean of `gain(place)` over the places its target can take.

    Args:
        ranks: Places of the targets.
        gain: Function of an array of 1-based places.
        depth: Places beyond it gain nothing; None means that every place counts.

    Returns:
        (N,) float64.
    """
    if not len(ranks):
        return np.zeros(0)
    deepest = int(ranks.last.max()) if depth is None else depth
    cumulative = np.concatenate([[0.0], np.cumsum(gain(np.arange(1, deepest + 1, dtype=np.float64)))])
    inside = cumulative[np.minimum(ranks.last, deepest)] - cumulative[np.minimum(ranks.first - 1, deepest)]
    return inside / (ranks.last - ranks.first + 1)


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"`k` should be a positive integer. Received: k = {k}")


def hr_at_k(ranks: Ranks, k: int) -> FloatArray:
    """Hit rate: 1 where the target is among the first k, else 0. (N,) float64."""
    _check_k(k)
    return expected_gain(ranks, np.ones_like, k)


def recall_at_k(ranks: Ranks, k: int) -> FloatArray:
    """Share of the targets among the first k; with one target a row it equals `hr_at_k`. (N,) float64."""
    return hr_at_k(ranks, k)


def ndcg_at_k(ranks: Ranks, k: int) -> FloatArray:
    """Normalised discounted cumulative gain: 1 / log2(1 + place) within the first k, else 0. (N,) float64."""
    _check_k(k)
    return expected_gain(ranks, lambda place: 1 / np.log2(1 + place), k)


def map_at_k(ranks: Ranks, k: int = MAP_K) -> FloatArray:
    """Average precision at k; with one target a row it is 1 / place within the first k, else 0. (N,) float64."""
    _check_k(k)
    return expected_gain(ranks, np.reciprocal, k)


def mrr(ranks: Ranks) -> FloatArray:
    """Reciprocal rank: 1 / place, at any depth. (N,) float64."""
    return expected_gain(ranks, np.reciprocal)


def full_ranking_metrics(ranks: Ranks, ks: tuple[int, ...] = (5, 10, 20)) -> dict[str, float]:
    """Returns the means over rows of HR@k, NDCG@k and Recall@k for each k, MRR and MAP@12.

    Raises:
        ValueError: If there is no row.
    """
    if not len(ranks):
        raise ValueError("`ranks` should hold at least one row. Received: none; is the split empty?")
    values: dict[str, FloatArray] = {}
    for k in ks:
        values[f"HR@{k}"] = hr_at_k(ranks, k)
    for k in ks:
        values[f"NDCG@{k}"] = ndcg_at_k(ranks, k)
    for k in ks:
        values[f"Recall@{k}"] = recall_at_k(ranks, k)
    values |= {"MRR": mrr(ranks), f"MAP@{MAP_K}": map_at_k(ranks)}
    return {name: float(value.mean()) for name, value in values.items()}


def auc(labels: NDArray[Any], scores: FloatArray) -> float:
    """Area under the ROC curve over all pairs pooled; ties count one half.

    Args:
        labels: (N, C) or (N,) of 1 and 0.
        scores: Scores of the same shape; infinite ones are allowed.

    Raises:
        ValueError: If one of the two classes is missing.
    """
    positive = np.ravel(labels) == 1
    count = int(positive.sum())
    if count in (0, positive.size):
        raise ValueError("`labels` should hold positives and negatives. Received: one class only")
    places = rankdata(np.ravel(scores))
    return float((places[positive].sum() - count * (count + 1) / 2) / (count * (positive.size - count)))


def logloss(labels: NDArray[Any], probabilities: FloatArray) -> float:
    """Binary cross-entropy over all pairs, probabilities clipped to [1e-11, 1 - 1e-11] as recommenders does.

    Raises:
        ValueError: If a probability is outside 0 to 1.
    """
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("`probabilities` should lie between 0 and 1. Received: one outside or NaN")
    clipped = np.clip(probabilities.astype(np.float64), LOGLOSS_CLIP, 1 - LOGLOSS_CLIP)
    return float(-np.where(labels == 1, np.log(clipped), np.log1p(-clipped)).mean())


def group_auc(ranks: Ranks, num_candidates: int) -> FloatArray:
    """AUC within each row of one target and `num_candidates` - 1 negatives: the share ranked below it. (N,) float64."""
    return (num_candidates - ranks.mean) / (num_candidates - 1)


def sampled_metrics(scores: FloatArray, probabilities: FloatArray | None = None) -> tuple[dict[str, float], Ranks]:
    """Returns recommenders' metrics of a target among sampled negatives, under recommenders' names, and the ranks.

    Args:
        scores: (N, 1 + negatives); the target is column 0.
        probabilities: The same as probabilities, for logloss; without them logloss is left out.
    """
    if scores.ndim != 2 or scores.shape[0] == 0 or scores.shape[1] < 2:
        raise ValueError(f"`scores` should be (rows, 1 + negatives), none of them 0. Received: shape {scores.shape}")
    labels = np.zeros(scores.shape, dtype=np.int8)
    labels[:, 0] = 1
    ranks = rank_targets(scores, np.zeros(len(scores), dtype=np.int64))
    values = {"auc": auc(labels, scores)}
    if probabilities is not None:
        values["logloss"] = logloss(labels, probabilities)
    values["mean_mrr"] = float(mrr(ranks).mean())
    values |= {f"ndcg@{k}": float(ndcg_at_k(ranks, k).mean()) for k in SAMPLED_NDCG_KS}
    values["group_auc"] = float(group_auc(ranks, scores.shape[1]).mean())
    return values, ranks


def basket_metrics(
    scores: FloatArray, relevant: BoolArray, ks: tuple[int, ...], rng: np.random.Generator
) -> dict[str, FloatArray]:
    """Returns HR, NDCG, Recall and MAP at each k where a row may have several targets.

    Ties are broken at random by `rng`, one draw of what `TIE_RULE` takes the mean of. NDCG is binary with log2
    discount and the ideal of min(k, targets) hits; MAP divides by min(k, targets) (Spark MLlib, RankingMetrics).

    Args:
        scores: (N, C); columns that may not be recommended hold -inf.
        relevant: (N, C), which columns are targets; each row has at least one.
        ks: Cut-offs.
        rng: Source of the random order of ties.

    Returns:
        Metric name to (N,) float64.
    """
    targets = relevant.sum(axis=1)
    if relevant.shape != scores.shape or (targets == 0).any():
        raise ValueError("`relevant` should have the shape of `scores` and a target in each row. Received: otherwise")
    order = np.lexsort((rng.random(scores.shape), -scores), axis=1)[:, : max(ks)]
    hits = np.take_along_axis(relevant, order, axis=1)
    places = np.arange(1, hits.shape[1] + 1)
    discount = 1 / np.log2(1 + places)
    ideal: FloatArray = np.concatenate([[0.0], np.cumsum(discount)])
    gained: FloatArray = np.where(hits, discount, 0.0)
    precision: FloatArray = np.where(hits, np.cumsum(hits, axis=1) / places, 0.0)
    values: dict[str, FloatArray] = {}
    for k in ks:
        _check_k(k)
        best = np.minimum(targets, k)
        values[f"HR@{k}"] = np.asarray(hits[:, :k].any(axis=1), dtype=np.float64)
        values[f"NDCG@{k}"] = gained[:, :k].sum(axis=1) / np.take(ideal, best)
        values[f"Recall@{k}"] = hits[:, :k].sum(axis=1) / targets
        values[f"MAP@{k}"] = precision[:, :k].sum(axis=1) / best
    return values


def metrics_table(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Returns the lines of a text table, one for each method, one column for each metric; a missing value is a dash.

    With one target a row Recall@k is HR@k, so the table leaves Recall@k out.
    """
    names = list(dict.fromkeys(name for row in reversed(list(metrics.values())) for name in row))
    names = [name for name in names if not name.startswith("Recall@")]
    width = max(len(method) for method in metrics)
    cells = [max(len(name), 6) for name in names]
    lines = [" " * width + "".join(f"  {name:>{cell}}" for name, cell in zip(names, cells, strict=True))]
    for method, row in metrics.items():
        values = (f"{row[name]:.4f}" if name in row else "-" for name in names)
        lines.append(f"{method:<{width}}" + "".join(f"  {v:>{c}}" for v, c in zip(values, cells, strict=True)))
    return lines
