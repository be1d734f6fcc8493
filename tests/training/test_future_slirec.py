import numpy as np
import pytest

from training.config import TrainingConfig
from training.data.features import FeatureError
from training.evaluation.future import evaluate_ranker, temporal_cut
from training.evaluation.purchases import Purchases, history_before
from training.feature_config import FeaturesConfig
from training.future_features import FutureTables
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


FEATURES = {
    "item": [{"name": "brand", "dim": 2}, {"name": "price", "kind": "numeric", "buckets": 4, "dim": 2}],
    "user": [{"name": "age", "dim": 2}, {"name": "children", "kind": "numeric", "buckets": 2, "dim": 2}],
    "event": [{"name": "hour", "kind": "hour", "dim": 2}],
}


def some_tables():
    """Values by the numbers of `some_purchases`, 0 to 89 of items and 0 to 119 of shoppers."""
    return FutureTables(
        items={"brand": [None if i == 50 else f"b{i % 3}" for i in range(90)], "price": [str(i) for i in range(90)]},
        users={"age": [f"a{u % 2}" for u in range(120)], "children": [None if u < 110 else u % 4 for u in range(120)]},
    )


def test_features_are_those_of_the_history_s_items_and_shoppers(purchases):
    history = history_before(purchases, 8 * DAY, min_purchases=1)
    config, tables = FeaturesConfig.model_validate(FEATURES), some_tables()
    dataset = encode_history(history, features=config, tables=tables, rng=np.random.default_rng(0))
    brand, price, age, children, hour = dataset.features.all
    expected = ["", *("" if i == 50 else f"b{i % 3}" for i in history.item_ids)]
    assert brand.vocabulary.values[brand.ids].tolist() == expected
    bounds = np.array(price.bounds)
    np.testing.assert_array_equal(price.ids[1:], 1 + np.searchsorted(bounds, history.item_ids))
    assert age.vocabulary.values[age.ids].tolist() == ["", *(f"a{u % 2}" for u in history.user_ids)]
    np.testing.assert_array_equal(children.ids[1:] == 0, history.user_ids < 110)
    assert hour.feature.from_clock
    other = encode_history(history, rng=np.random.default_rng(0))
    assert not other.features
    assert other.metadata["fingerprint"] != dataset.metadata["fingerprint"]


def test_a_feature_without_values_is_named(purchases):
    history = history_before(purchases, 8 * DAY, min_purchases=1)
    rng = np.random.default_rng(0)
    for owner, given in (("item", "brand"), ("user", "age")):
        config = FeaturesConfig.model_validate({owner: [{"name": given}]})
        with pytest.raises(FeatureError, match=f"{owner} feature '{given}'"):
            encode_history(history, features=config, rng=rng)
        short = FutureTables(**{f"{owner}s": {given: ["x"] * 9}})
        with pytest.raises(ValueError, match=f"'{given}' should have an entry for number"):
            encode_history(history, features=config, tables=short, rng=rng)


def test_it_ranks_at_a_cut_and_the_future_changes_nothing(purchases, tmp_path):
    train = {"epochs": 1, "batch_size": 200, "init_value": 0.1}
    config = TrainingConfig().replaced(train=train, data={"same_time": "together"}, features=FEATURES)
    cut = temporal_cut(purchases, 8 * DAY, days=2, min_purchases=1)
    given = {"progress": False, "tables": some_tables(), "valid_rows": 9}
    ranker = FutureSliRec(config, tmp_path, **given)
    with pytest.raises(ValueError, match="should be fitted"):
        ranker.score(cut.users)
    outcomes = evaluate_ranker(ranker.fit(cut.history), cut, np.random.default_rng(0))
    assert set(outcomes) == {"all", "new"}
    assert ranker.settings["data.same_time"] == "together"
    assert [each["name"] for each in ranker.settings["features.user"]] == ["age", "children"]
    assert len(ranker.epochs) == 1
    scores = ranker.score(cut.users)
    assert scores.std(axis=1).min() > 0
    # The same history again is the finished run: its network is loaded, nothing is trained.
    before = purchases.take(purchases.time < 8 * DAY)
    again = FutureSliRec(config, tmp_path, **given).fit(history_before(before, 8 * DAY, min_purchases=1))
    np.testing.assert_allclose(again.score(cut.users), scores, atol=1e-6)
