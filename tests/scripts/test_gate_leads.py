"""What a version has to show beside the naive baselines: a learned one, a simple one, and one of them itself."""

import numpy as np
import pytest
from small_data import small_dataset, small_interactions, small_inventory

from scripts.ml.gate_leads import baseline_gates, deployment_in
from scripts.ml.held_out import held_out, serve_rows
from serving.bundle import open_bundle
from serving.config import ServeConfig
from serving.gate import GateConfig
from serving.recommender import Recommender
from training.data.sequences import build_dataset
from training.evaluation.future_tuning import simple_methods
from training.evaluation.verdict import SIMPLICITY
from training.export_ranker import export_ranker_bundle
from training.fit_rankers import fit_ranker
from training.ranker_data import history_of

OWN = {"kind": "own_frequency", "settings": {"half_life": 5.0}}
EASE = {"kind": "ease", "settings": {"regularization": 100.0}}
CASES = {
    "popularity": ({"kind": "popularity"}, "popularity"),
    "own_frequency": (OWN, "own frequency, basket decay"),
    "blend": (
        {"kind": "blend", "parts": [{**OWN, "weight": 1.0}, {**EASE, "weight": 0.1}]},
        "own frequency, basket decay + EASE",
    ),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small_dataset(tmp_path_factory.mktemp("gate") / "dataset", num_users=30)


@pytest.mark.parametrize("kind", CASES)
def test_a_simple_version_is_not_held_against_itself_and_should_be_no_worse_than_others(dataset, tmp_path, kind):
    document, itself = CASES[kind]
    graph, ranker = fit_ranker(document, history_of(dataset), {})
    export_ranker_bundle(graph, ranker, dataset, small_inventory(), tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    assert not deployment_in(bundle).is_learned
    rng = np.random.default_rng(0)
    data = held_out(dataset, [bundle], recommend_seen=True, most_rows=100, rng=rng)
    ours = serve_rows(bundle, ServeConfig(recommend_seen=True), data)
    gates, scores = baseline_gates(bundle, ours, data, GateConfig(bootstrap_repeats=100), rng)
    found = {gate.name.removeprefix("baseline "): gate for gate in gates}
    assert list(found) == list(scores) and len(found) == 10
    names = {*found, *(method.name for method in simple_methods())}
    assert {name for name in names if " + " not in name} <= set(SIMPLICITY)
    assert [name for name, gate in found.items() if gate.reason.startswith("not compared")] == [itself]
    assert found[itself].verdict == "passed" and found[itself].value is None
    others = [gate for name, gate in found.items() if name != itself]
    assert all("both simple; the interval of the difference ends at" in gate.reason for gate in others)
    assert all((gate.verdict == "passed") == (gate.value >= gate.bound) for gate in others)


def test_what_was_bought_together_is_no_history_of_each_other(tmp_path, monkeypatch):
    table = small_interactions(12)
    last = table.groupby("user_id")["timestamp"].transform("max")
    second = table.groupby("user_id")["timestamp"].rank(method="first", ascending=False) == 2
    table.loc[second, "timestamp"] = last[second]  # the last two events of each shopper are one basket
    dataset = build_dataset(table, tmp_path / "dataset", rng_seed=1)
    graph, ranker = fit_ranker({"kind": "popularity"}, history_of(dataset), {})
    export_ranker_bundle(graph, ranker, dataset, small_inventory(), tmp_path / "bundle")
    bundle, asked = open_bundle(tmp_path / "bundle"), []
    plain = Recommender.recommend

    def recommend(self, user, items, times, **options):
        asked.append((max(times), options["now"]))
        return plain(self, user, items, times, **options)

    monkeypatch.setattr(Recommender, "recommend", recommend)
    for same_time in ("ordered", "together"):
        view, rng = dataset.viewed(same_time), np.random.default_rng(0)
        data = held_out(view, [bundle], recommend_seen=True, most_rows=100, rng=rng)
        asked.clear()
        serve_rows(bundle, ServeConfig(recommend_seen=True), data)
        assert asked and all((latest < now) == (same_time == "together") for latest, now in asked)
