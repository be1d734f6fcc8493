"""What was bought together is no history of each other."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.config import TrainingConfig
from training.data.batches import epoch_rows, history_window
from training.data.columns import INTERACTION_COLUMNS
from training.data.sequences import build_dataset
from training.evaluation.histories import earlier_events
from training.models.ranker import SliRecRanker, build_model
from training.trainer import Trainer

NOON = 1_700_000_000


def dataset_of(folder, baskets):
    """`baskets` of each user: lists of items; basket b is bought at hour b."""
    rows = [
        (1, f"u{user}", f"p{item}", NOON + 3600 * hour, "c")
        for user, of_user in enumerate(baskets)
        for hour, items in enumerate(of_user)
        for item in items
    ]
    return build_dataset(pd.DataFrame(rows, columns=list(INTERACTION_COLUMNS)), folder, valid_num_ngs=1, test_num_ngs=1)


@pytest.fixture(scope="module")
def ordered(tmp_path_factory):
    baskets = [
        [[1, 2], [3], [4, 5]],
        [[1, 2, 3]],  # one basket: no event has a history
        [[6], [1], [2], [7, 8]],
    ]
    return dataset_of(tmp_path_factory.mktemp("same_time") / "dataset", baskets)


def items_of(dataset, ids):
    return dataset.vocabularies["item"].decode(ids)


def test_a_window_ends_before_the_rows_own_basket(ordered):
    together = ordered.viewed("together")
    row = ordered.user_offsets[ordered.vocabularies["user"].index["u0"]] + np.array([2, 4])  # p3, and p5 of the last
    of_time = history_window(together, row, 10)
    assert of_time.length.tolist() == [2, 3]
    assert [list(items_of(together, items[:n])) for items, n in zip(of_time.items, of_time.length, strict=True)] == [
        ["p1", "p2"],
        ["p1", "p2", "p3"],
    ]
    assert of_time.first_timestamp.tolist() == [NOON, NOON]
    assert history_window(ordered, row, 10).length.tolist() == [2, 4]
    assert earlier_events(together, row).event.tolist() == [row[0] - 1, row[0] - 2, row[0], row[0] - 1, row[0] - 2]


def test_rows_of_a_first_basket_are_left_out_and_so_are_their_negatives(ordered):
    together = ordered.viewed("together")
    first = ordered.user_offsets
    for split in ("train", "valid", "test"):
        rows = together.rows(split)
        later = ordered.timestamp[rows] > ordered.timestamp[first[ordered.user[rows]]]
        assert later.all()
        if split != "train":
            kept = np.isin(ordered.rows(split), rows)
            np.testing.assert_array_equal(together.negatives[split], ordered.negatives[split][kept])
            assert len(rows) == 2 < len(ordered.rows(split))
    assert together.viewed("together") is together
    with pytest.raises(ValueError, match="as loaded"):
        together.viewed("ordered")


@settings(max_examples=20, deadline=None)
@given(
    baskets=st.lists(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=1, max_size=4), max_size=4)
)
def test_no_event_of_a_window_is_of_the_rows_own_time(tmp_path_factory, baskets):
    pairs = [[[10]], [[11], [12], [13], [14]]]
    together = dataset_of(tmp_path_factory.mktemp("any") / "dataset", [*pairs, *baskets]).viewed("together")
    for rows in epoch_rows(together, 4, np.random.default_rng(0)):
        window = history_window(together, rows, 3)
        inside = np.arange(window.items.shape[1]) < window.length[:, None]
        assert (window.length >= 1).all()
        assert (window.timestamps < window.now[:, None])[inside].all()
        assert (window.first_timestamp < window.now).all()


def test_the_trainer_follows_the_configuration(ordered, tmp_path):
    config = TrainingConfig().replaced(data={"same_time": "together"})
    trainer = Trainer(ordered, config, tmp_path, progress=False)
    assert trainer.dataset.same_time == "together"
    assert len(next(trainer._batches(1))["length"]) == len(ordered.viewed("together").rows("train"))
    ranker = SliRecRanker(build_model(ordered, config), 10)
    rows = trainer.dataset.rows("test")
    one, other = ranker.score(trainer.dataset, rows), ranker.score(ordered, rows)
    assert not np.allclose(one, other)
