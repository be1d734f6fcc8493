"""The six notebooks of the workflow, once, on little data: the same path as `make run`, in folders of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.ml.run_notebooks import REPOSITORY, WORKFLOW, run_notebooks
from scripts.ml.run_summary import summarise_run
from training.data.inventory import load_inventory

pytestmark = pytest.mark.slow

METHODS = {
    "popularity",
    "recent popularity",
    "own frequency",
    "own frequency, basket decay",
    "last-item Markov",
    "decayed Markov mix",
    "item-kNN (SAR)",
    "EASE",
    "TIFU-kNN",
    "own frequency, basket decay + EASE",
    "SLi-Rec before training",
    "SLi-Rec",
    "oracle",
}
RESULTS = ("data", "runs", "mlruns", "mlflow.db")  # what the workflow writes in the repository when nobody says where
PREDICT = """
import json, sys
for name in ("tensorflow", "keras", "tf_keras"):
    sys.modules[name] = None  # importing it now fails
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
print("ANSWER" + json.dumps(model.predict(json.loads(sys.argv[2]))))
"""


def last_changes() -> dict[str, int]:
    paths = [path for name in RESULTS for path in (REPOSITORY / name, *(REPOSITORY / name).rglob("*"))]
    return {str(path): path.stat().st_mtime_ns for path in paths if path.exists()}


@pytest.fixture(scope="module")
def workflow(tmp_path_factory) -> dict[str, Any]:
    """Executes the notebooks and returns where things are."""
    folder: Path = tmp_path_factory.mktemp("workflow")
    tracking_uri = f"sqlite:///{folder / 'mlflow.db'}"
    parameters = {
        "DATA_DIR": str(folder / "data"),
        "RUNS_DIR": str(folder / "runs"),
        "TRACKING_URI": tracking_uri,
        "USERS": 150,
        "DAYS": 45,
        "EPOCHS": 1,
        "GATE": {"baseline_margin": -10.0, "latency_p95_ms": 60_000.0},
    }
    before = last_changes()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("MLFLOW_", "SLIREC_", "SHOPIFY_", "DATABRICKS_"))]:
            patch.delenv(name)
        patch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
        paths = [path for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb")) if path.name.startswith(WORKFLOW)]
        executed = run_notebooks(paths, parameters, folder / "runs" / "notebooks", cwd=REPOSITORY)
    return {
        "runs": folder / "runs",
        "tracking_uri": tracking_uri,
        "executed": executed,
        "before": before,
        "after": last_changes(),
    }


@pytest.fixture(scope="module")
def registered(workflow) -> dict[str, Any]:
    return json.loads((workflow["runs"] / "registered.json").read_text(encoding="utf-8"))


def test_all_six_notebooks_run_and_write_only_where_they_are_told(workflow):
    assert len(workflow["executed"]) == 6
    assert workflow["after"] == workflow["before"]


def test_registered_model_answers_without_tensorflow_as_keras_did(workflow, registered):
    assert registered["model_uri"] == f"models:/{registered['name']}@champion"
    example = json.loads((workflow["runs"] / "slirec" / "bundle" / "example.json").read_text(encoding="utf-8"))
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, registered["model_uri"], json.dumps(example["request"])],
        env={**os.environ, "MLFLOW_TRACKING_URI": workflow["tracking_uri"], "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout.rpartition("ANSWER")[2])
    assert len(answer["itemIds"]) == 16
    assert len(set(answer["itemIds"])) == 16
    inventory = load_inventory(REPOSITORY / "training" / "inventory.pkl")
    assert set(answer["itemIds"]) <= set(inventory.handle_to_id_dict.values())
    assert np.all(np.diff(answer["preds"]) <= 0)
    assert answer["itemIds"] == example["itemIds"]
    np.testing.assert_allclose(answer["preds"], example["preds"], atol=1e-5, rtol=0)


def test_evaluation_holds_every_method_under_every_protocol(workflow):
    evaluation = json.loads((workflow["runs"] / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["num_test_rows"] > 0
    assert evaluation["tie_rule"]
    tables = {**evaluation["full_ranking"], "sampled": evaluation["sampled"]}
    assert set(tables) == {"seen_out", "seen_in", "sampled"}
    for protocol, table in tables.items():
        assert set(table) >= METHODS, protocol
        values = np.array([value for metrics in table.values() for name, value in metrics.items() if name != "logloss"])
        assert np.all((values >= 0) & (values <= 1)), protocol
        assert np.ptp(values) > 0, protocol


def test_closing_report_names_the_version_and_sixteen_products(workflow, registered):
    report = summarise_run(workflow["runs"])
    assert f"{registered['name']} version {registered['version']}, alias {registered['alias']}" in report
    titles = load_inventory(REPOSITORY / "training" / "inventory.pkl").title_to_handle_dict
    assert registered["sample"]
    for product in registered["sample"]:
        assert product["title"] in titles
        assert f"{product['score']:.4f}  {product['gid']}" in report
