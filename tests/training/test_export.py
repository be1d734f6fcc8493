"""The bundle as written by training, read by serving: the one place where the two meet."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_data import small_dataset, small_inventory

from serving.bundle import open_bundle
from serving.recommender import Recommender
from training.config import TrainingConfig
from training.data.batches import history_window
from training.data.inventory import inventory_from_records
from training.export import export_bundle
from training.models.ranker import SliRecRanker, build_model


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "recommenders_compatible"])
def exported(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    dataset = small_dataset(folder / "dataset")
    config = TrainingConfig().replaced(train={"init_value": 0.3}, model={"recommenders_compatible": request.param})
    model = build_model(dataset, config)
    export_bundle(model, dataset, small_inventory(), config, folder / "bundle", {"valid/NDCG@10": 0.5})
    return model, dataset, config, folder / "bundle"


def test_serving_opens_it_and_answers_the_example_as_keras_did(exported):
    bundle = open_bundle(exported[3])
    example = bundle.example
    request = example["request"]
    answer = Recommender(bundle).recommend(*request.values(), **example["params"])
    assert list(answer.item_ids) == example["itemIds"]
    np.testing.assert_allclose(answer.scores, example["preds"], atol=1e-5, rtol=0)
    assert len(answer.item_ids) == 16


def test_serving_scores_every_known_shopper_as_keras_does(exported):
    model, dataset, config, folder = exported
    recommender = Recommender(open_bundle(folder))
    ranker = SliRecRanker(model, config.data.max_seq_length)
    rows = dataset.rows("test")
    keras = ranker.probability(ranker.score(dataset, rows))
    for row, expected in zip(rows.tolist(), keras, strict=True):
        events = np.arange(row - dataset.position[row], row)
        answer = recommender.recommend(
            None,
            dataset.vocabularies["item"].decode(dataset.item[events]),
            [int(time) for time in dataset.timestamp[events]],
            k=1000,
            recommend_seen=True,
            now=int(dataset.timestamp[row]),
        )
        ours = dict(zip(answer.handles, answer.scores, strict=True))
        for item in range(1, dataset.num_items):
            handle = str(dataset.vocabularies["item"].values[item])
            assert ours[handle] == pytest.approx(expected[item], abs=1e-5)
        never_seen = set(small_inventory().handles) - set(dataset.vocabularies["item"].values.tolist())
        assert {ours[handle] for handle in never_seen} == {0.0}
        assert set(answer.handles[-len(never_seen) :]) == never_seen


def test_a_known_shopper_without_events_is_ranked_by_the_stored_ones(exported):
    _, dataset, _, folder = exported
    recommender = Recommender(open_bundle(folder))
    user = "u040"
    events = np.flatnonzero(dataset.user == dataset.vocabularies["user"].index[user])
    known = recommender.recommend(user, [], [], k=5)
    given = recommender.recommend(
        None,
        dataset.vocabularies["item"].decode(dataset.item[events]),
        [int(time) for time in dataset.timestamp[events]],
        k=5,
    )
    assert known.item_ids == given.item_ids
    np.testing.assert_allclose(known.scores, given.scores, atol=1e-7)


def test_tables_hold_the_catalogue_and_the_last_events(exported):
    _, dataset, _, folder = exported
    catalogue = pq.read_table(folder / "catalogue.parquet").to_pandas()
    assert list(catalogue["handle"]) == list(small_inventory().handles)
    known = catalogue[catalogue["item_id"] > 0]
    assert (dataset.vocabularies["item"].values[known["item_id"]] == known["handle"]).all()
    assert (dataset.vocabularies["item"].counts[known["item_id"]] == known["popularity"]).all()
    assert (catalogue[catalogue["item_id"] == 0]["popularity"] == 0).all()

    events = pq.read_table(folder / "events.parquet").to_pandas().set_index("user_id")
    assert len(events) == dataset.num_users - 1
    for user in ("u003", "u059"):
        rows = np.flatnonzero(dataset.user == dataset.vocabularies["user"].index[user])
        np.testing.assert_array_equal(events.loc[user, "items"], dataset.item[rows][-50:])
        np.testing.assert_array_equal(events.loc[user, "timestamps"], dataset.timestamp[rows][-50:])
        assert events.loc[user, "first_timestamp"] == dataset.timestamp[rows][0]
        assert set(events.loc[user, "seen"]) == set(dataset.item[rows]) - {0}


def test_the_manifest_says_what_it_is(exported):
    _, dataset, config, folder = exported
    manifest = json.loads((folder / "bundle.json").read_text())
    assert manifest["model"] == "sli_rec"
    assert manifest["metrics"] == {"valid/NDCG@10": 0.5}
    assert manifest["data_fingerprint"] == dataset.metadata["fingerprint"]
    assert manifest["pad_to_max_seq_length"] == config.model.recommenders_compatible
    assert manifest["config"] == config.model_dump(mode="json")
    assert set(manifest["sha256"]) == {path.name for path in folder.iterdir()} - {"bundle.json"}


def test_a_failed_export_leaves_the_old_bundle_whole(exported):
    model, dataset, config, folder = exported
    stranger = inventory_from_records(
        [{"id": "gid://shopify/Product/1", "handle": "other", "title": "Other", "category": "c"}]
    )
    with pytest.raises(ValueError, match="none in common"):
        export_bundle(model, dataset, stranger, config, folder)
    open_bundle(folder)
    assert [path.name for path in Path(folder).parent.iterdir() if path.name.startswith(".")] == []


def test_a_window_of_the_example_is_what_serving_encodes(exported):
    _, dataset, config, _ = exported
    window = history_window(dataset, dataset.rows("test")[:1], config.data.max_seq_length)
    assert window.items.dtype == np.int32
    assert window.timestamps.dtype == window.first_timestamp.dtype == window.now.dtype == np.int64
