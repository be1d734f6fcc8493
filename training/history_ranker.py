"""The candidate-history ranker: learns what of a shopper's own history makes them buy an item in the next days."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from training.evaluation.purchases import History, IntArray
from training.history_config import HistoryRankerConfig


@dataclass(frozen=True, eq=False)
class FittedRanker:
    """A ranker that can be deployed.

    Attributes:
        graph: Rank graph (`training.models.rank_session`) whose ids 1..I are the history's items 0..I-1.
        settings: What it was made with, as JSON can hold it.
    """

    graph: onnx.ModelProto
    settings: Mapping[str, Any]


def fit_history_ranker(
    history: History,
    groups: Mapping[str, IntArray],
    config: HistoryRankerConfig,
    progress: bool = True,
) -> FittedRanker:
    """Learns from what shoppers bought before the history's cut, and nothing else.

    Args:
        history: Purchases before the cut.
        groups: Name to (I,) whole numbers: the group (category, brand) of each item, negative for none; may be empty.
        config: Settings.
        progress: Whether to show bars.

    Raises:
        ValueError: If the history is too short for one earlier moment, or a group does not fit.
    """
    raise NotImplementedError
