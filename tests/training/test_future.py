"""The temporal cut: exact tables, its metrics, and that nothing after the cut is known before it."""

import numpy as np
import pytest
from future_data import CUT, DAY, LINES, lines, made_up
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.future import (
    METRICS,
    evaluate_ranker,
    shopper_metrics,
    temporal_cut,
)
from training.evaluation.future_rankers import (
    Blend,
    EaseRanker,
    ItemKnn,
    MarkovBaskets,
    OwnFrequency,
    Popularity,
)
from training.evaluation.future_tuning import validation_cut
from training.evaluation.metrics import basket_metrics
from training.evaluation.purchases import Purchases, history_before
from training.evaluation.tifu import TifuKnn


class Fixed:
    """A ranker with given scores for every shopper of the history."""

    name, settings = "fixed", {}

    def __init__(self, scores):
        self.scores = np.asarray(scores, dtype=np.float64)

    def fit(self, history):
        return self

    def score(self, users):
        return self.scores[users]


def test_history_of_a_small_table():
    history = history_before(lines(), CUT, min_purchases=1)
    assert history.user_ids.tolist() == [7, 8, 9] and history.item_ids.tolist() == [100, 200, 300, 900]
    assert history.num_baskets.tolist() == [2, 2, 1]
    assert history.user.tolist() == [0, 0, 0, 0, 1, 1, 1, 2]
    assert history.item.tolist() == [0, 1, 0, 2, 0, 1, 1, 3]
    assert history.basket.tolist() == [0, 0, 1, 1, 2, 2, 3, 4]
    assert history.age.tolist() == [1, 1, 0, 0, 1, 1, 0, 0]
    assert (history.time // DAY).tolist() == [1, 1, 3, 3, 2, 2, 5, 4]
    assert history.popularity().tolist() == [3, 3, 1, 1]
    assert history.popularity(since=3 * DAY).tolist() == [1, 1, 1, 1]


def test_rare_items_leave_the_vocabulary_but_their_baskets_count():
    rows = [*LINES[:8], (7, 900, 9, 5)]
    history = history_before(lines(rows), CUT, min_purchases=3)
    assert history.item_ids.tolist() == [100, 200]
    assert history.num_baskets.tolist() == [3, 2, 1]  # the latest basket of user 7 holds a rare item only
    assert history.age.tolist() == [2, 2, 1, 1, 1, 0]


def test_an_item_twice_in_a_basket_counts_once_for_its_shopper():
    history = history_before(lines([(1, 5, 1, 1), (1, 5, 1, 1), (1, 5, 2, 2)]), CUT, min_purchases=1)
    assert history.popularity().tolist() == [3]
    assert history.basket_counts().toarray().tolist() == [[2]] and history.user_item().toarray().tolist() == [[3]]


def test_baskets_follow_their_first_line():
    # Basket 1 begins on day 2 and ends on day 6, basket 2 lies between: basket 2 is the latest one.
    history = history_before(lines([(1, 5, 2, 1), (1, 6, 4, 2), (1, 7, 6, 1)]), CUT, min_purchases=1)
    assert dict(zip(history.item.tolist(), history.age.tolist(), strict=True)) == {0: 1, 2: 1, 1: 0}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("window", {7: [200, 300], 9: [100]}),
        ("next_basket", {7: [200], 9: [100]}),
        ("next_item", {7: [200], 9: [100]}),
    ],
)
def test_targets(target, expected):
    cut = temporal_cut(lines(), CUT, days=7, min_purchases=1, target=target)
    ids = cut.history.item_ids
    found = {int(cut.history.user_ids[user]): ids[cut.targets[row].indices] for row, user in enumerate(cut.users)}
    assert {user: sorted(items.tolist()) for user, items in found.items()} == expected
    assert cut.until == CUT + 7 * DAY


def test_the_next_basket_is_whole_and_the_next_item_is_not():
    rows = [(1, 5, 1, 1), (1, 6, 1, 1), (1, 7, 1, 1), (1, 5, 11, 2), (1, 6, 12, 2), (1, 7, 13, 3)]
    counts = {
        target: temporal_cut(lines(rows), CUT, 7, 1, target).targets.toarray().tolist()
        for target in ("window", "next_basket", "next_item")
    }
    assert counts == {
        "window": [[True, True, True]],
        "next_basket": [[True, True, False]],
        "next_item": [[True, False, False]],
    }


def test_a_shopper_without_an_item_of_the_vocabulary_is_not_judged():
    cut = temporal_cut(lines(), CUT, days=7, min_purchases=3)
    assert cut.history.user_ids[cut.users].tolist() == [7]


def test_both_views_of_a_known_ranking():
    cut = temporal_cut(lines(), CUT, days=7, min_purchases=1)  # user 7: 200 and 300 again; user 9: 100, new to it
    scores = [[4.0, 3.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0], [3.0, 4.0, 2.0, 5.0]]
    found = evaluate_ranker(Fixed(scores), cut, np.random.default_rng(0))
    assert found["all"].users.tolist() == [0, 2] and found["new"].users.tolist() == [2]
    discount = 1 / np.log2(1 + np.arange(1, 5))
    ideal = discount[0] + discount[1]
    np.testing.assert_allclose(found["all"].values["NDCG@10"], [(discount[1] + discount[3]) / ideal, discount[2]])
    np.testing.assert_allclose(found["all"].values["MAP@12"], [(1 / 2 + 2 / 4) / 2, 1 / 3])
    np.testing.assert_allclose(found["all"].values["P@12"], [2 / 12, 1 / 12])
    np.testing.assert_allclose(found["new"].values["NDCG@10"], discount[1])  # 900 was bought and is out
    assert found["all"].means["HR@12"] == 1 and found["all"].means["R@10"] == 1


@given(st.integers(0, 2**32 - 1), st.integers(13, 60))
@settings(max_examples=30, deadline=None)
def test_metrics_are_those_of_the_whole_ranking(seed, items):
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.tile(np.arange(items, dtype=np.float64), (5, 1)), axis=1)
    relevant = rng.random((5, items)) < 0.3
    relevant[:, 0] = True
    scores[:, items - 3 :] = np.where(relevant[:, items - 3 :], scores[:, items - 3 :], -np.inf)
    whole = basket_metrics(scores, relevant, (10, 12), rng)
    found = shopper_metrics(scores, relevant, rng)
    assert tuple(found) == METRICS
    for name, other in (("NDCG@10", "NDCG@10"), ("HR@12", "HR@12"), ("MAP@12", "MAP@12"), ("R@10", "Recall@10")):
        np.testing.assert_allclose(found[name], whole[other])
    hits = np.take_along_axis(relevant, np.argsort(-scores, axis=1)[:, :12], axis=1)
    np.testing.assert_allclose(found["P@12"], hits.sum(axis=1) / 12)


def test_equal_scores_gain_nothing():
    rng = np.random.default_rng(1)
    relevant = np.zeros((4000, 40), dtype=bool)
    relevant[:, :4] = True  # a ranker that gives all items one score must not profit from their order
    found = shopper_metrics(np.zeros(relevant.shape), relevant, rng)
    assert found["P@12"].mean() == pytest.approx(4 / 40, abs=0.005)
    assert found["R@10"].mean() == pytest.approx(10 / 40, abs=0.015)


def test_ties_on_the_edge_leave_the_sure_places_alone():
    rng = np.random.default_rng(2)
    scores = np.concatenate([np.full((500, 3), 2.0), np.ones((500, 30))], axis=1)
    relevant = np.zeros(scores.shape, dtype=bool)
    relevant[:, [0, 10]] = True
    found = shopper_metrics(scores, relevant, rng)
    assert found["HR@12"].min() == 1
    assert found["R@10"].mean() == pytest.approx((1 + 7 / 30) / 2, abs=0.03)


def rankers():
    return [
        Popularity(),
        Popularity(days=5),
        OwnFrequency(),
        OwnFrequency(half_life=3.0),
        MarkovBaskets(),
        MarkovBaskets(half_life=2.0, damping=0.5),
        ItemKnn(neighbours=4),
        EaseRanker(10.0),
        EaseRanker(10.0, "log"),
        TifuKnn(neighbours=3, group_size=2),
        Blend((OwnFrequency(3.0), EaseRanker(10.0)), (1.0, 0.1)),
    ]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_nothing_after_the_cut_changes_a_score(seed):
    rng = np.random.default_rng(seed)
    purchases = made_up(rng)
    before = 25 * DAY
    late = purchases.time >= before
    count = int(rng.integers(0, 60))
    known = purchases.take(~late)
    changed = Purchases(  # other users, items (known and unknown), times and baskets after the cut, in another order
        np.concatenate([rng.integers(0, 20, count), known.user]),
        np.concatenate([rng.integers(0, 30, count), known.item]),
        np.concatenate([rng.integers(before, before + 30 * DAY, count), known.time]),
        np.concatenate([rng.integers(0, 20, count), known.basket]),
    )
    one, other = (history_before(each, before, 3) for each in (purchases, changed))
    users = np.arange(one.num_users)
    np.testing.assert_array_equal(one.item_ids, other.item_ids)
    np.testing.assert_array_equal(one.user_ids, other.user_ids)
    for first, second in zip(rankers(), rankers(), strict=True):
        np.testing.assert_array_equal(first.fit(one).score(users), second.fit(other).score(users))
    try:
        tuned_on = validation_cut(purchases, before, 5, 3)
    except ValueError:  # no one bought in the window
        with pytest.raises(ValueError, match="window"):
            validation_cut(changed, before, 5, 3)
        return
    again = validation_cut(changed, before, 5, 3)
    np.testing.assert_array_equal(tuned_on.users, again.users)
    np.testing.assert_array_equal(tuned_on.targets.toarray(), again.targets.toarray())
    assert tuned_on.until == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"days": 0}, "`days` should be a positive integer"),
        ({"min_purchases": 0}, "`min_purchases` should be a positive integer"),
        ({"min_purchases": 50}, "lower it or move the cut"),
        ({"target": "basket"}, "`target` should be one of"),
        ({"before": 40 * DAY}, "none within 21 days"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        temporal_cut(lines(), **{"before": CUT, "min_purchases": 1, **arguments})


def test_columns_should_be_whole_numbers_of_one_length():
    with pytest.raises(ValueError, match="`item` should hold whole numbers"):
        Purchases.of([1], ["milk"], [0])
    with pytest.raises(ValueError, match="of one length"):
        Purchases.of([1, 2], [1], [0])
    assert Purchases.of([1], [2], [3]).basket.tolist() == [3]  # a time is a basket


@pytest.mark.parametrize(("scores", "message"), [(np.ones((3, 2)), "shape"), (np.full((3, 4), np.nan), "finite")])
def test_faulty_scores_are_refused(scores, message):
    cut = temporal_cut(lines(), CUT, days=7, min_purchases=1)
    with pytest.raises(ValueError, match=message):
        evaluate_ranker(Fixed(scores), cut, np.random.default_rng(0))
