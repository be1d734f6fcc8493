"""A bundle through MLflow and back: one SQLite store, one registered version, clean processes that answer."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from fake_bundle import GID, T0, build_fake_bundle, seal
from fresh_store import use_fresh_store
from mlflow.exceptions import MlflowException

from scripts.ml import register_model
from serving.bundle import open_bundle
from serving.config import ServeConfig
from serving.registry import (
    RegistryError,
    find_version,
    log_and_register,
    open_registered,
    prepare_tracking,
    reload_and_score,
    set_alias,
)

NAME = "slirec_shopify_model"
EXAMPLE = {"userId": "dee", "items": ["shirt", "atlas"], "timestamps": [str(T0), str(T0 + 86_400)]}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A fresh tracking store, from a working folder with the files of a uv project."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "uv.lock").write_text("version = 1\n")
    (folder / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    path = list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        use_fresh_store(patch, folder)
        yield folder
    sys.path[:] = path  # load_model puts the model's code in front


@pytest.fixture(scope="module")
def bundle(store):
    return build_fake_bundle(store / "slirec" / "bundle")


@pytest.fixture(scope="module")
def training_run(store):
    with mlflow.start_run(experiment_id=prepare_tracking()) as run:
        return run.info.run_id


@pytest.fixture(scope="module")
def registered(bundle, training_run):
    version = log_and_register(bundle, metrics={"ndcg@10": 0.25}, tags={"reason": "test"}, run_id=training_run)
    assert set_alias(version, "champion") == f"models:/{NAME}@champion"
    return version


@pytest.fixture(scope="module")
def artifacts(registered):
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=registered.model_uri))


@pytest.fixture(scope="module")
def model(registered):
    return mlflow.pyfunc.load_model(f"models:/{NAME}@champion")


def test_version_run_tags_and_metrics(registered, training_run, bundle):
    assert (registered.name, registered.version, registered.model_uri) == (NAME, "1", f"models:/{NAME}/1")
    assert registered.run_id == training_run
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias(NAME, "champion")
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert str(version.version) == "1"
    assert version.tags["reason"] == "test"
    assert version.tags["data_fingerprint"] == manifest["data_fingerprint"]
    assert len(version.tags["bundle_sha256"]) == 64
    canonical = json.dumps(manifest["config"], sort_keys=True, separators=(",", ":"))
    assert version.tags["training_config_sha256"] == hashlib.sha256(canonical.encode()).hexdigest()
    assert len(version.tags["serving_config_sha256"]) == 64
    lock = Path(register_model.__file__).parents[2] / "requirements.lock"
    assert version.tags["lock_sha256"] == hashlib.sha256(lock.read_bytes()).hexdigest()
    assert version.tags["code_version"] and version.tags["code_dirty"] in ("true", "false", "unknown")
    assert client.get_run(training_run).data.metrics == {"ndcg_at_10": 0.25}
    logged = client.get_logged_model(version.source.removeprefix("models:/"))
    assert logged.params == {"train.learning_rate": "0.001"}
    assert {metric.key: metric.value for metric in logged.metrics} == {"ndcg_at_10": 0.25}


def test_signature_is_the_contract(model):
    assert model.metadata.signature.to_dict() == {
        "inputs": json.dumps(
            [
                {"type": "string", "name": "userId", "required": True},
                {"type": "array", "items": {"type": "string"}, "name": "items", "required": True},
                {"type": "array", "items": {"type": "string"}, "name": "timestamps", "required": True},
            ]
        ),
        "outputs": json.dumps(
            [
                {"type": "array", "items": {"type": "string"}, "name": "itemIds", "required": True},
                {"type": "array", "items": {"type": "double"}, "name": "preds", "required": True},
            ]
        ),
        "params": json.dumps(
            [
                {"name": "k", "default": 16, "shape": None, "type": "long"},
                {"name": "recommend_seen", "default": False, "shape": None, "type": "boolean"},
                {"name": "candidate_ids", "default": [], "shape": [-1], "type": "string"},
                {"name": "now", "default": 0, "shape": None, "type": "long"},
                {"name": "with_message", "default": False, "shape": None, "type": "boolean"},
            ]
        ),
    }


def test_what_was_logged_is_code_and_data_but_no_pickle(artifacts, store):
    files = {path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*") if path.is_file()}
    assert not [name for name in files if name.endswith((".pkl", ".pickle", "uv.lock", "pyproject.toml"))]
    assert {"slirec_model.py", "code/serving/recommender.py", "artifacts/bundle/bundle.json"} <= files
    code = {Path(name).parts[1] for name in files if name.startswith("code/")}
    assert code == {"serving"}
    assert artifacts.is_relative_to(store / "mlruns")
    requirements = (artifacts / "requirements.txt").read_text().split()
    assert {line.split("==")[0] for line in requirements} == {
        *("mlflow-skinny", "pandas", "numpy", "pyarrow", "onnxruntime", "pydantic", "pyyaml")
    }
    assert all("==" in line for line in requirements)
    config = yaml.safe_load((artifacts / "MLmodel").read_text())["flavors"]["python_function"]["config"]
    assert config == {
        "k": 16, "recommend_seen": False, "candidate_chunk_size": 1024, "num_threads": 0,
        "two_stage_from": 20_000, "shortlist_size": 1_000, "shortlist_sample": 512,
        "include_categories": [], "exclude_categories": [], "include_tags": [], "exclude_tags": [],
        "exclude_out_of_stock": False, "exclude_seen": False,
    }  # fmt: skip


def test_documented_input_forms_give_one_answer(model, bundle):
    expected = json.loads((bundle / "example.json").read_text())
    columns = {key: [value] for key, value in EXAMPLE.items()}
    answers = [model.predict(form) for form in (EXAMPLE, [EXAMPLE], pd.DataFrame([EXAMPLE]), pd.DataFrame(columns))]
    assert answers == [answers[0]] * 4
    assert answers[0][0]["itemIds"] == expected["itemIds"]
    assert answers[0][0]["preds"] == pytest.approx(expected["preds"], abs=1e-5)
    assert model.predict([EXAMPLE, EXAMPLE]) == answers[0] * 2


def test_parameters_pass_the_signature(model):
    assert len(model.predict(EXAMPLE, params={"k": 1})[0]["itemIds"]) == 1
    assert len(model.predict(EXAMPLE, params={"recommend_seen": True})[0]["itemIds"]) == 6
    chosen = model.predict(EXAMPLE, params={"candidate_ids": ["scarf", GID["novel"]]})
    assert chosen[0]["itemIds"] == [GID["novel"], GID["scarf"]]
    later = model.predict(EXAMPLE, params={"now": T0 + 9 * 86_400})
    assert later[0]["preds"][0] > model.predict(EXAMPLE)[0]["preds"][0]
    with pytest.raises(MlflowException, match="Row 0: `k` should be a positive integer"):
        model.predict(EXAMPLE, params={"k": 0})


def test_a_changed_byte_in_the_registered_model_is_refused_on_reload(registered, artifacts):
    path = artifacts / "artifacts" / "bundle" / "score.onnx"
    original = path.read_bytes()
    path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    try:
        with pytest.raises(RegistryError, match=r"cannot be loaded in a clean process: .*score\.onnx has changed"):
            reload_and_score(registered.model_uri)
    finally:
        path.write_bytes(original)


def test_a_version_that_fails_in_the_clean_process_does_not_get_the_alias(registered, bundle, tmp_path):
    other = tmp_path / "bundle"
    shutil.copytree(bundle, other)
    example = json.loads((other / "example.json").read_text())
    example["preds"] = [score / 2 for score in example["preds"]]
    (other / "example.json").write_text(json.dumps(example))
    seal(other)
    with pytest.raises(RegistryError, match="example's scores should be the trained network's"):
        register_model.register(open_bundle(other), ServeConfig(), tmp_path / "registered.json")
    assert mlflow.MlflowClient().get_registered_model(NAME).aliases == {"champion": int(registered.version)}
    assert not (tmp_path / "registered.json").exists()


def test_rules_and_the_name_of_the_folder_do_not_hinder_the_reload(bundle, tmp_path):
    other = shutil.copytree(bundle, tmp_path / "of the shop")
    ruled, bundle = ServeConfig(exclude_categories=["clothing"], exclude_seen=True), open_bundle(other)
    noted = register_model.register(bundle, ruled, tmp_path / "registered.json", name="ruled")
    (answer,) = mlflow.pyfunc.load_model("models:/ruled@challenger").predict(
        {"userId": "zoe", "items": [], "timestamps": []}
    )
    assert 0 < len(answer["itemIds"]) < len(noted["sample"])
    assert open_registered(find_version(name="ruled"), tmp_path / "fetched").example


def test_a_relative_store_is_found_from_the_clean_process(registered, store, monkeypatch):
    absolute = mlflow.get_tracking_uri()
    monkeypatch.chdir(store)
    mlflow.set_tracking_uri("sqlite:///" + Path(absolute.removeprefix("sqlite:///")).name)
    try:
        assert len(reload_and_score(registered.model_uri)) == 1
    finally:
        mlflow.set_tracking_uri(None)  # the environment's again
        os.environ["MLFLOW_TRACKING_URI"] = absolute


def test_an_evaluation_of_other_data_is_refused(store, bundle, capsys):
    report = store / "other.json"
    report.write_text(json.dumps({"split": "test", "data_fingerprint": "of other data"}))
    assert register_model.main([str(bundle), "--evaluation", str(report)]) == 1
    assert "should be an evaluation of the test split of the data" in capsys.readouterr().err


def test_command_line_registers_and_reloads_without_tensorflow(
    registered, store, bundle, training_run, capsys, monkeypatch
):
    monkeypatch.setenv("SLIREC_MODEL_NAME", "shop_b")
    (bundle.parent / "run.json").write_text(json.dumps({"mlflow_run_id": "0" * 32}))  # of another store
    report = store / "evaluation.json"
    figures = {"SLi-Rec": {"ndcg@10": 0.5, "note": "x"}, "popularity": {"ndcg@10": 0.1}}
    data = json.loads((bundle / "bundle.json").read_text())["data_fingerprint"]
    document = {"full_ranking": {"seen_out": figures}, "sampled": {"SLi-Rec": {"auc": 0.9}}, "k": 10}
    report.write_text(json.dumps({**document, "split": "test", "data_fingerprint": data}))
    summary = store / "registered.json"
    places = ["--evaluation", str(report), "--summary", str(summary), "--report", str(store / "full")]
    verdict = {"deploy": "EASE", "kind": "ease", "settings": {}, "lead": [-0.01, 0.02, 0.05], "rule": "simplest"}
    (store / "full").mkdir()
    for name in ("report.md", "report.html", "report.json"):
        assert register_model.main([str(bundle), *places]) == 1
        assert f"{name} does not exist" in capsys.readouterr().err
        (store / "full" / name).write_text(json.dumps({**verdict, "split": "test", "data_fingerprint": data}))
    assert register_model.main([str(bundle), "--alias", "candidate", *places]) == 0
    output = capsys.readouterr().out
    assert "Registered: shop_b version 1, alias candidate" in output
    assert "  1  Jeans        0.9047  gid://shopify/Product/20" in output
    noted = json.loads(summary.read_text())
    assert (noted["name"], noted["version"], noted["model_uri"]) == ("shop_b", "1", "models:/shop_b@candidate")
    assert noted["sample"][0]["title"] == "Jeans"
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias("shop_b", "candidate")
    assert version.run_id != training_run
    assert version.tags["serving_config_file"] == "model_serve_config.yaml"
    run = client.get_run(version.run_id)
    assert run.data.tags["training_run_id"] == "0" * 32
    assert run.data.metrics == {"full_ranking/seen_out/ndcg_at_10": 0.5, "sampled/auc": 0.9}
    tags = {name: value for name, value in version.tags.items() if name.startswith("verdict_")}
    lead = "+0.0200 (-0.0100 to +0.0500)"
    assert tags == {"verdict_method": "EASE", "verdict_kind": "ease", "verdict_lead": lead}
    stored = Path(mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path="report"))
    assert sorted(path.name for path in stored.iterdir()) == ["report.html", "report.json", "report.md"]
    assert json.loads((stored / "report.json").read_text())["deploy"] == "EASE"
    (store / "full" / "report.json").write_text(json.dumps({**verdict, "split": "test", "data_fingerprint": "other"}))
    assert register_model.main([str(bundle), *places]) == 1
    assert "should be a report of the test split of the data" in capsys.readouterr().err
    assert register_model.found_report(open_bundle(bundle), store / "full") is None
    assert register_model.found_report(open_bundle(bundle), store) is None
    cut = {**verdict, "before": "2017-10-02T00:00:00+00:00"}
    for name, text in (("w.md", ""), ("w.html", ""), ("w.json", json.dumps({**cut, "kind": "sli_rec"}))):
        (store / name).write_text(text)
    assert register_model.report_tags(store / "w.json", open_bundle(bundle))["verdict_kind"] == "sli_rec"
    (store / "w.json").write_text(json.dumps({**cut, "kind": "ease"}))
    with pytest.raises(ValueError, match="deploys the bundle's sli_rec"):
        register_model.report_tags(store / "w.json", open_bundle(bundle))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "bundle.json is missing"),
        (["slirec/bundle", "--evaluation", "nowhere.json"], "nowhere.json"),
        (["slirec/bundle", "--config", "nowhere.yaml"], "nowhere.yaml should be a readable YAML file"),
    ],
)
def test_command_line_refuses_in_one_line(store, bundle, capsys, arguments, message):
    assert register_model.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("register_model: ") and error.count("\n") == 1


def test_a_report_without_the_method_is_refused():
    with pytest.raises(ValueError, match="should have figures of 'SLi-Rec'"):
        register_model.evaluation_metrics({"full_ranking": {"seen_out": {"popularity": {"hr": 1.0}}}})


def test_a_deleted_experiment_is_refused_clearly(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "short-lived")
    mlflow.MlflowClient().delete_experiment(prepare_tracking())
    with pytest.raises(RegistryError, match="experiment 'short-lived' is deleted"):
        prepare_tracking()


# One import of MLflow, then processes that start at the same moment, with nothing said about where to track.
RACE = """
import multiprocessing, pathlib
import mlflow
from serving import registry
registry.REPOSITORY = pathlib.Path.cwd() / "repository"
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(*pool.map(registry.prepare_tracking, ["race"] * 3, chunksize=1))
    registry.prepare_tracking("race")
    print(mlflow.get_experiment_by_name("race").artifact_location)
"""


def test_a_fresh_default_database_survives_being_opened_by_several_processes(tmp_path):
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", RACE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["1 1 1", (tmp_path / "repository" / "mlruns").as_uri()]
    assert (tmp_path / "repository" / "mlflow.db").is_file()
