"""What the soak counts, on a literal table, and a short soak of real processes in which nothing may go wrong."""

import json
import sys
from pathlib import Path

import pytest

from scripts.ml.soak_records import Fault, History, Record, count, digest, read_records
from scripts.ml.soak_report import growths, markdown, plot, verdicts
from scripts.ml.soak_run import Plan, run

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "serving"))
from fake_bundle import build_large_bundle, seal


def history():
    # "2" is ordered at 10 to 11 and may take 5 s; a worker is killed at 20, its connections are gone at 20.1.
    return History([(0, 0, "1"), (10, 11, "2")], 5, [(20, 20.1)], [Fault("kill", 20, 25)])


@pytest.mark.parametrize(
    ("record", "counted"),
    [
        (Record(5, 0.1, 200, "1", "1", ""), None),
        (Record(5, 0.1, 200, "", "1", ""), "wrong"),  # nobody's answer
        (Record(5, 0.1, 200, "1", "2", ""), "wrong"),  # says that it is another's
        (Record(5, 0.1, 200, "2", "2", ""), "wrong"),  # too early
        (Record(9.95, 0.1, 200, "2", "2", ""), None),  # ended after the order
        (Record(15.9, 0.1, 200, "1", "", ""), None),
        (Record(16.1, 0.1, 200, "1", "1", ""), "wrong"),  # too late
        (Record(30, 0.1, 503, "", "", ""), "failed"),
        (Record(20.05, 0.1, 503, "", "", ""), "failed"),  # answered: not lost with the worker
        (Record(19.9, 0.15, 0, "", "", "ConnectionError"), "in_flight"),
        (Record(20.05, 0.01, 0, "", "", "ConnectionError"), "in_flight"),
        (Record(19.9, 0.05, 0, "", "", "ConnectionError"), "failed"),  # over before the kill
        (Record(20.2, 0.1, 0, "", "", "ConnectionError"), "failed"),  # sent after it
    ],
)
def test_each_request_is_counted_once(record, counted):
    found = count([record], history())
    assert {name for name in ("failed", "in_flight", "wrong") if found[name]} == ({counted} if counted else set())
    assert found["requests"] == 1


def test_latencies_and_switch_times(tmp_path):
    lines = [f"{n}.0\t0.{n:03}\t7\t200\t{1 if n < 13 else 2}\t\t" for n in range(30)]
    (tmp_path / "records").write_text("\n".join([*reversed(lines), "30.0\t9.0\t7\t0\t\t\tConnectionError"]))
    records = read_records(tmp_path / "records")
    found = count(records, history())
    assert (found["failed"], found["failed_by"], found["by_version"]) == (1, {"ConnectionError": 1}, {"1": 13, "2": 17})
    assert found["milliseconds"] == pytest.approx({"p50": 14.5, "p95": 27.55, "p99": 28.71, "max": 29})
    assert found["milliseconds_quiet"]["p50"] == pytest.approx(11.5)  # without 20 to 25
    assert history().switch_seconds(records) == [1.0]


def test_answers_are_told_apart_by_every_byte_or_by_a_field():
    assert digest(b'{"a": 1}', None) != digest(b'{"a":1}', None)
    assert digest(b'{"a": 1}', "a") == digest(b'{"a":1, "b": 2}', "a") != digest(b'{"a":2}', "a")


def document(**changes):
    times = {"p50": 5.0, "p95": 9.0, "p99": 20.0, "max": 30.0}
    soak = {"requests": 5000, "seconds": 100.0, "per_second": 50.0, "rate": 50.0, "workers": 2, "look_seconds": 5.0,
            "failed": 0, "in_flight": 2, "wrong": 0, "by_version": {"1": 9, "2": 9}, "milliseconds": times,
            "milliseconds_quiet": times, "requests_quiet": 4000, "switch_seconds": [4.0],
            "faults": [["kill", 20.0, 30.0]], "stopped_with": 0,
            "memory": {"supervisor": [(0, 1.0), (100, 900.0)],
                       "worker 1": [(0, 90.0), (20, 150.0), (100, 155.0)],
                       "worker 2": [(80, 50.0), (99, 400.0)]},
            "latency": [[1.0, 5.0, 6.0, 7.0], [2.0, 5.0, 6.0, 7.0]]} | changes  # fmt: skip
    slow = soak | {"per_second": 30.0, "held": soak | {"rate": 24.0}}
    machine = {"cores": 2, "processor": "x", "memory_gb": 4, "system": "Linux", "python": "3.11"}
    return {"command": "soak", "machine": machine, "moment": {"date": "2026", "commit": "abc"}, "soak": soak,
            "comparison": {"ours": soak, "models_serve": slow}}  # fmt: skip


def test_the_report_says_which_targets_are_missed():
    good = document()
    assert all(reached for _, reached in verdicts(good))
    assert growths(good["soak"]) == {"worker 1": (150.0, 155.0)}  # worker 2 lived too short a time
    text = markdown(good)
    assert "missed" not in text and "| `mlflow models serve`, 24/s | 5,000 |" in text
    assert len(plot(good).axes) == 2
    worse = {"p99": 61.0}
    for change in (
        {"failed": 1}, {"wrong": 1}, {"per_second": 40.0}, {"by_version": {"1": 1}}, {"stopped_with": -9},
        {"milliseconds_quiet": worse}, {"memory": {"worker 1": [(0, 90.0), (20, 150.0), (100, 170.0)]}},
    ):  # fmt: skip
        bad = document(**change)
        assert [reached for _, reached in verdicts(bad)].count(False) == 1
        assert "**missed**" in markdown(bad)


def sealed(folder, seed):
    """A random model of 234 products with its own answer as its example."""
    from serving.bundle import open_bundle
    from serving.recommender import Recommender

    build_large_bundle(folder, seed=seed)
    request = {"userId": "dee", "items": ["product-7"], "timestamps": ["1700000000"]}
    answer = Recommender(open_bundle(folder)).recommend("dee", ["product-7"], ["1700000000"])
    example = {"request": request, "params": {"k": 16, "recommend_seen": False}}
    example |= {"itemIds": answer.item_ids, "preds": answer.scores}
    (folder / "example.json").write_text(json.dumps(example))
    sizes = {"num_items": 235, "num_categories": 3, "num_users": 4, "num_products": 234, "max_seq_length": 50}
    seal(folder, sizes=sizes)
    return folder


@pytest.mark.slow
def test_a_switch_and_a_killed_worker_cost_nothing_but_what_was_in_flight(tmp_path):
    bundles = sealed(tmp_path / "first", 1), sealed(tmp_path / "second", 2)
    (folder := tmp_path / "work").mkdir()
    plan = Plan(seconds=14, rate=20, workers=1, compare_seconds=0, registry_away=False)
    said = []
    soak = run(plan, bundles, folder, lambda name, seconds: said.append(name))["soak"]
    assert (soak["failed"], soak["wrong"]) == (0, 0), soak["failed_by"]
    assert {*soak["by_version"]} == {"1", "2"} and soak["requests"] > 100
    assert soak["stopped_with"] == 0
    assert [name for name, _, _ in soak["faults"]] == ["a new champion is switched in", "a worker is killed"]
    assert {*soak["memory"]} == {"supervisor", "worker 1", "worker 2"}
