import json
from pathlib import Path

import mlflow
import pytest
from small_data import small_dataset, small_inventory

from scripts.ml.train import main, run_training
from serving.bundle import open_bundle
from training.config import TrainingConfig
from training.data.inventory import save_inventory


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    small_dataset(folder / "dataset", num_users=30)
    save_inventory(small_inventory(), folder / "inventory.json")
    (folder / "config.yaml").write_text("train: {epochs: 2, init_value: 0.1, batch_size: 200, EARLY_STOP: 0}\n")
    return folder


@pytest.fixture
def store(workplace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace / 'mlflow.db'}")
    mlflow.set_tracking_uri(None)
    yield mlflow.MlflowClient(f"sqlite:///{workplace / 'mlflow.db'}")
    mlflow.set_tracking_uri(None)


def arguments(workplace: Path, *more: str) -> list[str]:
    config, inventory = workplace / "config.yaml", workplace / "inventory.json"
    places = ["--config", str(config), "--inventory", str(inventory), "--run", str(workplace / "run")]
    return [str(workplace / "dataset"), *places, *more]


def test_the_command_trains_tracks_and_exports_and_a_second_call_continues(workplace, store, capsys):
    assert main(arguments(workplace)) == 0
    assert "best epoch" in capsys.readouterr().out
    bundle = open_bundle(workplace / "run" / "bundle")
    run_id = json.loads((workplace / "run" / "run.json").read_text())["mlflow_run_id"]
    run = store.get_run(run_id)
    assert run.data.params["train.batch_size"] == "200"
    assert run.data.tags["data_fingerprint"] == bundle.manifest.data_fingerprint
    assert [metric.step for metric in store.get_metric_history(run_id, "loss")] == [1, 2]
    assert "best/valid/seen_out/NDCG_at_10" in run.data.metrics
    assert [entry.dataset.name for entry in run.inputs.dataset_inputs] == ["encoded_sequences"]
    assert [file.path for file in store.list_artifacts(run_id, "plots")] == ["plots/training.png"]

    assert main(arguments(workplace, "--epochs", "3")) == 0
    assert json.loads((workplace / "run" / "run.json").read_text())["mlflow_run_id"] == run_id
    assert [metric.step for metric in store.get_metric_history(run_id, "loss")] == [1, 2, 3]


def test_a_run_that_the_server_lost_is_tracked_anew(workplace, store, tmp_path):
    config = TrainingConfig().replaced(train={"epochs": 1})
    (tmp_path / "run.json").write_text('{"mlflow_run_id": "0123456789abcdef0123456789abcdef"}')
    from training.data.sequences import load_dataset

    run_training(load_dataset(workplace / "dataset"), small_inventory(), config, tmp_path, progress=False)
    run_id = json.loads((tmp_path / "run.json").read_text())["mlflow_run_id"]
    assert store.get_run(run_id).info.status == "FINISHED"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--config", "nowhere.yaml"], "Cannot read the training configuration nowhere.yaml"),
        (["--inventory", "nowhere.pkl"], "nowhere.pkl"),
        (["--epochs", "0"], "train.epochs"),
    ],
)
def test_mistakes_are_one_line_and_an_exit_status(workplace, store, capsys, change, message):
    assert main(arguments(workplace, *change)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error
