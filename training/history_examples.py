"""Examples of the candidate-history ranker: shoppers at earlier moments, and what they bought in the days after.

The features of each shopper at each moment come from the very graph that serving runs, with tables of that moment.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.evaluation.purchases import SECONDS_PER_DAY, History, IntArray
from training.history_config import HistoryRankerConfig
from training.models.history_features import FeatureNames, feature_graph
from training.models.history_tables import Float32, history_tables
from training.models.rank_session import ShopperEvents, cpu_session

RANK_OFFSET: Final = 20.0  # keeps the first items by EASE from being nearly all of the sample


def earlier_history(history: History, before: int) -> History:
    """Returns what was known at an earlier moment, with the same shoppers and items.

    Args:
        history: What is known later.
        before: Seconds UTC; a basket counts as a whole, by its first line.
    """
    kept = history.basket_time < before
    owner = np.repeat(np.arange(history.num_users), history.num_baskets)[kept]
    num_baskets = np.bincount(owner, minlength=history.num_users)
    number = np.cumsum(kept) - 1  # a shopper's earlier baskets come first
    rows = kept[history.basket]
    user, basket = history.user[rows], number[history.basket[rows]]
    return History(
        before=before,
        user_ids=history.user_ids,
        item_ids=history.item_ids,
        user=user,
        item=history.item[rows],
        time=history.time[rows],
        basket=basket,
        age=np.cumsum(num_baskets)[user] - 1 - basket,
        num_baskets=num_baskets,
        basket_time=history.basket_time[kept],
    )


def earlier_cuts(history: History, config: HistoryRankerConfig) -> list[int]:
    """Returns the moments to learn from, latest first; the window after each of them ends at the cut or before.

    Raises:
        ValueError: If the history is too short for one of them.
    """
    start = int(history.basket_time.min())
    latest = history.before - config.days * SECONDS_PER_DAY
    cuts = [latest - number * config.step_days * SECONDS_PER_DAY for number in range(config.cuts)]
    cuts = [cut for cut in cuts if cut - start >= config.min_history_days * SECONDS_PER_DAY]
    if not cuts:
        found = (history.before - start) / SECONDS_PER_DAY
        raise ValueError(
            f"the history should span `min_history_days` + `days` = {config.min_history_days} + {config.days} days. "
            f"Received: {found:.1f} days; lower one of them"
        )
    return cuts


@dataclass(frozen=True, eq=False)
class Pairs:
    """(shopper, item) pairs of a head, list by list.

    Attributes:
        starts: (L + 1,) int64, first pair of each list.
        features: (N, F) float32.
        item: (N,) int64, row of `Examples.item`.
        bought: (N,) float32, 1 if the shopper bought the item in the window.
        weight: (N,) float32, how many pairs this one stands for.
    """

    starts: IntArray
    features: Float32
    item: IntArray
    bought: Float32
    weight: Float32

    @classmethod
    def joined(cls, parts: list[tuple[Float32, IntArray, Float32, Float32]]) -> "Pairs":
        """Returns lists put one after the other."""
        starts = np.concatenate([[0], np.cumsum([len(part[1]) for part in parts])])
        features, item, bought, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(starts, features, item, bought, weight)


@dataclass(frozen=True, eq=False)
class Examples:
    """What the networks learn from: one list for each shopper and moment.

    Attributes:
        seen: Pairs bought before, all of them; columns seen and dense.
        new: Pairs never bought: those bought in the window, and a sample of the others; columns dense.
        house: (L, H) float32.
        item: (moments * (I + 1), M) float32, the item statistics of each moment.
        names: Names of the columns.
    """

    seen: Pairs
    new: Pairs
    house: Float32
    item: Float32
    names: FeatureNames

    @property
    def num_lists(self) -> int:
        """Number of lists, L."""
        return len(self.house)


def make_examples(
    history: History,
    groups: Mapping[str, IntArray],
    config: HistoryRankerConfig,
    rng: np.random.Generator,
    progress: bool = False,
    on_list: Callable[[int, int], Any] | None = None,
) -> Examples:
    """Returns the examples of all moments of a history.

    Args:
        history: What may be learned from.
        groups: Name to (I,) numbers of the items' groups.
        config: Settings.
        rng: Source of the sampled items.
        progress: Whether to show a bar.
        on_list: Called after each list with the number of lists made and that of all lists.

    Raises:
        ValueError: If the history is too short, or no shopper bought anything in a window.
    """
    cuts = earlier_cuts(history, config)
    windows = [_window(history, cut, config.days) for cut in cuts]
    total, done = sum(len(users) for users, _ in windows), 0
    if not total:
        raise ValueError("some shopper should buy items of the vocabulary after an earlier moment. Received: none")
    seen: list[Any] = []
    new: list[Any] = []
    house: list[Float32] = []
    items: list[Float32] = []
    names: FeatureNames | None = None
    with tqdm(total=total, desc="features of earlier moments", unit="shopper", disable=not progress) as bar:
        for number, (cut, (users, bought)) in enumerate(zip(cuts, windows, strict=True)):
            known = earlier_history(history, cut)
            tables = history_tables(known, groups, config.regularization, config.neighbours)
            graph, names = feature_graph(tables, config.days)
            session: Any = cpu_session(graph)
            events, allowed = ShopperEvents.of(known), _common_enough(history, known)
            items.append(tables.item)
            ease = names.dense.index("EASE")
            for user, targets in zip(users, bought, strict=True):
                ids, times = events.of_user(int(user), config.history_length)
                found = session.run(None, {"items": ids, "timestamps": times, "now": np.array(cut, np.int64)})
                one = _ListMaker(*found[:3], targets, allowed, ease, number * tables.num_items)
                seen.append(one.seen())
                new.append(one.new(config.negatives, rng))
                house.append(found[3])
                done += 1
                bar.update()
                if on_list is not None:
                    on_list(done, total)
    assert names is not None  # there is at least one cut
    return Examples(Pairs.joined(seen), Pairs.joined(new), np.concatenate(house), np.concatenate(items), names)


def _window(history: History, cut: int, days: int) -> tuple[IntArray, list[IntArray]]:
    """Returns the shoppers with an earlier item and one in the window, and the graph ids that each buys in it."""
    moment = history.basket_time[history.basket]
    inside = (moment >= cut) & (moment < cut + days * SECONDS_PER_DAY)
    pairs = np.unique(np.stack([history.user[inside], history.item[inside] + 1]), axis=1)
    pairs = pairs[:, np.isin(pairs[0], history.user[moment < cut])]
    users, starts = np.unique(pairs[0], return_index=True)
    return users, np.split(pairs[1], starts[1:])


def _common_enough(history: History, known: History) -> NDArray[np.bool_]:
    """Returns (I + 1,): items bought often enough by then that they might have been in the vocabulary."""
    least = history.popularity().min()
    start = int(history.basket_time.min())
    share = (known.before - start) / (history.before - start)
    return np.concatenate([[False], known.popularity() >= max(1.0, least * share)])


@dataclass(frozen=True, eq=False)
class _ListMaker:
    """One shopper at one moment."""

    pairs: IntArray
    seen_features: Float32
    dense: Float32
    targets: IntArray
    allowed: NDArray[np.bool_]
    ease: int
    offset: int

    def seen(self) -> tuple[Float32, IntArray, Float32, Float32]:
        """Returns features, item rows, labels and weights of the pairs bought before."""
        kept = self.allowed[self.pairs]
        ids = self.pairs[kept]
        features = np.concatenate([self.seen_features[kept], self.dense[ids]], axis=1)
        bought = np.isin(ids, self.targets).astype(np.float32)
        return features, ids + self.offset, bought, np.ones(len(ids), np.float32)

    def new(self, negatives: int, rng: np.random.Generator) -> tuple[Float32, IntArray, Float32, Float32]:
        """Returns the same of the new items bought, and of sampled ones; a sampled one stands for 1 / (n q)."""
        possible = self.allowed.copy()
        possible[self.pairs] = False
        positive = self.targets[possible[self.targets]]
        possible[positive] = False
        others = np.flatnonzero(possible)
        ids, weight = positive, np.ones(len(positive), np.float32)
        if len(others):
            by_ease = np.empty(len(others))
            by_ease[np.argsort(-self.dense[others, self.ease], kind="stable")] = 1 / (
                np.arange(len(others)) + RANK_OFFSET
            )
            chance = 0.5 * by_ease / by_ease.sum() + 0.5 / len(others)
            sums = np.cumsum(chance)
            drawn = np.searchsorted(sums, rng.random(negatives) * sums[-1], side="right")
            ids = np.concatenate([positive, others[drawn]])
            weight = np.concatenate([weight, 1 / (negatives * chance[drawn])]).astype(np.float32)
        bought = (np.arange(len(ids)) < len(positive)).astype(np.float32)
        return self.dense[ids], ids + self.offset, bought, weight
