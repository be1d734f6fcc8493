"""The candidate-history ranker: learns what of a shopper's own history makes them buy an item in the next days."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx

from training.evaluation.purchases import History, IntArray
from training.history_config import HistoryRankerConfig
from training.history_examples import Examples, make_examples
from training.history_training import num_steps, standardise, train_network
from training.models.history_features import FeatureNames
from training.models.history_network import rank_graph
from training.models.history_tables import history_tables

PROBE_LISTS: Final = 64  # shoppers whose features are timed before the time is said
PROBE_STEPS: Final = 20
COMPILING_STEPS: Final = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FittedRanker:
    """A ranker that can be deployed.

    Attributes:
        graph: Rank graph (`training.models.rank_session`) whose ids 1..I are the history's items 0..I-1.
        settings: What it was made with, as JSON can hold it.
        names: Names of its features.
        announced_seconds: How long the whole was said to take, after the first part of it.
        seconds: How long it took.
    """

    graph: onnx.ModelProto
    settings: Mapping[str, Any]
    names: FeatureNames
    announced_seconds: float
    seconds: float


class Forecast:
    """Says how long the fit will take, from the first part of the features and from the first steps.

    Before the first step, a step is taken to last as long as the features of its shoppers, which is about right on one
    thread; the forecast is said again, better, once steps were timed.
    """

    def __init__(self, config: HistoryRankerConfig, say: Callable[[str], Any], clock: Callable[[], float]) -> None:
        """Starts the clock.

        Args:
            config: Settings.
            say: Takes the text of a forecast.
            clock: Seconds from any moment.
        """
        self._config, self._say, self._clock = config, say, clock
        self._start = clock()
        self._first_list = self._first_step = 0.0
        self.announced: float | None = None

    @property
    def passed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def on_list(self, done: int, total: int) -> None:
        """Is told that the features of one more shopper are made."""
        if done == 1:
            self._first_list = self.passed  # tables of the first moment
        if done == min(PROBE_LISTS, total):
            each = (self.passed - self._first_list) / max(done - 1, 1)
            features = (self._config.cuts + 1) * self._first_list + each * total
            steps = self._config.seeds * num_steps(total, self._config) * each * self._config.batch_size / 4
            self._announce(features + steps)

    def on_step(self, done: int, total: int) -> None:
        """Is told that one more step of the first network is taken."""
        if done == COMPILING_STEPS:
            self._first_step = self.passed
        if done == min(PROBE_STEPS, total) and done > COMPILING_STEPS:
            each = (self.passed - self._first_step) / (done - COMPILING_STEPS)
            self._announce(self.passed + each * (self._config.seeds * total - done) + self._first_list)

    def _announce(self, seconds: float) -> None:
        if self.announced is None:
            self.announced = seconds
        self._say(f"the whole fit will take about {seconds / 60:.1f} minutes, of which {self.passed / 60:.1f} are over")


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
    forecast = Forecast(config, _log.info, time.monotonic)
    rng = np.random.default_rng(config.seed)
    examples = make_examples(history, groups, config, rng, progress, forecast.on_list)
    names = examples.names
    scales = standardise(examples, config.clip)
    networks = [
        train_network(
            examples,
            history.num_items + 1,
            config,
            config.seed + number,
            progress,
            forecast.on_step if number == 0 else None,
        )
        for number in range(config.seeds)
    ]
    sizes = _sizes(examples)
    del examples
    tables = history_tables(history, groups, config.regularization, config.neighbours)
    graph = rank_graph(tables, config.days, scales, networks)
    settings = {**config.model_dump(mode="json"), "groups": sorted(groups), **sizes}
    return FittedRanker(graph, settings, names, forecast.announced or 0.0, forecast.passed)


def _sizes(examples: Examples) -> dict[str, int]:
    return {
        "examples": examples.num_lists,
        "pairs_bought_before": len(examples.seen.item),
        "pairs_new": len(examples.new.item),
    }
