"""Own frequency, and a blend of SLi-Rec with it, through every door: registry, gate, pyfunc, HTTP, batch, Spark."""

import importlib.util
import json
import shutil
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from api_doors import open_door
from conftest import require
from fake_bundle import DAY, GRAPHS, T0, build_large_bundle, seal
from fresh_store import use_fresh_store

from scripts.ml import promote, register_model
from serving.batch import SHOPPERS, Options, fetch_registered, score_locally, score_on_spark
from serving.batch import spark as spark_session
from serving.bundle import BundleError, open_bundle
from serving.config import ServeConfig
from serving.gate import GateConfig
from serving.recommender import Recommender
from training.data.columns import INTERACTION_COLUMNS
from training.data.sequences import build_dataset
from training.models.rank_graphs import rank_graph, ranker_document
from training.models.rank_parts import OwnFrequencyPart

PRODUCTS = 60
SHOPPER = ("ann", [f"product-{n}" for n in (3, 7, 3, 9)], [str(T0 + DAY * n) for n in (0, 0, 1, 2)])
ASKED = [SHOPPER, ("bob", ["product-5", "gone"], [str(T0), str(T0 + DAY)]), ("cid", [], []), ("nobody", [], [])]
OWN_WEIGHT = {"kind": "own_frequency", "weight": 0.7, "mean": -8.0, "scale": 2.5, "settings": {}}
NETWORK_WEIGHT = {"kind": "sli_rec", "weight": 0.3, "mean": 0.1, "scale": 0.5, "settings": {}}


def ranker_bundle(folder, kind, **changes):
    """A bundle of 60 products with a rank graph of own frequency; without it, the large bundle's network."""
    build_large_bundle(folder, products=PRODUCTS)
    part = OwnFrequencyPart(np.concatenate([[0], np.linspace(1, 0.1, PRODUCTS)]), half_life=2.0)
    (folder / "rank.onnx").write_bytes(rank_graph([part]).SerializeToString())
    graphs = {"rank": {"file": "rank.onnx", "inputs": ["items", "timestamps", "now"], "outputs": ["scores"]}}
    ranker = ranker_document([part])
    if kind == "blend":
        graphs |= {n: {"file": f"{n}.onnx", "inputs": i, "outputs": o} for n, (i, o) in GRAPHS.items()}
        ranker = {"kind": "blend", "settings": {}, "parts": [OWN_WEIGHT, NETWORK_WEIGHT]}
    else:
        for name in (*(f"{name}.onnx" for name in GRAPHS), "arrays.safetensors"):
            (folder / name).unlink()
    sizes = {"num_items": PRODUCTS + 1, "num_categories": 3, "num_users": 4, "num_products": PRODUCTS}
    sizes |= {"max_seq_length": 50, "history_length": 5000}
    said = {"model": kind, "ranker": ranker, "graphs": graphs, "sizes": sizes} | changes
    seal(folder, **said)
    answer = Recommender(open_bundle(folder)).recommend(*SHOPPER, recommend_seen=True)
    request = dict(zip(("userId", "items", "timestamps"), SHOPPER, strict=True))
    params = {"k": 16, "recommend_seen": True}
    example = {"request": request, "params": params, "itemIds": answer.item_ids, "preds": answer.scores}
    (folder / "example.json").write_text(json.dumps(example))
    seal(folder, **said)
    return folder


@pytest.fixture(scope="module", params=["own_frequency", "blend"])
def folder(request, tmp_path_factory):
    return ranker_bundle(tmp_path_factory.mktemp(request.param) / "bundle", request.param)


def test_own_baskets_and_the_network_as_the_document_says(folder):
    bundle = open_bundle(folder)
    recommender = Recommender(bundle, ServeConfig(k=PRODUCTS, recommend_seen=True))
    answer = recommender.recommend(*SHOPPER)
    half = 0.5**0.5  # what a basket counts that is one basket back
    total = 1 + half + 0.5 + 1  # three baskets, and one more
    shares = {"product-3": (half + 0.5) / total, "product-9": 1 / total, "product-7": 0.5 / total}
    if bundle.manifest.ranker.kind == "own_frequency":
        assert answer.handles[:3] == list(shares)
        np.testing.assert_allclose(answer.scores[:3], list(shares.values()), rtol=1e-4)
        assert answer.handles[3:] == [f"product-{n}" for n in range(PRODUCTS) if n not in (3, 7, 9)]
    else:
        network = build_large_bundle(folder.parent / "network", products=PRODUCTS)
        plain = Recommender(open_bundle(network), recommender.config).recommend(*SHOPPER)
        logit = dict(zip(plain.handles, np.log(plain.scores) - np.log1p(-np.array(plain.scores)), strict=True))
        ours = dict(zip(answer.handles, np.log(answer.scores) - np.log1p(-np.array(answer.scores)), strict=True))
        for handle, share in shares.items():
            own = np.log(share / (1 - share))
            expected = 0.7 * (own + 8) / 2.5 + 0.3 * (logit[handle] - 0.1) / 0.5
            assert ours[handle] == pytest.approx(expected, abs=1e-4)
    config = ServeConfig(k=5, two_stage_from=1, shortlist_size=20, shortlist_sample=40, recommend_seen=True)
    assert Recommender(bundle, config).recommend(*SHOPPER).handles == answer.handles[:5]
    assert Recommender(bundle).recommend("nobody").message.endswith("products are ranked by popularity.")


def test_answers_over_http_and_of_a_batch_are_the_recommenders(folder, tmp_path):
    recommender = Recommender(open_bundle(folder))
    expected = [recommender.recommend(*shopper, k=4) for shopper in ASKED]
    assert recommender.recommend_batch(ASKED, k=4) == expected
    table = [dict(zip(SHOPPERS.names, (n, *shopper), strict=True)) for n, shopper in enumerate(ASKED)]
    pq.write_table(pa.Table.from_pylist(table, SHOPPERS), tmp_path / "shoppers.parquet")
    rows = [r for b in score_locally(recommender, tmp_path / "shoppers.parquet", Options(k=4)) for r in b.to_pylist()]
    assert [(row["itemIds"], row["preds"], row["message"]) for row in rows] == [
        (answer.item_ids, answer.scores, answer.message) for answer in expected
    ]
    with open_door(folder) as door:
        model = door.client.get("/model").json()
        assert model["format_version"] == 4
        for (user, items, times), answer in zip(ASKED[1:], expected[1:], strict=True):
            events = {item: {"timestamp": time, "rating": 5} for item, time in zip(items, times, strict=True)}
            found = door.post({"user_id": user, "user_interactions": events, "k": 4}).json()
            products = [(product["id"], product["score"]) for product in found["recommendations"]]
            assert products == list(zip(answer.item_ids, answer.scores, strict=True))
            assert found["message"] == answer.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ranker": {"kind": "magic"}}, "`ranker.kind`"),
        ({"ranker": {"kind": "blend"}}, "`ranker.parts` should be those of a blend"),
        ({"ranker": {"kind": "ease", "parts": [OWN_WEIGHT]}}, "`ranker.parts` should be those of a blend"),
        ({"ranker": {"kind": "blend", "parts": [NETWORK_WEIGHT, NETWORK_WEIGHT]}}, "two, of which one is it"),
        ({"ranker": {"kind": "blend", "parts": [OWN_WEIGHT, NETWORK_WEIGHT]}}, "lacks files: arrays.safetensors"),
        ({"ranker": {"kind": "sli_rec"}}, "lacks files: arrays.safetensors"),
        ({"graphs": {}}, "should have 'rank'"),
        ({"graphs": {"rank": {"file": "rank.onnx", "inputs": ["ids"], "outputs": ["scores"]}}}, "rank inputs should"),
    ],
)
def test_a_ranker_that_contradicts_its_files_is_refused(tmp_path, changes, message):
    folder = ranker_bundle(tmp_path / "bundle", "own_frequency")
    seal(folder, **{**json.loads((folder / "bundle.json").read_text()), "sha256": {}})
    document = json.loads((folder / "bundle.json").read_text())
    kept = {key: document[key] for key in ("model", "ranker", "graphs", "sizes")}
    seal(folder, **{**kept, **changes})
    with pytest.raises(BundleError, match=message):
        open_bundle(folder)


def interactions(shoppers=80):
    """Five purchases each, mostly of two favourites: what a shopper had, they buy again."""
    rng = np.random.default_rng(5)
    rows = []
    for number in range(shoppers):
        favourites = rng.choice(PRODUCTS, 2, replace=False)
        for step in range(6):
            item = int(rng.choice(favourites) if rng.random() < 0.9 else rng.integers(PRODUCTS))
            rows.append((1, f"s{number}", f"product-{item}", T0 + DAY * step + number, "Books"))
    return pd.DataFrame(rows, columns=list(INTERACTION_COLUMNS))


@pytest.mark.slow  # a clean process for each reload, and Spark
def test_registered_promoted_and_scored_on_spark(tmp_path, monkeypatch):
    path = list(sys.path)
    use_fresh_store(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    import mlflow

    dataset = build_dataset(interactions(), tmp_path / "dataset", valid_num_ngs=1, test_num_ngs=1)
    fingerprint = dataset.metadata["fingerprint"]
    config = ServeConfig(recommend_seen=True, gate=GateConfig(latency_p95_ms=60_000.0, champion_margin=-10.0))
    try:
        from serving.registry import find_version, load_champion, log_and_register
        from serving.registry import promote as make_champion

        for number, kind in enumerate(("own_frequency", "blend"), 1):
            folder = ranker_bundle(tmp_path / kind / "bundle", kind, data_fingerprint=fingerprint)
            if kind == "blend":
                summary = register_model.register(open_bundle(folder), config, tmp_path / "registered.json")
                assert summary["version"] == str(number) and len(summary["sample"]) == 16
            else:
                log_and_register(folder, config)
            champion = find_version(config, alias="champion")
            report = promote.judge(find_version(config), champion, dataset, config, np.random.default_rng(0))
            gates = {gate.name: gate for gate in report.gates}
            verdicts = {name: gates[name].verdict for name in ("bundle", "reload", "example", "data", "champion")}
            assert set(verdicts.values()) == {"passed"}, verdicts
            assert gates["baseline popularity"].verdict == "passed" and gates["latency"].verdict == "passed"
            make_champion(type(report)(report.name, report.version, report.champion, tuple(gates.values())[:5]), config)
        loaded, recommender = load_champion(config), Recommender(open_bundle(folder), config)
        frame = pd.DataFrame(ASKED, columns=["userId", "items", "timestamps"])
        answers = loaded.predict(frame, params={"k": 4, "with_message": True})
        expected = [recommender.recommend(*shopper, k=4) for shopper in ASKED]
        assert answers == [{"itemIds": e.item_ids, "preds": e.scores, "message": e.message} for e in expected]
        assert mlflow.models.get_model_info("models:/slirec_shopify_model@champion").metadata["ranker"] == "blend"

        require(shutil.which("java"), "java")
        require(importlib.util.find_spec("pyspark"), "pyspark")
        table = [dict(zip(SHOPPERS.names, (n, *shopper), strict=True)) for n, shopper in enumerate(ASKED)]
        table.sort(key=lambda row: row["userId"])
        pq.write_table(pa.Table.from_pylist(table, SHOPPERS), tmp_path / "shoppers.parquet")
        model = fetch_registered(config, tmp_path / "fetched")
        (tmp_path / "work").mkdir()
        with spark_session("local[1]") as session:
            batches = score_on_spark(session, model, tmp_path / "shoppers.parquet", Options(k=4), tmp_path / "work")
            rows = sorted((row for batch in batches for row in batch.to_pylist()), key=lambda row: row["row"])
        assert [(row["itemIds"], row["preds"], row["message"]) for row in rows] == [
            (e.item_ids, e.scores, e.message) for e in expected
        ]
    finally:
        sys.path[:] = path  # load_model puts the model's code in front
