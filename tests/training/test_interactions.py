import duckdb
import narwhals as nw
import pandas as pd
import polars as pl
import pytest

from training.data.columns import INTERACTION_COLUMNS
from training.data.interactions import (
    InteractionsError,
    read_interactions,
    validate_interactions,
    write_interactions,
)

EMBEDDED = ("duckdb", "polars", "pandas")
USABLE = [(1, "ann", "red-hat", 100, "Hats"), (1, "bob", "blue-cap", 200, "")]
LINES = (
    "1\tann\tred-hat\t100\tHats\n"
    "0\tann\tred-hat\t101\tHats\n"
    "2\tann\tred-hat\t102\tHats\n"
    "x\tann\tred-hat\t103\tHats\n"
    "1\t\tred-hat\t104\tHats\n"
    "1\tann\t\t105\tHats\n"
    "1\tann\tred-hat\t0\tHats\n"
    "1\tann\tred-hat\t-5\tHats\n"
    "1\tann\tred-hat\t1.5\tHats\n"
    "1\tann\tred-hat\tyesterday\tHats\n"
    "1\tann\tred-hat\t1700000000000\tHats\n"
    "\n"
    "1\tbob\tblue-cap\t200\n"
)
DROPPED = {
    "label is not 0 or 1": 2,
    "no user_id": 1,
    "no item_handle": 1,
    "timestamp is not UNIX seconds": 5,
    "label is 0 (not a positive interaction)": 1,
}


def rows_of(native):
    frame = nw.from_native(native).lazy().collect("pyarrow").select(*INTERACTION_COLUMNS)
    return sorted(frame.rows())


def native_frame(engine, table):
    if engine == "pandas":
        return pd.DataFrame(table)
    frame = pl.DataFrame(table)
    return frame if engine == "polars" else duckdb.sql("select * from frame")


@pytest.mark.parametrize("engine", EMBEDDED)
def test_unusable_rows_are_dropped_and_counted_by_reason(tmp_path, engine):
    path = tmp_path / "interactions.tsv"
    path.write_text(LINES)
    frame, report = validate_interactions(read_interactions(path, engine))
    assert rows_of(frame) == USABLE
    assert report.rows_in == 12
    assert report.dropped == DROPPED
    assert report.rows_out == 2


@pytest.mark.parametrize("engine", EMBEDDED)
def test_handles_outside_the_catalogue_are_dropped_and_counted(tmp_path, engine):
    path = tmp_path / "interactions.tsv"
    path.write_text(LINES)
    frame, report = validate_interactions(read_interactions(path, engine), catalogue=["blue-cap", "green-sock"])
    assert rows_of(frame) == USABLE[1:]
    assert report.dropped == DROPPED | {"item_handle is not in the catalogue": 1}


@pytest.mark.parametrize("engine", EMBEDDED)
def test_text_is_read_as_it_stands(tmp_path, engine):
    path = tmp_path / "interactions.tsv"
    path.write_text('1\t"ann\tré"d\\\t5\tNA\n1\tnull\tnan\t6\t#x, y\n', encoding="utf-8")
    expected = [(1, '"ann', 'ré"d\\', 5, "NA"), (1, "null", "nan", 6, "#x, y")]
    assert rows_of(validate_interactions(read_interactions(path, engine))[0]) == expected


@pytest.mark.parametrize("engine", EMBEDDED)
@pytest.mark.parametrize("suffix", [".tsv", ".parquet"])
def test_write_then_read_gives_the_same_rows(tmp_path, engine, suffix):
    path = tmp_path / f"interactions{suffix}"
    table = dict(zip(INTERACTION_COLUMNS, zip(*USABLE, strict=True), strict=True))
    write_interactions(native_frame(engine, {name: list(values) for name, values in table.items()}), path)
    assert rows_of(validate_interactions(read_interactions(path, engine))[0]) == USABLE
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("engine", EMBEDDED)
def test_extra_columns_numeric_ids_and_gaps_are_understood(tmp_path, engine):
    table = {
        "price": [1.0, 2.0, 3.0],
        "label": [1, 1, None],
        "user_id": [7, 8, 9],
        "item_handle": ["a", None, "c"],
        "timestamp": [100.0, 200.0, None],
        "item_category": ["x", "x", None],
    }
    frame, report = validate_interactions(native_frame(engine, table))
    assert rows_of(frame) == [(1, "7", "a", 100, "x")]
    assert report.dropped == {"label is not 0 or 1": 1, "no item_handle": 1}


def test_exact_repetitions_are_kept(tmp_path):
    path = tmp_path / "interactions.tsv"
    path.write_text("1\tann\tred-hat\t100\tHats\n" * 3)
    assert validate_interactions(read_interactions(path))[1].rows_out == 3


@pytest.mark.parametrize("engine", EMBEDDED)
def test_nothing_usable_is_an_error_that_says_why(tmp_path, engine):
    path = tmp_path / "interactions.tsv"
    path.write_text("1\tann\tred-hat\t1700000000000\tHats\n")
    with pytest.raises(InteractionsError, match=r"not milliseconds.*1 rows; dropped: timestamp is not UNIX seconds: 1"):
        validate_interactions(read_interactions(path, engine))
    path.write_text("")
    with pytest.raises(InteractionsError, match="there are no rows"):
        validate_interactions(read_interactions(path, engine))


@pytest.mark.parametrize("engine", EMBEDDED)
def test_too_many_fields_are_an_error(tmp_path, engine):
    path = tmp_path / "interactions.tsv"
    path.write_text("1\tann\tred-hat\t1\tHats\n1\tann\tred-hat\t1\tHats\tmore\n")
    with pytest.raises(InteractionsError, match="failed with"):
        validate_interactions(read_interactions(path, engine))


@pytest.mark.parametrize("engine", EMBEDDED)
def test_missing_columns_are_named(tmp_path, engine):
    path = tmp_path / "interactions.parquet"
    pl.DataFrame({"label": [1], "user_id": ["ann"], "item": ["a"]}).write_parquet(path)
    with pytest.raises(InteractionsError, match="Missing: item_handle, timestamp, item_category"):
        read_interactions(path, engine)


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(InteractionsError, match="engine = 'excel'"):
        read_interactions(tmp_path, "excel")
    with pytest.raises(InteractionsError, match="existing file"):
        read_interactions(tmp_path / "none.tsv")
    with pytest.raises(InteractionsError, match="Received: list"):
        validate_interactions([1, 2])
    dates = pl.DataFrame(
        {
            "label": [1],
            "user_id": ["ann"],
            "item_handle": ["a"],
            "timestamp": pl.Series(["2024-01-01"]).str.to_datetime(),
            "item_category": ["x"],
        }
    )
    with pytest.raises(InteractionsError, match=r"`timestamp` should hold whole numbers \(UNIX seconds"):
        validate_interactions(dates)


def test_a_tab_in_a_value_cannot_be_written_as_text_and_leaves_no_file(tmp_path):
    frame = pl.DataFrame([(1, "an\tn", "a", 1, "x")], schema=list(INTERACTION_COLUMNS), orient="row")
    with pytest.raises(InteractionsError, match="tabs and line breaks"):
        write_interactions(frame, tmp_path / "interactions.tsv")
    assert list(tmp_path.iterdir()) == []
    write_interactions(frame, tmp_path / "interactions.parquet")
    assert rows_of(read_interactions(tmp_path / "interactions.parquet")) == [(1, "an\tn", "a", 1, "x")]
