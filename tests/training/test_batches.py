import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import small_dataset

from training.config import OptimizerConfig
from training.data.batches import epoch_rows, history_window, training_batches
from training.data.negatives import sample_in_batch_negatives
from training.data.training_negatives import Catalogue, expected_counts, from_history


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


def batches_of(dataset, seed=3, batch_size=200, max_seq_length=50, **settings):
    config = OptimizerConfig(batch_size=batch_size, **settings)
    return list(training_batches(dataset, config, max_seq_length, None, np.random.default_rng(seed)))


def test_candidates_are_the_positive_then_three_kinds_of_negatives(dataset):
    positives = []
    for batch in batches_of(dataset, train_num_ngs=4, history_num_ngs=2, catalogue_num_ngs=3):
        positive, in_batch, of_history, _ = np.split(batch["candidates"], [1, 5, 7], axis=1)
        history = batch["items"]
        assert batch["candidates"].shape[1] == 10
        assert batch["candidates"].dtype == np.int32
        assert (batch["candidates"] > 0).all()
        assert (batch["candidates"] < dataset.num_items).all()
        assert not (batch["candidates"][:, 1:] == positive).any()
        assert not (in_batch[:, :, None] == history[:, None, :]).any()
        # Only where the positive itself was drawn from the history does another item take its place.
        from_history = (of_history[:, :, None] == history[:, None, :]).any(axis=2)
        assert (from_history | (positive == history).any(axis=1)[:, None]).all()
        assert from_history.mean() > 0.9
        assert not batch["correction"].any()
        positives.append(positive[:, 0])
    np.testing.assert_array_equal(np.sort(np.concatenate(positives)), np.sort(dataset.item[dataset.rows("train")]))


def test_catalogue_negatives_are_uniform_over_all_other_items(dataset):
    batches = batches_of(dataset, max_seq_length=10, train_num_ngs=1, catalogue_num_ngs=100)
    drawn = np.concatenate([batch["candidates"][:, 2:].ravel() for batch in batches])
    counts = np.bincount(drawn, minlength=dataset.num_items)[1:]
    assert counts.min() > 0.8 * counts.mean()
    assert counts.max() < 1.2 * counts.mean()


@pytest.mark.parametrize("power", [0.0, 0.75])
def test_the_correction_is_minus_the_logarithm_of_how_often_a_candidate_is_drawn(power):
    """Counted over many draws of the negatives of one small batch."""
    items = np.array([[1, 2, 2, 0], [3, 4, 0, 0], [5, 1, 6, 7]], np.int32)
    length = np.array([3, 2, 4], np.int32)
    positives = np.array([8, 3, 1], np.int32)
    config = OptimizerConfig(
        train_num_ngs=1, history_num_ngs=2, catalogue_num_ngs=3, catalogue_power=power, logq_correction=True
    )
    catalogue = Catalogue(np.array([0, 16, 9, 8, 7, 5, 4, 3, 2, 1, 1]), power)
    everything = np.tile(np.arange(1, 11, dtype=np.int32), (3, 1))
    candidates = np.concatenate([positives[:, None], everything], axis=1)
    expected = expected_counts(candidates, items, length, catalogue, config)[:, 1:]

    rng, draws = np.random.default_rng(0), 20_000
    counts = np.zeros((3, 11))
    for _ in range(draws):
        negatives = np.concatenate(
            [
                sample_in_batch_negatives(positives, items, 1, rng, num_items=11),
                from_history(catalogue, items, length, positives, 2, rng),
                catalogue.draw(positives, 3, rng),
            ],
            axis=1,
        )
        np.add.at(counts, (np.arange(3)[:, None], negatives), 1)
    for row, positive in enumerate(positives):
        # Row 0 may draw 3 or 1 in the batch, but 1 is in its history; row 1 may draw 8 or 1; row 2 may draw 8 or 3.
        others = [item for item in range(1, 11) if item != positive]
        np.testing.assert_allclose(
            counts[row, others] / draws, expected[row, np.array(others) - 1], atol=0.03, err_msg=str(row)
        )


def test_batches_carry_the_correction_when_it_is_on(dataset):
    settings = {"history_num_ngs": 2, "catalogue_num_ngs": 3}
    (plain, *_) = batches_of(dataset, **settings)
    (corrected, *_) = batches_of(dataset, logq_correction=True, **settings)
    np.testing.assert_array_equal(plain["candidates"], corrected["candidates"])
    assert np.isfinite(corrected["correction"]).all()
    assert corrected["correction"].std() > 0.1


def test_the_same_seed_gives_the_same_batches(dataset):
    first, again, other = (batches_of(dataset, seed, catalogue_num_ngs=2) for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        for name, array in one.items():
            np.testing.assert_array_equal(array, two[name])
    assert not np.array_equal(first[0]["candidates"], other[0]["candidates"])
