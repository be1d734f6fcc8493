"""Custom features in the network: what they change, and that Keras and ONNX Runtime agree."""

import numpy as np
import onnxruntime as ort
import pytest
import tensorflow as tf
from feature_data import FEATURES, MORE, TINY, feature_config, feature_interactions, feature_inventory

from training.config import ModelConfig
from training.data.batches import history_window, training_batches
from training.data.sequences import build_dataset
from training.feature_config import FeaturesConfig
from training.models.arrays import named_variables
from training.models.feature_layers import clock_ids
from training.models.onnx_graphs import STATE, export_graphs
from training.models.ranker import SliRecRanker, build_model
from training.models.slirec import HISTORY_INPUTS, STATE_OUTPUTS, SliRec
from training.trainer import Trainer

NONE = {"item": [], "user": [], "event": []}
CASES = {
    "all": (MORE, False),
    "all, recommenders_compatible": (MORE, True),
    "items": (NONE | {"item": MORE["item"]}, False),
    "users": (NONE | {"user": MORE["user"]}, False),
    "events": (NONE | {"event": MORE["event"]}, False),
    "hours": (NONE | {"event": MORE["event"][2:3]}, False),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return build_dataset(
        feature_interactions(), tmp_path_factory.mktemp("features") / "dataset",
        features=FeaturesConfig.model_validate(MORE), products=feature_inventory().products,
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_onnx_scores_as_keras_does(dataset, case):
    features, compatible = CASES[case]
    config = feature_config(features, model={"recommenders_compatible": compatible})
    model = build_model(dataset, config)
    for _, variable in named_variables(model.weights).items():  # moving statistics that are not those of the start
        if "moving" in variable.path:
            variable.assign(np.random.default_rng(1).uniform(0.5, 1.5, variable.shape))
    sessions = {name: ort.InferenceSession(graph.SerializeToString()) for name, graph in export_graphs(model).items()}
    rows = dataset.rows("test")[[3, 7]]
    for row in rows:
        window = history_window(dataset, np.array([row]), 50, 50 if compatible else None)
        inputs = {name: window.as_inputs()[name] for name in model.history_inputs}
        assert [each.name for each in sessions["encode"].get_inputs()] and set(inputs) == {
            each.name for each in sessions["encode"].get_inputs()
        }
        items = np.arange(dataset.num_items, dtype=np.int32)
        expected = np.asarray(model.score(model.encode(inputs), items[None]))[0]
        state = run(sessions["encode"], inputs)
        assert ("shopper_prediction" in state) == bool(features["user"])
        state = {name: value[0] for name, value in state.items()}
        candidates = run(sessions["candidates"], {"items": items})
        scores = run(sessions["score"], state | candidates)
        np.testing.assert_allclose(scores["scores"], expected, atol=1e-5)
        check_approximation(sessions, state, candidates, scores)


def check_approximation(sessions, state, candidates, scores):
    """With the one candidate's own short-term taste as the constant of the linear map, it is exact."""
    wide = run(sessions["features"], candidates)["features"].shape[1]
    for place in (1, 5):
        fit = {
            "slope": np.zeros((wide, 1), np.float32),
            "offset": np.ones(1, np.float32),
            "basis": scores["short_term"][place : place + 1],
        }
        one = {name: table[place : place + 1] for name, table in candidates.items()}
        used = {name: value for name, value in state.items() if name in names(sessions["approximate"])}
        found = run(sessions["approximate"], fit | used | one)
        np.testing.assert_allclose(found["scores"], scores["scores"][place : place + 1], atol=1e-5)
        of_gate, of_score = (
            (np.zeros((1, found[name].shape[1]), np.float32), value.astype(np.float32))
            for name, value in (("gate_readings", found["gate"]), ("score_readings", found["scores"]))
        )
        read_out = {"gate_slope": of_gate[0], "gate_offset": of_gate[1]}
        read_out |= {"score_slope": of_score[0], "score_offset": of_score[1]}
        sketched = run(sessions["sketch"], fit | used | one | read_out)
        np.testing.assert_allclose(sketched["scores"], found["scores"], atol=1e-5)


def names(session):
    return {each.name for each in session.get_inputs()}


def run(session, inputs):
    outputs = [each.name for each in session.get_outputs()]
    return dict(zip(outputs, session.run(outputs, inputs), strict=True))


def test_the_ranker_scores_with_features(dataset):
    config = feature_config()
    model = build_model(dataset, config)
    rows = dataset.rows("test")[:3]
    inputs = history_window(dataset, rows, 50).as_inputs()
    items = np.broadcast_to(np.arange(dataset.num_items, dtype=np.int32), (3, dataset.num_items))
    expected = np.asarray(model.score(model.encode(inputs), items))
    np.testing.assert_allclose(SliRecRanker(model, 50).score(dataset, rows), expected, atol=1e-5)
    changed = model.score(model.encode(inputs | {"event_kind": 0 * inputs["event_kind"]}), items)
    assert np.abs(np.asarray(changed) - expected).max() > 1e-4
    changed = model.score(model.encode(inputs | {"user_segment": (inputs["user_segment"] + 1) % 4}), items)
    assert np.abs(np.asarray(changed) - expected).max() > 1e-4


def test_several_values_are_a_mean(dataset):
    model = build_model(dataset, feature_config())
    tags = next(each for each in dataset.features.all if each.name == "tags")
    table = np.asarray(model.features.tables[1].embeddings)
    item = int(np.argmax(np.diff(tags.offsets)))
    assert tags.offsets[item + 1] - tags.offsets[item] == 3
    of_items = np.asarray(model.features.of_items(np.array([[item, 0]], np.int32))[1])
    mean = table[tags.ids[tags.offsets[item] : tags.offsets[item + 1]]].mean(axis=0)
    np.testing.assert_allclose(of_items[0, 0], mean, rtol=1e-5)
    np.testing.assert_allclose(of_items[0, 1], table[0], rtol=1e-5)  # an unknown item has the unknown value


@pytest.mark.parametrize(
    ("second", "hour", "weekday"),
    [(0, 1, 4), (3_599, 1, 4), (3_600, 2, 4), (86_399, 24, 4), (86_400, 1, 5), (4 * 86_400, 1, 1)],
)
def test_hours_and_weekdays(second, hour, weekday):
    """1 January 1970 was a Thursday; Monday has id 1."""
    times = np.array([[second]], np.int64)
    assert np.asarray(clock_ids("hour", times)).item() == hour
    assert np.asarray(clock_ids("weekday", times)).item() == weekday


def test_plain_slirec_has_nothing_of_it(dataset):
    plain = build_model(dataset, feature_config({}))
    same = SliRec(
        ModelConfig(**TINY), dataset.item_category, dataset.num_categories, init_value=0.3, seed=3
    )  # fmt: skip
    assert plain.history_inputs == HISTORY_INPUTS
    window = history_window(dataset, dataset.rows("test")[:2], 50).as_inputs()
    assert tuple(plain.encode(window)) == STATE_OUTPUTS
    first, second = named_variables(plain.weights), named_variables(same.weights)
    assert list(first) == list(second) and not any("features" in name for name in first)
    for name in first:
        np.testing.assert_array_equal(np.asarray(first[name]), np.asarray(second[name]))
    assert [each.name for each in export_graphs(plain)["encode"].graph.output] == sorted(
        STATE, key=lambda name: [each.name for each in export_graphs(plain)["encode"].graph.output].index(name)
    )


def test_a_step_trains_every_embedding_of_a_feature(dataset, tmp_path):
    trainer = Trainer(dataset, feature_config(MORE), tmp_path / "run", progress=False)
    before = [np.asarray(table.embeddings).copy() for table in trainer.model.features.tables]
    batch = next(training_batches(dataset, trainer.config.train, 50, None, np.random.default_rng(0)))
    trainer.step({name: tf.convert_to_tensor(array) for name, array in batch.items()})
    for feature, start, table in zip(
        trainer.model.features.features, before, trainer.model.features.tables, strict=True
    ):
        assert np.abs(np.asarray(table.embeddings) - start).max() > 1e-6, feature.name


def test_the_penalty_is_on_the_values_that_a_batch_uses(dataset):
    model = build_model(dataset, feature_config(FEATURES))
    batch = next(training_batches(dataset, feature_config().train, 50, None, np.random.default_rng(0)))
    used = {table.name: set(np.asarray(ids).tolist()) for table, ids in model.used_embeddings(batch)}
    items = {*batch["items"].ravel().tolist(), *batch["candidates"].ravel().tolist()}
    assert used["item_embedding"] == items
    vendor, tags = dataset.features.of("item")[:2]
    assert used["item_vendor_embedding"] == {0} | {int(vendor.ids[item]) for item in items}
    assert used["item_tags_embedding"] == {0}.union(
        *(tags.ids[tags.offsets[item] : tags.offsets[item + 1]].tolist() for item in items)
    )
    assert used["event_kind_embedding"] == set(batch["event_kind"].ravel().tolist())
    assert used["user_segment_embedding"] == set(batch["user_segment"].tolist())
