import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from small_data import small_dataset

from training.config import TrainingConfig
from training.models.arrays import ArraysError, load_arrays, named_variables, read_metadata
from training.models.ranker import BEST, INITIAL, LAST, SliRecRanker, load_model, load_rankers
from training.trainer import Trainer, train

TRAIN = {"epochs": 3, "batch_size": 300, "init_value": 0.1, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small_dataset(tmp_path_factory.mktemp("trainer") / "dataset")


@pytest.fixture(scope="module")
def config():
    return TrainingConfig().replaced(train=TRAIN)


@pytest.fixture(scope="module")
def finished(dataset, config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return train(dataset, config, folder, progress=False)


def weights_of(model):
    return {name: np.asarray(variable) for name, variable in named_variables(model.weights).items()}


def test_training_lowers_the_loss_and_reports_every_epoch(finished):
    losses = [report["loss"] for report in finished.history]
    assert [report["epoch"] for report in finished.history] == [1, 2, 3]
    assert losses[-1] < losses[0] < np.log(5) + 0.1
    for report in finished.history:
        assert report["examples_per_second"] > 0
        assert 0 <= report["waiting"] < 1
        assert {"valid/seen_out/NDCG@10", "valid/seen_in/NDCG@10", "valid/sampled/group_auc"} <= set(report)
    assert json.loads((finished.run_folder / "history.json").read_text()) == finished.history
    assert list((finished.run_folder / "tensorboard").glob("events*"))


def test_training_by_default_settings_is_what_it_has_always_been(finished):
    """The figures of the first version; rounding, which differs between processes, grows over the steps."""
    losses = [report["loss"] for report in finished.history[:2]]
    assert losses == pytest.approx([1.67548822, 1.63585200], rel=5e-4)


def test_the_result_is_the_epoch_that_validation_prefers(finished, dataset):
    metrics = [report["valid/seen_in/NDCG@10"] for report in finished.history]
    assert finished.best_epoch == 1 + int(np.argmax(metrics))
    assert read_metadata(finished.run_folder / BEST)["epoch"] == finished.best_epoch
    loaded = load_model(finished.run_folder, dataset)
    for name, value in weights_of(finished.model).items():
        np.testing.assert_array_equal(value, weights_of(loaded)[name])


def test_rankers_of_a_run_are_the_start_and_the_best(finished, dataset, config):
    before, after = load_rankers(finished.run_folder, dataset)
    rows = dataset.rows("test")[:7]
    assert before is not None
    assert before.score(dataset, rows).shape == (7, dataset.num_items)
    assert not np.allclose(before.score(dataset, rows), after.score(dataset, rows))
    # In any company and order, a row has the same scores.
    shuffled = after.score(dataset, rows[::-1])[::-1]
    np.testing.assert_allclose(after.score(dataset, rows), shuffled, atol=1e-5)
    assert (after.probability(np.array([0.0])) == 0.5).all()


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_exactly_where_it_was(finished, dataset, config, tmp_path):
    def kill(report):
        if report["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        train(dataset, config, tmp_path, on_epoch=kill, progress=False)
    resumed = train(dataset, config, tmp_path, progress=False)
    for ours, theirs in zip(resumed.history, finished.history, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-6)
    # A bias before batch normalisation has no gradient but rounding errors; the moving mean takes them up again.
    one, two = weights_of(resumed.model), weights_of(finished.model)
    for name in (name for name in one if not name.endswith(("/bias", "/moving_mean"))):
        np.testing.assert_allclose(one[name], two[name], atol=1e-5, err_msg=name)
    rows = dataset.rows("test")
    scores = (SliRecRanker(r.model, config.data.max_seq_length).score(dataset, rows) for r in (resumed, finished))
    np.testing.assert_allclose(*scores, atol=1e-4)


def test_more_epochs_may_be_asked_for_later_but_another_configuration_is_refused(finished, dataset, config, tmp_path):
    short = config.replaced(train={"epochs": 1})
    train(dataset, short, tmp_path, progress=False)
    assert len(train(dataset, config.replaced(train={"epochs": 2}), tmp_path, progress=False).history) == 2
    kept = (tmp_path / "config.yaml").read_text()
    with pytest.raises(ValueError, match="another configuration or dataset"):
        train(dataset, config.replaced(train={"learning_rate": 0.5}), tmp_path, progress=False)
    assert (tmp_path / "config.yaml").read_text() == kept


def test_a_network_of_other_data_is_refused_even_where_its_shapes_fit(finished, dataset):
    other = replace(dataset, metadata={**dataset.metadata, "fingerprint": "0" * 64})
    with pytest.raises(ArraysError, match="should be of the data set with fingerprint 000"):
        load_model(finished.run_folder, other)


def test_training_stops_early_when_nothing_improves(dataset, config, tmp_path):
    settings = {"learning_rate": 1e-9, "EARLY_STOP": 1, "epochs": 6}
    result = train(dataset, config.replaced(train=settings), tmp_path, progress=False)
    assert len(result.history) < 6
    assert len(result.history) == result.best_epoch + 1


def test_a_checkpoint_of_other_shapes_is_refused_whole(finished, dataset, config):
    other = Trainer(dataset, config.replaced(model={"layer_sizes": (20, 10)}), finished.run_folder, progress=False)
    before = weights_of(other.model)
    with pytest.raises(ArraysError, match="prediction/dense_0/kernel should have shape"):
        load_arrays(finished.run_folder / BEST, named_variables(other.model.variables))
    for name, value in weights_of(other.model).items():
        np.testing.assert_array_equal(value, before[name])


def test_every_file_of_a_run_is_free_of_pickle(finished):
    names = {path.name for path in finished.run_folder.iterdir()}
    assert {INITIAL, BEST, LAST, "config.yaml", "history.json"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".npy", ".npz", ".h5", ".keras"))]


DEVICES = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from training.config import TrainingConfig
from training.data.sequences import load_dataset
from training.devices import describe_devices
from training.trainer import Trainer
folder, train, model, cases = sys.argv[1], *(json.loads(text) for text in sys.argv[2:])
dataset = load_dataset(folder + "/dataset")
answer = {}
for strategy, precision in cases:
    config = TrainingConfig().replaced(
        train=train, model=model, device={"strategy": strategy, "precision": precision}
    )
    trainer = Trainer(dataset, config, f"{folder}/{strategy}-{precision}", progress=False)
    losses = [report["loss"] for report in trainer.fit().history]
    answer[f"{strategy}-{precision}"] = [describe_devices(trainer.strategy, config), losses]
print(json.dumps(answer))
"""


def on_two_devices(folder, train, model, cases):
    """Trains each case in one new process with two devices; returns what each is trained on and its losses."""
    small_dataset(folder / "dataset")
    done = subprocess.run(
        [sys.executable, "-c", DEVICES, str(folder), *(json.dumps(part) for part in (train, model, cases))],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def load_arrays_of(path):
    with safe_open(path, framework="np") as stream:
        return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a mapping)


@pytest.mark.slow
def test_two_devices_take_the_steps_of_one(tmp_path):
    """Without batch statistics and dropout, which each device has of its own, nothing may differ but rounding."""
    plain = {"enable_BN": False, "dropout": (0, 0)}
    cases = [("default", "float32"), ("mirrored", "float32")]
    answer = on_two_devices(tmp_path, TRAIN | {"epochs": 1}, plain, cases)
    (one, of_one), (two, of_two) = answer["default-float32"], answer["mirrored-float32"]
    assert one.startswith("Training on 1 x CPU")
    assert two.startswith("Training on 2 x CPU")
    np.testing.assert_allclose(of_one, of_two, rtol=1e-6)
    weights, others = (load_arrays_of(tmp_path / name / BEST) for name in answer)
    for name, value in weights.items():
        np.testing.assert_allclose(value, others[name], atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_two_devices_and_mixed_precision_reach_the_loss_of_one_device(tmp_path):
    cases = [
        ("default", "float32"),
        ("mirrored", "float32"),
        ("default", "mixed_bfloat16"),
        ("default", "mixed_float16"),
    ]
    answer = on_two_devices(tmp_path, TRAIN, {}, cases)
    one = answer["default-float32"][1]
    for name, (_, losses) in answer.items():
        # Dropout masks differ between devices, so the losses are close, not equal.
        np.testing.assert_allclose(losses, one, rtol=0.05, err_msg=name)
        assert losses[-1] < losses[0]
