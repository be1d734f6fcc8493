"""Scoring shoppers into a folder: from both engines the same rows, and never half a result."""

import importlib.util
import json
import re
import shutil

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HMAC_SECRET, require
from fake_bundle import STORED, T0, build_fake_bundle, build_large_bundle, seal
from filelock import FileLock
from fresh_store import use_fresh_store
from pydantic import SecretStr

from scripts.ml import score_inventory as command
from scripts.ml.batch_faults import WorkerKiller
from scripts.ml.batch_input import NO_USER_ID, REPEATED
from scripts.ml.batch_output import RESULT, result_folder, write_result
from scripts.ml.score_inventory import main, score_inventory
from scripts.shopify.recommendation_file import read_recommendations
from scripts.shopify.shopper_ids import ShopperIds
from serving.batch import SCORED, BatchError, Options, fetch_registered
from serving.bundle import open_bundle
from serving.config import ServeConfig
from serving.recommender import Recommender

LENGTHS = (
    "`items` and `timestamps` should have the same length, one timestamp an item. Received: 1 items and 0 timestamps"
)
NO_TIME = (
    "`timestamps[0]` should be UNIX seconds or milliseconds, as a number or as text. Received: a str that is not one"
)
TEXTS = pa.list_(pa.string())
READ_BACK = {"rows": 3, "rejected": 0, "engine": "local", "model": None, "k": 2, "recommend_seen": None}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return build_fake_bundle(tmp_path_factory.mktemp("small") / "bundle")


def rows_of(folder):
    return pa.concat_tables(pq.read_table(part) for part in sorted(folder.glob("part-*.parquet"))).to_pylist()


def rejected_of(folder):
    return [json.loads(line) for line in (folder / "_rejected.jsonl").read_text(encoding="utf-8").splitlines()]


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".") and path.suffix != ".lock"]


def write_shoppers(path, rows, timestamps=TEXTS):
    users, items, times = zip(*rows, strict=True)
    columns = {"userId": pa.array(users), "items": pa.array(items, TEXTS), "timestamps": pa.array(times, timestamps)}
    pq.write_table(pa.table(columns), path)
    return path


def test_every_known_shopper_by_default(small, tmp_path, capsys):
    output = tmp_path / "out"
    assert main([str(output), "--bundle", str(small), "--k", "2"]) == 0
    assert "3 shoppers in" in capsys.readouterr().out
    recommender = Recommender(open_bundle(small))
    answers = {user: recommender.recommend(user, k=2) for user in sorted(STORED)}
    assert rows_of(output) == [
        {"userId": user, "itemIds": answer.item_ids, "preds": answer.scores, "message": answer.message}
        for user, answer in answers.items()
    ]
    assert sorted(path.name for path in output.iterdir()) == ["_batch.json", "part-00000.parquet"]
    assert pq.read_schema(output / "part-00000.parquet").equals(RESULT)
    summary = json.loads((output / "_batch.json").read_text())
    assert {key: summary[key] for key in READ_BACK} == READ_BACK
    assert hidden(tmp_path) == []


def test_given_shoppers_are_sorted_and_bad_rows_set_aside(small, tmp_path, capsys):
    rows = [
        ("zoe", ["shirt"], [str(T0)]),
        (None, [], []),
        ("eve", ["shirt"], []),
        ("ann", ["shirt"], [str(T0)]),
        ("", [], []),
        ("bob", ["shirt"], [None]),
        ("ann", None, None),
        ("Zoë", [None, "novel"], [str(T0), str(T0)]),
    ]
    output, given = tmp_path / "out", write_shoppers(tmp_path / "it's.parquet", rows)
    assert main([str(output), "--bundle", str(small), "--shoppers", str(given)]) == 0
    assert f"warning: 5 rows were rejected, see {output / '_rejected.jsonl'}" in capsys.readouterr().err
    found = rows_of(output)
    assert [row["userId"] for row in found] == ["Zoë", "ann", "zoe"]
    assert found[0]["message"] == "1 of 2 items are not known to the model and were skipped."
    assert found[1]["itemIds"] == Recommender(open_bundle(small)).recommend("ann").item_ids
    assert rejected_of(output) == [
        {"row": 2, "userId": None, "reason": NO_USER_ID},
        {"row": 4, "userId": "ann", "reason": REPEATED},
        {"row": 5, "userId": "", "reason": NO_USER_ID},
        {"row": 6, "userId": "bob", "reason": NO_TIME},
        {"row": 3, "userId": "eve", "reason": LENGTHS},
    ]


@pytest.mark.parametrize(
    ("kind", "value"), [(pa.int64(), T0), (pa.float64(), T0 + 0.5), (pa.int64(), T0 * 1000), (pa.string(), f" {T0}.5 ")]
)
def test_timestamps_may_be_numbers(small, tmp_path, kind, value):
    given = write_shoppers(tmp_path / "s.parquet", [("eve", ["shirt", "novel"], [value, value])], pa.list_(kind))
    score_inventory(tmp_path / "out", bundle=small, shoppers=given)
    answer = Recommender(open_bundle(small)).recommend("eve", ["shirt", "novel"], [value, value])
    assert [(row["itemIds"], row["preds"]) for row in rows_of(tmp_path / "out")] == [(answer.item_ids, answer.scores)]


def test_files_of_shoppers_that_cannot_be_used(small, tmp_path):
    def refused(path, message):
        with pytest.raises(BatchError, match=message):
            score_inventory(tmp_path / "out", bundle=small, shoppers=path)
        assert not (tmp_path / "out").exists() and hidden(tmp_path) == []

    file = tmp_path / "s.parquet"
    refused(file, "`shoppers` should be a Parquet file")
    file.write_bytes(b"PAR1")
    refused(file, "is no readable Parquet file")
    for columns, message in (
        ({"user": ["a"]}, r"Missing: userId\. Received: user"),
        ({"userId": ["a"], "items": [["x"]]}, "items and timestamps both or neither. Missing: timestamps"),
        ({"userId": [5]}, r"`userId` should be VARCHAR\. Received: BIGINT"),
        ({"userId": ["a"], "items": ["x"], "timestamps": [[1]]}, "`items` should be .* Received: VARCHAR"),
        ({"userId": ["a"], "items": [["x"]], "timestamps": [[True]]}, "`timestamps` should be .* Received: BOOLEAN"),
    ):
        pl.DataFrame(columns).write_parquet(file)
        refused(file, message)


def test_a_former_result_stays_until_the_new_one_is_complete(small, tmp_path, monkeypatch):
    output = tmp_path / "out"
    score_inventory(output, bundle=small, options=Options(k=1))
    before = rows_of(output)

    def interrupted(*_):
        yield next(iter(batches))
        raise KeyboardInterrupt

    recommender = Recommender(open_bundle(small))
    batches = list(command.score_locally(recommender, staged(small, tmp_path), Options()))
    monkeypatch.setattr(command, "score_locally", interrupted)
    with pytest.raises(KeyboardInterrupt):
        score_inventory(output, bundle=small)
    assert rows_of(output) == before and hidden(tmp_path) == []
    monkeypatch.undo()
    # What a killed run leaves behind.
    (tmp_path / ".out.4711.tmp").mkdir()
    (tmp_path / ".out.work").mkdir()
    score_inventory(output, bundle=small)
    assert len(rows_of(output)[0]["itemIds"]) > 1 and hidden(tmp_path) == []


def staged(bundle, folder):
    command.stage_known(open_bundle(bundle), folder / "staged.parquet")
    return folder / "staged.parquet"


def test_folders_that_are_not_replaced(small, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "holiday.jpg").write_bytes(b"")
    file = tmp_path / "file"
    file.write_text("")
    for path in (output, file):
        with pytest.raises(BatchError, match="should be a new folder or a former result"):
            score_inventory(path, bundle=small)
    assert [path.name for path in output.iterdir()] == ["holiday.jpg"]
    with FileLock(tmp_path / ".new.lock"), pytest.raises(BatchError, match="Another run is writing"):
        score_inventory(tmp_path / "new", bundle=small)


def batch_of(*users):
    row = {"row": 1, "itemIds": [], "preds": [], "message": None}
    return pa.RecordBatch.from_pylist([{**row, "userId": user} for user in users], SCORED)


def test_an_engine_that_loses_or_doubles_rows_is_caught(tmp_path):
    for batches, message in (
        ([batch_of("a", "b")], "should answer 3 shoppers. Received: 2 answers"),
        ([batch_of("a", "b"), batch_of("b")], "once and in order"),
        ([batch_of("b", "a", "c")], "once and in order"),
    ):
        with pytest.raises(BatchError, match=message), result_folder(tmp_path / "out") as (folder, _):
            write_result(batches, (), folder, 3)
        assert not (tmp_path / "out").exists()


def test_what_cannot_be_asked_for(small, tmp_path, capsys):
    assert main([str(tmp_path / "out"), "--bundle", str(small), "--engine", "spark"]) == 1
    assert "register the bundle first" in capsys.readouterr().err
    assert main([str(tmp_path / "out"), "--bundle", str(tmp_path)]) == 1
    for wrong in (["--k", "0"], ["--bundle", "x", "--alias", "y"], ["--engine", "ray"]):
        with pytest.raises(SystemExit):
            main([str(tmp_path / "out"), *wrong])
    assert hidden(tmp_path) == []


def many_shoppers(handles):
    """3,000 with events, a few known ones, and bad rows among them, in any order."""
    rng = np.random.default_rng(3)
    rows = [*((user, [], []) for user in STORED), (None, [], []), ("u7", [], [])]
    for number in range(3_000):
        count = int(rng.integers(0, 60))
        items = [handles[place] for place in rng.integers(0, len(handles), count)]
        times = [str(T0 + int(time)) for time in rng.integers(0, 10**7, count)]
        rows.append((f"u{number}", items, times))
    rows += [("no-times", [handles[0]], []), ("no-time", [handles[0]], ["soon"]), ("null", [handles[0]], [None])]
    rows += [("unknown", ["nothing"], [str(T0)]), ("Zoë", [None, handles[1]], [str(T0)] * 2), ("none", None, None)]
    return [rows[place] for place in rng.permutation(len(rows))]


@pytest.mark.slow
def test_spark_writes_the_same_rows_though_a_worker_is_killed(tmp_path, monkeypatch):
    require(importlib.util.find_spec("pyspark"), "pyspark")
    require(shutil.which("java"), "Java")
    use_fresh_store(monkeypatch, tmp_path)
    from serving.registry import log_and_register, set_alias

    bundle = build_large_bundle(tmp_path / "bundle")
    manifest = json.loads((bundle / "bundle.json").read_text())
    request = {"userId": "ann", "items": [], "timestamps": []}
    (bundle / "example.json").write_text(json.dumps({"request": request, "params": {}, "itemIds": [], "preds": []}))
    seal(bundle, sizes=manifest["sizes"])
    version = log_and_register(bundle, ServeConfig(k=5, recommend_seen=True))
    with pytest.raises(BatchError, match=r"^The alias 'champion' should be set\. Received: no version"):
        score_inventory(tmp_path / "local")
    set_alias(version, "champion")
    model = fetch_registered(ServeConfig(), tmp_path / "fetched")
    assert (model.version.version, model.config.k, model.config.recommend_seen) == ("1", 5, True)

    rows = many_shoppers([*model.bundle.catalogue.row_of_handle])
    given = write_shoppers(tmp_path / "shoppers.parquet", rows)
    local = score_inventory(tmp_path / "local", shoppers=given)
    with WorkerKiller(1.0) as killer:
        spark = score_inventory(tmp_path / "spark", shoppers=given, engine="spark", master="local[2,4]")
    assert killer.killed is not None and spark.failed_attempts >= 1
    assert local.written == spark.written
    assert (local.written.rows, local.written.rejected) == (len(rows) - 5, 5)
    found = rows_of(tmp_path / "local")
    assert rows_of(tmp_path / "spark") == found
    assert rejected_of(tmp_path / "spark") == rejected_of(tmp_path / "local")
    assert {len(row["itemIds"]) for row in found} == {5}
    assert sum(row["message"] is None for row in found) > 2_000
    messages = {re.sub(r"\d+", "N", row["message"]) for row in found if row["message"]}
    nothing = "Nothing is known of this shopper: products are ranked by popularity."
    skipped = "N of N items are not known to the model and were skipped."
    assert messages == {nothing, skipped, f"{skipped} {nothing}"}

    ids = ShopperIds(SecretStr(HMAC_SECRET))
    read = [read_recommendations(tmp_path / name, ids, keep=8) for name in ("local", "spark")]
    number_zero = sum("gid://shopify/Product/0" in row["itemIds"] for row in found)  # the bundle's; no shop has it
    assert (read[0].rows, read[0].bad, read[0].repeated) == (len(found), number_zero, 0)
    assert read[0].shoppers.equals(read[1].shoppers)
