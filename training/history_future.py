"""The candidate-history ranker among the methods of a temporal cut."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.evaluation.future_tuning import Method
from training.evaluation.metrics import FloatArray
from training.evaluation.purchases import History, IntArray
from training.history_config import HistoryRankerConfig
from training.history_ranker import FittedRanker, fit_history_ranker
from training.models.rank_session import RankSession, ShopperEvents, score_users

NAME: Final = "candidate history"


class CandidateHistory:
    """Fits the ranker on a history and scores with the graph that would be deployed.

    Attributes:
        fitted: The ranker of the latest fit.
    """

    def __init__(self, groups: Mapping[str, NDArray[Any]], config: HistoryRankerConfig, progress: bool = False) -> None:
        """Sets up the ranker.

        Args:
            groups: Name to (N,) group of each item of the purchases, by the purchases' item number 0 to N - 1.
            config: Settings.
            progress: Whether to show bars.
        """
        self._groups, self._config, self._progress = groups, config, progress
        self._history: History | None = None
        self._session: RankSession | None = None
        self._events: ShopperEvents | None = None
        self.fitted: FittedRanker | None = None

    @property
    def name(self) -> str:
        """Name of the method in tables."""
        return NAME

    @property
    def settings(self) -> Mapping[str, Any]:
        """The configuration and the names of the groups."""
        return {**self._config.model_dump(mode="json"), "groups": list(self._groups)}

    def fit(self, history: History) -> "CandidateHistory":
        """Learns from the history and returns itself; a second call with the same one does nothing."""
        if self._history is not history:
            groups = {name: np.asarray(codes)[history.item_ids] for name, codes in self._groups.items()}
            self.fitted = fit_history_ranker(history, groups, self._config, self._progress)
            self._session, self._events = RankSession(self.fitted.graph), ShopperEvents.of(history)
            self._history = history
        return self

    def score(self, users: IntArray) -> FloatArray:
        """Returns (len(users), I) log odds of a purchase.

        Raises:
            ValueError: If it was not fitted.
        """
        if self._session is None or self._events is None or self._history is None:
            raise ValueError(f"{NAME} should be fitted before it scores. Received: score without fit")
        return score_users(
            self._session, self._events, users, self._history.before, length=self._config.history_length
        ).astype(np.float64)


def history_method(
    groups: Mapping[str, NDArray[Any]], config: HistoryRankerConfig | None = None, progress: bool = False
) -> Method:
    """Returns the ranker as a method of `evaluate_future`, with one configuration: nothing is chosen on the test window.

    Args:
        groups: As in `CandidateHistory`.
        config: Settings; the defaults were chosen on windows before the first test cut.
        progress: Whether to show bars.
    """
    ranker = CandidateHistory(groups, config or HistoryRankerConfig(), progress)
    return Method(NAME, lambda: ranker)
