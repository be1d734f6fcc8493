import narwhals as nw
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from spark_tools import local_spark

from training.data.interactions import read_interactions, validate_interactions
from training.data.sequences import build_dataset, encode_interactions, load_dataset
from training.feature_config import FeaturesConfig

EMBEDDED = ("duckdb", "polars", "pandas")


@pytest.fixture(scope="module")
def interactions(tmp_path_factory):
    """A file with ties, repetitions, upper case, accents, short users, unusable rows and missing categories."""
    rng = np.random.default_rng(5)
    items = [*(f"item-{number}" for number in range(60)), "Item-1", "été", "zebra", "_x"]
    lines = []
    for _ in range(1500):
        item = int(rng.integers(len(items)) * rng.random())
        user = f"user{rng.integers(60) ** 2 // 30}"
        category = f"category {item % 5}" if item % 7 else ""
        lines.append(f"1\t{user}\t{items[item]}\t{rng.integers(1, 400)}\t{category}\n")
    lines += [*lines[:20], "0\tuser1\titem-1\t5\tcategory 1\n", "1\t\titem-1\t5\tcategory 1\n", "1\tu\titem-1\tx\tc\n"]
    path = tmp_path_factory.mktemp("engines") / "interactions.tsv"
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def reference(interactions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference") / "dataset"
    build_dataset(read_interactions(interactions, "duckdb"), folder, valid_num_ngs=2, test_num_ngs=3)
    return folder


@pytest.fixture(scope="module")
def spark():
    with local_spark() as session:
        yield session


def assert_same_folder(folder, reference):
    names = {path.name for path in reference.iterdir()}
    assert {path.name for path in folder.iterdir()} == names
    for name in names - {"dataset.json"}:
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), name


@pytest.mark.parametrize("engine", EMBEDDED)
def test_embedded_engines_write_identical_folders(interactions, reference, tmp_path, engine):
    dataset = build_dataset(
        read_interactions(interactions, engine), tmp_path / "dataset", valid_num_ngs=2, test_num_ngs=3
    )
    assert dataset.metadata["engine"] == engine
    assert dataset.metadata["dropped"] == {
        "no user_id": 1,
        "timestamp is not UNIX seconds": 1,
        "label is 0 (not a positive interaction)": 1,
    }
    assert_same_folder(tmp_path / "dataset", reference)


@pytest.mark.slow
def test_spark_writes_the_same_rows_in_parts(interactions, reference, tmp_path, spark, monkeypatch):
    monkeypatch.setattr("training.data.spark.PART_ROWS", 500)
    folder = tmp_path / "dataset"
    dataset = build_dataset(read_interactions(interactions, "spark"), folder, valid_num_ngs=2, test_num_ngs=3)
    assert dataset.metadata["engine"] == "pyspark"
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]
    assert spark.catalog.listTables() == []

    parts = sorted((folder / "sequences").iterdir())
    assert [path.name for path in parts] == [f"part-{number:05}.parquet" for number in range(len(parts))]
    assert len(parts) > 1
    tables = [pq.read_table(path) for path in parts]
    users = [set(table["user"].to_pylist()) for table in tables]
    assert sum(map(len, users)) == len(set().union(*users))  # a user is in one part
    assert pa.concat_tables(tables).to_pylist() == pq.read_table(reference / "sequences.parquet").to_pylist()
    for name in {path.name for path in reference.iterdir()} - {"dataset.json", "sequences.parquet"}:
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), name

    local = load_dataset(reference)
    assert dataset.metadata["fingerprint"] == local.metadata["fingerprint"]
    for read in (load_dataset(folder), load_dataset(folder, unpack_to=tmp_path)):
        for name in ("user", "item", "category", "timestamp", "position", "split"):
            np.testing.assert_array_equal(getattr(read, name), getattr(local, name), strict=True)
        np.testing.assert_array_equal(read.negatives["test"], local.negatives["test"])

    # A part is also a file of its own: Spark reads the folder back as one table.
    assert spark.read.parquet(str(folder / "sequences")).count() == len(local.user)


@pytest.mark.slow
def test_spark_encodes_custom_features_alike(tmp_path, spark):
    config = FeaturesConfig.model_validate(
        {"user": [{"name": "band"}], "event": [{"name": "kind"}, {"name": "pieces", "kind": "numeric", "buckets": 3}]}
    )
    rng = np.random.default_rng(9)
    rows = {
        "label": np.ones(200, np.int64),
        "user_id": [f"u{number}" for number in rng.integers(0, 9, 200)],
        "item_handle": [f"i{number}" for number in rng.integers(0, 5, 200)],
        "timestamp": rng.integers(1, 20, 200),  # many events that only their features tell apart
        "item_category": ["c"] * 200,
        "kind": [("view", "cart", "été", None)[number] for number in rng.integers(0, 4, 200)],
        "pieces": [(None, 0.5, 1.0, 2.0, 4.0)[number] for number in rng.integers(0, 5, 200)],
        "band": [("old", "new", None)[number] for number in rng.integers(0, 3, 200)],
    }
    path = tmp_path / "interactions.parquet"
    pl.DataFrame(rows, strict=False).write_parquet(path)
    for engine in ("polars", "spark"):
        frame = read_interactions(path, engine, features=config)
        build_dataset(frame, tmp_path / engine, valid_num_ngs=0, test_num_ngs=0, features=config)
    assert_same_folder(tmp_path / "spark", tmp_path / "polars")
    assert load_dataset(tmp_path / "spark").metadata["features"][1]["size"] == 4


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_lazy_engines_stay_lazy(interactions, engine):
    native = read_interactions(interactions, engine)
    for frame in (native, validate_interactions(native)[0], encode_interactions(native).sequences):
        assert isinstance(frame, type(native))
        assert isinstance(nw.from_native(frame), nw.LazyFrame)
