"""Baselines from item-item matrices: item-kNN by recommenders' SAR, and EASE."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from recommenders.models.sar import SAR
from recommenders.utils.python_utils import cosine_similarity, exponential_decay, jaccard, lift
from scipy import sparse

from training.data.sequences import EncodedSequences
from training.evaluation.histories import earlier_events, history_matrix, training_events
from training.evaluation.metrics import FloatArray
from training.evaluation.purchases import SECONDS_PER_DAY

SAR_SIMILARITIES: Final = ("jaccard", "cosine", "lift")  # SAR's name of the measure
_MEASURES: Final = {"jaccard": jaccard, "cosine": cosine_similarity, "lift": lift}


def sar_similarity(dataset: EncodedSequences, kind: str = "jaccard") -> FloatArray:
    """Returns SAR's (num_items, num_items) item similarity from the training rows.

    The steps are those of `recommenders.models.sar.SAR.fit`, called one by one: `fit` itself reads `np.NaN`, which
    NumPy 2 no longer has, and maps ids that are already indices one row at a time.

    Args:
        dataset: Encoded sequences.
        kind: One of `SAR_SIMILARITIES`.

    Raises:
        ValueError: If `kind` is not known.
    """
    if kind not in _MEASURES:
        raise ValueError(f"`kind` should be one of {SAR_SIMILARITIES}. Received: kind = {kind!r}")
    model: Any = SAR(similarity_type=kind)
    model.n_users, model.n_items = dataset.num_users, dataset.num_items
    events = training_events(dataset)
    touched = pd.DataFrame({model.col_user_id: dataset.user[events], model.col_item_id: dataset.item[events]})
    touched = touched.drop_duplicates().assign(**{model.col_rating: 1.0})
    together = model.compute_cooccurrence_matrix(touched)
    # Items that no shopper has in training (id 0 among them) give 0/0: nothing is similar to them.
    similarity = np.nan_to_num(np.asarray(_MEASURES[kind](together), dtype=np.float64))
    similarity[0, :] = similarity[:, 0] = 0
    return similarity


@dataclass(frozen=True)
class SarItemKnn:
    """Item-kNN by recommenders' SAR: time-decayed affinity of the history times item similarity.

    The affinity halves every `half_life_days`, counted back from the shopper's latest event; counted from any other
    moment it would differ by one factor for all items, which changes no ranking.

    Attributes:
        similarity: From `sar_similarity`.
        half_life_days: SAR's `time_decay_coefficient`.
        kind: Name of the similarity.
        name: Name in tables.
    """

    similarity: FloatArray
    half_life_days: float
    kind: str = "jaccard"
    name: str = "item-kNN (SAR)"

    @property
    def settings(self) -> Mapping[str, Any]:
        """Chosen similarity and half-life."""
        return {"similarity": self.kind, "half_life_days": self.half_life_days}

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns (len(rows), num_items)."""
        events = earlier_events(dataset, rows)
        latest = dataset.timestamp[rows[events.index] - 1]
        decays = exponential_decay(dataset.timestamp[events.event], latest, self.half_life_days * SECONDS_PER_DAY)
        return history_matrix(dataset, rows, events, decays) @ self.similarity


def gram_matrix(dataset: EncodedSequences) -> FloatArray:
    """Returns (num_items, num_items): how many shoppers have both items in the training rows."""
    events = training_events(dataset)
    shape = (dataset.num_users, dataset.num_items)
    touched = sparse.csr_matrix((np.ones(len(events)), (dataset.user[events], dataset.item[events])), shape=shape)
    touched.data[:] = 1  # the constructor has summed repeats
    gram = np.asarray((touched.T @ touched).toarray(), dtype=np.float64)
    gram[0, :] = gram[:, 0] = 0
    return gram


@dataclass(frozen=True)
class Ease:
    """EASE: a linear item-item model in closed form (Steck, "Embarrassingly shallow autoencoders", WWW 2019, eq. 8).

    Its diagonal is zero: it cannot score an item from itself, so judge it on items that are new to the shopper.

    Attributes:
        weights: (num_items, num_items) float64, the matrix B of the paper.
        regularization: Its lambda.
        name: Name in tables.
    """

    weights: FloatArray
    regularization: float
    name: str = "EASE"

    @classmethod
    def fit(cls, gram: FloatArray, regularization: float) -> "Ease":
        """Returns the model: B = I - P diag(1 / diag(P)) with P the inverse of gram + lambda I.

        Args:
            gram: From `gram_matrix`.
            regularization: Lambda, above 0.

        Raises:
            ValueError: If lambda is not positive.
        """
        if regularization <= 0:
            raise ValueError(f"`regularization` should be positive. Received: regularization = {regularization}")
        regularized = gram.astype(np.float64)
        np.fill_diagonal(regularized, np.diag(gram) + regularization)
        inverse = np.linalg.inv(regularized)
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        return cls(weights, regularization)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Chosen lambda."""
        return {"lambda": self.regularization}

    def score(self, dataset: EncodedSequences, rows: NDArray[np.int64]) -> FloatArray:
        """Returns (len(rows), num_items) from the set of items in the history."""
        touched = history_matrix(dataset, rows, earlier_events(dataset, rows))
        touched.data[:] = 1  # the constructor has summed repeats
        return touched @ self.weights
