import numpy as np
import pytest

from training.config import TrainingConfig
from training.evaluation.future import evaluate_ranker, temporal_cut
from training.evaluation.purchases import Purchases, history_before
from training.future_slirec import FutureSliRec, encode_history

DAY = 86_400


def some_purchases(num_users=20, num_items=40, seed=3):
    """Baskets of two or three items on whole days 1 to 9 of 20 shoppers."""
    rng = np.random.default_rng(seed)
    rows = [
        (100 + user, 50 + item, day * DAY)
        for user in range(num_users)
        for day in range(1, 10)
        for item in rng.choice(num_items, rng.integers(2, 4), replace=False)
    ]
    return Purchases.of(*np.array(rows).T)


@pytest.fixture(scope="module")
def purchases():
    return some_purchases()


def test_a_history_becomes_sequences_with_a_row_at_the_cut(purchases):
    history = history_before(purchases, 8 * DAY, min_purchases=1)
    category = np.arange(90) % 3
    dataset = encode_history(history, category, valid_rows=9, rng=np.random.default_rng(0))
    assert len(dataset.user) == len(history.user) + 20
    assert (dataset.num_users, dataset.num_items, dataset.num_categories) == (21, 41, 4)
    at_cut = dataset.rows("test")
    np.testing.assert_array_equal(dataset.user[at_cut], np.arange(1, 21))
    assert (dataset.timestamp[at_cut] == 8 * DAY).all()
    assert not dataset.item[at_cut].any()
    assert (np.delete(dataset.timestamp, at_cut) < 8 * DAY).all()
    np.testing.assert_array_equal(dataset.item_category[1:], history.item_ids % 3 + 1)
    # Whole last baskets are held out, and nobody trains on a part of one.
    valid = dataset.rows("valid")
    assert 9 <= len(valid) < 13
    assert (dataset.timestamp[valid] == 7 * DAY).all()
    held = np.isin(dataset.user, dataset.user[valid]) & (dataset.timestamp == 7 * DAY)
    np.testing.assert_array_equal(np.flatnonzero(held), valid)
    trained = dataset.split == 0
    np.testing.assert_array_equal(
        dataset.vocabularies["item"].counts[1:], np.bincount(dataset.item[trained], minlength=41)[1:]
    )
    assert dataset.negatives["valid"].shape == (len(valid), 4)


def test_a_missing_category_is_named(purchases):
    history = history_before(purchases, 8 * DAY, min_purchases=1)
    with pytest.raises(ValueError, match="entry for item number 89"):
        encode_history(history, np.zeros(89, np.int64), rng=np.random.default_rng(0))


def test_it_ranks_at_a_cut_and_the_future_changes_nothing(purchases, tmp_path):
    train = {"epochs": 1, "batch_size": 200, "init_value": 0.1}
    config = TrainingConfig().replaced(train=train, data={"same_time": "together"})
    cut = temporal_cut(purchases, 8 * DAY, days=2, min_purchases=1)
    ranker = FutureSliRec(config, tmp_path, progress=False)
    with pytest.raises(ValueError, match="should be fitted"):
        ranker.score(cut.users)
    outcomes = evaluate_ranker(ranker.fit(cut.history), cut, np.random.default_rng(0))
    assert set(outcomes) == {"all", "new"}
    assert ranker.settings["data.same_time"] == "together"
    assert len(ranker.epochs) == 1
    scores = ranker.score(cut.users)
    assert scores.std(axis=1).min() > 0
    # The same history again is the finished run: its network is loaded, nothing is trained.
    before = purchases.take(purchases.time < 8 * DAY)
    again = FutureSliRec(config, tmp_path, progress=False).fit(history_before(before, 8 * DAY, min_purchases=1))
    np.testing.assert_allclose(again.score(cut.users), scores, atol=1e-6)
