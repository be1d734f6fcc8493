"""The simple methods of the temporal cut: exact scores on small tables, and plain loops beside the matrices."""

import numpy as np
import pytest
from future_data import CUT, DAY, lines, made_up
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.future_rankers import Blend, EaseRanker, ItemKnn, MarkovBaskets, OwnFrequency, Popularity
from training.evaluation.item_models import Ease
from training.evaluation.purchases import history_before
from training.evaluation.tifu import TifuKnn


@pytest.fixture
def history():
    return history_before(lines(), CUT, min_purchases=1)  # items 100, 200, 300, 900; users 7, 8, 9


def scores(ranker, history):
    return ranker.fit(history).score(np.arange(history.num_users))


def near(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_popularity(history):
    near(scores(Popularity(), history), [[3, 3, 1, 1]] * 3)
    near(scores(Popularity(days=7), history), [[1, 1, 1, 1]] * 3)
    near(scores(Popularity(days=5), history), [[0, 1, 0, 0]] * 3)


def test_own_frequency(history):
    near(scores(OwnFrequency(), history), [[2, 1, 1, 0], [1, 2, 0, 0], [0, 0, 0, 1]])
    near(scores(OwnFrequency(half_life=1), history), [[1.5, 0.5, 1, 0], [0.5, 1.5, 0, 0], [0, 0, 0, 1]])


def test_what_is_unknown_comes_by_popularity(history):
    first = scores(OwnFrequency(), history)[2]
    assert np.argsort(-first, kind="stable").tolist() == [3, 0, 1, 2]


def test_markov_baskets(history):
    # 100 was followed by 100 and 300 (user 7) and by 200 (user 8); 200 likewise; 300 and 900 by nothing.
    row = np.array([0.5, 0.5, 0.5, 0])
    near(scores(MarkovBaskets(), history), [row / 2, row, 0 * row])
    damped = row / [1, 1, 1, 1]
    near(scores(MarkovBaskets(damping=1.0), history), [damped / 2, damped, 0 * row])
    # With half-life 1, user 7 speaks with 1.5 of 100, 0.5 of 200 and 1 of 300.
    near(scores(MarkovBaskets(half_life=1), history)[0], row * 2 / 3)


def test_damping_divides_by_what_is_common():
    rows = [(1, 5, 1, 1), (1, 6, 2, 2), (2, 5, 1, 1), (2, 6, 2, 2), (2, 7, 2, 2), (3, 5, 1, 1)]
    history = history_before(lines(rows), CUT, min_purchases=1)
    near(scores(MarkovBaskets(), history)[2], [0, 1, 0.5])
    near(scores(MarkovBaskets(damping=0.5), history)[2], [0, 1 / np.sqrt(2), 0.5])


def test_item_knn(history):
    # Shoppers with both: 100 and 200 two, 100 and 300 one, 200 and 300 one; shoppers: 2, 2, 1, 1.
    half = 1 / np.sqrt(2)
    near(scores(ItemKnn(), history), [[1 + half, 1 + half, 2 * half, 0], [1, 1, 2 * half, 0], [0, 0, 0, 0]])
    near(scores(ItemKnn(neighbours=1), history)[1], [1, 1, 2 * half, 0])


@pytest.mark.parametrize("values", ["binary", "log"])
def test_ease_is_that_of_the_paper(history, values):
    counts = history.basket_counts().toarray()
    inputs = (counts > 0) * 1.0 if values == "binary" else np.log1p(counts)
    weights = Ease.fit(inputs.T @ inputs, 2.0).weights
    near(scores(EaseRanker(2.0, values), history), inputs @ weights)
    assert np.diag(weights).tolist() == [0, 0, 0, 0]


def tifu_by_loops(history, baskets, neighbours, alpha, size, inner, outer):
    vectors = np.zeros((history.num_users, history.num_items))
    for user, own in enumerate(baskets):
        groups = []
        newest_first = own[::-1]
        for start in range(0, len(own), size):
            group = newest_first[start : start + size]
            groups.append(sum(inner**place * basket for place, basket in enumerate(group)) / len(group))
        vectors[user] = sum(outer**place * group for place, group in enumerate(groups)) / len(groups)
    out = np.zeros_like(vectors)
    for user, own in enumerate(vectors):
        distances = ((vectors - own) ** 2).sum(axis=1)
        distances[user] = np.inf
        near_ones = np.argsort(distances)[:neighbours]
        out[user] = alpha * own + (1 - alpha) * vectors[near_ones].mean(axis=0)
    return out


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_tifu_by_plain_loops(seed, size):
    history = history_before(made_up(np.random.default_rng(seed)), 30 * DAY, min_purchases=1)
    baskets = []
    for user in range(history.num_users):
        mine = np.zeros((history.num_baskets[user], history.num_items))
        rows = history.user == user
        mine[history.num_baskets[user] - 1 - history.age[rows], history.item[rows]] = 1
        baskets.append(mine)
    # All others as neighbours: with fewer, two at one distance could be chosen either way.
    others = history.num_users - 1
    ranker = TifuKnn(neighbours=others, alpha=0.6, group_size=size, basket_decay=0.9, group_decay=0.7)
    near(scores(ranker, history), tifu_by_loops(history, baskets, others, 0.6, size, 0.9, 0.7))


def test_tifu_takes_the_nearest(history):
    # Vectors with one big group: 7 has 100, 200 and 300, 8 has 100 and 200, 9 has 900. 7 and 8 are near each other.
    found = scores(TifuKnn(neighbours=1, alpha=0.0, group_size=10, basket_decay=1.0), history)
    near(found[:2], [[0.5, 1, 0, 0], [1, 0.5, 0.5, 0]])


def test_tifu_of_a_lone_shopper():
    history = history_before(lines([(1, 5, 1, 1), (1, 6, 2, 2)]), CUT, min_purchases=1)
    near(scores(TifuKnn(alpha=0.5, group_size=1, group_decay=0.5), history), [[0.125, 0.25]])


def test_tifu_of_single_baskets_divides_by_a_bounded_number(history):
    # Half-life 1: the latest basket counts 1, the one before 0.5; the divisor is at most 1 / log(2) = 1.44.
    found = scores(TifuKnn.of_half_life(1.0, neighbours=2, alpha=1.0), history)
    weights = history.user_item(0.5**history.age, history.firsts).toarray()
    near(found, weights / np.minimum(history.num_baskets, 1 / np.log(2))[:, None])


def test_a_blend_adds_its_parts(history):
    own, popular = OwnFrequency(), Popularity()
    near(scores(Blend((own, popular), (1.0, 0.1)), history)[0], [2.3, 1.3, 1.1, 0.1])
    blend = Blend((own, popular), (1.0, 0.1))
    assert blend.name == "own frequency + popularity"
    assert blend.settings == {
        "weights": [1.0, 0.1],
        "parts": [{"own frequency": {"half_life": None}}, {"popularity": {"days": None}}],
    }
    with pytest.raises(ValueError, match="of one length"):
        Blend((own,), (1.0, 2.0))


def test_a_second_fit_starts_afresh_and_the_same_history_costs_nothing(history):
    class Counted(Popularity):
        fits = 0

        def _prepare(self, history):
            self.fits += 1
            super()._prepare(history)

    part = Counted()
    Blend((part, part), (1.0, 1.0)).fit(history)
    assert part.fits == 1
    later = history_before(lines(), 40 * DAY, min_purchases=1)
    assert scores(part, later).shape == (later.num_users, later.num_items) and part.fits == 2


def test_score_without_fit():
    with pytest.raises(ValueError, match="should be fitted before it scores"):
        Popularity().score(np.arange(1))


def test_settings_are_the_fields():
    assert dict(OwnFrequency(20.0).settings) == {"half_life": 20.0}
    assert dict(EaseRanker().settings) == {"regularization": 300.0, "values": "binary"}
    assert dict(TifuKnn().settings)["neighbours"] == 300
