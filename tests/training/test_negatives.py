from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import negatives as negatives_module
from training.data.negatives import NegativesError, sample_in_batch_negatives, sample_offline_negatives


@dataclass
class Touched:
    user: np.ndarray
    item: np.ndarray
    num_items: int


def touched(pairs, num_items):
    user, item = np.array(sorted(pairs), dtype=np.int32).reshape(-1, 2).T
    return Touched(user, item, num_items)


def test_where_only_k_items_are_left_exactly_those_are_drawn():
    data = touched([(1, 1), (1, 2), (1, 3), (2, 6), (2, 0)], num_items=7)
    negatives = sample_offline_negatives(data, np.array([1, 1, 3]), 3, np.random.default_rng(0))
    assert negatives.dtype == np.int32
    assert np.sort(negatives[:2], axis=1).tolist() == [[4, 5, 6], [4, 5, 6]]
    assert set(negatives[2].tolist()) <= {1, 2, 3, 4, 5}


def test_a_user_with_too_few_items_left_is_named():
    data = touched([(1, 1), (2, 1), (2, 2), (2, 3), (2, 0)], num_items=5)
    with pytest.raises(NegativesError, match=r"at least 2 items.*user with id 2 has touched 3 of 4 items.*leaves 1"):
        sample_offline_negatives(data, np.arange(5), 2, np.random.default_rng(0))
    # The same user is no obstacle where only the other user's rows are asked for.
    assert sample_offline_negatives(data, np.array([0]), 2, np.random.default_rng(0)).shape == (1, 2)


def test_no_rows_and_no_negatives_are_fine():
    data = touched([(1, 1)], num_items=3)
    rng = np.random.default_rng(0)
    assert sample_offline_negatives(data, np.array([], dtype=np.int64), 4, rng).shape == (0, 4)
    assert sample_offline_negatives(data, np.array([0]), 0, rng).shape == (1, 0)
    with pytest.raises(ValueError, match="num_negatives = -1"):
        sample_offline_negatives(data, np.array([0]), -1, rng)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), num_items=st.integers(8, 40), num_negatives=st.integers(1, 4), seed=st.integers(0, 99))
def test_offline_negatives_are_distinct_and_were_never_touched(data, num_items, num_negatives, seed):
    pairs = data.draw(st.lists(st.tuples(st.integers(1, 4), st.integers(0, num_items - 1)), min_size=1, max_size=60))
    items = {user: {item for other, item in pairs if other == user} for user in range(1, 5)}
    table = touched(pairs, num_items)
    rows = np.array([r for r in range(len(pairs)) if num_items - 1 - len(items[table.user[r]] - {0}) >= num_negatives])
    negatives = sample_offline_negatives(table, rows.astype(np.int64), num_negatives, np.random.default_rng(seed))
    assert negatives.shape == (len(rows), num_negatives)
    for row, drawn in zip(rows, negatives.tolist(), strict=True):
        assert len(set(drawn)) == num_negatives
        assert all(1 <= item < num_items for item in drawn)
        assert not set(drawn) & items[table.user[row]]


@pytest.mark.parametrize("touches", [3, 27])  # by rejection, and mostly by the exact way
def test_offline_negatives_are_uniform(touches):
    data = touched([(1, item) for item in range(1, touches + 1)], num_items=34)
    rows = np.zeros(20_000, dtype=np.int64)
    negatives = sample_offline_negatives(data, rows, 3, np.random.default_rng(3))
    counts = np.bincount(negatives.ravel(), minlength=34)
    admissible = 33 - touches
    expected = negatives.size / admissible
    assert (counts[: touches + 1] == 0).all()
    assert np.abs(counts[touches + 1 :] - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize("change", [{"_TABLE_ITEMS": 0}, {"_DENSE_CELLS": 100}], ids=["by search", "in many tables"])
def test_offline_negatives_do_not_depend_on_how_touches_are_looked_up(change, monkeypatch):
    rng = np.random.default_rng(4)
    pairs = list(zip(rng.integers(1, 90, 400).tolist(), rng.integers(0, 30, 400).tolist(), strict=True))
    data = touched(pairs, num_items=30)
    rows = rng.permutation(400)[:300]
    expected = sample_offline_negatives(data, rows, 3, np.random.default_rng(2))
    for name, value in change.items():
        monkeypatch.setattr(negatives_module, name, value)
    np.testing.assert_array_equal(sample_offline_negatives(data, rows, 3, np.random.default_rng(2)), expected)


def test_in_batch_negatives_of_a_small_table():
    positives = np.array([1, 2, 3, 0], dtype=np.int32)
    history = np.array([[3, 0], [0, 0], [1, 0], [1, 3]], dtype=np.int32)
    for seed in range(20):
        negatives = sample_in_batch_negatives(positives, history, 1, np.random.default_rng(seed))
        assert negatives.dtype == np.int32
        assert negatives[[0, 2, 3], 0].tolist() == [2, 2, 2]
        assert negatives[1, 0] in (1, 3)


def test_the_catalogue_fills_up_what_the_batch_lacks():
    positives = np.array([1, 2], dtype=np.int32)
    history = np.array([[4, 0], [0, 0]], dtype=np.int32)
    for seed in range(20):
        negatives = sample_in_batch_negatives(positives, history, 3, np.random.default_rng(seed), num_items=7)
        assert negatives[:, 0].tolist() == [2, 1]  # what the batch has comes first
        assert set(negatives[0].tolist()) < {2, 3, 5, 6}
        assert all(len(set(row)) == 3 for row in negatives.tolist())


def test_negatives_repeat_only_where_fewer_than_k_exist():
    positives = np.array([1, 1], dtype=np.int32)
    history = np.array([[2, 0], [2, 3]], dtype=np.int32)
    negatives = sample_in_batch_negatives(positives, history, 4, np.random.default_rng(0), num_items=6)
    assert sorted(set(negatives[0].tolist())) == [3, 4, 5]
    assert sorted(negatives[1].tolist()) == [4, 4, 5, 5]


def test_no_admissible_item_at_all_is_an_error():
    positives = np.array([1, 2], dtype=np.int32)
    history = np.array([[2, 3], [0, 0]], dtype=np.int32)
    with pytest.raises(NegativesError, match="positive 1 and 2 items in its history, of 3 items"):
        sample_in_batch_negatives(positives, history, 2, np.random.default_rng(0), num_items=4)
    with pytest.raises(NegativesError):
        sample_in_batch_negatives(positives[:1], history[:1], 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="num_negatives = 0"):
        sample_in_batch_negatives(positives, history, 0, np.random.default_rng(0))


def test_a_batch_of_unknown_positives_uses_the_catalogue():
    negatives = sample_in_batch_negatives(
        np.zeros(3, np.int32), np.array([[1], [2], [0]], np.int32), 2, np.random.default_rng(0), num_items=4
    )
    assert np.sort(negatives[:2], axis=1).tolist() == [[2, 3], [1, 3]]


@settings(max_examples=80, deadline=None)
@given(data=st.data(), batch=st.integers(1, 12), num_negatives=st.integers(1, 4), seed=st.integers(0, 99))
def test_in_batch_negatives_are_never_positive_seen_unknown_or_needlessly_repeated(data, batch, num_negatives, seed):
    num_items = data.draw(st.integers(8, 25))
    item = st.integers(0, num_items - 1)
    positives = np.array(data.draw(st.lists(item, min_size=batch, max_size=batch)), dtype=np.int32)
    history = np.array(
        data.draw(st.lists(st.lists(item, min_size=5, max_size=5), min_size=batch, max_size=batch)), dtype=np.int32
    )
    negatives = sample_in_batch_negatives(
        positives, history, num_negatives, np.random.default_rng(seed), num_items=num_items
    )
    assert negatives.shape == (batch, num_negatives)
    for positive, seen, drawn in zip(positives.tolist(), history.tolist(), negatives.tolist(), strict=True):
        barred = {0, positive, *seen}
        assert not set(drawn) & barred
        in_batch = set(positives.tolist()) - barred
        assert len(set(drawn)) == min(num_negatives, num_items - len(barred))
        assert len(set(drawn) & in_batch) == min(num_negatives, len(in_batch))


def test_frequent_positives_are_drawn_more_often():
    positives = np.array([1] + [2] * 30 + [3] * 10 + [4], dtype=np.int32)
    history = np.zeros((len(positives), 1), dtype=np.int32)
    rng = np.random.default_rng(0)
    counts = np.zeros(5)
    for _ in range(500):
        counts[sample_in_batch_negatives(positives, history, 1, rng)[0, 0]] += 1
    assert counts[1] == 0
    assert counts[2] / 500 == pytest.approx(30 / 41, abs=0.08)
    assert counts[3] / 500 == pytest.approx(10 / 41, abs=0.08)


def test_what_the_batch_lacks_is_drawn_uniformly_from_the_catalogue():
    positives = np.full(4000, 1, np.int32)  # nothing else in the batch
    history = np.zeros((4000, 1), np.int32)
    drawn = sample_in_batch_negatives(positives, history, 4, np.random.default_rng(0), num_items=60)
    counts = np.bincount(drawn.ravel(), minlength=60)[2:]
    assert counts.min() > 0.8 * counts.mean()
    assert counts.max() < 1.2 * counts.mean()
