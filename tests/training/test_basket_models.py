"""Baselines that count baskets: exact weights on tiny tables, and agreement with the temporal evaluation's methods."""

import numpy as np
import pytest
from evaluation_data import encoded

from training.evaluation import basket_models, tuning
from training.evaluation.baselines import popularity_share
from training.evaluation.basket_models import BaselineBlend, BasketFrequency, Tifu, row_baskets
from training.evaluation.future_rankers import OwnFrequency
from training.evaluation.protocol import primary_metric, rank_rows
from training.evaluation.purchases import Purchases, history_before
from training.evaluation.tifu import TifuKnn

# Shopper 1: {1, 2} {1} {0} {2, 2}, then the test event; shopper 2: {3} {3, 1} {1}.
TIMES = [[0, 0, 5, 6, 7, 7, 9], [0, 3, 3, 4]]
DATA = encoded([[1, 2, 1, 0, 2, 2, 3], [3, 3, 1, 1]], num_items=4, times=TIMES)


def random_data(seed=0, users=30, items=12):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 15, users)
    times = [np.sort(rng.integers(0, 6, length)).tolist() for length in lengths]
    return encoded([rng.integers(1, items, length).tolist() for length in lengths], items, times)


def test_events_of_one_time_are_a_basket_and_an_unknown_item_still_makes_one():
    history = row_baskets(DATA, np.array([6, 10]))
    assert history.num_baskets.tolist() == [4, 2]
    assert list(zip(history.user, history.item, history.age, strict=True)) == [
        *[(0, 1, 3), (0, 2, 3), (0, 1, 2), (0, 2, 0), (0, 2, 0)],
        *[(1, 3, 1), (1, 1, 0), (1, 3, 0)],
    ]


def test_own_frequency_counts_each_basket_once_and_halves():
    scores = BasketFrequency(popularity_share(DATA), half_life=1.0).score(DATA, np.array([6, 10]))
    expected = [[0, 1 / 8 + 1 / 4, 1 / 8 + 1, 0], [0, 1, 0, 1 / 2 + 1]]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert scores[0, 3] > 0  # never had: by popularity


def as_purchases(dataset, events):
    return Purchases.of(dataset.user[events], dataset.item[events], dataset.timestamp[events])


def test_they_are_the_methods_of_the_temporal_evaluation():
    dataset = random_data()
    last = np.flatnonzero(np.diff(dataset.user, append=0) != 0)
    before = np.setdiff1d(np.arange(len(dataset.user)), last)  # all that the last rows may look at
    history = history_before(as_purchases(dataset, before), before=100, min_purchases=1)
    assert history.item_ids.tolist() == [*range(1, dataset.num_items)]
    share, rows, users = np.zeros(dataset.num_items), last, np.arange(history.num_users)
    ours = BasketFrequency(share, 3.0).score(dataset, rows)[:, 1:]
    np.testing.assert_allclose(ours, OwnFrequency(3.0).fit(history).score(users), atol=1e-6)
    theirs = TifuKnn(neighbours=5, alpha=0.4, group_size=2, basket_decay=0.8, group_decay=0.6).fit(history)
    # Neighbours as of the same moment: every row but the last is a training row here.
    dataset.split[before] = 0
    tifu = Tifu.fit(dataset, share, 2, 0.8, 0.6)
    tifu = Tifu(share, tifu.vectors, tifu.users, 5, 0.4, 2, 0.8, 0.6)
    assert tifu.settings == theirs.settings
    np.testing.assert_allclose(tifu.score(dataset, rows)[:, 1:], theirs.score(users), atol=1e-6)


def test_a_shopper_is_no_neighbour_of_their_own():
    dataset = encoded([[1, 1], [1, 2], [3, 3]], num_items=4)
    share = np.zeros(4)
    tifu = Tifu.fit(dataset, share, 7, 1.0, 1.0)
    assert tifu.users.tolist() == [1, 2, 3]
    own, others = Tifu(share, tifu.vectors, tifu.users, 1, 0.5, 7, 1.0, 1.0).parts(dataset, np.array([1]))
    np.testing.assert_allclose(own, [[0, 1, 0, 0]])
    np.testing.assert_allclose(others, [[0, 0.5, 0.5, 0]])  # shopper 2, though shopper 1 is at distance 0


def test_one_shopper_alone_has_no_neighbours(monkeypatch):
    dataset = encoded([[1, 2, 1]], num_items=3)
    tifu = Tifu.fit(dataset, np.zeros(3), 7, 0.9, 0.7)
    assert tifu.score(dataset, np.array([2])).argmax() == 2
    many = random_data()
    monkeypatch.setattr(basket_models, "MAX_SHOPPERS", 7)
    few = Tifu.fit(many, np.zeros(many.num_items), 7, 0.9, 0.7)
    assert few.vectors.shape == (7, many.num_items) and few.users[0] == 1 and few.users[-1] == 30
    assert np.isfinite(few.score(many, many.rows("test"))).all()


@pytest.mark.parametrize("seen", ["in", "out"])
def test_weights_are_the_best_of_the_grid_on_validation(seen):
    dataset = random_data(1)
    share, rows = popularity_share(dataset), tuning.tuning_rows(dataset, seen)
    parts = (BasketFrequency(share, 2.0), BasketFrequency(share, 50.0))
    weights = (0.1, 1.0, 10.0)
    blend = basket_models.tuned_blend(parts, weights, dataset, rows, seen)
    assert blend.weights[0] == 1.0 and blend.settings["weights"] == list(blend.weights)

    def value(weight):
        ranker = BaselineBlend(parts, (1.0, weight))
        return primary_metric(rank_rows(ranker, dataset, rows, seen=seen)).mean()

    assert value(blend.weights[1]) == max(map(value, weights))
    untuned = basket_models.tuned_blend(parts, weights, dataset, rows[:0], seen)
    assert untuned.weights == (1.0, 0.1)


def test_tifu_is_tuned_over_its_grids_and_at_most_so_many_rows(monkeypatch):
    dataset = random_data(2)
    share, rows = popularity_share(dataset), tuning.tuning_rows(dataset, "in")
    grids = (((0.9, 0.7), (0.5, 0.5)), (3, 8), (0.7, 0.0, 1.0))
    best = basket_models.tuned_tifu(dataset, share, rows, "in", grids)
    assert best.neighbours in (3, 8) and best.alpha in grids[2]

    def value(decays, neighbours, alpha):
        vectors = Tifu.fit(dataset, share, 7, *decays).vectors
        ranker = Tifu(share, vectors, best.users, neighbours, alpha, 7, *decays)
        return primary_metric(rank_rows(ranker, dataset, rows, seen="in")).mean()

    chosen = value((best.basket_decay, best.group_decay), best.neighbours, best.alpha)
    assert chosen >= max(value(decays, 3, alpha) for decays in grids[0] for alpha in grids[2])
    asked = []
    known = basket_models.tune_weights

    def counting(scores, weights, dataset, rows, seen):
        asked.append(len(rows))
        return known(scores, weights, dataset, rows, seen)

    monkeypatch.setattr(basket_models, "tune_weights", counting)
    monkeypatch.setattr(basket_models, "MAX_TIFU_ROWS", 6)
    basket_models.tuned_tifu(dataset, share, rows, "in", grids)
    assert asked == [6, 6, 6]
