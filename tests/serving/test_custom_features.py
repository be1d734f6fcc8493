"""Four features that a configuration names, and nothing else changed: data, training, bundle, pyfunc and HTTP."""

import json
import sys
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml
from api_doors import open_door
from feature_data import FEATURES, feature_interactions, feature_inventory
from fresh_store import use_fresh_store

from scripts.ml import preprocess, train
from serving.bundle import BundleError, open_bundle
from serving.config import ServeConfig
from serving.recommender import Recommender
from serving.requests import RequestError
from training.config import DEFAULT_CONFIG, load_config
from training.data.inventory import save_inventory
from training.data.sequences import load_dataset
from training.export import export_bundle
from training.models.arrays import load_arrays, named_variables
from training.models.ranker import build_model

NAME = "featured"
T0 = 1_700_000_000
ITEMS, TIMES = ["p1", "p2", "p3"], [T0, T0 + 4_000, T0 + 90_000]
KINDS, SEGMENT = ["view", "cart", "purchase"], "b"
GIVEN = {"kind": KINDS, "segment": SEGMENT}


def made(folder):
    """Runs the commands of the workflow with the provided configuration, in which nothing but features is changed."""
    config = yaml.safe_load(DEFAULT_CONFIG.read_text()) | {"features": FEATURES}
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    pl.from_pandas(feature_interactions()).write_parquet(folder / "interactions.parquet")
    save_inventory(feature_inventory(), folder / "inventory.json")
    named = ["--config", str(folder / "config.yaml"), "--inventory", str(folder / "inventory.json")]
    assert preprocess.main([str(folder / "interactions.parquet"), str(folder / "dataset"), *named]) == 0
    assert train.main([str(folder / "dataset"), *named, "--run", str(folder / "run"), "--epochs", "1"]) == 0
    return folder / "run" / "bundle"


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flow")
    path = list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        use_fresh_store(patch, folder)
        from serving.registry import log_and_register

        bundle = made(folder / "first")
        version = log_and_register(bundle, ServeConfig(), name=NAME)
        pyfunc = mlflow.pyfunc.load_model(version.model_uri)
        with open_door(bundle) as door:
            yield SimpleNamespace(
                folder=folder / "first", path=bundle, pyfunc=pyfunc, door=door,
                recommender=Recommender(open_bundle(bundle)),
            )  # fmt: skip
    sys.path[:] = path  # load_model puts the model's code in front


def over_http(door, kinds=None, segment=None, user=None, items=ITEMS):
    events = {}
    for place, (item, time) in enumerate(zip(items, TIMES, strict=False)):
        events[item] = {"timestamp": time} | ({"features": {"kind": kinds[place]}} if kinds else {})
    body = {"user_id": user, "user_interactions": events, "k": 200}
    response = door.post(body | ({} if segment is None else {"features": {"segment": segment}}))
    assert response.status_code == 200, response.text
    products = response.json()["recommendations"]
    return [product["id"] for product in products], [product["score"] for product in products]


def scores(flow, *, user=None, items=ITEMS, **features):
    answer = flow.recommender.recommend(user, items, TIMES[: len(items)], features=features, k=200)
    return dict(zip(answer.handles, answer.scores, strict=True))


def feature(dataset, name):
    return next(each for each in dataset.features.all if each.name == name)


def differ(first, second):
    return max(abs(first[handle] - second[handle]) for handle in first) > 1e-6


def test_the_bundle_says_what_it_has(flow):
    bundle = open_bundle(flow.path)
    manifest = json.loads((flow.path / "bundle.json").read_text())
    assert manifest["features"] == {
        "item": ["item", "category", "vendor", "tags"], "user": ["segment"], "event": ["timestamp", "kind"],
    }  # fmt: skip
    assert [(each.name, each.of) for each in bundle.manifest.request_features] == [
        ("segment", "user"), ("kind", "event"),
    ]  # fmt: skip
    for name in ("vendor", "tags", "segment", "kind"):
        assert (flow.path / f"vocabulary_{name}.parquet").is_file()
    assert bundle.vocabularies["kind"].index.keys() == {"view", "cart", "purchase"}
    dataset = load_dataset(flow.folder / "dataset")
    kind, segment = feature(dataset, "kind"), feature(dataset, "segment")
    stored = pq.read_table(flow.path / "events.parquet").to_pandas().set_index("user_id")
    for user in ("u003", "u014"):
        number = dataset.vocabularies["user"].index[user]
        np.testing.assert_array_equal(stored.loc[user, "event_kind"], kind.ids[dataset.user == number])
        assert stored.loc[user, "user_segment"] == segment.ids[number]


def test_serving_answers_the_example_as_keras_did(flow):
    example = flow.recommender.bundle.example
    request = example["request"]
    assert {"kind", "segment"} < set(request)
    features = {name: request[name] for name in ("kind", "segment")}
    answer = flow.recommender.recommend(
        request["userId"], request["items"], request["timestamps"], **example["params"], features=features
    )
    assert answer.item_ids == example["itemIds"]
    np.testing.assert_allclose(answer.scores, example["preds"], atol=1e-5, rtol=0)
    assert answer.message is None


def test_four_doors_give_one_answer(flow):
    row = {"userId": "", "items": ITEMS, "timestamps": [str(time) for time in TIMES], **GIVEN}
    expected = flow.recommender.recommend(None, ITEMS, TIMES, features=GIVEN, k=200)
    assert expected.message is None
    (answer,) = flow.pyfunc.predict([row], params={"k": 200})
    assert (answer["itemIds"], answer["preds"]) == (expected.item_ids, expected.scores)
    (answer,) = flow.pyfunc.predict(pd.DataFrame([row]), params={"k": 200})
    assert (answer["itemIds"], answer["preds"]) == (expected.item_ids, expected.scores)
    assert over_http(flow.door, KINDS, SEGMENT) == (expected.item_ids, expected.scores)
    (batch,) = flow.recommender.recommend_batch([(None, ITEMS, TIMES, GIVEN)], k=200)
    assert batch == expected


def test_the_signature_has_the_columns_as_optional_ones(flow):
    inputs = flow.pyfunc.metadata.signature.inputs
    assert inputs.required_input_names() == ["userId", "items", "timestamps"]
    assert inputs.optional_input_names() == ["segment", "kind"]
    without = {"userId": "", "items": ITEMS, "timestamps": [str(time) for time in TIMES]}
    (answer,) = flow.pyfunc.predict([without], params={"k": 200})
    expected = flow.recommender.recommend(None, ITEMS, TIMES, k=200)
    assert (answer["itemIds"], answer["preds"]) == (expected.item_ids, expected.scores)


def test_values_of_events_and_users_change_the_scores(flow):
    base = scores(flow, **GIVEN)
    assert differ(base, scores(flow, kind=["cart", "cart", "purchase"], segment=SEGMENT))
    assert differ(base, scores(flow, kind=KINDS, segment="c"))
    assert differ(base, scores(flow))


@pytest.mark.parametrize("change", ["vendor", "tags"])
def test_values_of_items_change_the_scores(flow, change, tmp_path):
    """The same network with another value of one product scores that product otherwise, and no other."""
    dataset, config = load_dataset(flow.folder / "dataset"), load_config(flow.folder / "config.yaml")
    weights = flow.folder / "run" / "best.safetensors"
    trained = build_model(dataset, config)
    load_arrays(weights, named_variables(trained.variables))
    values = trained.features.item_values[change][0]
    other = build_model(dataset, config)
    load_arrays(weights, named_variables(other.variables))
    place = feature(dataset, change).offsets[5]
    ids = np.asarray(values).copy()
    ids[place] = 1 + ids[place] % (feature(dataset, change).size - 1)
    other.features.item_values[change][0].assign(ids)
    found = []
    for model in (trained, other):
        bundle = export_bundle(model, dataset, feature_inventory(), config, tmp_path / "bundle")
        answer = Recommender(open_bundle(bundle)).recommend("u009", k=200, recommend_seen=True)
        found.append(dict(zip(answer.handles, answer.scores, strict=True)))
    changed = str(dataset.vocabularies["item"].values[5])
    user = dataset.vocabularies["user"].index["u009"]
    assert 5 not in dataset.item[dataset.user == user]  # else it would change the history
    assert {handle for handle in found[0] if abs(found[0][handle] - found[1][handle]) > 1e-7} == {changed}


def test_unknown_values_count_as_missing(flow):
    answers = [
        flow.recommender.recommend(None, ITEMS, TIMES, features=features)
        for features in (
            {"kind": ["view", None, None], "segment": None},
            {"kind": ["view", "gift", ""], "segment": "zebra"},
            {"kind": ["view", "x" * 5000, ["cart"]]},
        )
    ]
    assert answers[0].scores == answers[1].scores == answers[2].scores
    assert answers[0].message is None
    assert answers[1].message == (
        "1 of 3 values of `kind` are not known to the model and count as missing. "
        "1 of 1 values of `segment` are not known to the model and count as missing."
    )
    assert answers[2].message == "2 of 3 values of `kind` are not known to the model and count as missing."
    strange = flow.recommender.recommend(None, ITEMS, TIMES, features={"colour": "red", **GIVEN})
    assert strange.message == "1 features are not of this model and were ignored."
    assert strange.scores == flow.recommender.recommend(None, ITEMS, TIMES, features=GIVEN).scores


def test_features_go_with_their_events(flow):
    """Whatever the order of the events, and where unknown products stand between them."""
    expected = scores(flow, **GIVEN)
    answer = flow.recommender.recommend(
        None, [*ITEMS[::-1], "?"], [*TIMES[::-1], TIMES[1]],
        features={"kind": [*KINDS[::-1], "view"], "segment": SEGMENT}, k=200,
    )  # fmt: skip
    assert dict(zip(answer.handles, answer.scores, strict=True)) == expected


def test_a_known_shopper_has_stored_values(flow):
    dataset = load_dataset(flow.folder / "dataset")
    user = dataset.vocabularies["user"].index["u009"]  # of segment b
    rows = np.flatnonzero(dataset.user == user)
    kind = feature(dataset, "kind")
    values = kind.vocabulary.decode(kind.ids[rows])
    handles = dataset.vocabularies["item"].decode(dataset.item[rows])
    times = dataset.timestamp[rows].tolist()
    stored = flow.recommender.recommend("u009", k=9, recommend_seen=True)
    given = flow.recommender.recommend(
        None, handles, times, k=9, recommend_seen=True, features={"kind": values, "segment": "b"}
    )
    assert stored.item_ids == given.item_ids
    np.testing.assert_allclose(stored.scores, given.scores, atol=1e-7)
    # Events given, no segment: the stored one; a segment given: that.
    assert scores(flow, user="u009", kind=KINDS) == {
        handle: score for handle, score in scores(flow, **GIVEN).items() if handle in scores(flow, user="u009")
    }
    assert differ(scores(flow, user="u009", kind=KINDS), scores(flow, user="u009", kind=KINDS, segment="c"))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            {"kind": ["view"]},
            "`items` and `kind` should have the same length, one value an item. Received: 3 items and 1",
        ),
        ({"kind": "view"}, "`kind` should be a list. Received: str"),
        ({"segment": ["b"]}, "`segment` should be a text, a number or null. Received: list"),
        ([], "`features` should be an object of values by name. Received: list"),
    ],
)
def test_features_that_do_not_fit_are_refused(flow, features, message):
    with pytest.raises(RequestError, match=message):
        flow.recommender.recommend(None, ITEMS, TIMES, features=features)


def test_http_says_what_features_should_be(flow):
    for body, message in (
        ({"features": {"segment": ["b"]}}, "`features` should be an object of at most 100 names"),
        ({"user_interactions": {"p1": {"timestamp": T0, "features": 3}}},
         r"`user_interactions\[0\]\.features` should be an object of at most 100 names"),
    ):  # fmt: skip
        flow.door.refused(flow.door.post(body), 422, message)
    schema = flow.door.client.get("/openapi.json").json()["components"]["schemas"]
    assert "features" in schema["RecommendationRequest"]["properties"]
    assert "features" in schema["Interaction"]["properties"]


def test_a_bundle_without_a_features_file_is_refused(flow, tmp_path):
    import shutil

    shutil.copytree(flow.path, tmp_path / "bundle")
    (tmp_path / "bundle" / "vocabulary_kind.parquet").unlink()
    with pytest.raises(BundleError, match=r"lacks files: vocabulary_kind\.parquet"):
        open_bundle(tmp_path / "bundle")
