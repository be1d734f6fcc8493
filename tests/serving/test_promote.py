"""The gate from registry to report: real bundles, one SQLite store, held-out rows of which the best model is known."""

import json
import re
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from fake_bundle import BIAS, DAY, T0, build_fake_bundle, expected_logits, gid, ranked, seal
from fresh_store import use_fresh_store

from scripts.ml import promote
from scripts.ml.held_out import held_out, serve_rows
from serving import registry as mlflow_registry
from serving.bundle import open_bundle
from serving.config import ServeConfig
from serving.gate import GateConfig, GateReport, passed
from serving.registry import RegistryError, find_version, log_and_register, rollback, set_alias
from training.data.columns import INTERACTION_COLUMNS
from training.data.sequences import build_dataset
from training.evaluation.bootstrap import paired_bootstrap
from training.evaluation.metrics import Ranks
from training.evaluation.protocol import primary_metric

NAME = "slirec_shopify_model"
SOLD = ("shirt", "jeans", "novel", "atlas", "scarf")
GIDS = {"shirt": gid(10), "jeans": gid(20), "novel": gid(30), "atlas": gid(40), "scarf": gid(50), "fresh": gid(70)}
LIKES_SCARVES = BIAS + np.array([0, 0, 0, 0, 0, 1, 0], np.float32)
BACKWARDS = np.array([0, -9, -9, 0, 9, 0, 0], np.float32)


def interactions(shoppers=120):
    """Three random products each, then the one of the other two that the bundle with `BIAS` ranks first."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(shoppers):
        chosen = rng.permutation(5)[:3] + 1
        times = (T0 + 1000 * number + DAY * np.arange(4)).tolist()
        logits = expected_logits(chosen, times[:3], times[0], times[3])
        others = [item for item in range(1, 6) if item not in chosen]
        target = SOLD[max(others, key=lambda item, logits=logits: logits[item]) - 1]
        handles = [*(SOLD[item - 1] for item in chosen), "gone" if number % 40 == 39 else target]
        rows += [(1, f"s{number}", h, t, "Clothing") for h, t in zip(handles, times, strict=True)]
        if number < 3:  # training knows "gone", which is not sold any more
            rows.append((1, f"s{number}", "gone", T0 - DAY, "Clothing"))
    return pd.DataFrame(rows, columns=list(INTERACTION_COLUMNS))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "dataset"
    return folder, build_dataset(interactions(), folder, valid_num_ngs=1, test_num_ngs=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder, path = tmp_path_factory.mktemp("promotion"), list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        use_fresh_store(patch, folder)
        yield folder
    sys.path[:] = path


def bundle_with(folder, bias, fingerprint):
    """A bundle with this bias, whose example is what it answers."""
    build_fake_bundle(folder, bias=bias)
    example = json.loads((folder / "example.json").read_text())
    logits = expected_logits([1, 4], [T0, T0 + DAY], T0, T0 + DAY, bias=bias)
    handles, example["preds"] = ranked(logits, seen=("shirt", "atlas"))
    example["itemIds"] = [GIDS[handle] for handle in handles]
    (folder / "example.json").write_text(json.dumps(example))
    seal(folder, data_fingerprint=fingerprint)
    return folder


@pytest.fixture(scope="module")
def registry(store, dataset):
    """Versions 1 (good), 2 (better), 3 (worse), 4 (good, of other data), 5 (as 2, to be damaged); no alias."""
    fingerprint = dataset[1].metadata["fingerprint"]
    made = [(LIKES_SCARVES, fingerprint), (BIAS, fingerprint), (BACKWARDS, fingerprint), (LIKES_SCARVES, "0" * 64),
            (BIAS, fingerprint)]  # fmt: skip
    for number, (bias, of) in enumerate(made, 1):
        registered = log_and_register(bundle_with(store / str(number) / "bundle", bias, of))
        assert registered.version == str(number)
    return store


@pytest.fixture
def command(registry, dataset, capsys):
    """Runs the command; returns its status, what it printed, and the report file's content."""

    def run(*arguments):
        report = registry / "report.json"
        report.unlink(missing_ok=True)
        # The default budget is for a machine that does nothing else.
        status = promote.main([str(dataset[0]), "--latency-ms", "60000", "--report", str(report), *arguments])
        printed = capsys.readouterr()
        return status, printed.out + printed.err, json.loads(report.read_text()) if report.exists() else None

    return run


def alias(name):
    held = mlflow.MlflowClient().get_registered_model(NAME).aliases.get(name)
    return None if held is None else str(held)


def tags(number):
    return mlflow.MlflowClient().get_model_version(NAME, number).tags


def stored_bundle(number):
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{NAME}/{number}")) / "artifacts" / "bundle"


def test_first_a_better_one_then_a_worse_one_then_back(command):
    status, printed, report = command("--version", "1")
    assert (status, alias("champion"), alias("challenger")) == (0, "1", None), printed
    gates = {gate["name"]: gate for gate in report["gates"]}
    assert list(gates)[:5] == ["bundle", "reload", "example", "data", "champion"] and list(gates)[-1] == "latency"
    assert gates["champion"]["reason"] == "there is no champion yet"
    assert sum(name.startswith("baseline ") for name in gates) == 10
    assert tags("1")["previous_champion"] == "none" and tags("1")["promoted_at"]
    assert "passed the gate (no champion yet)" in printed and f"models:/{NAME}@champion" in printed

    status, printed, report = command("--version", "2")
    assert (status, alias("champion")) == (0, "2"), printed
    assert (report["champion"], report["facts"]["held_out_rows"], report["facts"]["rows_left_out"]) == ("1", 117, 3)
    assert report["facts"]["protocol"] == "full ranking, seen items out" and report["facts"]["products"] == 5
    assert report["facts"]["NDCG@10 of this version"] > report["facts"]["NDCG@10 of champion"] > 0.9
    assert tags("2")["previous_champion"] == "1" and tags("2")["gate_verdict"] == "passed"

    status, printed, report = command("--version", "3")
    assert (status, alias("champion"), alias("challenger")) == (3, "2", "3")
    assert "champion" in report["failed"] and "baseline popularity" in report["failed"]
    worse = next(gate for gate in report["gates"] if gate["name"] == "champion")
    assert worse["value"] < worse["bound"] == 0.0
    assert "refused by: champion, baseline popularity" in printed
    assert tags("3")["gate_champion"].startswith("failed (-0.") and "promoted_at" not in tags("3")
    assert "| champion | failed |" in mlflow.MlflowClient().get_model_version(NAME, "3").description

    assert command("--version", "2")[:2] == (1, f"promote: {NAME!r} version 2 is the 'champion' already\n")
    status, printed, _ = command("--rollback")
    assert (status, printed) == (0, f"{NAME}: champion is version 1 again; it was version 2\n")
    assert alias("champion") == "1" and tags("1")["restored_at"] and tags("2")["rolled_back_at"]
    status, printed, _ = command("--rollback")
    assert status == 1 and "should have a former 'champion' to go back to" in printed and alias("champion") == "1"


def test_a_changed_byte_is_refused_with_its_reason(command, registry):
    path = stored_bundle("5") / "score.onnx"
    original, held = path.read_bytes(), alias("champion")
    path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    status, _, report = command()  # the newest one, 5
    assert (status, report["version"], report["failed"]) == (3, "5", ["bundle"])
    assert report["gates"][0]["reason"].startswith("Bundle file candidate/artifacts/bundle/score.onnx has changed: SHA")
    assert {gate["verdict"] for gate in report["gates"][1:]} == {"not run"}
    assert (alias("champion"), alias("challenger")) == (held, "5")

    seal(path.parent, data_fingerprint=tags("5")["data_fingerprint"])  # the bundle's own hashes fit again
    status, _, report = command("--version", "5")
    assert (status, report["failed"], alias("champion")) == (3, ["bundle"], held)
    assert "bundle.json has changed since it was registered" in report["gates"][0]["reason"]


def test_latency_and_a_champion_of_other_data(registry, dataset):
    better, other = (open_bundle(stored_bundle(number)) for number in "24")
    strict, rng = ServeConfig(gate=GateConfig(latency_p95_ms=1e-6)), np.random.default_rng(0)
    measured = promote.measure(better, other, dataset[1], strict, rng)
    assert [gate.name for gate in measured.gates if gate.verdict == "failed"] == ["latency"]
    assert measured.gates[-1].value > measured.gates[-1].bound == 1e-6
    assert "The champion was trained on other data, 000000000000" in measured.notes[0]
    (data,) = promote.measure(other, None, dataset[1], strict, rng).gates  # nothing else is tried
    assert data.verdict == "failed" and data.reason.startswith("trained on the data 000000000000; the held-out rows")


def test_a_champion_that_cannot_be_opened_is_not_beaten(registry, dataset):
    path = stored_bundle("4") / "events.parquet"
    original, config = path.read_bytes(), ServeConfig(gate=GateConfig(latency_p95_ms=60_000.0))
    path.write_bytes(original + b"x")
    try:
        better, damaged = find_version(number="2"), find_version(number="4")
        report = promote.judge(better, damaged, dataset[1], config, np.random.default_rng(0))
    finally:
        path.write_bytes(original)
    assert report.failed == ("champion",)
    assert "version 4 cannot be compared with: Bundle file champion/artifacts" in report.gates[4].reason


def held(dataset, *numbers, most_rows=1000, recommend_seen=False):
    bundles = [open_bundle(stored_bundle(number)) for number in numbers]
    rng = np.random.default_rng(0)
    return held_out(dataset, bundles, recommend_seen=recommend_seen, most_rows=most_rows, rng=rng)


def test_rows_are_served_as_the_network_ranks_them(registry, dataset):
    data = held(dataset[1], "2", "3")
    served = serve_rows(open_bundle(stored_bundle("3")), ServeConfig(k=1), data)
    values = dataset[1].vocabularies["item"].values
    for row, place in zip(data.rows[:20], served.ranks.first[:20], strict=True):
        events = slice(row - dataset[1].position[row], row)
        handles = values[dataset[1].item[events]].tolist()
        numbers = [("", *SOLD, "gone").index(handle) for handle in handles]
        times = dataset[1].timestamp[events].tolist()
        logits = expected_logits(numbers, times, times[0], int(dataset[1].timestamp[row]), bias=BACKWARDS)
        expected, _ = ranked(logits, seen=handles)
        assert place == 1 + expected.index(values[dataset[1].item[row]])
    assert served.answered.all() and len(served.milliseconds) == len(data.rows)
    few = held(dataset[1], "2", most_rows=10).rows
    assert len(few) == 10 and np.all(np.diff(few) > 0) and np.isin(few, data.rows).all()
    assert len(held(dataset[1], "2", recommend_seen=True).rows) == 117


def test_products_that_one_bundle_alone_sells_are_passed_over(registry, dataset):
    data = held(dataset[1], "2")
    sold = data.sold & (dataset[1].vocabularies["item"].values != "jeans")  # as if another bundle had no jeans
    kept = data.rows[sold[dataset[1].item[data.rows]]]
    fewer = type(data)(data.dataset, data.seen, kept, sold, 0)
    bundle = open_bundle(stored_bundle("3"))
    every, some = (serve_rows(bundle, ServeConfig(), each).ranks.first for each in (data, fewer))
    assert len(some) < len(every) and (some <= every[np.isin(data.rows, kept)]).all()


def test_the_interval_of_a_lead_is_exact_on_a_tiny_example():
    # Two rows, leads 1 - 1/2 and 0: the mean of a resample is 0.5, 0.25 or 0 with chances 1/4, 1/2 and 1/4.
    ours, theirs = Ranks.of([1, 1]), Ranks.of([3, 1])
    lead = paired_bootstrap(ours, theirs, primary_metric, np.random.default_rng(0), 2000, 0.95)
    assert (lead.difference, lead.low, lead.high) == pytest.approx((0.25, 0.0, 0.5))
    half = paired_bootstrap(ours, theirs, primary_metric, np.random.default_rng(0), 2000, 0.3)
    assert (half.low, half.high) == pytest.approx((0.25, 0.25))


def test_rollback_passes_over_a_deleted_version_and_repeats(store):
    client, name = mlflow.MlflowClient(), "shop_b"
    client.create_registered_model(name)
    versions = [client.create_model_version(name, str(store)) for _ in range(4)]
    for version in versions:
        found = find_version(name=name, number=str(version.version))
        set_alias(found, "champion")
        set_alias(found, "champion")  # once more moves nothing, and is nothing to go back to
    client.delete_model_version(name, "3")
    now, left = rollback(name=name)
    assert (now.version, left) == ("2", "4")
    client.delete_model_version(name, "2")  # the registry drops its alias with it
    now, left = rollback(name=name)
    assert (now.version, left, now.model_uri) == ("1", None, "models:/shop_b/1")
    with pytest.raises(RegistryError, match="former 'champion'"):
        rollback(name=name)


def test_a_report_about_another_champion_moves_nothing(store):
    client, name = mlflow.MlflowClient(), "shop_c"
    client.create_registered_model(name)
    for _ in range(3):
        client.create_model_version(name, str(store))
    set_alias(find_version(name=name, number="2"), "champion")
    with pytest.raises(RegistryError, match=r"should still be version 1, .* Received: version 2; judge again"):
        mlflow_registry.promote(GateReport(name, "3", "1", (passed("bundle", "x"),)))
    with pytest.raises(RegistryError, match="promote 'shop_c'"):
        mlflow_registry.promote(GateReport(name, "9", "2", (passed("bundle", "x"),)))  # no such version
    assert {key: str(held) for key, held in client.get_registered_model(name).aliases.items()} == {"champion": "2"}
    assert find_version(name=name).version == "3" and find_version(name=name, alias="nobody") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--version", "77"], "could not find"),
        (["--name", "nobody"], "could not find|should have a registered version"),
        (["--config", "nowhere.yaml"], "should be a readable YAML file"),
        (["--latency-ms", "-1"], "latency_p95_ms"),
    ],
)
def test_command_line_refuses_in_one_line(registry, dataset, capsys, arguments, message):
    assert promote.main([str(dataset[0]), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("promote: ") and error.count("\n") == 1
    assert re.search(message, error)
