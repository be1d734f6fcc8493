import importlib.util
import shutil

import narwhals as nw
import numpy as np
import polars as pl
import pytest
from conftest import require

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
    require(shutil.which("java"), "Java")
    require(importlib.util.find_spec("pyspark"), "pyspark")
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.adaptive.enabled", "false")
        .config("spark.sql.codegen.wholeStage", "false")  # compiling costs more than a small table gains
        .config("spark.sql.codegen.factoryMode", "NO_CODEGEN")
        .config("spark.driver.memory", "1g")
        .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    yield session
    session.stop()


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


def test_spark_writes_an_identical_folder(interactions, reference, tmp_path, spark):
    frame = read_interactions(interactions, "spark")
    dataset = build_dataset(frame, tmp_path / "dataset", valid_num_ngs=2, test_num_ngs=3)
    assert dataset.metadata["engine"] == "pyspark"
    assert_same_folder(tmp_path / "dataset", reference)
    assert spark.catalog.listTables() == []


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
        frame = read_interactions(path, engine, config)
        build_dataset(frame, tmp_path / engine, valid_num_ngs=0, test_num_ngs=0, features=config)
    assert_same_folder(tmp_path / "spark", tmp_path / "polars")
    assert load_dataset(tmp_path / "spark").metadata["features"][1]["size"] == 4


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_lazy_engines_stay_lazy(interactions, engine):
    native = read_interactions(interactions, engine)
    for frame in (native, validate_interactions(native)[0], encode_interactions(native).sequences):
        assert isinstance(frame, type(native))
        assert isinstance(nw.from_native(frame), nw.LazyFrame)
