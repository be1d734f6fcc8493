"""Metrics: exact values, ties by brute force over orders, and recommenders' own implementations."""

from itertools import pairwise, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recommenders.evaluation import python_evaluation as reference
from recommenders.models.deeprec.deeprec_utils import cal_metric
from sklearn.metrics import log_loss, roc_auc_score

from training.evaluation import metrics
from training.evaluation.metrics import Ranks, rank_targets


def distinct_scores(rng, rows, columns):
    return rng.permuted(np.tile(np.arange(columns, dtype=np.float64), (rows, 1)), axis=1)


def test_values_of_known_places():
    ranks = Ranks.of([1, 2, 3, 11])
    assert metrics.hr_at_k(ranks, 2).tolist() == [1, 1, 0, 0]
    assert metrics.recall_at_k(ranks, 3).tolist() == [1, 1, 1, 0]
    np.testing.assert_allclose(metrics.ndcg_at_k(ranks, 10), [1, 1 / np.log2(3), 0.5, 0])
    np.testing.assert_allclose(metrics.mrr(ranks), [1, 1 / 2, 1 / 3, 1 / 11])
    np.testing.assert_allclose(metrics.map_at_k(ranks, 10), [1, 1 / 2, 1 / 3, 0])
    assert metrics.group_auc(Ranks.of([1, 10]), 10).tolist() == [1, 0]


def test_full_ranking_metrics_names_and_means():
    found = metrics.full_ranking_metrics(Ranks.of([1, 6]), (5, 10))
    assert list(found) == ["HR@5", "HR@10", "NDCG@5", "NDCG@10", "Recall@5", "Recall@10", "MRR", "MAP@12"]
    assert found["HR@5"] == 0.5 and found["HR@10"] == 1
    assert found["NDCG@10"] == pytest.approx((1 + 1 / np.log2(7)) / 2)
    assert found["MRR"] == found["MAP@12"] == pytest.approx((1 + 1 / 6) / 2)


def test_rank_targets_counts_better_and_equal_candidates():
    scores = np.array([[9.0, 3.0, 1.0, 3.0], [0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, -np.inf]])
    ranks = rank_targets(scores, np.array([1, 2, 3]))
    assert ranks.first.tolist() == [2, 1, 4] and ranks.last.tolist() == [3, 4, 4]
    assert ranks.mean.tolist() == [2.5, 2.5, 4]
    allowed = np.array([False, True, True, True])
    assert rank_targets(scores, np.array([1, 2, 3]), allowed).first.tolist() == [1, 1, 3]


@given(st.lists(st.integers(0, 3), min_size=2, max_size=6), st.integers(1, 6), st.data())
def test_ties_are_the_mean_over_all_orders(scores, k, data):
    target = data.draw(st.integers(0, len(scores) - 1))
    places = [
        order.index(target) + 1
        for order in permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    ranks = rank_targets(np.array([scores], float), np.array([target]))
    each = Ranks.of(places)
    for value in (lambda r: metrics.hr_at_k(r, k), lambda r: metrics.ndcg_at_k(r, k), metrics.mrr):
        assert value(ranks)[0] == pytest.approx(value(each).mean())
    assert metrics.map_at_k(ranks, k)[0] == pytest.approx(metrics.map_at_k(each, k).mean())


def test_a_constant_ranker_is_a_random_one():
    ranks = rank_targets(np.zeros((3, 50)), np.array([0, 20, 49]))
    np.testing.assert_allclose(metrics.hr_at_k(ranks, 10), 10 / 50)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12))
def test_better_places_never_score_less(place, other, k):
    low, high = sorted((place, other))
    for value in (metrics.hr_at_k, metrics.ndcg_at_k, metrics.map_at_k):
        better, worse = value(Ranks.of([low, high]), k)
        assert 0 <= worse <= better <= 1


@pytest.mark.parametrize("k", [1, 5, 12])
def test_agrees_with_recommenders_on_full_ranking(k):
    rng = np.random.default_rng(0)
    users, items = 40, 25
    scores = distinct_scores(rng, users, items)
    targets = rng.integers(items, size=users)
    truth = pd.DataFrame({"userID": np.arange(users), "itemID": targets, "rating": 1.0})
    grid = {"userID": np.repeat(np.arange(users), items), "itemID": np.tile(np.arange(items), users)}
    predicted = pd.DataFrame({**grid, "prediction": scores.ravel()})
    ranks = rank_targets(scores, targets)
    ndcg = reference.ndcg_at_k(truth, predicted, k=k, relevancy_method="top_k", discfun_type="log2")
    assert metrics.recall_at_k(ranks, k).mean() == pytest.approx(reference.recall_at_k(truth, predicted, k=k))
    assert metrics.map_at_k(ranks, k).mean() == pytest.approx(reference.map_at_k(truth, predicted, k=k))
    assert metrics.ndcg_at_k(ranks, k).mean() == pytest.approx(ndcg)


def test_baskets_agree_with_recommenders():
    rng = np.random.default_rng(1)
    users, items, k = 30, 20, 6
    scores = distinct_scores(rng, users, items)
    relevant = rng.random((users, items)) < 0.3
    relevant[:, 0] = True
    user, item = np.nonzero(relevant)
    truth = pd.DataFrame({"userID": user, "itemID": item, "rating": 1.0})
    grid = {"userID": np.repeat(np.arange(users), items), "itemID": np.tile(np.arange(items), users)}
    predicted = pd.DataFrame({**grid, "prediction": scores.ravel()})
    found = metrics.basket_metrics(scores, relevant, (k,), rng)
    assert found[f"Recall@{k}"].mean() == pytest.approx(reference.recall_at_k(truth, predicted, k=k))
    assert found[f"MAP@{k}"].mean() == pytest.approx(reference.map_at_k(truth, predicted, k=k))
    ndcg = reference.ndcg_at_k(truth, predicted, k=k, discfun_type="log2")
    assert found[f"NDCG@{k}"].mean() == pytest.approx(ndcg)


def test_baskets_of_one_target_are_the_single_target_metrics():
    rng = np.random.default_rng(2)
    scores, targets = distinct_scores(rng, 20, 15), rng.integers(15, size=20)
    relevant = np.zeros((20, 15), bool)
    relevant[np.arange(20), targets] = True
    found, ranks = metrics.basket_metrics(scores, relevant, (3, 10), rng), rank_targets(scores, targets)
    np.testing.assert_allclose(found["NDCG@3"], metrics.ndcg_at_k(ranks, 3))
    np.testing.assert_allclose(found["HR@10"], metrics.hr_at_k(ranks, 10))
    np.testing.assert_allclose(found["MAP@10"], metrics.map_at_k(ranks, 10))


def test_baskets_by_hand():
    scores = np.array([[0.9, 0.8, 0.7, 0.1]])
    relevant = np.array([[True, False, True, True]])
    found = metrics.basket_metrics(scores, relevant, (2, 3), np.random.default_rng(0))
    assert found["Recall@2"][0] == pytest.approx(1 / 3)
    assert found["MAP@3"][0] == pytest.approx((1 + 2 / 3) / 3)
    assert found["NDCG@3"][0] == pytest.approx((1 + 0.5) / (1 + 1 / np.log2(3) + 0.5))
    assert found["HR@2"][0] == 1


def test_sampled_metrics_agree_with_recommenders_cal_metric():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(60, 10))
    scores[:, 0] += 1
    probabilities = 1 / (1 + np.exp(-scores))
    found, ranks = metrics.sampled_metrics(scores, probabilities)
    labels = np.zeros((60, 10))
    labels[:, 0] = 1
    expected = cal_metric(labels.ravel(), probabilities.ravel(), ["auc", "logloss"])
    expected |= cal_metric(labels, probabilities, ["mean_mrr", "ndcg@2;4;6", "group_auc"])
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=5.1e-5), name  # recommenders rounds to 4 places
    assert found["auc"] == pytest.approx(roc_auc_score(labels.ravel(), scores.ravel()))
    assert found["logloss"] == pytest.approx(log_loss(labels.ravel(), probabilities.ravel()))
    assert len(ranks) == 60


def test_ties_in_auc_count_one_half():
    labels, scores = np.array([[1, 0, 0, 0]]), np.array([[1.0, 1.0, 0.0, 2.0]])
    assert metrics.auc(labels, scores) == roc_auc_score(labels.ravel(), scores.ravel()) == 0.5
    assert metrics.group_auc(rank_targets(scores, np.array([0])), 4).tolist() == [0.5]


def test_infinite_scores_and_certain_probabilities():
    scores = np.array([[-np.inf, 0.0, 1.0]])
    found, _ = metrics.sampled_metrics(scores, np.array([[0.0, 0.5, 1.0]]))
    assert found["auc"] == 0 and found["group_auc"] == 0
    assert found["logloss"] == pytest.approx((2 * -np.log(1e-11) + np.log(2)) / 3, rel=1e-6)


def test_logloss_is_left_out_without_probabilities():
    assert "logloss" not in metrics.sampled_metrics(np.array([[1.0, 0.0]]))[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.hr_at_k(Ranks.of([1]), 0), "`k` should be a positive integer. Received: k = 0"),
        (lambda: Ranks.of([0]), "1-based"),
        (lambda: Ranks(np.array([2]), np.array([1])), "1-based"),
        (lambda: rank_targets(np.array([[np.nan, 1.0]]), np.array([1])), "NaN"),
        (lambda: rank_targets(np.zeros((2, 3)), np.array([1])), "shapes"),
        (lambda: metrics.full_ranking_metrics(Ranks.of([])), "at least one row"),
        (lambda: metrics.auc(np.array([1, 1]), np.array([0.1, 0.2])), "one class only"),
        (lambda: metrics.logloss(np.array([1]), np.array([1.5])), "between 0 and 1"),
        (lambda: metrics.sampled_metrics(np.zeros((3, 1))), "1 \\+ negatives"),
        (
            lambda: metrics.basket_metrics(np.zeros((1, 2)), np.zeros((1, 2), bool), (1,), np.random.default_rng(0)),
            "a target in each row",
        ),
    ],
)
def test_wrong_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_table_leaves_out_recall_and_shows_a_missing_value_as_a_dash():
    table = metrics.metrics_table({"a": {"x": 1.0, "Recall@5": 1.0}, "b": {"x": 0.5, "y": 2.0}})
    assert table == [
        "        x       y",
        "a  1.0000       -",
        "b  0.5000  2.0000",
    ]
