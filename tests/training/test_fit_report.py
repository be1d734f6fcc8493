"""A ranker fitted as a report says: its verdict, its settings, its groups; the learned one from the command line."""

import json

import numpy as np
import pytest
from small_data import small_interactions, small_inventory

from scripts.ml import fit_ranker
from serving.bundle import open_bundle
from serving.recommender import Recommender
from training.data.interactions import write_interactions
from training.data.inventory import save_inventory
from training.evaluation.verdict import Deployment, deployment_of
from training.fit_rankers import document_of_report

QUICK = {
    "days": 21,
    "cuts": 2,
    "negatives": 10,
    "hidden": [4],
    "epochs": 1,
    "seeds": 1,
    "neighbours": 5,
    "history_length": 2,
}
OWN = ("own frequency, basket decay", {"half_life": 9.0})
EASE = ("EASE", {"regularization": 5.0, "values": "binary"})
LEARNED = ("candidate history", {**QUICK, "groups": ["category", "item_category+category"]})


def verdict(name, settings):
    found = deployment_of(name, settings)
    assert found is not None
    return {"deploy": name, "kind": found.kind, "settings": dict(found.settings), "rule": "It is the best."}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_interactions(small_interactions(), folder / "interactions.parquet")
    save_inventory(small_inventory(), folder / "inventory.json")
    return folder


def temporal(of_all, of_new):
    methods = {name: {"validation": 0.1 * n, "settings": of} for n, (name, of) in enumerate((OWN, LEARNED, EASE))}
    views = {"all": {"methods": methods, "verdict": of_all}, "new": {"methods": methods, "verdict": of_new}}
    return {**of_all, "view": "all", "views": views}


def test_the_verdict_of_a_temporal_cut_goes_before_its_validation():
    report = temporal(verdict(*OWN), verdict(*LEARNED))
    own = {"kind": "own_frequency", "settings": {"half_life": 9.0}}
    assert document_of_report(report, None, None) == (own, ["own frequency, basket decay: It is the best."])
    assert document_of_report(report, "own_frequency", "all")[0] == own
    assert document_of_report(report, None, "new")[0] == {"kind": "candidate_history", "settings": LEARNED[1]}
    assert document_of_report(report, "ease", None)[0] == {"kind": "ease", "settings": EASE[1]}
    del report["views"]["all"]["verdict"]
    assert document_of_report(report, None, "all")[0]["kind"] == "ease"  # the best by validation


def test_the_verdict_of_a_leave_last_out_report():
    parts = [{OWN[0]: OWN[1]}, {"EASE": {"lambda": 30.0}}]
    blend = verdict(f"{OWN[0]} + EASE", {"weights": [1.0, 0.3], "parts": parts})
    report = {**verdict("SLi-Rec", {}), "protocol": "seen_out", "verdicts": {"seen_in": blend}}
    ease = {"kind": "ease", "settings": {"regularization": 30.0, "values": "binary"}, "weight": 0.3}
    own = {"kind": "own_frequency", "settings": {"half_life": 9.0}, "weight": 1.0}
    document = {"kind": "blend", "settings": {"standardise": False}, "parts": [own, ease]}
    assert document_of_report(report, None, "all")[0] == document
    with pytest.raises(ValueError, match="Received: SLi-Rec, whose bundle its training run has written"):
        document_of_report(report, None, None)
    with pytest.raises(ValueError, match="of kind 'ease'"):
        document_of_report(report, "ease", None)


def test_methods_are_alike_whatever_they_were_tuned_to():
    def method(kind, **settings):
        return Deployment(kind, settings).method

    assert method("own_frequency", half_life=5.0) == method("own_frequency", half_life=20.0, prior=1e-5)
    assert method("own_frequency", half_life=5.0) != method("own_frequency")
    assert method("ease", values="binary") == method("ease") != method("ease", values="log")
    assert method("popularity", days=28) != method("popularity", days=None) == method("popularity")
    parts = [{"kind": "ease", "weight": 1.0}, {"kind": "own_frequency", "settings": {"half_life": 2.0}}]
    again = [{"kind": "own_frequency", "settings": {"half_life": 9.0}}, {"kind": "ease", "settings": {}}]
    assert method("blend", parts=parts) == method("blend", parts=again, standardise=False)
    assert method("blend", parts=parts) != method("blend", parts=parts, standardise=True)
    assert not Deployment("blend", {"parts": parts}).is_learned and Deployment("candidate_history", {}).is_learned
    assert Deployment("blend", {"parts": [*parts, {"kind": "sli_rec"}]}).is_learned
    scores = {"weights": [1.0, 1.0], "parts": [{"EASE": {}}, {"candidate history": {}}]}
    assert deployment_of("EASE + candidate history", scores) is None  # logits and counts are no sum


@pytest.mark.parametrize("kind", ["candidate_history", "blend"])
def test_the_learned_ranker_from_the_command_line(folder, kind):
    arguments = [str(folder / "interactions.parquet"), "--inventory", str(folder / "inventory.json"), "--quiet"]
    if kind == "blend":
        part = {"kind": "candidate_history", "weight": 0.5, "settings": LEARNED[1]}
        parts = [part, {"kind": "own_frequency", "weight": 0.5, "settings": {"half_life": 3.0}}]
        document = {"kind": "blend", "settings": {"standardise": True}, "parts": parts}
        arguments += ["--ranker", "blend", "--settings", str(folder / "given.json")]
    else:
        document = temporal(verdict(*LEARNED), verdict(*OWN))
        arguments += ["--report", str(folder / "given.json")]
    (folder / "given.json").write_text(json.dumps(document))
    assert fit_ranker.main([*arguments, "--output", str(folder / kind)]) == 0
    bundle = open_bundle(folder / kind)
    ranker = bundle.manifest.ranker
    settings = ranker.settings if kind == "candidate_history" else ranker.parts[0].settings
    assert ranker.kind == kind and settings["groups"] == ["category", "item_category+category"]
    assert {name: settings[name] for name in QUICK} == QUICK
    assert bundle.manifest.sizes.history_length == 2 and bundle.events.timestamps.size <= 2 * len(bundle.events)
    example = bundle.example
    answer = Recommender(bundle).recommend(*example["request"].values(), **example["params"])
    assert answer.item_ids == example["itemIds"]
    np.testing.assert_allclose(answer.scores, example["preds"], atol=1e-5, rtol=0)


def test_a_setting_that_the_learned_ranker_does_not_have_is_refused(folder, capsys):
    (folder / "wrong.json").write_text('{"epoch": 1}')
    arguments = [str(folder / "interactions.parquet"), "--inventory", str(folder / "inventory.json"), "--quiet"]
    arguments += ["--ranker", "candidate_history", "--settings", str(folder / "wrong.json")]
    assert fit_ranker.main([*arguments, "--output", str(folder / "wrong")]) == 1
    assert "epoch" in capsys.readouterr().err and not (folder / "wrong").exists()
