"""Rank graphs of the simple methods: the scores of their counterparts, to the last digits that float32 keeps."""

import numpy as np
import pytest
from future_data import CUT, DAY, lines, made_up

from training.evaluation.future_rankers import Blend, EaseRanker, OwnFrequency, Popularity
from training.evaluation.purchases import Purchases, history_before
from training.models.rank_graphs import rank_graph, ranker_document
from training.models.rank_parts import EasePart, GraphPart, OwnFrequencyPart, PopularityPart
from training.models.rank_session import RankSession, ShopperEvents, score_users

LOWEST = np.finfo(np.float32).min


@pytest.fixture(scope="module")
def history():
    """Baskets of one shopper at one time are one basket, as they are for a graph."""
    found = made_up(np.random.default_rng(1))
    return history_before(Purchases.of(found.user, found.item, found.time), 40 * DAY, 1)


def shown(graph, history, users=None, now=None):
    """What callers see, (users, items), and logits."""
    users = np.arange(history.num_users) if users is None else users
    logits = score_users(RankSession(graph), history, users, history.before if now is None else now)
    assert logits.dtype == np.float32 and np.isfinite(logits).all()
    return 1 / (1 + np.exp(-logits.astype(np.float64))), logits


def odds(seen):
    return seen / (1 - seen)


def test_popularity_shows_the_share_of_purchases(history):
    seen, _ = shown(rank_graph([PopularityPart.fit(history)]), history)
    counts = Popularity().fit(history).score(np.arange(history.num_users))
    np.testing.assert_allclose(seen * (counts[0].sum() + 1), counts, rtol=1e-5)
    recent = rank_graph([PopularityPart.fit(history, days=7)])
    expected = Popularity(7).fit(history).score(np.arange(1))[0]
    np.testing.assert_allclose(shown(recent, history)[0][0] * (np.floor(expected).sum() + 1), expected, atol=1e-4)


@pytest.mark.parametrize("half_life", [None, 3.0])
def test_own_frequency_shows_the_share_of_own_baskets(history, half_life):
    users = np.arange(history.num_users)
    seen, logits = shown(rank_graph([OwnFrequencyPart.fit(history, half_life)]), history)
    expected = OwnFrequency(half_life).fit(history).score(users)
    baskets = history.num_baskets[:, None]
    total = baskets if half_life is None else (1 - 0.5 ** (baskets / half_life)) / (1 - 0.5 ** (1 / half_life))
    np.testing.assert_allclose(seen * (total + 1 + 1e-5), expected, atol=2e-5, rtol=1e-5)
    # Products that the shopper never had are in the order of popularity, and so are equal counts.
    popularity = history.popularity()
    for row, scores in zip(logits, expected, strict=True):
        pairs = np.abs(scores[:, None] - scores) < 1e-6
        more = popularity[:, None] > popularity
        assert (row[:, None] > row)[pairs & more].all()


def test_decay_in_days_and_unknown_products(history):
    graph = rank_graph([OwnFrequencyPart.fit(history, half_life_days=2.0)])
    items, times = np.array([3, 3, 0, 5]), DAY * np.array([0, 0, 2, 4])
    shares = 1 / (1 + np.exp(-RankSession(graph).score(items, times, 6 * DAY)[1:].astype(np.float64)))
    total = 1 / 8 + 1 / 4 + 1 / 2 + 1  # three baskets, one of an unknown product, and the one added
    np.testing.assert_allclose(shares[[2, 4]], [1 / 8 / total, 1 / 2 / total], rtol=1e-3)
    by_basket = rank_graph([OwnFrequencyPart.fit(history, 1.0)])
    scores = RankSession(by_basket).score(items, times, 6 * DAY).astype(np.float64)
    np.testing.assert_allclose(1 / (1 + np.exp(-scores[[3, 5]])), [1 / 4 / 2.75, 1 / 2.75], rtol=1e-3)
    for each in (graph, by_basket):
        nobody = RankSession(each).score(np.zeros(1), np.zeros(1), 0)
        assert nobody[0] == LOWEST < nobody[1:].min() and np.isfinite(nobody).all()
        assert (np.argsort(-nobody[1:])[:3] == np.argsort(-history.popularity(), kind="stable")[:3]).all()


@pytest.mark.parametrize("values", ["binary", "log"])
def test_ease_gives_its_scores_and_pruned_ones_those_of_the_pruned_matrix(history, values):
    users = np.arange(history.num_users)
    ranker = EaseRanker(5.0, values).fit(history)
    seen, logits = shown(rank_graph([EasePart.fit(history, 5.0, values)]), history)
    expected = ranker.score(users)
    above = expected > 1e-3
    np.testing.assert_allclose(odds(seen)[above], expected[above], rtol=2e-5)
    assert seen[~above].max(initial=0) < 2e-3
    assert (np.argsort(-logits) == np.argsort(-expected)).mean() > 0.99
    pruned = ranker._weights.copy()
    for row in pruned:
        row[np.argsort(-np.abs(row))[4:]] = 0
    some = EasePart.fit(history, 5.0, values, neighbours=4)
    assert some.neighbours.shape == some.weights.shape == (history.num_items + 1, 4)
    fewer = np.asarray(ranker._inputs @ pruned)
    above = fewer > 1e-3
    np.testing.assert_allclose(odds(shown(rank_graph([some]), history)[0])[above], fewer[above], rtol=2e-5)


def test_a_blend_orders_as_the_weighted_sum(history):
    users = np.arange(history.num_users)
    parts, weights = (OwnFrequencyPart.fit(history, 4.0), EasePart.fit(history, 5.0)), (1.0, 0.3)
    expected = Blend((OwnFrequency(4.0), EaseRanker(5.0)), weights).fit(history).score(users)
    seen, _ = shown(rank_graph(parts, weights), history)
    total = (1 - 0.5 ** (history.num_baskets / 4)) / (1 - 0.5**0.25) + 1e-5 + 0.3
    above = expected > 1e-3
    np.testing.assert_allclose((odds(seen) * total[:, None])[above], expected[above], rtol=1e-4, atol=1e-5)
    assert ranker_document(parts, weights)["parts"][1] == {
        "kind": "ease",
        "weight": 0.3,
        "settings": {"regularization": 5.0, "values": "binary", "neighbours": history.num_items},
    }
    assert ranker_document(parts[:1]) == {
        "kind": "own_frequency",
        "settings": {"half_life": 4.0, "half_life_days": None, "prior": 1e-5},
        "parts": [],
    }


def test_standardised_parts_and_a_graph_as_a_part(history):
    own = rank_graph([OwnFrequencyPart.fit(history, 4.0)])
    parts = [GraphPart(own, "candidate_history", {}), PopularityPart.fit(history)]
    _, logits = shown(rank_graph(parts, (3.0, 1.0), standardise=True), history)
    own_logits, counts = shown(own, history)[1].astype(np.float64), history.popularity()
    mean = 0.75 * (own_logits - own_logits.mean(axis=1, keepdims=True)) / own_logits.std(axis=1, keepdims=True)
    np.testing.assert_allclose(logits, mean + 0.25 * (counts - counts.mean()) / counts.std(), atol=1e-5)
    np.testing.assert_array_equal(shown(rank_graph(parts[:1]), history)[1], shown(own, history)[1])
    with pytest.raises(ValueError, match="`standardise` should be true"):
        rank_graph(parts, (1.0, 1.0))


def test_arguments_that_do_not_fit(history):
    small = history_before(lines(), CUT, 1)
    part = PopularityPart.fit(history)
    for parts, weights, message in (
        ([], [], "one length, at least 1"),
        ([part], [0.0], "nor all 0"),
        ([part], [float("nan")], "not be negative"),
        ([part, PopularityPart.fit(small)], [1.0, 1.0], "one item vocabulary"),
    ):
        with pytest.raises(ValueError, match=message):
            rank_graph(parts, weights)
    with pytest.raises(ValueError, match="`half_life` should be a positive number"):
        OwnFrequencyPart.fit(history, 0.0)
    with pytest.raises(ValueError, match="`values` should be"):
        EasePart.fit(history, values="counts")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="`neighbours`"):
        EasePart.fit(history, neighbours=0)


def test_events_beyond_the_length_are_left_to_the_caller(history):
    events = ShopperEvents.of(history)
    items, times = events.of_user(0, 2)
    assert len(items) == len(times) == 2
