"""Small histories for the tests of the candidate-history ranker."""

from functools import cache

import numpy as np

from training.evaluation.purchases import SECONDS_PER_DAY, Purchases, history_before
from training.models.history_features import feature_graph
from training.models.history_tables import history_tables
from training.models.rank_session import cpu_session

DAY = SECONDS_PER_DAY
NOW = 1000 * DAY

# Items 1, 2 and 3 are of one group and 4 of another; this shopper buys 1 thrice, 2 and 4 once; the basket of day
# 990 has an unknown product only.
ITEMS = [1, 1, 2, 0, 4, 1]
DAYS = [970, 980, 980, 990, 994, 994]
GROUPS = {"kind": np.array([0, 0, 0, 1])}


def staples(rng, users=60, items=30, days=120, each=4):
    """Returns purchases of shoppers who buy each of a few own items about every ten days, and others at random."""
    rows = []
    for user in range(users):
        own = rng.choice(items, size=each, replace=False)
        for item in own:
            day = rng.uniform(0, 10)
            while day < days:
                rows.append((user, item, int(day)))
                day += rng.uniform(8, 12)
        rows += [(user, int(rng.integers(items)), int(rng.integers(days))) for _ in range(10)]
    user, item, day = (np.array(column) for column in zip(*rows, strict=True))
    return Purchases.of(user, item, day * DAY)


def small_history():
    """Returns a history of four items and three shoppers, 20 days before `NOW`."""
    user = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    item = np.array([10, 10, 20, 40, 10, 30, 20, 30, 40])
    day = np.array([900, 910, 900, 940, 950, 950, 970, 900, 979])
    return history_before(Purchases.of(user, item, day * DAY), 980 * DAY, min_purchases=1)


@cache
def feature_session():
    """Returns the session of the small history's features, and their names."""
    graph, names = feature_graph(history_tables(small_history(), GROUPS, 10.0, 3), 21)
    return cpu_session(graph), names


def run_features(items=ITEMS, days=DAYS, now=NOW):
    """Returns pairs, and each family as name to column, for literal events."""
    session, names = feature_session()
    times = np.array([round(day * DAY) for day in days])
    values = {"items": np.array(items, np.int32), "timestamps": times, "now": np.array(now)}
    pairs, seen, dense, house = session.run(None, values)
    return (
        pairs.tolist(),
        dict(zip(names.seen, seen.T, strict=True)),
        dict(zip(names.dense, dense.T, strict=True)),
        dict(zip(names.house, house[0], strict=True)),
    )
