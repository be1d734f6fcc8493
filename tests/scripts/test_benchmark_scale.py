import json
import sys

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.ml import benchmark_scale
from scripts.ml.process_memory import measure
from scripts.ml.scale_data import write_scale_data
from training.data.interactions import read_interactions
from training.data.sequences import load_dataset


def test_generated_rows_are_as_many_as_asked_for_skewed_and_the_same_for_one_seed(tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.ml.scale_data.PART_ROWS", 3_000)
    told = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_scale_data(tmp_path / name, 10_000, 500, 200, np.random.default_rng(seed), told.append)
    first, second, other = (pl.read_parquet(tmp_path / name) for name in "abc")
    assert told[:4] == [3_000, 3_000, 3_000, 1_000]
    assert first.height == 10_000
    assert first.equals(second)
    assert not first.equals(other)
    assert first["timestamp"].is_sorted()
    assert first.select("item_handle", "item_category").unique().height == first["item_handle"].n_unique()
    for column, share in (("user_id", 0.2), ("item_handle", 0.3)):  # of the busiest tenth; an even one has 0.1
        counts = first[column].value_counts(sort=True)["count"]
        assert counts.head(len(counts) // 10).sum() > share * first.height
    assert read_interactions(tmp_path / "a").collect().height == 10_000
    with pytest.raises(ValueError, match="Received: 0, 1 and 1"):
        write_scale_data(tmp_path / "d", 0, 1, 1, np.random.default_rng(1))


def test_memory_is_of_all_processes_of_a_command_and_a_failure_is_named(tmp_path):
    child = "import time; data = bytearray(60_000_000); time.sleep(1)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); print('done')"
    told = []
    measured = measure([sys.executable, "-c", parent], tmp_path, lambda seconds, peak: told.append(peak))
    assert measured.output == "done\n"
    assert measured.seconds >= 1
    assert measured.peak_bytes > 60_000_000
    assert measured.peak_by_kind["other"] > 60_000_000 > measured.peak_by_kind["main"]
    assert told == sorted(told)
    with pytest.raises(RuntimeError, match="ended with status 3: bad luck"):
        measure([sys.executable, "-c", "import sys; print('bad luck', file=sys.stderr); sys.exit(3)"], tmp_path)


@pytest.mark.slow
def test_the_report_of_equal_and_of_unequal_runs(tmp_path, monkeypatch, capsys):
    """Both runs with the default engine: what Spark gives is compared in tests/training/test_engines.py."""
    honest = benchmark_scale.commands

    def commands(data, work, master, driver_memory):
        local = honest(data, work, master, driver_memory)["local"]
        assert honest(data, work, "local[3]", "5g")["spark"][-4:-2] == [
            "spark.master=local[3]",
            "spark.driver.memory=5g",
        ]
        return {"local": local, "spark": [*local[:4], str(work / "spark"), *changed]}

    monkeypatch.setattr(benchmark_scale, "commands", commands)
    arguments = ["--interactions", "3000", "--users", "100", "--products", "500", "--docs", str(tmp_path)]
    changed = []
    assert benchmark_scale.main(arguments) == 0
    report = json.loads((tmp_path / "scale.json").read_text())
    assert (report["interactions"], report["rows_compared"], report["rows_unlike"]) == (3_000, 3_000, 0)
    assert report["tables_unlike"] == []
    assert all(run["seconds"] > 0 and run["peak_bytes"] > 10_000_000 for run in report["runs"].values())
    text = (tmp_path / "scale.md").read_text()
    assert "Rows compared: 3,000. Rows unlike: 0. Vocabularies and negatives unlike: none. Fingerprints: equal." in text
    assert str(tmp_path) not in text + json.dumps(report)
    capsys.readouterr()
    changed = ["--seed", "7"]
    assert benchmark_scale.main(arguments) == 1
    assert json.loads((tmp_path / "scale.json").read_text())["tables_unlike"] == [
        "negatives_valid.parquet",
        "negatives_test.parquet",
    ]
    changed = ["--engine", "none"]
    assert benchmark_scale.main(arguments) == 1
    assert "error: " in capsys.readouterr().err


def test_rows_that_differ_are_counted(tmp_path):
    from small_data import small_dataset

    one = small_dataset(tmp_path / "one", 10)
    folder = tmp_path / "two"
    other = small_dataset(folder, 10)
    assert benchmark_scale.unlike_rows(one, other) == 0
    table = pq.read_table(folder / "sequences.parquet")
    for column, row in (("timestamp", 3), ("item", 3), ("item", 9)):
        values = table[column].to_numpy().copy()
        values[row] += 1
        table = table.set_column(table.schema.get_field_index(column), column, pa.array(values))
    pq.write_table(table, folder / "sequences.parquet")
    assert benchmark_scale.unlike_rows(one, load_dataset(folder)) == 2
