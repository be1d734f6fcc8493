import json
import pickle

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.columns import INTERACTION_COLUMNS
from training.data.interactions import InteractionsError
from training.data.negatives import NegativesError
from training.data.sequences import DatasetError, build_dataset, encode_interactions, load_dataset
from training.data.vocabulary import Vocabulary

# ann: a b a | c | e (e is new to training); bob: b; cid: two events, wholly in train. Deliberately out of order.
ROWS = [
    (1, "ann", "e", 50, "Y"),
    (1, "ann", "b", 20, "X"),
    (1, "ann", "a", 10, "X"),
    (1, "cid", "c", 7, "Z"),
    (1, "ann", "c", 40, "Z"),
    (1, "ann", "a", 30, "X"),
    (1, "bob", "b", 5, "X"),
    (1, "cid", "a", 9, "X"),
    (0, "bob", "d", 6, "X"),
]
NO_NEGATIVES = {"valid_num_ngs": 0, "test_num_ngs": 0}


def frame_of(rows):
    return pl.DataFrame(rows, schema=list(INTERACTION_COLUMNS), orient="row")


def build(rows, folder, **options):
    return build_dataset(frame_of(rows), folder, **(NO_NEGATIVES | options))


def test_a_small_table_is_encoded_exactly(tmp_path):
    dataset = build(ROWS, tmp_path / "dataset")
    assert dataset.vocabularies["user"].values.tolist() == ["", "ann", "cid", "bob"]
    assert dataset.vocabularies["user"].counts.tolist() == [0, 3, 2, 1]
    assert dataset.vocabularies["item"].values.tolist() == ["", "a", "b", "c"]
    assert dataset.vocabularies["item"].counts.tolist() == [0, 3, 2, 1]
    assert dataset.vocabularies["category"].values.tolist() == ["", "X", "Z"]
    assert dataset.vocabularies["category"].counts.tolist() == [0, 5, 1]
    assert dataset.item_category.tolist() == [0, 1, 1, 2]
    assert dataset.user.tolist() == [1, 1, 1, 1, 1, 2, 2, 3]
    assert dataset.item.tolist() == [1, 2, 1, 3, 0, 3, 1, 2]
    assert dataset.category.tolist() == [1, 1, 1, 2, 0, 2, 1, 1]
    assert dataset.timestamp.tolist() == [10, 20, 30, 40, 50, 7, 9, 5]
    assert dataset.position.tolist() == [0, 1, 2, 3, 4, 0, 1, 0]
    assert dataset.split.tolist() == [0, 0, 0, 1, 2, 0, 0, 0]
    assert dataset.user_offsets.tolist() == [0, 0, 5, 7, 8]
    assert [dataset.rows(split).tolist() for split in ("train", "valid", "test")] == [[1, 2, 6], [3], [4]]
    assert (dataset.num_users, dataset.num_items, dataset.num_categories) == (4, 4, 3)
    assert [dataset.user.dtype, dataset.item.dtype, dataset.category.dtype] == [np.int32] * 3
    assert [dataset.timestamp.dtype, dataset.position.dtype, dataset.split.dtype] == [np.int64, np.int32, np.int8]


@pytest.fixture
def plenty():
    """Six users with six events each over forty items, of which all occur in training."""
    rng = np.random.default_rng(0)
    rows = [
        (1, f"u{user}", f"i{rng.integers(40):02d}", 1 + 1000 * user + at, "c") for user in range(6) for at in range(6)
    ]
    return [(1, "all", f"i{item:02d}", item + 1, "c") for item in range(2)] + rows


def test_what_is_written_is_what_is_read(tmp_path, plenty):
    plenty += [plenty[3], (1, "", "i00", 3, "c"), (1, "u0", "gone", 3, "c")]
    built = build_dataset(
        frame_of(plenty), tmp_path / "dataset", rng_seed=7, catalogue=[f"i{item:02d}" for item in range(40)]
    )
    read = load_dataset(tmp_path / "dataset")
    for name in ("user", "item", "category", "timestamp", "position", "split", "item_category", "user_offsets"):
        np.testing.assert_array_equal(getattr(read, name), getattr(built, name), strict=True)
    for split, count in (("valid", 4), ("test", 9)):
        assert read.negatives[split].shape == (len(read.rows(split)), count)
        np.testing.assert_array_equal(read.negatives[split], built.negatives[split], strict=True)
    assert read.metadata == built.metadata
    metadata = read.metadata
    assert metadata["dropped"] == {"no user_id": 1, "item_handle is not in the catalogue": 1}
    assert (metadata["rows_in"], metadata["rows"], metadata["repeated_rows"]) == (41, 39, 1)
    assert metadata["splits"] == {"train": 27, "valid": 6, "test": 6}
    assert metadata["num_negatives"] == {"valid": 4, "test": 9}
    assert {path.name for path in (tmp_path / "dataset").iterdir()} == {
        "sequences.parquet",
        "vocabulary_user.parquet",
        "vocabulary_item.parquet",
        "vocabulary_category.parquet",
        "negatives_valid.parquet",
        "negatives_test.parquet",
        "dataset.json",
    }
    table = pq.read_table(tmp_path / "dataset" / "negatives_test.parquet")
    assert table.schema.equals(pa.schema({"row": pa.int64(), "negatives": pa.list_(pa.int32())}))
    assert table["row"].to_pylist() == read.rows("test").tolist()
    assert table["negatives"].to_pylist() == read.negatives["test"].tolist()
    first = pq.read_table(tmp_path / "dataset" / "vocabulary_item.parquet").slice(0, 1).to_pylist()
    assert first == [{"id": 0, "value": None, "count": 0, "category": 0}]


events = st.tuples(
    st.just(1),
    st.sampled_from(["u1", "u2", "u3", "u4"]),
    st.sampled_from(["i1", "i2", "i3", "I3", "é", "z"]),
    st.integers(1, 12),
    st.just("c"),
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(events, min_size=1, max_size=40), data=st.data())
def test_split_vocabularies_and_encoding_hold_for_any_interactions(rows, data):
    frames = encode_interactions(frame_of(rows).lazy())
    table = frames.sequences.collect()
    users, items = frames.user.collect(), frames.item.collect()
    assert len(table) == len(rows)

    # Ids: 1, 2, ... by falling training count, then by value; exactly the training values are in.
    in_time = sorted(rows, key=lambda row: (row[1], row[3], row[2]))
    by_user = {user: [row for row in in_time if row[1] == user] for user in {row[1] for row in rows}}
    train = [row for of_user in by_user.values() for row in (of_user if len(of_user) < 3 else of_user[:-2])]
    for frame, column in ((users, 1), (items, 2)):
        counts = {value: sum(row[column] == value for row in train) for value in {row[column] for row in train}}
        expected = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        assert frame["id"].to_list() == list(range(1, len(expected) + 1))
        assert list(zip(frame["value"], frame["count"], strict=True)) == expected

    # Decoded, every user's events are there, in time; the last is test, the one before valid, the others train.
    user_of = dict(zip(users["id"], users["value"], strict=True))
    item_of = dict(zip(items["id"], items["value"], strict=True)) | {0: None}
    known = set(items["value"])
    assert table["user"].is_sorted()
    for (user,), part in table.group_by("user"):
        original = by_user[user_of[user]]
        assert [item_of[item] for item in part["item"]] == [row[2] if row[2] in known else None for row in original]
        assert part["timestamp"].to_list() == [row[3] for row in original]
        assert part["position"].to_list() == list(range(len(original)))
        held_out = [1, 2] if len(original) >= 3 else []
        assert part["split"].to_list() == [0] * (len(original) - len(held_out)) + held_out

    # The order of the rows in a file does not matter.
    shuffled = encode_interactions(frame_of(data.draw(st.permutations(rows))).lazy())
    assert shuffled.sequences.collect().equals(table)
    assert shuffled.item.collect().equals(items)


def test_shuffled_rows_give_identical_files(tmp_path, plenty):
    first = build_dataset(frame_of(plenty), tmp_path / "first")
    shuffled = [plenty[place] for place in np.random.default_rng(1).permutation(len(plenty))]
    second = build_dataset(frame_of(shuffled), tmp_path / "second")
    assert first.metadata == second.metadata
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_an_item_with_two_categories_is_an_error_that_lists_ten(tmp_path):
    rows = [(1, "ann", f"i{item:02d}", 1 + item, category) for item in range(12) for category in "XY"]
    with pytest.raises(
        InteractionsError, match=r"12 items with several: 'i00' \('X' and 'Y'\).*'i09'.*and 2 more"
    ) as e:
        build(rows, tmp_path / "dataset")
    assert "i10" not in str(e.value)
    assert list(tmp_path.iterdir()) == []


def test_too_few_items_for_negatives_is_an_error_and_leaves_the_old_folder(tmp_path, plenty):
    folder = tmp_path / "dataset"
    before = build(plenty, folder).metadata
    with pytest.raises(NegativesError, match=r"user 'ann' has touched 3 of 3 items"):
        build(ROWS, folder, valid_num_ngs=4)
    assert load_dataset(folder).metadata == before
    assert list(tmp_path.iterdir()) == [folder]


def test_an_older_dataset_is_replaced_whole(tmp_path, plenty):
    folder = tmp_path / "dataset"
    build(plenty, folder)
    (folder / "leftover").write_text("old")
    build(ROWS, folder)
    assert load_dataset(folder).num_items == 4
    assert not (folder / "leftover").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_with_other_things_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("my only copy")
    with pytest.raises(DatasetError, match="holds something else"):
        build(ROWS, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "my only copy"


def test_folders_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DatasetError, match=r"scripts\.ml\.preprocess"):
        load_dataset(tmp_path / "none")
    folder = tmp_path / "dataset"
    build(ROWS, folder)
    metadata = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(metadata | {"format_version": 99}))
    with pytest.raises(DatasetError, match=r"should be 1\. Received: 99"):
        load_dataset(folder)
    (folder / "dataset.json").write_text(json.dumps(metadata))
    pq.write_table(pa.table({"user": [1]}), folder / "sequences.parquet")
    with pytest.raises(DatasetError, match=r"sequences\.parquet should have the columns"):
        load_dataset(folder)
    (folder / "sequences.parquet").unlink()
    with pytest.raises(DatasetError, match="FileNotFoundError"):
        load_dataset(folder)


def test_an_unknown_split_is_named(tmp_path):
    with pytest.raises(ValueError, match="split = 'dev'"):
        build(ROWS, tmp_path / "dataset").rows("dev")


def test_vocabulary_round_trip_and_errors():
    vocabulary = Vocabulary(np.array(["", "b", "a"]), np.array([0, 2, 1]))
    assert vocabulary.encode(["a", "zzz", "b", ""]).tolist() == [2, 0, 1, 0]
    assert vocabulary.encode([]).dtype == np.int32
    assert vocabulary.decode([2, 0, 1]) == ["a", "", "b"]
    assert vocabulary.size == 3
    assert dict(vocabulary.index) == {"b": 1, "a": 2}
    assert pickle.loads(pickle.dumps(vocabulary)).decode([1]) == ["b"]  # noqa: S301 - crosses process borders
    with pytest.raises(ValueError, match="between 0 and 2"):
        vocabulary.decode([3])
    with pytest.raises(ValueError, match="every value once"):
        Vocabulary(np.array(["", "a", "a"]), np.array([0, 2, 1]))
    with pytest.raises(ValueError, match="should be '' and 0"):
        Vocabulary(np.array(["a"]), np.array([1]))
    with pytest.raises(ValueError, match="equal length"):
        Vocabulary(np.array([""]), np.array([0, 1]))
