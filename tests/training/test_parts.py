import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_data import small_dataset, small_interactions

from training.data.batches import epoch_rows, history_window
from training.data.interactions import InteractionsError, read_interactions
from training.data.parts import PartsError, read_columns
from training.data.sequences import DatasetError, build_dataset, load_dataset

SCHEMA = pa.schema({"a": pa.int32(), "b": pa.int64()})


def in_parts(folder, *cuts):
    """Replaces the one file of sequences by parts that begin at the given rows."""
    table = pq.read_table(folder / "sequences.parquet")
    (folder / "sequences").mkdir()
    for number, (start, end) in enumerate(zip((0, *cuts), (*cuts, len(table)), strict=True)):
        pq.write_table(table.slice(start, end - start), folder / "sequences" / f"part-{number:05}.parquet")
    (folder / "sequences.parquet").unlink()


def test_parts_are_read_as_one_file_is(tmp_path):
    whole = small_dataset(tmp_path / "dataset")
    in_parts(tmp_path / "dataset", *whole.user_offsets[[3, 3, 40]].tolist())  # one of them empty
    for mapped in (None, tmp_path):
        parts = load_dataset(tmp_path / "dataset", unpack_to=mapped)
        for name in ("user", "item", "category", "timestamp", "position", "split"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name), strict=True)
            assert not getattr(parts, name).flags.writeable
        rows = np.concatenate(epoch_rows(parts, 64, np.random.default_rng(1)))
        np.testing.assert_array_equal(history_window(parts, rows, 20).items, history_window(whole, rows, 20).items)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_unpacked_columns_are_mapped_from_a_file_without_a_name(tmp_path):
    numbers = np.arange(100_000)
    pq.write_table(pa.table({"a": numbers.astype(np.int32), "b": numbers}), tmp_path / "x.parquet")
    table = read_columns(tmp_path / "x.parquet", SCHEMA, unpack_to=tmp_path)
    first, second = table["b"].to_numpy(), table["b"].to_numpy()
    np.testing.assert_array_equal(first, numbers)
    assert np.shares_memory(first, second)  # nothing is copied on the way to the batches
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert any(str(tmp_path) in line for line in maps.read_text().splitlines())


def test_what_is_no_part_is_named(tmp_path):
    folder = tmp_path / "table"
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r"has no file \*\.parquet"):
        read_columns(folder, SCHEMA)
    good = pa.table({"a": [1, 2], "b": [1, 2]}, schema=SCHEMA)
    pq.write_table(good, folder / "part-00000.parquet")
    pq.write_table(pa.table({"a": [3, None], "b": [3, 4]}, schema=SCHEMA), folder / "part-00001.parquet")
    with pytest.raises(PartsError, match=r"`a` in .*part-00001\.parquet should have no gaps. Received: 1 nulls"):
        read_columns(folder, SCHEMA)
    pq.write_table(good.select(["a"]), folder / "part-00001.parquet")
    with pytest.raises(PartsError, match=r"part-00001\.parquet should have the columns"):
        read_columns(folder, SCHEMA)
    (folder / "part-00001.parquet").unlink()
    assert read_columns(folder, SCHEMA).equals(good)
    pq.write_table(good.slice(0, 0), folder / "part-00000.parquet")
    assert read_columns(folder, SCHEMA, unpack_to=tmp_path).num_rows == 0


def test_parts_in_another_order_are_refused(tmp_path):
    folder = tmp_path / "dataset"
    in_parts(folder, small_dataset(folder).user_offsets[30])
    first, second = sorted((folder / "sequences").iterdir())
    first.rename(folder / "sequences" / "part-00009.parquet")
    assert second.name == "part-00001.parquet"
    with pytest.raises(DatasetError, match=r"`user` should rise from row to row, and from part to part"):
        load_dataset(folder)


def test_the_fingerprint_is_of_rows_and_vocabularies(tmp_path):
    frame = small_interactions()
    prints = [build_dataset(frame, tmp_path / "a", rng_seed=seed).metadata["fingerprint"] for seed in (1, 2)]
    assert prints[0] == prints[1] == json.loads((tmp_path / "a" / "dataset.json").read_text())["fingerprint"]
    later, renamed = frame.copy(), frame.copy()
    later.loc[5, "timestamp"] += 1
    renamed["user_id"] = renamed["user_id"].str.replace("u000", "u0000")  # the same ids, another name
    for other in (later, renamed):
        assert build_dataset(other, tmp_path / "b").metadata["fingerprint"] != prints[0]


@pytest.mark.parametrize("engine", ["polars", "duckdb", "pandas"])
def test_a_folder_of_parquet_files_is_one_table(tmp_path, engine):
    frame = pl.from_pandas(small_interactions())
    folder = tmp_path / "some[where]"
    folder.mkdir()
    with pytest.raises(InteractionsError, match=r"a folder of \.parquet files"):
        read_interactions(folder, engine)
    frame.head(100).with_columns(kind=pl.lit("view")).write_parquet(folder / "part-00000.parquet")
    frame.tail(-100).with_columns(kind=pl.lit(None, pl.String)).write_parquet(folder / "part-00001.parquet")
    (folder / "_SUCCESS").touch()
    read = build_dataset(read_interactions(folder, engine), tmp_path / "parts", rng_seed=1)
    whole = build_dataset(frame, tmp_path / "whole", rng_seed=1)
    assert read.metadata["fingerprint"] == whole.metadata["fingerprint"]
