import json

import mlflow
import optuna
import pytest
import yaml
from small_data import small_dataset

from scripts.ml.tune import main
from training.config import ConfigError, TrainingConfig, load_config
from training.data.sequences import load_dataset
from training.search import Search, StudyError, best_config, done_trials, study_figure
from training.search_space import SearchSpace, configured, load_space, suggest

SPACE = """
pruner: {kind: median, startup_trials: 1, warmup_epochs: 0}
space:
  train.learning_rate: {kind: float, low: 0.001, high: 0.1, log: true}
  model.item_embedding_dim: {kind: choice, choices: [8, 16]}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    small_dataset(folder / "dataset", num_users=12)
    (folder / "space.yaml").write_text(SPACE)
    (folder / "config.yaml").write_text("train: {epochs: 2, init_value: 0.1, batch_size: 100, EARLY_STOP: 0}\n")
    return folder


@pytest.fixture
def store(place, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'mlflow.db'}")
    mlflow.set_tracking_uri(None)
    yield mlflow.MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    mlflow.set_tracking_uri(None)


@pytest.fixture
def quick(monkeypatch):
    """Replaces the training by a curve that the learning rate decides; the runs' folders stay empty."""

    def train(dataset, config, run_folder, on_epoch, progress):
        for epoch in range(1, config.train.epochs + 1):
            value = epoch * config.train.learning_rate
            on_epoch({"epoch": epoch, "loss": 1.0, "valid/seen_in/NDCG@10": value})

    monkeypatch.setattr("training.search.train", train)


def command(place, *more):
    names = {"--space": "space.yaml", "--config": "config.yaml", "--folder": "tune"}
    return [str(place / "dataset"), *(str(x) for name, file in names.items() for x in (name, place / file)), *more]


def test_the_space_that_comes_along_fits_the_configuration():
    space = load_space()
    trial = optuna.trial.FixedTrial(
        {
            "train.learning_rate": 0.01,
            "train.learning_rate_decay": 0.7,
            "train.catalogue_num_ngs": 3,
            "train.history_num_ngs": 2,
            "train.catalogue_power": "0.5",
            "train.embed_l2": 1e-5,
            "model.dropout": "[0.2, 0.2]",
            "data.max_seq_length": "15",
        }
    )
    config = configured(load_config(), suggest(space, trial))
    assert config.model.dropout == (0.2, 0.2)
    assert (config.data.max_seq_length, config.train.catalogue_power, config.train.epochs) == (15, 0.5, 6)


def test_widths_follow_the_embeddings():
    model = configured(TrainingConfig(), {"model.item_embedding_dim": 8, "model.cate_embedding_dim": 4}).model
    assert model.hidden_size == model.attention_size == 12
    with_feature = TrainingConfig().replaced(features={"item": [{"name": "vendor", "dim": 5}]})
    model = configured(with_feature, {"model.item_embedding_dim": 8, "train.learning_rate": 0.01}).model
    assert model.hidden_size == model.attention_size == 8 + 8 + 5


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("space: {train.luck: {kind: float, low: 0, high: 1}}", r"Received: train\.luck"),
        ("space: {train.epochs: {kind: int, low: 1, high: 3}}", r"Received: train\.epochs"),
        ("space: {train.embed_l2: {kind: float, low: 1, high: 0}}", "`low` should be below `high`"),
        ("space: {train.embed_l2: {kind: float, low: 0, high: 1, log: true}}", "above 0 with log"),
        ("space: {train.hard_pool: {kind: int, low: 1.5, high: 3}}", "whole numbers"),
        ("space: {train.loss: {kind: choice, choices: [bce]}}", "at least 2 items"),
        ("space: {}", "at least 1 item"),
        ("[", "Cannot read the search space"),
    ],
)
def test_a_bad_space_is_refused_by_name(tmp_path, space, message):
    path = tmp_path / "space.yaml"
    path.write_text(space)
    with pytest.raises(ConfigError, match=message):
        load_space(path)


def test_the_command_tunes_tracks_and_writes_what_train_reads_and_a_second_call_continues(place, store, quick, capsys):
    assert main(command(place, "--trials", "3")) == 0
    assert "3 trials, best" in capsys.readouterr().out
    assert main(command(place, "--trials", "5", "--seed", "1")) == 0
    assert "5 trials, best" in capsys.readouterr().out
    search = Search(
        load_dataset(place / "dataset"),
        load_config(place / "config.yaml"),
        load_space(place / "space.yaml"),
        place / "tune",
    )
    (path,) = (place / "tune").glob("best-*.yaml")
    config = load_config(path)
    study = search.open(0)
    rates = [trial.params["train.learning_rate"] for trial in study.trials]
    assert len(set(rates)) == len(rates) == 5
    # The curves never cross, so the best trial has the highest rate, and those behind it were stopped at epoch 1.
    assert config.train.learning_rate == max(rates) == best_config(study).train.learning_rate
    assert config.train.epochs == 2
    states = [trial.state.name for trial in study.trials]
    assert states[0] == "COMPLETE"
    assert [state for state, rate in zip(states[1:], rates[1:], strict=True) if rate < rates[0]].count("COMPLETE") == 0
    assert (place / "tune" / path.name.replace("best", "study").replace("yaml", "png")).stat().st_size > 10_000

    experiment = store.get_experiment_by_name("slirec_shopify").experiment_id
    runs = store.search_runs([experiment])
    parent = [run for run in runs if run.info.run_name == "tuning"]
    children = [run for run in runs if run.info.run_name.startswith("trial")]
    assert len(parent) == 1
    assert len(children) == 5
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent[0].info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.metrics["pruned"] for run in children} <= {0.0, 1.0}


def search_in(place, folder, space=None, **train):
    base = load_config(place / "config.yaml").replaced(train=train)
    chosen = SearchSpace.model_validate(yaml.safe_load(SPACE) if space is None else space)
    return Search(load_dataset(place / "dataset"), base, chosen, folder)


def test_a_killed_trial_comes_back_with_its_settings_and_its_epochs(place, store, tmp_path):
    search, lines = search_in(place, tmp_path), []
    killed = search.open(0)
    trial = killed.ask()
    config = configured(search.base, suggest(search.space, trial))
    study = search.run(1, None, 0, lines.append)
    assert [each.state.name for each in study.trials] == ["FAIL", "COMPLETE"]
    assert study.trials[1].params == trial.params
    assert best_config(study) == config
    assert len(lines) == 1
    (run,) = (tmp_path / search.name).glob("trial-*")
    history = json.loads((run / "history.json").read_text())
    assert study.trials[1].intermediate_values == {each["epoch"]: each[search.metric] for each in history}


def test_settings_that_contradict_each_other_cost_nothing(place, store, quick, tmp_path):
    space = {"space": {"train.optimizer": {"kind": "choice", "choices": ["adam", "adamw"]}}}
    search = search_in(place, tmp_path, space, epochs=1)
    study = search.run(2, None, 0, lambda line: None)
    refused = [trial for trial in study.trials if "refused" in trial.user_attrs]
    assert len(done_trials(study)) == 2
    assert all("belongs to optimizer adamw" in trial.user_attrs["refused"] for trial in refused)
    assert study_figure(study, "NDCG@10").axes


def test_no_trial_starts_after_the_time_and_then_there_is_no_result(place, store, quick, tmp_path):
    study = search_in(place, tmp_path).run(3, 0.0, 0, print)
    assert not study.trials
    with pytest.raises(StudyError, match="more trials or minutes"):
        best_config(study)


def test_mistakes_are_one_line_and_an_exit_status(place, store, capsys):
    assert main(command(place, "--trials", "0")) == 1
    assert "`--trials` and `--minutes` should be positive" in capsys.readouterr().err


def test_a_space_without_any_allowed_setting_is_refused(place, store, quick, tmp_path):
    search = search_in(place, tmp_path, {"space": {"train.weight_decay": {"kind": "float", "low": 0.1, "high": 1}}})
    with pytest.raises(StudyError, match=r"50 times .*belongs to optimizer adamw"):
        search.run(1, None, 0, print)
