import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import small_dataset

from training.data.batches import epoch_rows, history_window, training_batches


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small_dataset(tmp_path_factory.mktemp("batches") / "dataset")


def row_of(dataset, user: str, position: int) -> int:
    return int(dataset.user_offsets[dataset.vocabularies["user"].index[user]]) + position


def test_a_window_is_the_latest_events_before_the_row_right_padded(dataset):
    row = row_of(dataset, "u005", 3)
    window = history_window(dataset, np.array([row]), 50)
    assert window.items.shape == (1, 10)  # the longest history here, rounded up
    np.testing.assert_array_equal(window.items[0, :3], dataset.item[row - 3 : row])
    np.testing.assert_array_equal(window.timestamps[0, :3], dataset.timestamp[row - 3 : row])
    assert not window.items[0, 3:].any()
    assert not window.timestamps[0, 3:].any()
    assert (window.length[0], window.first_timestamp[0], window.now[0]) == (
        3,
        dataset.timestamp[row - 3],
        dataset.timestamp[row],
    )


def test_a_long_history_is_cut_but_its_first_time_is_kept(dataset):
    row = row_of(dataset, "u059", 60)
    window = history_window(dataset, np.array([row]), 50)
    assert window.items.shape == (1, 50)
    np.testing.assert_array_equal(window.items[0], dataset.item[row - 50 : row])
    assert window.first_timestamp[0] == dataset.timestamp[row - 60]


def test_all_columns_may_be_asked_for(dataset):
    window = history_window(dataset, np.array([row_of(dataset, "u005", 1)]), 50, pad_to=50)
    assert window.items.shape == (1, 50)
    assert window.length[0] == 1


@settings(max_examples=25, deadline=None)
@given(batch_size=st.integers(1, 700), seed=st.integers(0, 99))
def test_an_epoch_has_every_training_row_once_in_batches_of_nearly_equal_size(dataset, batch_size, seed):
    batches = epoch_rows(dataset, batch_size, np.random.default_rng(seed))
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), dataset.rows("train"))
    sizes = [len(rows) for rows in batches]
    assert max(sizes) <= batch_size
    assert min(sizes) >= max(1, max(sizes) // 2)


def test_candidates_are_the_positive_then_negatives_that_are_not_in_the_history(dataset):
    batches = training_batches(
        dataset,
        batch_size=100,
        max_seq_length=50,
        train_num_ngs=4,
        catalogue_num_ngs=3,
        pad_to=None,
        rng=np.random.default_rng(3),
    )
    positives = []
    for batch in batches:
        positive, in_batch, anywhere = np.split(batch["candidates"], [1, 5], axis=1)
        assert batch["candidates"].dtype == np.int32
        assert (in_batch > 0).all()
        assert (anywhere > 0).all()
        assert (anywhere < dataset.num_items).all()
        assert not (batch["candidates"][:, 1:] == positive).any()
        assert not (in_batch[:, :, None] == batch["items"][:, None, :]).any()
        positives.append(positive[:, 0])
    np.testing.assert_array_equal(
        np.sort(np.concatenate(positives)), np.sort(dataset.item[dataset.rows("train")])
    )


def test_catalogue_negatives_are_uniform_over_all_other_items(dataset):
    batches = training_batches(
        dataset,
        batch_size=400,
        max_seq_length=10,
        train_num_ngs=1,
        catalogue_num_ngs=100,
        pad_to=None,
        rng=np.random.default_rng(3),
    )
    drawn = np.concatenate([batch["candidates"][:, 2:].ravel() for batch in batches])
    counts = np.bincount(drawn, minlength=dataset.num_items)[1:]
    assert counts.min() > 0.8 * counts.mean()
    assert counts.max() < 1.2 * counts.mean()


def test_the_same_seed_gives_the_same_batches(dataset):
    def epoch(seed):
        return list(
            training_batches(
                dataset,
                batch_size=200,
                max_seq_length=50,
                train_num_ngs=4,
                catalogue_num_ngs=2,
                pad_to=None,
                rng=np.random.default_rng([seed, 1]),
            )
        )

    first, again, other = epoch(1), epoch(1), epoch(2)
    for one, two in zip(first, again, strict=True):
        for name, array in one.items():
            np.testing.assert_array_equal(array, two[name])
    assert not np.array_equal(first[0]["candidates"], other[0]["candidates"])
