"""Baselines: exact scores on tiny tables, recommenders' SAR, EASE's optimality, and that tuning picks the best."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from evaluation_data import HOUR, Fixed, encoded
from recommenders.models.sar import SAR

from training.evaluation import baselines, item_models, tuning
from training.evaluation.protocol import evaluate_full_ranking, primary_metric

DAY = 24 * HOUR
# Training: 1 2 3 | 2 2 1 | 4 1 (a user of fewer than 3 events is wholly in training).
DATA = encoded([[1, 2, 3, 1, 2], [2, 2, 1, 3, 4], [4, 1]], num_items=5)


def fitted(dataset=DATA):
    return {"share": baselines.popularity_share(dataset), "counts": baselines.transition_counts(dataset)}


def random_data(seed=0, users=60, items=20):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 15, users)
    times = [np.cumsum(rng.integers(60, 3 * DAY, length)).tolist() for length in lengths]
    return encoded([rng.integers(1, items, length).tolist() for length in lengths], items, times)


def test_popularity_counts_training_rows_only():
    np.testing.assert_allclose(fitted()["share"], np.array([0, 3, 3, 1, 1]) / 8)
    scores = baselines.Popularity(fitted()["share"]).score(DATA, DATA.rows("test"))
    assert scores.shape == (2, 5)


def test_own_frequency_counts_the_whole_history_then_popularity():
    scores = baselines.OwnFrequency(fitted()["share"]).score(DATA, DATA.rows("test"))
    np.testing.assert_allclose(scores, [[0, 2, 1, 1, 0], [0, 1, 2, 1, 0]], atol=1e-5)
    assert scores[0, 2] > scores[0, 3]  # both once, item 2 is the more popular


def test_recent_popularity_halves_and_never_looks_ahead():
    times = [[0, DAY, 2 * DAY, 3 * DAY], [0, 2 * DAY, 4 * DAY, 5 * DAY]]
    dataset = encoded([[1, 2, 3, 3], [1, 3, 1, 2]], num_items=4, times=times)  # training: 1 2 | 1 3
    ranker = baselines.RecentPopularity(baselines.popularity_share(dataset), half_life_days=1.0)
    rows = np.array([1, 3, 7])
    now = dataset.timestamp[rows] / DAY
    assert now.tolist() == [1, 3, 5]
    expected = [
        [0, 2 * 0.5**1, 0, 0],  # item 2 is sold at this very moment, item 3 later: neither is known yet
        [0, 2 * 0.5**3, 0.5**2, 0.5**1],
        [0, 2 * 0.5**5, 0.5**4, 0.5**3],
    ]
    np.testing.assert_allclose(ranker.score(dataset, rows), expected, atol=1e-5)
    np.testing.assert_allclose(ranker.score(dataset, rows[::-1]), expected[::-1], atol=1e-5)


def test_transitions_count_training_steps_and_items_to_themselves():
    counts = fitted()["counts"].toarray()
    expected = np.zeros((5, 5))
    for before, after in [(1, 2), (2, 3), (2, 2), (2, 1), (4, 1)]:
        expected[before, after] += 1
    np.testing.assert_array_equal(counts, expected)


def test_last_item_markov_backs_off_to_popularity():
    share = fitted()["share"]
    scores = baselines.last_item_markov(fitted()["counts"], share, back_off=2.0).score(DATA, DATA.rows("test"))
    np.testing.assert_allclose(scores[0], (np.array([0, 0, 1, 0, 0]) + 2 * share) / 3)  # last item 1
    np.testing.assert_allclose(scores[1], share)  # last item 3 was never followed in training
    np.testing.assert_allclose(scores.sum(axis=1), 1)


def test_decayed_mix_is_the_weighted_sum_of_transition_rows():
    share, counts = fitted()["share"], fitted()["counts"].toarray()
    ranker = baselines.MarkovMix(fitted()["counts"], share, window=3, decay=0.5, back_off=1.0)
    probability = (counts + share) / (counts.sum(axis=1, keepdims=True) + 1)
    expected = [
        sum(0.5**age * probability[item] for age, item in enumerate(latest)) for latest in ([1, 3, 2], [3, 1, 2])
    ]
    np.testing.assert_allclose(ranker.score(DATA, DATA.rows("test")), expected)


@pytest.mark.parametrize("kind", ["jaccard", "cosine", "lift"])
def test_sar_is_recommenders_sar(kind, monkeypatch):
    # Its `fit` and `score` name a constant that NumPy 2 dropped; given back, they are the reference.
    monkeypatch.setattr(np, "NaN", np.nan, raising=False)
    dataset = random_data()
    train = dataset.split == 0
    frame = pd.DataFrame(
        {"userID": dataset.user, "itemID": dataset.item, "rating": 1.0, "timestamp": dataset.timestamp}
    )[train].drop_duplicates(["userID", "itemID", "timestamp"])
    model = SAR(similarity_type=kind, timedecay_formula=True, time_decay_coefficient=2)
    model.fit(frame)
    valid = dataset.rows("valid")
    expected = model.score(pd.DataFrame({"userID": dataset.user[valid]}))
    ranker = item_models.SarItemKnn(item_models.sar_similarity(dataset, kind), half_life_days=2, kind=kind)
    scores = ranker.score(dataset, valid)
    items = [model.index2item[index] for index in range(model.n_items)]
    # SAR counts back from the last training event of all, ours from the shopper's own: one factor a row.
    ratio = scores[:, items] / expected
    latest = dataset.timestamp[train].max()
    np.testing.assert_allclose(ratio, np.exp2((latest - dataset.timestamp[valid - 1]) / (2 * DAY))[:, None] + 0 * ratio)


def test_sar_knows_nothing_of_items_outside_training():
    dataset = encoded([[1, 2, 1, 0, 3], [1, 2, 2, 1, 2]], num_items=4)
    similarity = item_models.sar_similarity(dataset)
    assert np.isfinite(similarity).all()
    assert not similarity[0].any() and not similarity[3].any() and similarity[1, 2] == 1


def test_ease_minimises_its_objective():
    dataset, regularization = random_data(1), 5.0
    gram = item_models.gram_matrix(dataset)
    touched = np.zeros((dataset.num_users, dataset.num_items))
    train = dataset.split == 0
    touched[dataset.user[train], dataset.item[train]] = 1
    np.testing.assert_array_equal(gram, touched.T @ touched)
    weights = item_models.Ease.fit(gram, regularization).weights
    assert not np.diag(weights).any()

    def objective(matrix):
        return ((touched - touched @ matrix) ** 2).sum() + regularization * (matrix**2).sum()

    gradient = -2 * touched.T @ (touched - touched @ weights) + 2 * regularization * weights
    off_diagonal = gradient - np.diag(np.diag(gradient))
    np.testing.assert_allclose(off_diagonal, 0, atol=1e-8)
    rng = np.random.default_rng(2)
    for _ in range(5):
        step = rng.normal(size=weights.shape) * 0.01
        np.fill_diagonal(step, 0)
        assert objective(weights + step) > objective(weights)


def test_ease_scores_from_the_set_of_the_history():
    dataset = random_data(1)
    ranker = item_models.Ease.fit(item_models.gram_matrix(dataset), 5.0)
    row = dataset.rows("test")[7]
    before = np.unique(dataset.item[row - dataset.position[row] : row])
    np.testing.assert_allclose(ranker.score(dataset, np.array([row]))[0], ranker.weights[before].sum(axis=0))


def test_fitting_does_not_read_held_out_rows():
    dataset = random_data(3)
    changed = random_data(3)
    held = changed.split != 0
    changed.item[held] = (changed.item[held] % (changed.num_items - 1)) + 1
    assert not np.array_equal(dataset.item, changed.item)
    np.testing.assert_array_equal(baselines.popularity_share(dataset), baselines.popularity_share(changed))
    np.testing.assert_array_equal(fitted(dataset)["counts"].toarray(), fitted(changed)["counts"].toarray())
    np.testing.assert_array_equal(item_models.gram_matrix(dataset), item_models.gram_matrix(changed))
    np.testing.assert_array_equal(item_models.sar_similarity(dataset), item_models.sar_similarity(changed))


@pytest.mark.parametrize("seen", ["in", "out"])
def test_no_baseline_reads_its_target_or_what_follows(seen):
    dataset, changed = random_data(4), random_data(4)
    rows = dataset.rows("valid")
    changed.item[rows] = (changed.item[rows] % (changed.num_items - 1)) + 1
    changed.item[rows + 1] = 1
    for ranker in baselines.default_baselines(dataset, seen=seen):
        np.testing.assert_array_equal(ranker.score(dataset, rows), ranker.score(changed, rows), err_msg=ranker.name)


def test_tuning_takes_the_best_on_validation_and_the_first_on_ties():
    dataset = encoded([[1, 2, 4, 1], [2, 1, 4, 2], [1, 3, 4, 3]], num_items=5)  # validation targets: 4
    worse, better = Fixed([0, 4, 3, 2, 1], "worse"), Fixed([0, 1, 2, 3, 4], "better")
    rows = tuning.tuning_rows(dataset, "in")
    choices = [lambda: worse, lambda: better, lambda: Fixed([0, 1, 2, 3, 4], "as good")]
    assert tuning.tune(choices, dataset, rows, "in").name == "better"
    assert tuning.tune(choices, dataset, rows[:0], "in").name == "worse"
    with pytest.raises(ValueError, match="at least one"):
        tuning.tune([], dataset, rows, "in")


def test_tuning_rows_are_new_to_the_shopper_when_seen_is_out_and_at_most_so_many():
    dataset = encoded([[1, 2, 1, 3], [1, 2, 3, 1]], num_items=4)
    assert tuning.tuning_rows(dataset, "in").tolist() == [2, 6]
    assert tuning.tuning_rows(dataset, "out").tolist() == [6]
    many = random_data()
    assert tuning.tuning_rows(many, "in", 10).tolist() == sorted({*tuning.tuning_rows(many, "in", 10).tolist()})
    assert len(tuning.tuning_rows(many, "in", 10)) == 10


def test_default_baselines_names_and_shapes_and_choice():
    dataset = random_data(5)
    found = baselines.default_baselines(dataset, seen="in")
    assert [ranker.name for ranker in found] == [
        "popularity",
        "recent popularity",
        "own frequency",
        "own frequency, basket decay",
        "last-item Markov",
        "decayed Markov mix",
        "item-kNN (SAR)",
        "EASE",
        "TIFU-kNN",
        "own frequency, basket decay + EASE",
    ]
    rows = dataset.rows("test")
    for ranker in found:
        assert ranker.score(dataset, rows).shape == (len(rows), dataset.num_items)
        assert np.isfinite(ranker.score(dataset, rows)).all()
        assert ranker.score(dataset, rows[:0]).shape == (0, dataset.num_items)
    ease = {ranker.name: ranker for ranker in found}["EASE"]

    def value(ranker):
        return primary_metric(evaluate_full_ranking(ranker, dataset, "valid", seen="in", progress=False).ranks).mean()

    gram = item_models.gram_matrix(dataset)
    grid = [partial(item_models.Ease.fit, gram, regularization) for regularization in baselines.EASE_LAMBDAS]
    assert value(ease) == max(value(make()) for make in grid)


def test_markov_wins_on_a_chain():
    rng = np.random.default_rng(8)
    cycle = np.roll(np.arange(1, 21), -1)  # item i is followed by i + 1
    histories = []
    for _ in range(80):
        item, history = int(rng.integers(1, 21)), []
        for _ in range(12):
            history.append(item)
            item = int(cycle[item - 1]) if rng.random() < 0.8 else int(rng.integers(1, 21))
        histories.append(history)
    dataset = encoded(histories, num_items=21)
    ndcg = {
        ranker.name: evaluate_full_ranking(ranker, dataset, seen="in", progress=False).metrics["NDCG@10"]
        for ranker in baselines.default_baselines(dataset, seen="in")
    }
    assert ndcg["last-item Markov"] > 2 * ndcg["popularity"]
    assert abs(ndcg["decayed Markov mix"] - ndcg["last-item Markov"]) < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: item_models.sar_similarity(DATA, "pearson"), "Received: kind = 'pearson'"),
        (lambda: item_models.Ease.fit(np.eye(2), 0.0), "should be positive. Received: regularization = 0.0"),
    ],
)
def test_wrong_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
