"""Rankers other than SLi-Rec as written by training and read by serving: the same answers through both."""

import json

import numpy as np
import onnx
import pytest
from small_data import DAY, small_dataset, small_interactions, small_inventory

from scripts.ml import fit_ranker
from serving.bundle import open_bundle
from serving.config import ServeConfig
from serving.recommender import Recommender
from training.config import TrainingConfig
from training.data.interactions import write_interactions
from training.data.inventory import save_inventory
from training.evaluation.purchases import Purchases
from training.export import export_bundle
from training.export_ranker import export_ranker_bundle
from training.fit_rankers import document_of, document_of_report, tuned_document
from training.fit_rankers import fit_ranker as fit
from training.models.network_session import NetworkSession, part_of_blend
from training.models.rank_session import RankSession
from training.models.ranker import build_model
from training.ranker_data import history_of, ranker_data

OWN = {"kind": "own_frequency", "settings": {"half_life": 3.0}}
EASE = {"kind": "ease", "settings": {"regularization": 10.0, "neighbours": 30}}
DOCUMENTS = {
    "popularity": {"kind": "popularity"},
    "own_frequency": OWN,
    "ease": EASE,
    "blend": {"kind": "blend", "parts": [{**OWN, "weight": 1.0}, {**EASE, "weight": 0.2}]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set, the same interactions as a file, the inventory, and a bundle of SLi-Rec."""
    folder = tmp_path_factory.mktemp("rankers")
    dataset = small_dataset(folder / "dataset")
    write_interactions(small_interactions(), folder / "interactions.parquet")
    save_inventory(small_inventory(), folder / "inventory.json")
    config = TrainingConfig().replaced(train={"init_value": 0.3})
    export_bundle(build_model(dataset, config), dataset, small_inventory(), config, folder / "network")
    return folder


def command(folder, *arguments, data="dataset", output="bundle"):
    paths = {"--inventory": "inventory.json", "--output": output}
    flags = [text for flag, name in paths.items() for text in (flag, str(folder / name))]
    return fit_ranker.main([str(folder / data), *flags, "--quiet", *arguments])


def answers_its_example(bundle):
    example = bundle.example
    answer = Recommender(bundle).recommend(*example["request"].values(), **example["params"])
    assert answer.item_ids == example["itemIds"] and len(answer.item_ids) == 16
    np.testing.assert_allclose(answer.scores, example["preds"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_serving_answers_as_the_graph_scores(folder, kind):
    dataset, inventory = ranker_data(folder / "interactions.parquet"), small_inventory()
    graph, ranker = fit(DOCUMENTS[kind], history_of(dataset), {})
    export_ranker_bundle(graph, ranker, dataset, inventory, folder / kind, {"NDCG@10": 0.5}, history_length=20)
    bundle = open_bundle(folder / kind)
    assert bundle.manifest.ranker.kind == kind and not bundle.manifest.ranker.has_network
    assert {path.name for path in (folder / kind).iterdir() if "vocabulary" not in path.name} == {
        "bundle.json", "catalogue.parquet", "events.parquet", "example.json", "rank.onnx"
    }  # fmt: skip
    answers_its_example(bundle)
    one, three = (Recommender(bundle, ServeConfig(k=100, recommend_seen=True, num_threads=n)) for n in (1, 3))
    session, vocabulary = RankSession(graph), dataset.vocabularies["item"]
    users = dataset.vocabularies["user"].values[1:].tolist()
    alone = [one.recommend(user) for user in users]
    for user, answer in zip(users[:10], alone, strict=False):
        rows = np.flatnonzero(dataset.user == dataset.vocabularies["user"].index[user])[-20:]
        logits = session.score(dataset.item[rows], dataset.timestamp[rows], int(dataset.timestamp[rows[-1]]))
        shown = 1 / (1 + np.exp(np.minimum(-logits.astype(np.float64), 700)))
        ids = [vocabulary.index.get(handle, 0) for handle in answer.handles]
        assert answer.message is None and ids[: len(vocabulary.values) - 1].count(0) == 0
        np.testing.assert_allclose(answer.scores, [shown[id_] if id_ else 0.0 for id_ in ids], rtol=1e-12)
        assert (np.diff(answer.scores) <= 0).all()
    assert three.recommend_batch([(user, [], []) for user in users]) == alone
    cold = one.recommend("nobody", ["no such product"], [DAY])
    assert cold.message.endswith("products are ranked by popularity.") and len(cold.item_ids) == 100


def test_unknown_products_and_later_requests_count(folder):
    dataset = ranker_data(folder / "interactions.parquet", min_purchases=20)
    assert (dataset.item == 0).any() and dataset.vocabularies["item"].counts[1:].min() >= 20
    history = history_of(dataset)
    assert history.num_items == dataset.num_items - 1 and history.num_baskets.sum() > len(np.unique(history.basket))
    settings = {"half_life": 1.0, "half_life_days": 5.0}
    graph, ranker = fit({"kind": "own_frequency", "settings": settings}, history, {})
    export_ranker_bundle(graph, ranker, dataset, small_inventory(), folder / "unknown")
    recommender = Recommender(open_bundle(folder / "unknown"), ServeConfig(recommend_seen=True))
    handle = str(dataset.vocabularies["item"].values[1])
    for items, times, weights in (
        ([handle], [0], [1]),
        ([handle, "never seen"], [0, 5], [1 / 4, 1]),  # a basket back, and five days
        (["never seen", handle, handle], [0, 0, 5], [1, 1 / 4]),  # a set at each time
    ):
        answer = recommender.recommend(None, items, [DAY * (20_000 + day) for day in times], k=1)
        held = [w for w, day in zip(weights, dict.fromkeys(times), strict=True) if handle in
                [item for item, at in zip(items, times, strict=True) if at == day]]  # fmt: skip
        assert answer.handles == [handle]
        assert answer.scores[0] == pytest.approx(sum(held) / (sum(weights) + 1), rel=1e-4)
    later = recommender.recommend(None, [handle], [DAY * 20_000], k=1, now=DAY * 20_010)
    assert later.scores[0] == pytest.approx(0.25 / 1.25, rel=1e-4)


def test_a_blend_with_the_network(folder):
    assert command(folder, "--ranker", "blend", "--network", str(folder / "network"), "--min-purchases", "1") == 0
    bundle, plain = open_bundle(folder / "bundle"), open_bundle(folder / "network")
    ranker = bundle.manifest.ranker
    assert [part.kind for part in ranker.parts] == ["own_frequency", "sli_rec"] and ranker.has_network
    assert sum(part.weight for part in ranker.parts) == pytest.approx(1)
    assert bundle.manifest.data_fingerprint == plain.manifest.data_fingerprint
    answers_its_example(bundle)
    network, graph = NetworkSession(folder / "network"), RankSession(onnx.load(folder / "bundle" / "rank.onnx"))
    dataset = ranker_data(folder / "dataset")
    vocabulary = dataset.vocabularies["item"]
    user = 30
    rows = np.arange(dataset.user_offsets[user], dataset.user_offsets[user + 1])
    items, times = dataset.item[rows], dataset.timestamp[rows]
    documents = json.loads((folder / "bundle" / "bundle.json").read_text())["ranker"]["parts"]
    logits = part_of_blend(documents[0], graph.score(items, times, int(times[-1]))) + part_of_blend(
        documents[1], network.score(items, times, int(times[0]), int(times[-1]))
    )
    shown = 1 / (1 + np.exp(np.minimum(-logits.astype(np.float64), 700)))
    for stages in ({}, {"two_stage_from": 1, "shortlist_size": 4, "shortlist_sample": 40}):
        recommender = Recommender(bundle, ServeConfig(k=5, recommend_seen=True, **stages))
        answer = recommender.recommend(str(dataset.vocabularies["user"].values[user]))
        ids = [vocabulary.index[handle] for handle in answer.handles]
        np.testing.assert_allclose(answer.scores, shown[ids], atol=1e-6)
        assert set(ids[:3]) <= set(np.argsort(-shown[1:], kind="stable")[:6] + 1)
        batch = recommender.recommend_batch([("nobody", [], []), ("u030", [], []), ("u005", [], [])])
        assert batch[1] == recommender.recommend("u030") and batch[0].message


def test_the_command_line_takes_settings_and_reports(folder, capsys):
    settings = folder / "settings.json"
    settings.write_text('{"half_life": 7}')
    assert command(folder, "--ranker", "own_frequency", "--settings", str(settings), data="interactions.parquet") == 0
    assert open_bundle(folder / "bundle").manifest.ranker.settings["half_life"] == 7
    blend = {"weights": [1.0, 0.1], "parts": [{"own frequency, basket decay": {"half_life": 9.0}},
             {"EASE, log counts": {"regularization": 10.0, "values": "log"}}]}  # fmt: skip
    methods = {"TIFU-kNN": (0.6, {}), "both": (0.5, blend), "EASE": (0.3, {"regularization": 5.0, "values": "binary"})}
    report = {
        "views": {"all": {"methods": {n: {"validation": v, "settings": s} for n, (v, s) in methods.items()}}},
    }
    (folder / "report.json").write_text(json.dumps(report))
    assert command(folder, "--report", str(folder / "report.json"), data="interactions.parquet") == 0
    written = open_bundle(folder / "bundle").manifest
    assert [(part.kind, part.weight) for part in written.ranker.parts] == [("own_frequency", 1.0), ("ease", 0.1)]
    assert written.ranker.parts[1].settings["values"] == "log"
    assert "TIFU-kNN did better on the validation window; it cannot be deployed" in capsys.readouterr().err
    assert document_of_report(report, "ease", "all")[0]["settings"]["regularization"] == 5.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "`--ranker` or `--report` should say what to fit"),
        (["--ranker", "ease", "--settings", "{folder}/wrong.json"], "should be among regularization, values"),
        (["--ranker", "ease", "--settings", "{folder}/blend.json"], "should be of a ease. Received: of a blend"),
        (["--ranker", "popularity", "--min-purchases", "9999"], "should leave at least one item"),
        (["--report", "{folder}/empty.json"], "should have a method that can be deployed"),
        (
            ["--ranker", "blend", "--network", "{folder}/network", "--settings", "{folder}/own.json"],
            "bundle of the data",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(folder, capsys, arguments, message):
    (folder / "wrong.json").write_text('{"lambda": 3}')
    (folder / "blend.json").write_text('{"kind": "blend"}')
    (folder / "empty.json").write_text("{}")
    (folder / "own.json").write_text('{"kind": "blend", "parts": [{"kind": "popularity", "weight": 1}]}')
    given = [argument.format(folder=folder) for argument in arguments]
    assert command(folder, *given, data="interactions.parquet") == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_settings_are_chosen_on_the_last_days(folder):
    dataset = ranker_data(folder / "interactions.parquet")
    purchases = Purchases.of(dataset.user, dataset.item, dataset.timestamp)
    for kind in ("own_frequency", "blend"):
        document, value = tuned_document(kind, purchases, np.random.default_rng(0), days=60, min_purchases=1)
        assert document["kind"] == kind and 0 < value < 1
    with pytest.raises(ValueError, match="Received: 'TIFU-kNN'"):
        document_of("TIFU-kNN", {})
