import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data import codes, integer_encoding
from training.data.codes import code_interactions
from training.data.columns import CATEGORY_ID, INTERACTION_COLUMNS, ITEM_ID, USER_ID
from training.data.encoding import encode_interactions
from training.data.integer_encoding import encode_codes
from training.data.interactions import InteractionsError
from training.data.sequences import build_dataset
from training.data.validation import with_reason

EMBEDDED = ("polars", "duckdb", "pandas")
NO_NEGATIVES = {"valid_num_ngs": 0, "test_num_ngs": 0}
# New in a held-out row: items d, of a category training knows, and É, of one that it does not. "none" has no category.
ROWS = [
    (1, "ann", "b", 20, "X"),
    (1, "ann", "a", 10, "X"),
    (1, "ann", "none", 30, ""),
    (1, "ann", "d", 40, "X"),
    (1, "ann", "É", 50, "Y"),
    (1, "two", "none", 7, ""),
    (1, "two", "c", 7, "ß"),
    (1, "one", "b", 5, "X"),
    (1, "one!", "B", 5, "X"),
    (0, "zero", "unused", 5, "unused"),
    (1, "", "unused", 5, "unused"),
    (1, "ann", "b", None, "unused"),
]


def frame_of(rows):
    types = (pl.Int64, pl.String, pl.String, pl.Int64, pl.String)
    return pl.DataFrame(rows, schema=dict(zip(INTERACTION_COLUMNS, types, strict=True)), orient="row")


def native_frame(engine, rows):
    frame = frame_of(rows)
    if engine == "pandas":
        return pd.DataFrame(frame.to_dict(as_series=False))
    return frame.lazy() if engine == "polars" else duckdb.from_arrow(frame.to_arrow())


def assert_equal_definitions(native):
    expected = encode_interactions(native)
    encoded = encode_codes(code_interactions(with_reason(native))[0])
    frames = {"sequences": expected.sequences, USER_ID: expected.user, ITEM_ID: expected.item}
    for name, frame in (frames | {CATEGORY_ID: expected.category}).items():
        table = nw.from_native(frame).lazy().collect("pyarrow").select(*encoded[name].column_names)
        assert table.to_dict(as_series=False) == encoded[name].to_pydict()


@pytest.mark.parametrize("engine", EMBEDDED)
def test_both_definitions_give_the_same_tables(engine):
    assert_equal_definitions(native_frame(engine, ROWS))


@pytest.mark.parametrize("engine", EMBEDDED)
def test_a_small_table_is_encoded_exactly(engine, tmp_path):
    dataset = build_dataset(native_frame(engine, ROWS), tmp_path / "dataset", **NO_NEGATIVES)
    assert dataset.vocabularies["user"].values.tolist() == ["", "ann", "two", "one", "one!"]
    assert dataset.vocabularies["item"].values.tolist() == ["", "b", "none", "B", "a", "c"]
    assert dataset.vocabularies["category"].values.tolist() == ["", "X", "ß"]
    assert dataset.item_category.tolist() == [0, 1, 0, 1, 1, 2]
    assert dataset.user.tolist() == [1, 1, 1, 1, 1, 2, 2, 3, 4]
    assert dataset.item.tolist() == [4, 1, 2, 0, 0, 5, 2, 1, 3]
    assert dataset.category.tolist() == [1, 1, 0, 1, 0, 2, 0, 1, 1]
    assert dataset.split.tolist() == [0, 0, 0, 1, 2, 0, 0, 0, 0]
    assert dataset.position.tolist() == [0, 1, 2, 3, 4, 0, 1, 0, 0]
    assert dataset.metadata["dropped"] == {
        "no user_id": 1,
        "timestamp is not UNIX seconds": 1,
        "label is 0 (not a positive interaction)": 1,
    }


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["u1", "u2", "u3", "U"]),
            st.sampled_from(["i1", "i2", "I3", "é", "z", "zz", "日"]),
            st.sampled_from([1, 2, 3, 99_999_999_999]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_both_definitions_agree_on_any_interactions(events):
    category = {"i1": "c", "i2": "", "I3": "C", "é": "c", "z": "only z", "zz": "", "日": "本"}
    rows = [(1, user, item, timestamp, category[item]) for user, item, timestamp in events]
    assert_equal_definitions(native_frame("polars", rows))


@pytest.mark.parametrize("engine", EMBEDDED)
def test_an_item_with_several_categories_is_refused(engine, tmp_path):
    rows = [*ROWS, (1, "two", "a", 9, "Z"), (1, "two", "a", 9, "Ä"), (1, "one", "none", 9, "X"), (1, "x", "b", 9, "")]
    with pytest.raises(InteractionsError, match=r"3 items with several: 'a' \('X' and 'Ä'\), 'b' \('' and 'X'\), "):
        build_dataset(native_frame(engine, rows), tmp_path / "dataset", **NO_NEGATIVES)
    rows = [(1, "ann", f"i{item:02d}", 1 + item, category) for item in range(12) for category in "XY"]
    with pytest.raises(InteractionsError, match=r"12 items with several: 'i00' \('X' and 'Y'\).*'i09'.*and 2 more\."):
        build_dataset(native_frame(engine, rows), tmp_path / "dataset", **NO_NEGATIVES)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def many():
    """Some hundred rows over some days, with ties and repetitions."""
    rng = np.random.default_rng(8)
    users, items, seconds = rng.integers(0, 40, 600) ** 2 // 40, rng.integers(0, 30, 600), rng.integers(1, 300, 600)
    return [
        (int(rng.random() < 0.95), f"u{user}", f"i{item}", int(second), f"c{item % 4}" if item % 5 else "")
        for user, item, second in zip(users, items, seconds, strict=True)
    ]


@pytest.mark.parametrize("engine", ["duckdb", "pandas"])
def test_the_size_of_a_batch_does_not_matter(engine, many, tmp_path, monkeypatch):
    expected = build_dataset(native_frame(engine, many), tmp_path / "one", **NO_NEGATIVES)
    monkeypatch.setattr(codes, "BATCH_ROWS", 7)
    dataset = build_dataset(native_frame(engine, many), tmp_path / "several", **NO_NEGATIVES)
    assert dataset.metadata == expected.metadata
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "several" / path.name).read_bytes()


def test_keys_that_do_not_fit_in_one_integer_give_the_same_folder(many, tmp_path, monkeypatch):
    first = build_dataset(native_frame("polars", many), tmp_path / "packed", **NO_NEGATIVES)
    monkeypatch.setattr(integer_encoding, "KEY_BITS", 8)
    second = build_dataset(native_frame("polars", many), tmp_path / "apart", **NO_NEGATIVES)
    assert first.metadata == second.metadata
    for path in (tmp_path / "packed").iterdir():
        assert path.read_bytes() == (tmp_path / "apart" / path.name).read_bytes()


@pytest.mark.parametrize("engine", EMBEDDED)
def test_nothing_usable_and_nothing_at_all_are_errors(engine, tmp_path):
    native = native_frame(engine, [(0, "ann", "a", 1, "x")])
    with pytest.raises(InteractionsError, match="1 rows; dropped: label is 0"):
        build_dataset(native, tmp_path / "dataset")
    empty = frame_of([])
    native = {"polars": empty, "pandas": empty.to_pandas(), "duckdb": duckdb.from_arrow(empty.to_arrow())}[engine]
    with pytest.raises(InteractionsError, match="there are no rows"):
        build_dataset(native, tmp_path / "dataset")
