"""The bundle as written by training, read by serving: the one place where the two meet."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_data import small_dataset, small_inventory

from serving.bundle import open_bundle
from serving.config import ServeConfig
from serving.recommender import Recommender
from training.config import TrainingConfig
from training.data.batches import history_window
from training.data.inventory import inventory_from_records
from training.export import catalogue_table, export_bundle
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


@pytest.mark.parametrize("stages", [{}, {"two_stage_from": 1, "shortlist_size": 20, "shortlist_sample": 40}])
def test_an_answer_is_the_same_to_the_bit_in_whatever_company(exported, stages):
    _, dataset, _, folder = exported
    bundle = open_bundle(folder)
    one, three = (Recommender(bundle, ServeConfig(k=8, num_threads=count, **stages)) for count in (1, 3))
    shoppers = [(str(user), [], []) for user in dataset.vocabularies["user"].values[1:]]
    # Many with as many events: encoded together, one in twenty would differ in its last bits.
    rng = np.random.default_rng(0)
    for n in range(256):
        length = (3, 7, 10, 15)[n % 4]
        handles = [f"p{item}" for item in rng.integers(0, 80, length)]
        shoppers.append((None, handles, rng.integers(1_600_000_000, 1_700_000_000, length).tolist()))
    shoppers += [(None, "refused", [])]
    alone = [one.recommend_batch([shopper])[0] for shopper in shoppers]
    assert [three.recommend(*shopper) for shopper in shoppers[:-1]] == alone[:-1]
    for recommender in (one, three):
        for size in (2, 16, 17, len(shoppers)):
            rows = rng.permutation(len(shoppers))[:size]
            answers = recommender.recommend_batch([shoppers[row] for row in rows])
            # `==` of scores, not `approx`; a refusal is an object of its own.
            assert [str(answer) for answer in answers] == [str(alone[row]) for row in rows]


def test_the_catalogue_says_what_rules_need(exported):
    records = [
        ({"tags": ["Sale", " new ", "Sale", ""], "available": True}, ["Sale", "new"], True),
        ({"tags": "red, blue,", "available": False, "status": "ACTIVE"}, ["red", "blue"], False),
        ({"status": "DRAFT", "tags": None}, [], False),
        ({"status": "UNLISTED", "available": True}, [], False),
        ({"status": "active", "available": True}, [], True),
        ({"status": None}, [], None),
        ({"status": "ACTIVE", "available": "yes"}, [], None),
        ({}, [], None),
    ]
    inventory = inventory_from_records(
        [
            {"id": f"gid://shopify/Product/{1 + n}", "handle": f"p{n}", "title": f"P {n}", "category": "c", **record}
            for n, (record, _, _) in enumerate(records)
        ]
    )
    table = catalogue_table(exported[1], inventory)
    assert table["tags"].to_pylist() == [tags for _, tags, _ in records]
    assert table["available"].to_pylist() == [available for _, _, available in records]


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
