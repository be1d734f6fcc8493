"""Choice of settings on the window before the cut, the same way for every method."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from training.evaluation.future import (
    DAYS,
    PRIMARY,
    FutureCut,
    FutureRanker,
    Target,
    View,
    evaluate_ranker,
    temporal_cut,
)
from training.evaluation.future_rankers import Blend, EaseRanker, ItemKnn, MarkovBaskets, OwnFrequency, Popularity
from training.evaluation.purchases import MIN_PURCHASES, SECONDS_PER_DAY, Purchases
from training.evaluation.tifu import TifuKnn

ROUNDS: Final = 3  # of trying each setting in turn; most methods stand still after two
BLEND_WEIGHTS: Final = (0.1, 0.01, 0.03, 0.3, 1.0, 3.0, 10.0)
# Size, basket decay and group decay only work together, so they are one setting: a search that changes one at a time
# would not find them.
TIFU_BASKETS: Final = (
    20.0,
    10.0,
    30.0,
    40.0,
    (7, 0.9, 0.7),
    (7, 0.9, 0.9),
    (7, 0.95, 0.8),
    (7, 1.0, 0.9),
    (3, 0.9, 0.9),
    (14, 0.95, 0.9),
)
BLENDS: Final = (("own frequency, basket decay", "EASE"), ("own frequency, basket decay", "EASE, log counts"))


@dataclass(frozen=True)
class Method:
    """A method and the settings it may run with.

    Attributes:
        name: Name in tables.
        make: Takes one value for each entry of `grid`, by name, and returns an unfitted ranker.
        grid: Setting to the values to try; the first ones are where the search starts.
    """

    name: str
    make: Callable[..., FutureRanker]
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])


@dataclass(frozen=True)
class Choice:
    """Settings chosen for one method and view.

    Attributes:
        ranker: Ranker with these settings; fit it before use.
        value: NDCG@10 on the validation window.
        tried: Number of settings looked at.
    """

    ranker: FutureRanker
    value: float
    tried: int


def validation_cut(
    purchases: Purchases,
    before: int,
    days: int = DAYS,
    min_purchases: int = MIN_PURCHASES,
    target: Target = "window",
) -> FutureCut:
    """Returns the cut `days` earlier: its window ends where the test window begins, so it holds nothing of it."""
    earlier = purchases.take(purchases.time < before)
    return temporal_cut(earlier, before - days * SECONDS_PER_DAY, days, min_purchases, target)


def _log_ease(regularization: float) -> FutureRanker:
    return EaseRanker(regularization, "log")


def _tifu(baskets: float | tuple[int, float, float], alpha: float, neighbours: int) -> FutureRanker:
    """Returns TIFU-kNN: of single baskets with a half-life, or of groups (size, basket decay, group decay)."""
    if isinstance(baskets, tuple):
        return TifuKnn(neighbours, alpha, *baskets)
    return TifuKnn.of_half_life(baskets, neighbours, alpha)


def simple_methods() -> list[Method]:
    """Returns the simple methods with their grids; blends of them are made by `tune_methods`."""
    return [
        Method("popularity", Popularity),
        Method("recent popularity", Popularity, {"days": (28, 7, 14, 56, 112)}),
        Method("own frequency", OwnFrequency),
        Method("own frequency, basket decay", OwnFrequency, {"half_life": (20.0, 5.0, 10.0, 40.0, 80.0)}),
        Method(
            "Markov basket -> basket", MarkovBaskets, {"half_life": (5.0, None, 1.0, 20.0), "damping": (0.5, 0.0, 0.3)}
        ),
        Method("item-kNN (cosine)", ItemKnn, {"neighbours": (100, 20, 500)}),
        Method("EASE", EaseRanker, {"regularization": (300.0, 100.0, 1000.0, 3000.0)}),
        Method("EASE, log counts", _log_ease, {"regularization": (100.0, 10.0, 30.0, 300.0, 1000.0)}),
        Method(
            "TIFU-kNN",
            _tifu,
            {"baskets": TIFU_BASKETS, "alpha": (0.5, 0.3, 0.7, 0.9), "neighbours": (300, 100, 600)},
        ),
    ]


class Search:
    """Tries settings on a validation cut; what was tried for one view is known for the others too."""

    def __init__(self, cut: FutureCut, views: Sequence[View], rng: np.random.Generator, progress: bool = False) -> None:
        """Sets up the search.

        Args:
            cut: From `validation_cut`.
            views: Views to measure.
            rng: Source of one seed for the order of equal scores, the same for all settings.
            progress: Whether to show a bar.
        """
        self._cut, self._views, self._progress = cut, tuple(views), progress
        self._seed = int(rng.integers(2**63))
        self._values: dict[str, Mapping[View, float]] = {}

    def value(self, ranker: FutureRanker, view: View) -> float:
        """Fits a ranker on the cut and returns its mean NDCG@10 in a view."""
        key = f"{ranker.name} {dict(ranker.settings)}"
        if key not in self._values:
            with tqdm(
                total=len(self._cut.users), desc=key[:70], unit="shopper", disable=not self._progress, leave=False
            ) as bar:
                ranker.fit(self._cut.history)
                rng = np.random.default_rng(self._seed)
                found = evaluate_ranker(ranker, self._cut, rng, self._views, bar.update)
            self._values[key] = {each: outcome.means[PRIMARY] for each, outcome in found.items()}
        return self._values[key][view]

    def choose(self, method: Method, view: View) -> Choice:
        """Returns the best settings found by trying one setting at a time until none of them gets better.

        Raises:
            ValueError: If a setting has no values.
        """
        empty = [name for name, values in method.grid.items() if not values]
        if empty:
            raise ValueError(
                f"each setting of {method.name} should have at least one value. Received: none for {empty}"
            )
        best = {name: values[0] for name, values in method.grid.items()}
        value = self.value(method.make(**best), view)
        tried = {repr(best)}
        for _ in range(ROUNDS):
            before = dict(best)
            for name, option in chain.from_iterable(((n, o) for o in values) for n, values in method.grid.items()):
                settings = {**best, name: option}
                tried.add(repr(settings))
                found = self.value(method.make(**settings), view)
                if found > value:
                    best, value = settings, found
            if best == before:
                break
        return Choice(method.make(**best), value, len(tried))


def blend_method(own: FutureRanker, other: FutureRanker, weights: Sequence[float] = BLEND_WEIGHTS) -> Method:
    """Returns the method `own` + weight * `other`, for two rankers whose settings are chosen already."""
    return Method(
        f"{own.name} + {other.name}", lambda weight: Blend((own, other), (1.0, weight)), {"weight": tuple(weights)}
    )


def tune_methods(
    cut: FutureCut,
    methods: Sequence[Method],
    views: Sequence[View],
    rng: np.random.Generator,
    blends: Sequence[tuple[str, str]] = BLENDS,
    progress: bool = False,
) -> dict[View, dict[str, Choice]]:
    """Chooses the settings of every method for every view on a validation cut.

    Args:
        cut: From `validation_cut`.
        methods: Methods, such as `simple_methods`.
        views: Views to choose for.
        rng: Source of the order of equal scores.
        blends: Pairs of names of methods to blend, with the settings chosen for the view.
        progress: Whether to show bars.

    Returns:
        View to method to its choice, in the order of `methods`, the blends last.

    Raises:
        ValueError: If a name is given twice or a blend names a method that is not there.
    """
    names = [method.name for method in methods]
    if len(set(names)) != len(names):
        raise ValueError(f"`methods` should have different names. Received: {names}")
    missing = [name for pair in blends for name in pair if name not in names]
    if missing:
        raise ValueError(f"`blends` should name methods among {names}. Received: {missing}")
    search = Search(cut, views, rng, progress)
    chosen: dict[View, dict[str, Choice]] = {view: {} for view in views}
    for method in tqdm(methods, desc="tuning", unit="method", disable=not progress):
        for view in views:
            chosen[view][method.name] = search.choose(method, view)
    for pair in blends:
        for view in views:
            own, other = (chosen[view][name].ranker for name in pair)
            method = blend_method(own, other)
            chosen[view][method.name] = search.choose(method, view)
    return chosen
