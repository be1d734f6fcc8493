"""Weights of a blend of SLi-Rec with another method, learned on the validation rows of their data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.data.sequences import EncodedSequences
from training.evaluation.metrics import FloatArray
from training.evaluation.protocol import Seen, primary_metric, rank_rows
from training.evaluation.tuning import tune, tuning_rows
from training.models.network_session import NetworkSession, part_of_blend
from training.models.rank_session import HISTORY_LENGTH, RankSession

WEIGHTS: Final = (0.5, 0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95)
MAX_ROWS: Final = 1_000


@dataclass(frozen=True, eq=False)
class _Blended:
    """Scores of fixed rows under the documents of two parts.

    Attributes:
        rows: (N,) row numbers, rising.
        logits: Kind to (N, num_items) logits.
        parts: Documents of the two parts.
        name: Name of the method.
    """

    rows: NDArray[np.int64]
    logits: Mapping[str, NDArray[np.float32]]
    parts: Sequence[Mapping[str, Any]]
    name: str = "blend"

    @property
    def settings(self) -> Mapping[str, Any]:
        """The parts."""
        return {"parts": [dict(part) for part in self.parts]}

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns (len(rows), num_items)."""
        places = np.searchsorted(self.rows, rows)
        total = sum(part_of_blend(part, self.logits[part["kind"]][places]).astype(np.float64) for part in self.parts)
        return np.asarray(total)


def learn_weights(
    dataset: EncodedSequences,
    network: NetworkSession,
    graph: RankSession,
    document: Mapping[str, Any],
    seen: Seen = "in",
    progress: bool = False,
    *,
    history_length: int = HISTORY_LENGTH,
) -> tuple[dict[str, Any], float]:
    """Chooses how much SLi-Rec's logits weigh beside another method's, for the highest NDCG@10 in full ranking.

    Each part is centred and scaled by the mean and the standard deviation of its logits over products, averaged over
    the validation rows: constants, so that a product's score does not depend on which others are ranked.

    Args:
        dataset: What both were fitted on.
        network: SLi-Rec.
        graph: The other method.
        document: Document of the other method.
        seen: Whether products that a shopper has touched are ranked.
        progress: Whether to show a bar.
        history_length: Latest events that the other method reads, as in the bundle.

    Returns:
        The document of the blend, and NDCG@10 on the validation rows.

    Raises:
        ValueError: There is no validation row, or the network is of another vocabulary.
    """
    if network.num_items != dataset.num_items:
        raise ValueError(
            f"The network should know the data set's {dataset.num_items} item ids. Received: {network.num_items}"
        )
    rows = np.sort(tuning_rows(dataset, seen, MAX_ROWS))
    rows = rows[[bool((_events(dataset, row)[0] > 0).any()) for row in rows]]
    if not len(rows):
        raise ValueError("The data set should have validation rows to learn weights on. Received: none")
    other = str(document["kind"])
    logits = {kind: np.empty((len(rows), dataset.num_items), np.float32) for kind in (other, "sli_rec")}
    for place, row in enumerate(tqdm(rows, desc="validation", unit="row", disable=not progress)):
        items, times = _events(dataset, row)
        now = int(dataset.timestamp[row])
        logits[other][place] = graph.score(items[-history_length:], times[-history_length:], now)
        logits["sli_rec"][place] = network.score(items, times, int(times[0]), now)
    parts = {kind: _standard(kind, values[:, 1:]) for kind, values in logits.items()}
    parts[other]["settings"] = dict(document["settings"])
    if document.get("parts"):
        parts[other]["settings"] = {**parts[other]["settings"], "parts": list(document["parts"])}
    best = tune([partial(_weighted, rows, logits, parts, other, weight) for weight in WEIGHTS], dataset, rows, seen)
    value = float(primary_metric(rank_rows(best, dataset, rows, seen=seen)).mean())
    settings = {"learned_on": "validation", "seen": seen}
    return {"kind": "blend", "settings": settings, "parts": list(best.settings["parts"])}, value


def _events(dataset: EncodedSequences, row: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    before = slice(int(row - dataset.position[row]), int(row))
    return dataset.item[before], dataset.timestamp[before]


def _standard(kind: str, logits: NDArray[np.float32]) -> dict[str, Any]:
    values = logits.astype(np.float64)
    scale = float(values.std(axis=1).mean())
    return {"kind": kind, "mean": float(values.mean()), "scale": scale if scale > 0 else 1.0}


def _weighted(
    rows: NDArray[np.int64],
    logits: Mapping[str, NDArray[np.float32]],
    parts: Mapping[str, Mapping[str, Any]],
    other: str,
    weight: float,
) -> _Blended:
    weights = {other: 1 - weight, "sli_rec": weight}
    return _Blended(rows, logits, [{**part, "weight": weights[kind]} for kind, part in parts.items()])
