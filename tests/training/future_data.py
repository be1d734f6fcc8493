"""Small purchases for the tests of the temporal cut."""

import numpy as np

from training.evaluation.purchases import SECONDS_PER_DAY, Purchases

DAY = SECONDS_PER_DAY
CUT = 10 * DAY

# user, item, day, basket: two items of user 7's first basket, its second basket, user 8, user 9 with a rare item only.
LINES = [
    (7, 100, 1, 1),
    (7, 200, 1, 1),
    (7, 100, 3, 2),
    (7, 300, 3, 2),
    (8, 200, 2, 1),
    (8, 100, 2, 1),
    (8, 200, 5, 2),
    (9, 900, 4, 1),
    (7, 200, 11, 3),  # from here on: after the cut
    (7, 300, 12, 4),
    (7, 999, 12, 4),
    (8, 300, 30, 3),
    (9, 100, 11, 2),
    (6, 100, 11, 1),
]


def lines(rows=LINES):
    user, item, day, basket = (np.array(column) for column in zip(*rows, strict=True))
    return Purchases.of(user, item, day * DAY, basket)


def made_up(rng, users=12, items=15, baskets=8, days=40):
    """Returns random purchases in baskets of one to four items, with favourites."""
    rows = []
    for user in range(users):
        own = rng.choice(items, size=5, replace=False)
        for basket in range(baskets):
            day = int(rng.integers(days))
            pool = own if rng.random() < 0.7 else np.arange(items)
            chosen = rng.choice(pool, size=int(rng.integers(1, 5)), replace=False)
            rows += [(user, int(item), day, basket) for item in chosen]
    return lines(rows)
