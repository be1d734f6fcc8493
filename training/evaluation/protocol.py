"""The two protocols: full ranking of the vocabulary, and a target among sampled negatives.

Sampled figures do not agree with full ranking, not even in the order of methods (Krichene and Rendle, "On sampled
metrics for item recommendation", KDD 2020): they are given beside it because the field reports them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.data.sequences import EncodedSequences
from training.evaluation.histories import seen_mask
from training.evaluation.metrics import (
    FloatArray,
    Ranks,
    full_ranking_metrics,
    ndcg_at_k,
    rank_targets,
    sampled_metrics,
)

Seen = Literal["in", "out"]
PRIMARY_K: Final = 10  # NDCG@10 is the headline and what baselines are tuned by
PROTOCOLS: Final = ("seen_in", "seen_out", "sampled")


class Ranker(Protocol):
    """Anything that scores the whole vocabulary for the shoppers of given rows.

    A ranker may have a method `probability(scores) -> scores` that turns its scores into probabilities of a click (a
    sigmoid for the network); sampled logloss is computed with it, and left out for rankers without one.
    """

    @property
    def name(self) -> str:
        """Name of the method in tables."""
        ...

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64], /) -> FloatArray:
        """Returns (len(rows), num_items) scores from the events before each row; column 0 is ignored."""
        ...


class Scorer(Protocol):
    """What `NamedRanker` names."""

    def score(self, dataset: Any, rows: NDArray[np.int64], /) -> FloatArray:
        """Returns (len(rows), num_items) scores, as `Ranker.score`."""
        ...


@dataclass(frozen=True)
class NamedRanker:
    """Anything that can score, such as the generator's oracle, with a name for the tables."""

    name: str
    scorer: Scorer

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns (len(rows), num_items) scores."""
        return self.scorer.score(dataset, rows)


@dataclass(frozen=True)
class Evaluation:
    """Figures of one ranker under one protocol.

    Attributes:
        method: Name of the ranker.
        protocol: "seen_out", "seen_in" or "sampled".
        metrics: Metric name to mean over rows.
        ranks: Place of the target of each row, for paired comparisons.
        rows: (N,) int64, the rows that were ranked.
    """

    method: str
    protocol: str
    metrics: Mapping[str, float]
    ranks: Ranks
    rows: NDArray[np.int64]

    @property
    def num_rows(self) -> int:
        """Number of rows ranked."""
        return len(self.rows)


def primary_metric(ranks: Ranks) -> FloatArray:
    """NDCG@10 of each row, the headline metric."""
    return ndcg_at_k(ranks, PRIMARY_K)


def evaluation_rows(dataset: EncodedSequences, split: str, seen: Seen) -> NDArray[np.int64]:
    """Returns the rows to rank: all of the split, or, with seen items out, those whose target is new to the shopper.

    Raises:
        ValueError: If `seen` or `split` is not one of the known values.
    """
    if seen not in ("in", "out"):
        raise ValueError(f'`seen` should be "in" or "out". Received: seen = {seen!r}')
    if split not in ("valid", "test"):
        raise ValueError(f'`split` should be "valid" or "test". Received: split = {split!r}')
    rows = dataset.rows(split)
    if seen == "in":
        return rows
    new = [
        ~seen_mask(dataset, part)[np.arange(len(part)), dataset.item[part]]
        for part in np.array_split(rows, max(1, len(rows) // 4096 + 1))
    ]
    # An item id 0 stands for many items: an earlier unknown item does not make this one seen.
    return rows[np.concatenate(new) | (dataset.item[rows] == 0)]


def checked_scores(ranker: Ranker, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
    """Returns the ranker's scores of the rows.

    Raises:
        ValueError: If their shape is not (rows, items) or one of them is NaN.
    """
    scores = np.asarray(ranker.score(dataset, rows))
    if scores.shape != (len(rows), dataset.num_items):
        raise ValueError(
            f"scores of {ranker.name!r} should have shape {(len(rows), dataset.num_items)} (rows, items). "
            f"Received: {scores.shape}"
        )
    if np.isnan(scores[:, 1:]).any():
        raise ValueError(f"scores of {ranker.name!r} should be numbers. Received: NaN")
    return scores


def _batches(rows: NDArray[np.int64], batch_size: int, name: str, progress: bool) -> Iterator[NDArray[np.int64]]:
    if batch_size < 1:
        raise ValueError(f"`batch_size` should be a positive integer. Received: batch_size = {batch_size}")
    with tqdm(total=len(rows), desc=name, unit="row", disable=not progress, leave=False) as bar:
        for start in range(0, len(rows), batch_size):
            yield (part := rows[start : start + batch_size])
            bar.update(len(part))


def _rank_full(dataset: EncodedSequences, rows: NDArray[np.int64], scores: FloatArray, seen: Seen) -> Ranks:
    candidates = np.ones((1, dataset.num_items), dtype=np.bool_) if seen == "in" else ~seen_mask(dataset, rows)
    candidates[:, 0] = False
    targets = dataset.item[rows]
    ranks = rank_targets(np.where(candidates, scores, -np.inf), targets, candidates)
    # A target that training never saw cannot be ranked: it goes below everything that can.
    bottom = np.broadcast_to(candidates.sum(axis=1) + 1, ranks.first.shape)
    unknown = targets == 0
    return Ranks(np.where(unknown, bottom, ranks.first), np.where(unknown, bottom, ranks.last))


def _join(parts: list[Ranks]) -> Ranks:
    empty = np.zeros(0, dtype=np.int64)
    return Ranks(
        np.concatenate([empty, *(part.first for part in parts)]),
        np.concatenate([empty, *(part.last for part in parts)]),
    )


def rank_rows(
    ranker: Ranker,
    dataset: EncodedSequences,
    rows: NDArray[np.int64],
    *,
    seen: Seen,
    batch_size: int = 512,
    progress: bool = False,
) -> Ranks:
    """Returns the places of the targets of any rows in the ranking of the whole vocabulary."""
    return _join(
        [
            _rank_full(dataset, part, checked_scores(ranker, dataset, part), seen)
            for part in _batches(rows, batch_size, ranker.name, progress)
        ]
    )


def evaluate_full_ranking(
    ranker: Ranker,
    dataset: EncodedSequences,
    split: str = "test",
    *,
    seen: Seen,
    ks: tuple[int, ...] = (5, 10, 20),
    batch_size: int = 512,
    progress: bool = True,
) -> Evaluation:
    """Ranks the whole vocabulary for each row of the split.

    Args:
        ranker: What to evaluate.
        dataset: Encoded sequences.
        split: "valid" or "test".
        seen: "in" ranks every item. "out" removes every item among the shopper's earlier events and leaves out the rows
            whose target is one of them.
        ks: Cut-offs of HR, NDCG and Recall.
        batch_size: Rows scored at a time.
        progress: Whether to show a progress bar.

    Returns:
        The figures and the place of each target. Targets with id 0 are misses at the bottom.

    Raises:
        ValueError: If no row is left to rank, or the scores are not as they should be.
    """
    rows = evaluation_rows(dataset, split, seen)
    ranks = rank_rows(ranker, dataset, rows, seen=seen, batch_size=batch_size, progress=progress)
    return Evaluation(ranker.name, f"seen_{seen}", full_ranking_metrics(ranks, ks), ranks, rows)


def _sampled_scores(candidates: NDArray[Any], scores: FloatArray) -> FloatArray:
    chosen = np.take_along_axis(scores, candidates, axis=1).astype(np.float64)
    return np.where(candidates == 0, -np.inf, chosen)


def evaluate_sampled(
    ranker: Ranker,
    dataset: EncodedSequences,
    split: str = "test",
    *,
    batch_size: int = 512,
    progress: bool = True,
) -> Evaluation:
    """Ranks the target of each row among the stored negatives of the split, which its shopper never touched.

    Args:
        ranker: What to evaluate.
        dataset: Encoded sequences with `negatives[split]`.
        split: "valid" or "test".
        batch_size: Rows scored at a time.
        progress: Whether to show a progress bar.

    Returns:
        auc, mean_mrr, ndcg@2, ndcg@4, ndcg@6, group_auc, and logloss if the ranker has `probability`.
    """
    rows = dataset.rows(split)
    candidates = sampled_candidates(dataset, split)
    index = np.arange(len(rows), dtype=np.int64)
    parts = [
        _sampled_scores(candidates[part], checked_scores(ranker, dataset, rows[part]))
        for part in _batches(index, batch_size, ranker.name, progress)
    ]
    return _sampled_evaluation(ranker, rows, np.concatenate([np.zeros((0, candidates.shape[1])), *parts]))


def sampled_candidates(dataset: EncodedSequences, split: str) -> NDArray[np.int64]:
    """Returns (N, 1 + negatives) item ids: the target of each row of the split and its stored negatives."""
    rows, negatives = dataset.rows(split), dataset.negatives[split]
    if len(negatives) != len(rows):
        raise ValueError(
            f"`negatives[{split!r}]` should have one line for each of the {len(rows)} rows. "
            f"Received: {len(negatives)}; build the dataset again"
        )
    return np.concatenate([dataset.item[rows][:, None], negatives], axis=1).astype(np.int64)


def _sampled_evaluation(ranker: Ranker, rows: NDArray[np.int64], scores: FloatArray) -> Evaluation:
    to_probability = getattr(ranker, "probability", None)
    probabilities = None if to_probability is None else cast(FloatArray, np.asarray(to_probability(scores)))
    metrics, ranks = sampled_metrics(scores, probabilities)
    return Evaluation(ranker.name, "sampled", metrics, ranks, rows)


def evaluate_ranker(
    ranker: Ranker,
    dataset: EncodedSequences,
    split: str = "test",
    *,
    ks: tuple[int, ...] = (5, 10, 20),
    batch_size: int = 512,
    progress: bool = True,
    protocols: Sequence[str] = PROTOCOLS,
) -> dict[str, Evaluation]:
    """Evaluates under several protocols while scoring each row once (for rankers that take long).

    Returns:
        Those of "seen_in", "seen_out" and "sampled" that are in `protocols` to what `evaluate_full_ranking` and
        `evaluate_sampled` would return.
    """
    rows = dataset.rows(split)
    candidates = sampled_candidates(dataset, split)
    new = np.isin(rows, evaluation_rows(dataset, split, "out"))
    kept: dict[Seen, NDArray[np.bool_]] = {"in": np.ones(len(rows), np.bool_), "out": new}
    kept = {seen: mask for seen, mask in kept.items() if f"seen_{seen}" in protocols}
    parts: dict[Seen, list[Ranks]] = {seen: [] for seen in kept}
    sampled: list[FloatArray] = [np.zeros((0, candidates.shape[1]))]
    for part in _batches(np.arange(len(rows), dtype=np.int64), batch_size, ranker.name, progress):
        scores = checked_scores(ranker, dataset, rows[part])
        for seen, mask in kept.items():
            parts[seen].append(_rank_full(dataset, rows[part][mask[part]], scores[mask[part]], seen))
        sampled.append(_sampled_scores(candidates[part], scores))
    result: dict[str, Evaluation] = {}
    for seen, mask in kept.items():
        ranks = _join(parts[seen])
        metrics = full_ranking_metrics(ranks, ks)
        result[f"seen_{seen}"] = Evaluation(ranker.name, f"seen_{seen}", metrics, ranks, rows[mask])
    if "sampled" in protocols:
        result["sampled"] = _sampled_evaluation(ranker, rows, np.concatenate(sampled))
    return result
